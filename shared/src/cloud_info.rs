//! The `down/cloud` message.

use serde::{Deserialize, Serialize};

use crate::id::StoreId;

/// `down/cloud`: what a camera must know about the cloud before it sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct CloudInfo {
    pub store: StoreId,
    /// Changes with every start of the cloud: the camera then sends its inventory again.
    pub started: u64,
    /// The largest picture that the cloud accepts, bytes.
    pub capture_bytes_max: u64,
    /// The reason to keep all captures for now, such as a store that is away or full; absent = cameras may send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// Bytes that a camera may have in flight without a receipt while no receipt grants another window; absent = as many
    /// as its own setting allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u64>,
    /// The largest message that the broker carries, bytes; absent = unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_bytes_max: Option<u64>,
}
