//! The values that go into the spool and come out of it.

use std::time::Duration;

use keepsake_protocol::capture::{CaptureMetadata, Cause, ContentType};
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::event::TombstoneReason;
use keepsake_protocol::{CaptureId, HashPrefix, Sequence};

use crate::settings::{self, WhenFull};

/// The place of a capture in the queue: older spool ids first, then by sequence (P6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The place of its spool id among those of this spool, oldest first.
    pub generation: u32,
    pub sequence: Sequence,
}

/// The bounds of one spool.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of all files together.
    pub bytes_max: u64,
    /// Free bytes of the file system that pictures leave alone.
    pub reserve_bytes: u64,
    pub when_full: WhenFull,
    /// The time for which a capture with a receipt stays while there is room.
    pub keep_for: Duration,
    /// The most bytes that such captures may take.
    pub keep_bytes: u64,
}

impl From<&settings::SpoolSettings> for Limits {
    fn from(settings: &settings::SpoolSettings) -> Self {
        Self {
            bytes_max: settings.bytes_max,
            reserve_bytes: settings.reserve_bytes,
            when_full: settings.when_full,
            keep_for: Duration::from_secs(settings.retain_days.saturating_mul(24 * 3600)),
            keep_bytes: settings.bytes_max / 100 * settings.retain_percent,
        }
    }
}

/// A capture that is to be kept: everything but its number.
#[derive(Debug)]
pub struct NewCapture<'a> {
    pub bytes: &'a [u8],
    pub content_type: ContentType,
    pub width: u32,
    pub height: u32,
    pub cause: Cause,
    pub command: Option<String>,
    pub pressed: ClockReading,
    pub captured_after_us: u64,
    pub settings_version: u64,
}

/// A press without a picture.
#[derive(Debug)]
pub struct NewTombstone {
    pub reason: TombstoneReason,
    pub cause: Cause,
    pub command: Option<String>,
    pub pressed: Option<ClockReading>,
}

/// A capture that was stored.
#[derive(Debug)]
pub struct Appended {
    pub pending: PendingCapture,
    pub record: CaptureMetadata,
    /// The captures that made room for it.
    pub changes: Vec<SpoolChange>,
}

/// A change to another capture than the one that a call was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpoolChange {
    /// Waits to be sent; also when it replaces what waited under this key before.
    Pending(PendingCapture),
    /// No longer on the card, or no longer waiting.
    Removed(Key),
}

/// One capture that has no receipt yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingCapture {
    pub key: Key,
    pub id: CaptureId,
    pub hash: HashPrefix,
    /// Bytes to send.
    pub total: u64,
    pub tombstone: bool,
    pub attempts: u32,
}
