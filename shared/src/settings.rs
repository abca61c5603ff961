//! What the cloud wishes of a camera, what the camera made of it, and what the cloud says about itself.

pub mod schema;
pub mod value;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::StoreId;

/// The longest that a camera says about one name it did not take, bytes.
pub const REASON_BYTES_MAX: usize = 200;
/// A camera names no more than this that it did not take.
pub const REJECTED_MAX: usize = 100;

/// `down/settings`: the desired settings, all of them. `version` only rises; a camera ignores one that is not above its
/// own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredSettings {
    pub version: u64,
    /// The cloud's database, as in `down/cloud`: versions of two of them do not compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreId>,
    /// Random, another one for every version, and said back in the status: a cloud restored from a backup gives out a
    /// version a second time.
    #[serde(rename = "mark", default, skip_serializing_if = "is_zero")]
    pub revision: u64,
    /// Names and values as in `camera.toml`; a name the camera does not know is reported, the rest applies. A name that
    /// is not here has the value that the camera's own file gives it.
    pub values: Map<String, Value>,
}

/// What a camera made of them, part of `up/status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsReport {
    /// Of the version that [`Status::settings_version`](crate::presence::Status::settings_version) names.
    #[serde(rename = "mark", default, skip_serializing_if = "is_zero")]
    pub revision: u64,
    /// Names of that version that do not hold as wished. At most [`REJECTED_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<RejectedSetting>,
    #[serde(rename = "trying", default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialStatus>,
    /// The values that hold now, of all names that the cloud may wish for; secrets are left out.
    #[serde(rename = "in_force", default, skip_serializing_if = "Map::is_empty")]
    pub effective: Map<String, Value>,
}

/// A wish that is not fulfilled. What held before goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedSetting {
    pub name: String,
    /// A plain sentence without its beginning, at most [`REASON_BYTES_MAX`]: "must be a whole number, 5 to 1200 seconds".
    pub reason: String,
}

/// Settings of the connection that hold on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialStatus {
    pub names: Vec<String>,
    /// Seconds until they are given up, unless a connection with them reaches this cloud.
    #[serde(rename = "for_s")]
    pub remaining_s: u64,
}

/// `down/cloud`: what every camera must know of the cloud before it sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudInfo {
    pub store: StoreId,
    /// Another number means another start of the cloud: ask `up/have` again.
    pub started: u64,
    /// The largest picture it takes, bytes.
    pub capture_bytes_max: u64,
    /// Set while the store is away or full: keep everything, send no frames. A plain sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference to the field"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
