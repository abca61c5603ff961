//! The Keepsake wire protocol and its tables: no async, no clock, no files, no sockets.
//!
//! A camera writes `keepsake/v1/{device}/up/#` and reads `keepsake/v1/{device}/down/#`. A press becomes a
//! *capture*, named by its [`CaptureId`] (spool, sequence) and the SHA-256 [`struct@Hash`] of the whole picture. The bytes
//! are sent as [`capture::Frame`]s; the cloud commits them and only then answers with a [`receipt::Receipt`], without
//! which a camera never removes a capture (P2). `docs/protocol.md` describes the protocol for implementers.
//!
//! Everything here comes from outside: it is parsed once, bounded, and never panics. Unknown JSON fields are ignored,
//! so a newer peer may send more; the topic and the first bytes of a frame carry the protocol version.
//!
//! The modules in reading order: names ([`id`], [`topic`], [`ranges`], [`clock`]), messages from the camera
//! ([`capture`], [`inventory`], [`status`], [`event`]), messages from the cloud ([`receipt`], [`command`],
//! [`settings`], [`cloud_info`]), their HTTP envelope ([`downlink`]), and their encoding ([`codec`]). [`light`] and
//! [`faults`] are the tables of LED patterns and faults, by the names and numbers that the messages carry.

/// Reads and writes a type in messages as the text of its `FromStr` and `Display`.
macro_rules! serde_as_text {
    ($type:ident) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub mod capture;
pub mod clock;
pub mod cloud_info;
pub mod codec;
pub mod command;
pub mod downlink;
pub mod event;
pub mod faults;
pub mod id;
pub mod inventory;
pub mod light;
#[cfg(test)]
mod properties;
pub mod ranges;
pub mod receipt;
pub mod settings;
pub mod status;
pub mod topic;

pub use id::{BootId, CaptureId, DeviceId, Hash, HashPrefix, Sequence, SpoolId, StoreId};
