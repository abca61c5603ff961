//! A stored picture, without its bytes.

use std::fmt;
use std::str::FromStr;

use keepsake_protocol::capture::{Cause, ContentType, FrameHeader};
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::event::BootClockOffset;
use keepsake_protocol::id::PictureId;
use keepsake_protocol::{CaptureId, DeviceId, Hash};
use serde::{Deserialize, Serialize};

use crate::pictures::capture_time::{self, CaptureTime, PressEvidence};

/// The place of a picture in the order of capture time. Its text is a cursor of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PictureCursor {
    pub sort_us: i64,
    /// The order of pictures with the same time.
    pub arrival: i64,
}

impl fmt::Display for PictureCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.sort_us, self.arrival)
    }
}

impl FromStr for PictureCursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = || {
            let (sort_us, arrival) = text.split_once('.')?;
            Some(Self {
                sort_us: sort_us.parse().ok()?,
                arrival: arrival.parse().ok()?,
            })
        };
        parsed().ok_or("not a cursor of pictures")
    }
}

impl From<PictureCursor> for String {
    fn from(cursor: PictureCursor) -> Self {
        cursor.to_string()
    }
}

impl TryFrom<String> for PictureCursor {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The state of a picture's thumbnail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Thumbnail {
    Pending,
    Ready,
    /// There will be none: the bytes do not decode, or are more than this cloud draws.
    None,
}

impl Thumbnail {
    /// Returns the value in column `thumbnail`.
    pub(in crate::store) fn column(self) -> i64 {
        match self {
            Self::Pending => 0,
            Self::Ready => 1,
            Self::None => 2,
        }
    }

    pub(in crate::store) fn from_column(value: i64) -> Self {
        [Self::Pending, Self::Ready]
            .into_iter()
            .find(|one| one.column() == value)
            .unwrap_or(Self::None)
    }
}

/// A stored picture without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The order in which pictures were committed.
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
    /// The place in the order of capture time, microseconds UTC. It follows `taken.best_us`, but all pictures of a boot
    /// are placed together.
    pub sort_us: i64,
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
            sort_us: stored_us,
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

    pub fn cursor(&self) -> PictureCursor {
        PictureCursor { sort_us: self.sort_us, arrival: self.arrival }
    }

    pub fn id(&self) -> PictureId {
        PictureId { capture: self.capture, hash: self.hash.prefix() }
    }
}
