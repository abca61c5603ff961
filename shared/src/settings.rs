//! Desired settings, and the camera's report about applying them.

pub mod schema;
pub mod value;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::StoreId;

/// The longest reason for a rejected setting, bytes.
pub const REASON_BYTES_MAX: usize = 200;
/// The largest number of rejected settings in a report.
pub const REJECTED_MAX: usize = 100;

/// `down/settings`: the complete desired settings. `version` only rises; a camera ignores one that is not above its
/// own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct DesiredSettings {
    pub version: u64,
    /// The store id, as in `down/cloud`: versions of different stores do not compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreId>,
    /// A random number for each version, echoed in the status: a cloud restored from a backup assigns a version number a
    /// second time.
    #[serde(rename = "mark", default, skip_serializing_if = "is_zero")]
    pub revision: u64,
    /// Names and values as in `camera.toml`. Unknown names are reported and the rest is applied. A name that is absent
    /// keeps the value from the camera's own file.
    #[cfg_attr(test, proptest(strategy = "crate::properties::values()"))]
    pub values: Map<String, Value>,
}

/// The camera's report about desired settings, part of `up/status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct SettingsReport {
    /// The revision of [`Status::settings_version`](crate::status::Status::settings_version).
    #[serde(rename = "mark", default, skip_serializing_if = "is_zero")]
    pub revision: u64,
    /// Settings of that version that were not applied. At most [`REJECTED_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, proptest(strategy = "crate::properties::few()"))]
    pub rejected: Vec<RejectedSetting>,
    #[serde(rename = "trying", default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialStatus>,
    /// The effective values of all settings that the cloud may change, without secrets.
    #[serde(rename = "in_force", default, skip_serializing_if = "Map::is_empty")]
    #[cfg_attr(test, proptest(strategy = "crate::properties::values()"))]
    pub effective: Map<String, Value>,
}

/// A desired setting that was not applied; the previous value stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct RejectedSetting {
    pub name: String,
    /// The end of a sentence that begins with the name, at most [`REASON_BYTES_MAX`]: "must be a whole number, 5 to 1200
    /// seconds".
    pub reason: String,
}

/// Connection settings on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct TrialStatus {
    #[cfg_attr(test, proptest(strategy = "crate::properties::few()"))]
    pub names: Vec<String>,
    /// Seconds until they are rolled back, unless a receipt confirms them.
    #[serde(rename = "for_s")]
    pub remaining_s: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference to the field"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
