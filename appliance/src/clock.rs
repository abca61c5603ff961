//! Honest time: boot id, time since boot, and what the wall clock claims.
//!
//! A Pi has no battery for its clock and wakes with any date. So a press is stamped with the time since boot, which is
//! always right, and with the wall clock together with whether the kernel trusts it. The reading half is [`Clock`];
//! the deciding half ([`moment_at`], [`is_synchronised`]) is pure.

use std::fs;

use nix::time::{ClockId, clock_gettime};
use shared::BootId;
use shared::time::{Moment, signed};

/// The clocks of this boot.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    boot: BootId,
}

#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    #[error("read the boot id /proc/sys/kernel/random/boot_id")]
    Read(#[source] std::io::Error),
    #[error("understand the boot id {0:?}")]
    BootId(String),
}

impl Clock {
    /// # Errors
    /// No `/proc`, so no way to tell one boot from another.
    pub fn open() -> Result<Self, ClockError> {
        let text =
            fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(ClockError::Read)?;
        parse_boot_id(&text)
            .map(|boot| Self { boot })
            .ok_or(ClockError::BootId(text))
    }

    pub fn boot(&self) -> BootId {
        self.boot
    }

    pub fn now(&self) -> Moment {
        // The wall clock is read between two readings of the other one, so that both are of the same instant.
        let before = boottime_us();
        let wall_us = wall_us();
        let after = boottime_us();
        let (synchronised, error_us) = kernel_trust();
        Moment {
            boot: self.boot,
            boottime_us: before + (after - before) / 2,
            wall_us,
            synchronised,
            error_us: error_us.saturating_add(after - before),
        }
    }

    /// The moment of an earlier press of this boot.
    ///
    /// `at_boottime_us`: CLOCK_BOOTTIME of the press, microseconds.
    pub fn press_moment(&self, at_boottime_us: u64) -> Moment {
        moment_at(&self.now(), at_boottime_us)
    }
}

/// CLOCK_BOOTTIME, microseconds since boot, sleep included.
pub fn boottime_us() -> u64 {
    micros(ClockId::CLOCK_BOOTTIME).unsigned_abs()
}

/// CLOCK_MONOTONIC, microseconds; the clock that drivers stamp edges and frames with.
pub fn monotonic_us() -> u64 {
    micros(ClockId::CLOCK_MONOTONIC).unsigned_abs()
}

/// The CLOCK_BOOTTIME of an instant that a driver gave by CLOCK_MONOTONIC, microseconds.
pub fn boottime_of_monotonic_us(at_monotonic_us: u64) -> u64 {
    let ago = monotonic_us().saturating_sub(at_monotonic_us);
    boottime_us().saturating_sub(ago)
}

/// Whether the wall clock can be believed now.
pub fn wall_is_synchronised() -> bool {
    kernel_trust().0
}

fn wall_us() -> i64 {
    micros(ClockId::CLOCK_REALTIME)
}

fn micros(clock: ClockId) -> i64 {
    // These clocks exist on every Linux this can be built for; a sandbox that forbids them forbids everything else too.
    clock_gettime(clock).map_or(0, |at| {
        at.tv_sec()
            .saturating_mul(1_000_000)
            .saturating_add(at.tv_nsec() / 1_000)
    })
}

/// Whether the kernel says that the wall clock follows a source of time, and its largest error in microseconds.
fn kernel_trust() -> (bool, u64) {
    // SAFETY: timex is plain numbers and padding, for which all zeros is a valid value; modes = 0 only reads.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a whole timex of our own that outlives the call.
    let answer = unsafe { libc::adjtimex(&raw mut state) };
    let error_us = u64::try_from(state.maxerror).unwrap_or(0);
    (is_synchronised(answer, state.status), error_us)
}

/// adjtimex's answer in one word. `TIME_ERROR` also means a lost pulse source, which is no reason to distrust the
/// network, so the flag decides; a call that failed (-1) told us nothing.
pub fn is_synchronised(answer: i32, status: i32) -> bool {
    answer >= 0 && status & libc::STA_UNSYNC == 0
}

/// The moment `boottime_us` of the same boot as `known`, by the wall clock as `known` has it.
pub fn moment_at(known: &Moment, boottime_us: u64) -> Moment {
    let shift = signed(boottime_us).saturating_sub(signed(known.boottime_us));
    Moment {
        boottime_us,
        wall_us: known.wall_us.saturating_add(shift),
        ..*known
    }
}

fn parse_boot_id(text: &str) -> Option<BootId> {
    text.trim().replace('-', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(boottime_us: u64, wall_us: i64, synchronised: bool) -> Moment {
        Moment {
            boot: BootId([7; 16]),
            boottime_us,
            wall_us,
            synchronised,
            error_us: 40,
        }
    }

    #[test]
    fn an_earlier_press_keeps_its_distance_to_now() {
        let now = moment(10_000_000, 1_700_000_000_000_000, true);
        let pressed = moment_at(&now, 9_250_000);
        assert_eq!(pressed, moment(9_250_000, 1_699_999_999_250_000, true));
        assert_eq!(moment_at(&now, 10_000_000), now);
        // Odd clocks are carried along, never a panic.
        moment_at(&moment(0, i64::MIN, false), u64::MAX);
        moment_at(&moment(u64::MAX, i64::MIN, false), 0);
    }

    #[test]
    fn the_kernels_word_decides_about_trust() {
        for (answer, status, trusted) in [
            (0, libc::STA_PLL, true),
            (5, libc::STA_UNSYNC, false),
            (0, libc::STA_UNSYNC, false),
            (5, libc::STA_PPSSIGNAL, true),
            (-1, 0, false),
        ] {
            assert_eq!(
                is_synchronised(answer, status),
                trusted,
                "{answer} {status}"
            );
        }
    }

    #[test]
    fn a_boot_id_is_read_as_the_kernel_writes_it() {
        let id = parse_boot_id("8ac2da0e-7b58-4bd2-a1a4-0e2d4f6a1b3c\n").unwrap();
        assert_eq!(id.to_string(), "8ac2da0e7b584bd2a1a40e2d4f6a1b3c");
        assert_eq!(parse_boot_id(""), None);
        assert_eq!(parse_boot_id("../../etc"), None);
    }

    #[test]
    fn time_since_boot_only_rises() {
        let clock = Clock::open().unwrap();
        let first = clock.now();
        let pressed = clock.press_moment(first.boottime_us);
        let second = clock.now();
        assert!(first.boottime_us > 0);
        assert!(second.boottime_us >= first.boottime_us);
        assert_eq!(pressed.boottime_us, first.boottime_us);
        assert_eq!(first.boot, second.boot);
        let mono = monotonic_us();
        assert!(boottime_us().abs_diff(boottime_of_monotonic_us(mono)) < 1_000_000);
    }
}
