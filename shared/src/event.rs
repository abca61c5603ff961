//! What a camera tells besides pictures: why a sequence has no picture, faults, and when it learnt the time.

use serde::{Deserialize, Serialize};

use crate::capture::Cause;
use crate::clock::{ClockReading, drift_us, to_signed};
use crate::id::{BootId, Sequence, SpoolId};

/// A range tombstone covers at most this many sequences.
pub const TOMBSTONE_RANGE_MAX: u64 = 100_000;

/// Why a sequence has no picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TombstoneReason {
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

impl TombstoneReason {
    /// The reason as a person reads it on the page.
    pub const fn describe(self) -> &'static str {
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
    #[serde(rename = "install")]
    pub spool: SpoolId,
    pub sequence: Sequence,
    /// The last sequence it speaks for; absent = just the one. At most [`TOMBSTONE_RANGE_MAX`] in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<Sequence>,
    pub reason: TombstoneReason,
    pub cause: Cause,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Absent where even that was lost with the power.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressed: Option<ClockReading>,
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
    pub at: ClockReading,
    /// The camera keeps this until a receipt of this install names it; absent = it waits for none.
    #[serde(rename = "install", default, skip_serializing_if = "Option::is_none")]
    pub spool: Option<SpoolId>,
}

/// When the time was learnt, all moments of that boot can be corrected: wall = boottime + offset.
///
/// A camera whose clock was set to another time during one boot sends a line for each: they contradict each other, and
/// only an interval that covers all of them is honest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootClockOffset {
    pub boot: BootId,
    /// Wall time minus CLOCK_BOOTTIME, microseconds.
    pub offset_us: i64,
    /// Largest error of the offset, microseconds.
    pub error_us: u64,
    /// CLOCK_BOOTTIME when this was so; the error grows from there by [`drift_us`]. Absent = it holds for the whole boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_us: Option<u64>,
    /// The boot itself never saw the time: this is what lies between the times known before and after it.
    #[serde(
        rename = "guessed",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub estimated: bool,
    /// The camera keeps this until a receipt of this install names it; absent = it waits for none.
    #[serde(rename = "install", default, skip_serializing_if = "Option::is_none")]
    pub spool: Option<SpoolId>,
}

impl BootClockOffset {
    /// What a synchronised moment says of its boot; nothing if it is not.
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

    /// The earliest and the latest wall time, microseconds UTC, that the moment `boottime_us` can have been by this line.
    pub fn wall_interval(&self, boottime_us: u64) -> (i64, i64) {
        let drift_us = self
            .at_us
            .map_or(0, |at| drift_us(at.abs_diff(boottime_us)));
        let error_us = to_signed(self.error_us.saturating_add(drift_us));
        let wall_us = self.offset_us.saturating_add(to_signed(boottime_us));
        (
            wall_us.saturating_sub(error_us),
            wall_us.saturating_add(error_us),
        )
    }
}

/// `up/event`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    fn only_a_synchronised_clock_speaks_for_its_boot() {
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
    fn what_a_line_says_is_less_sure_the_farther_away_it_is() {
        let line = BootClockOffset {
            boot: BootId([7; 16]),
            offset_us: 1_000_000_000_000,
            error_us: 1_000,
            at_us: Some(3_600_000_000),
            estimated: false,
            spool: None,
        };
        for (boottime_us, error_us) in [
            (3_600_000_000, 1_001),
            (0, 1_801_001),
            (7_200_000_000, 1_801_001),
        ] {
            let wall_us = 1_000_000_000_000 + to_signed(boottime_us);
            assert_eq!(
                line.wall_interval(boottime_us),
                (wall_us - error_us, wall_us + error_us)
            );
        }
        let whole_boot = BootClockOffset {
            at_us: None,
            ..line
        };
        assert_eq!(
            whole_boot.wall_interval(0),
            (999_999_999_000, 1_000_000_001_000)
        );
    }
}
