//! When something happened, as honestly as a computer without a clock can say it.

use serde::{Deserialize, Serialize};

use crate::id::BootId;

/// A moment on the camera. Two moments of one boot can be compared by `boottime_us`; wall time is a claim with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    pub boot: BootId,
    /// CLOCK_BOOTTIME, microseconds since that boot, sleep included.
    pub boottime_us: u64,
    /// CLOCK_REALTIME, microseconds since 1970-01-01 UTC; worthless unless `synchronised` or corrected later.
    pub wall_us: i64,
    /// Whether the kernel says that the clock follows a source of time (adjtimex without STA_UNSYNC).
    pub synchronised: bool,
    /// The kernel's estimate of the largest error of `wall_us`, microseconds; only means something when synchronised.
    #[serde(default)]
    pub error_us: u64,
}

/// How far the clock of a camera can be off after so long, microseconds: it is slewed by at most 500 millionths.
pub fn drift_us(elapsed_us: u64) -> u64 {
    // Rounded up.
    elapsed_us / 2000 + 1
}

/// A length of time as a difference of moments; what is longer than any is the longest.
pub fn to_signed(us: u64) -> i64 {
    i64::try_from(us).unwrap_or(i64::MAX)
}
