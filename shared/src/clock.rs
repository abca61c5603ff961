//! Clock readings of a computer that has no battery-backed clock.

use serde::{Deserialize, Serialize};

use crate::id::BootId;

/// A reading of the camera's clocks. Readings of one boot compare by `boottime_us`; wall time is a claim with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct ClockReading {
    pub boot: BootId,
    /// CLOCK_BOOTTIME, microseconds since that boot, sleep included.
    pub boottime_us: u64,
    /// CLOCK_REALTIME, microseconds since 1970-01-01 UTC; worthless unless `synchronised` or corrected later.
    pub wall_us: i64,
    /// The kernel reports the clock as synchronised to a time source (adjtimex without STA_UNSYNC).
    pub synchronised: bool,
    /// The kernel's maximum error of `wall_us`, microseconds. Meaningful only when synchronised.
    #[serde(default)]
    pub error_us: u64,
}

/// Returns the largest drift of a clock after `elapsed_us`, microseconds: the kernel slews it by at most 500 ppm.
pub fn drift_us(elapsed_us: u64) -> u64 {
    // Rounded up.
    elapsed_us / 2000 + 1
}

/// Converts a duration to a signed difference, saturating at `i64::MAX`.
pub fn to_signed(us: u64) -> i64 {
    i64::try_from(us).unwrap_or(i64::MAX)
}
