//! Messages on `up/event`: tombstones, faults and clock offsets.

use serde::{Deserialize, Serialize};

use crate::capture::Cause;
use crate::clock::{ClockReading, drift_us, to_signed};
use crate::id::{BootId, Sequence, SpoolId};

/// A range tombstone covers at most this many sequences.
pub const TOMBSTONE_RANGE_MAX: u64 = 100_000;

/// The reason why a sequence has no picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
#[serde(rename_all = "kebab-case")]
pub enum TombstoneReason {
    CameraNotFound,
    CameraTimedOut,
    CameraFailed,
    /// The frame exceeds the cloud's `capture_bytes_max` and could not be resized.
    FrameTooLarge,
    PowerLostWhileSaving,
    /// The bytes on the card no longer match their hash.
    CardDamaged,
    CardFull,
    /// Evicted to make room for button pictures.
    MadeRoom,
}

impl TombstoneReason {
    /// Returns the reason as the dashboard shows it.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::CameraNotFound => "camera not found",
            Self::CameraTimedOut => "the camera did not answer in time",
            Self::CameraFailed => "the camera failed",
            Self::FrameTooLarge => "the picture was too large for the cloud",
            Self::PowerLostWhileSaving => "power lost while saving",
            Self::CardDamaged => "the card damaged the picture",
            Self::CardFull => "the card was full",
            Self::MadeRoom => "deleted to make room on a full card",
        }
    }
}

/// Explains why a sequence, or a range of sequences, has no picture.
///
/// A tombstone gets a receipt like a picture. Its hash is the SHA-256 of its JSON exactly as sent, so a camera keeps
/// those bytes and sends them unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Tombstone {
    #[serde(rename = "install")]
    pub spool: SpoolId,
    pub sequence: Sequence,
    /// The last sequence of the range; absent = only `sequence`. At most [`TOMBSTONE_RANGE_MAX`] sequences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<Sequence>,
    pub reason: TombstoneReason,
    pub cause: Cause,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Absent if the power was lost before it was saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressed: Option<ClockReading>,
}

impl Tombstone {
    pub fn last(&self) -> Sequence {
        self.through.unwrap_or(self.sequence)
    }
}

/// A fault of the camera, by its number on the LED.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Fault {
    /// 1 to 7, as the LED counts them.
    pub number: u8,
    /// An explanation for people.
    pub text: String,
    pub at: ClockReading,
    /// The camera resends this event until a receipt of this spool names it; absent = it is sent once.
    #[serde(rename = "install", default, skip_serializing_if = "Option::is_none")]
    pub spool: Option<SpoolId>,
}

/// The offset between wall clock and boot clock, with which all readings of one boot can be corrected.
///
/// A camera whose clock is set during a boot sends one offset for each setting. They contradict each other, so only an
/// interval that covers all of them is honest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct BootClockOffset {
    pub boot: BootId,
    /// Wall time minus CLOCK_BOOTTIME, microseconds.
    pub offset_us: i64,
    /// Largest error of the offset, microseconds.
    pub error_us: u64,
    /// CLOCK_BOOTTIME of the measurement; the error grows from there by [`drift_us`]. Absent = valid for the whole boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_us: Option<u64>,
    /// Estimated from the times known before and after a boot whose clock was never synchronised.
    #[serde(rename = "guessed", default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
    /// The camera resends this event until a receipt of this spool names it; absent = it is sent once.
    #[serde(rename = "install", default, skip_serializing_if = "Option::is_none")]
    pub spool: Option<SpoolId>,
}

impl BootClockOffset {
    /// Returns the offset that a synchronised reading proves, or `None` if the reading is not synchronised.
    pub fn from_reading(moment: &ClockReading) -> Option<Self> {
        moment.synchronised.then(|| Self {
            boot: moment.boot,
            offset_us: moment.wall_us.saturating_sub(to_signed(moment.boottime_us)),
            error_us: moment.error_us,
            at_us: Some(moment.boottime_us),
            estimated: false,
            spool: None,
        })
    }

    /// Returns the earliest and latest wall time of `boottime_us` by this offset, microseconds UTC.
    pub fn wall_interval(&self, boottime_us: u64) -> (i64, i64) {
        let drift_us = self.at_us.map_or(0, |at| drift_us(at.abs_diff(boottime_us)));
        let error_us = to_signed(self.error_us.saturating_add(drift_us));
        let wall_us = self.offset_us.saturating_add(to_signed(boottime_us));
        (wall_us.saturating_sub(error_us), wall_us.saturating_add(error_us))
    }
}

/// `up/event`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Event {
    Tombstone(Tombstone),
    Fault(Fault),
    Boot(BootClockOffset),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_synchronised_reading_gives_an_offset() {
        let moment = |synchronised| ClockReading {
            boot: BootId([7; 16]),
            boottime_us: 5_000_000,
            wall_us: 1_700_000_000_000_000,
            synchronised,
            error_us: 40,
        };
        assert_eq!(BootClockOffset::from_reading(&moment(false)), None);
        let line = BootClockOffset::from_reading(&moment(true)).unwrap();
        assert_eq!(line.offset_us, 1_699_999_995_000_000);
        assert_eq!(line.at_us, Some(5_000_000));
    }

    #[test]
    fn an_offset_is_less_certain_further_away() {
        let line = BootClockOffset {
            boot: BootId([7; 16]),
            offset_us: 1_000_000_000_000,
            error_us: 1_000,
            at_us: Some(3_600_000_000),
            estimated: false,
            spool: None,
        };
        for (boottime_us, error_us) in [(3_600_000_000, 1_001), (0, 1_801_001), (7_200_000_000, 1_801_001)] {
            let wall_us = 1_000_000_000_000 + to_signed(boottime_us);
            assert_eq!(line.wall_interval(boottime_us), (wall_us - error_us, wall_us + error_us));
        }
        let whole_boot = BootClockOffset { at_us: None, ..line };
        assert_eq!(whole_boot.wall_interval(0), (999_999_999_000, 1_000_000_001_000));
    }
}
