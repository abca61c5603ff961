//! The `up/frame` message: a header that identifies the bytes, and the bytes of a whole picture or of one part.

use serde::{Deserialize, Serialize};

use crate::clock::ClockReading;
use crate::id::{CaptureId, Hash, Sequence, SpoolId};

/// The reason why a capture was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    Button,
    Command,
    Interval,
    Test,
    /// Published on an external topic or sent to `POST /upload`: the cloud assigned the capture id.
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

/// The media type of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
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

    /// The file extension, without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
        }
    }

    /// Detects the type by the first bytes, never by a file name.
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

/// Everything known about a capture when it is saved. The same record is stored in the spool file and sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
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
    /// The id of the command that requested the capture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The time of the press, not of the frame: the moment that the person remembers.
    pub pressed: ClockReading,
    /// Time from the press to the frame, microseconds.
    pub captured_after_us: u64,
    #[serde(default)]
    pub settings_version: u64,
}

impl CaptureMetadata {
    pub fn id(&self) -> CaptureId {
        CaptureId { spool: self.spool, sequence: self.sequence }
    }
}

/// The JSON header of an `up/frame` message: the capture, and which of its bytes follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct FrameHeader {
    #[serde(flatten)]
    pub capture: CaptureMetadata,
    /// Offset of these bytes in the whole picture.
    pub offset: u64,
    /// Number of bytes that follow, at least 1; `offset + len <= total`.
    pub len: u64,
    /// 0 for the first attempt.
    #[serde(default)]
    pub attempt: u32,
    /// Time from the press until the capture was durable on the card, microseconds. Absent after a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_after_us: Option<u64>,
    /// Time from the press until this attempt began, microseconds. Absent if the press was in an earlier boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_after_us: Option<u64>,
    /// Lower bound of the time of the press, microseconds UTC: the latest time that the camera had seen before the press,
    /// or that the cloud has sent. Absent if the camera knows none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before_us: Option<i64>,
}

impl FrameHeader {
    /// Returns true if the frame has all bytes of the capture, not a part of them.
    pub fn is_whole(&self) -> bool {
        self.offset == 0 && self.len == self.capture.total
    }
}

/// One `up/frame` message whose header matches its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<'a> {
    pub header: FrameHeader,
    pub bytes: &'a [u8],
}
