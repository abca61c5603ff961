//! What a camera tells besides pictures: why a sequence has no picture, faults, and when it learnt the time.

use serde::{Deserialize, Serialize};

use crate::capture::Cause;
use crate::id::{BootId, InstallId, Sequence};
use crate::time::Moment;

/// A range tombstone covers at most this many sequences.
pub const TOMBSTONE_RANGE_MAX: u64 = 100_000;

/// Why a sequence has no picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    CameraNotFound,
    CameraTimedOut,
    CameraFailed,
    /// The frame was larger than the cloud takes and could not be made smaller.
    FrameTooLarge,
    PowerLostWhileSaving,
    /// The bytes on the card no longer have the hash they were saved with.
    CardDamaged,
    CardFull,
    /// Given up to make room for pictures of a button.
    MadeRoom,
}

impl Reason {
    /// The reason as a person reads it on the page.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::CameraNotFound => "camera not found",
            Self::CameraTimedOut => "the camera did not answer in time",
            Self::CameraFailed => "the camera failed",
            Self::FrameTooLarge => "the picture was too large for the cloud",
            Self::PowerLostWhileSaving => "power lost while saving",
            Self::CardDamaged => "the card damaged the picture",
            Self::CardFull => "the card was full",
            Self::MadeRoom => "given up to make room on a full card",
        }
    }
}

/// The record that says why a sequence, or a range of them, has no picture.
///
/// It is earned a receipt like a picture: its hash is the SHA-256 of its JSON exactly as sent, so a camera keeps those
/// bytes and sends them unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    pub install: InstallId,
    pub sequence: Sequence,
    /// The last sequence it speaks for; absent = just the one. At most [`TOMBSTONE_RANGE_MAX`] in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<Sequence>,
    pub reason: Reason,
    pub cause: Cause,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Absent where even that was lost with the power.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressed: Option<Moment>,
}

impl Tombstone {
    pub fn last(&self) -> Sequence {
        self.through.unwrap_or(self.sequence)
    }
}

/// A state of the camera that someone should know, by its number on the light.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// 1 to 7, as the light counts them.
    pub number: u8,
    /// A plain sentence.
    pub text: String,
    pub at: Moment,
}

/// When the time was learnt, all moments of that boot can be corrected: wall = boottime + offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootLine {
    pub boot: BootId,
    /// Wall time minus CLOCK_BOOTTIME, microseconds.
    pub offset_us: i64,
    /// Largest error of the offset, microseconds.
    pub error_us: u64,
}

/// `up/event`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Event {
    Tombstone(Tombstone),
    Fault(Fault),
    Boot(BootLine),
}
