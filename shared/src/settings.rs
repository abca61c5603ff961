//! What the cloud wishes of a camera, what the camera made of it, and what the cloud says about itself.

pub mod schema;
pub mod value;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::StoreId;

/// `down/settings`: the desired settings. `version` only rises; a camera ignores one that is not above its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub version: u64,
    /// Names and values as in `camera.toml`; a name the camera does not know is reported, the rest applies.
    pub values: Map<String, Value>,
}

/// `down/cloud`: what every camera must know of the cloud before it sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cloud {
    pub store: StoreId,
    /// Another number means another start of the cloud: ask `up/have` again.
    pub started: u64,
    /// The largest picture it takes, bytes.
    pub capture_bytes_max: u64,
    /// Set while the store is away or full: keep everything, send no frames. A plain sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
}
