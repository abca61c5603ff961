//! A stored picture, without its bytes.

use keepsake_protocol::capture::{Cause, ContentType, FrameHeader};
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::event::BootClockOffset;
use keepsake_protocol::id::PictureId;
use keepsake_protocol::{CaptureId, DeviceId, Hash};
use serde::Serialize;

use crate::pictures::capture_time::{self, CaptureTime, PressEvidence};

/// How far a small version of a picture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Thumbnail {
    Pending,
    Ready,
    /// There will be none: the bytes do not decode, or are more than this cloud draws.
    None,
}

/// A stored picture without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The order in which pictures were committed; cursors are made of it.
    pub arrival: i64,
    pub capture: CaptureId,
    pub hash: Hash,
    pub device: DeviceId,
    /// Length of the picture, bytes.
    pub bytes: u64,
    pub content_type: ContentType,
    /// Pixels, as the camera said.
    pub width: u32,
    pub height: u32,
    pub cause: Cause,
    pub command: Option<String>,
    pub pressed: ClockReading,
    /// Since the press, microseconds.
    pub captured_after_us: u64,
    pub saved_after_us: Option<u64>,
    pub sent_after_us: Option<u64>,
    pub attempt: u32,
    pub settings_version: u64,
    /// By the cloud's clock, microseconds UTC.
    pub stored_us: i64,
    /// Another picture has the same CaptureId.
    pub conflict: bool,
    /// The hash is right, and the bytes do not decode.
    pub damaged: bool,
    pub thumbnail: Thumbnail,
    /// The average colour, 0xRRGGBB.
    pub color: Option<u32>,
    /// The press was not before this, as far as the camera knew, microseconds UTC.
    pub not_before_us: Option<i64>,
    /// By all that was known when this was read.
    pub taken: CaptureTime,
}

impl Picture {
    /// A picture that was just kept, whose number no other one has.
    pub(crate) fn stored(arrival: i64, device: &DeviceId, header: FrameHeader, stored_us: i64, damaged: bool) -> Self {
        let record = header.capture;
        let mut picture = Self {
            arrival,
            capture: record.id(),
            hash: record.hash,
            device: device.clone(),
            bytes: record.total,
            content_type: record.content_type,
            width: record.width,
            height: record.height,
            cause: record.cause,
            command: record.command,
            pressed: record.pressed,
            captured_after_us: record.captured_after_us,
            saved_after_us: header.saved_after_us,
            sent_after_us: header.sent_after_us,
            attempt: header.attempt,
            settings_version: record.settings_version,
            stored_us,
            conflict: false,
            damaged,
            thumbnail: if damaged { Thumbnail::None } else { Thumbnail::Pending },
            color: None,
            not_before_us: header.not_before_us,
            taken: capture_time::upload_time(stored_us),
        };
        picture.set_capture_time(&[]);
        picture
    }

    /// `lines`: those of its boot.
    pub(crate) fn set_capture_time(&mut self, lines: &[BootClockOffset]) {
        self.taken = match self.cause {
            Cause::Upload => capture_time::upload_time(self.stored_us),
            Cause::Button | Cause::Command | Cause::Interval | Cause::Test => {
                let press = PressEvidence {
                    clock: &self.pressed,
                    stored_us: self.stored_us,
                    sent_after_us: self.sent_after_us,
                    not_before_us: self.not_before_us,
                };
                capture_time::capture_time(&press, lines)
            }
        };
    }

    pub fn id(&self) -> PictureId {
        PictureId { capture: self.capture, hash: self.hash.prefix() }
    }
}
