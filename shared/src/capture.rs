//! A picture on its way: the header that says whose bytes these are, and the bytes, in one message or in parts.

use serde::{Deserialize, Serialize};

use crate::clock::ClockReading;
use crate::id::{CaptureId, Hash, Sequence, SpoolId};

/// Why a capture exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    Button,
    Command,
    Interval,
    Test,
    /// Came in by the lab's way or by `POST /upload`: the cloud made the CaptureId itself.
    Upload,
}

impl Cause {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Button => "button",
            Self::Command => "command",
            Self::Interval => "interval",
            Self::Test => "test",
            Self::Upload => "upload",
        }
    }
}

/// What kind of picture the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContentType {
    #[serde(rename = "image/jpeg")]
    Jpeg,
    #[serde(rename = "image/png")]
    Png,
}

impl ContentType {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
        }
    }

    /// The ending of a file of this kind, without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
        }
    }

    /// Tells by the first bytes, never by a name.
    pub fn sniff(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
            Some(Self::Jpeg)
        } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else {
            None
        }
    }
}

/// All that is known of one capture when it is saved; it goes into the spool file and, unchanged, onto the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureMetadata {
    #[serde(rename = "install")]
    pub spool: SpoolId,
    pub sequence: Sequence,
    pub hash: Hash,
    /// Length of the whole picture, bytes.
    pub total: u64,
    pub content_type: ContentType,
    /// Pixels.
    pub width: u32,
    pub height: u32,
    pub cause: Cause,
    /// The command that asked for it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The press, not the frame: the moment the person remembers.
    pub pressed: ClockReading,
    /// From the press until the camera had the frame, microseconds.
    pub captured_after_us: u64,
    #[serde(default)]
    pub settings_version: u64,
}

impl CaptureMetadata {
    pub fn id(&self) -> CaptureId {
        CaptureId {
            spool: self.spool,
            sequence: self.sequence,
        }
    }
}

/// The JSON header of an `up/frame` message: the record, and which part of the bytes follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameHeader {
    #[serde(flatten)]
    pub capture: CaptureMetadata,
    /// Where these bytes start in the whole picture.
    pub offset: u64,
    /// How many bytes follow; `offset + len <= total`, at least 1.
    pub len: u64,
    /// 0 the first time, one more with every try.
    #[serde(default)]
    pub attempt: u32,
    /// From the press until the capture was safe on the card, microseconds; absent when that was before a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_after_us: Option<u64>,
    /// From the press until this try began, microseconds; absent when the press was in an earlier boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_after_us: Option<u64>,
    /// The press was not before this wall time, microseconds UTC: what the camera knew of the time, as of this try, from
    /// before the press or from the cloud. Absent where it knew nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before_us: Option<i64>,
}

/// One `up/frame` message, its header checked against its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<'a> {
    pub header: FrameHeader,
    pub bytes: &'a [u8],
}
