//! Honest time: boot id, time since boot, and what the wall clock claims.
//!
//! A Pi has no battery for its clock and wakes with any date. So a press is stamped with the time since boot, which is
//! always right, and with the wall clock together with whether the kernel trusts it. The reading half is [`Clock`];
//! the deciding half ([`reading_at_boottime`], [`error_us`]) is pure. What follows from many readings is [`crate::time::boot_history`].

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};

use keepsake_protocol::BootId;
use keepsake_protocol::clock::{ClockReading, to_signed};
use nix::time::{ClockId, clock_gettime};

/// The unknown delay of the network to a time server, microseconds: systemd-timesyncd calls its error 0 after each
/// answer, however long that took.
const NETWORK_ERROR_US: u64 = 100_000;

/// The clocks of this boot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    boot: BootId,
    /// A simulated camera may have a file that says what its clocks show.
    simulated: Option<&'static Path>,
}

/// The clocks of a simulated camera, relative to those of this machine.
#[derive(Debug, serde::Deserialize)]
struct Simulated {
    boot: BootId,
    boottime_shift_us: i64,
    wall_shift_us: i64,
    synchronised: bool,
    error_us: u64,
}

/// Added to CLOCK_BOOTTIME; stays 0 but for a simulated clock.
static BOOTTIME_SHIFT_US: AtomicI64 = AtomicI64::new(0);

#[derive(Debug, thiserror::Error)]
pub(crate) enum ClockError {
    #[error("read the boot id /proc/sys/kernel/random/boot_id")]
    Read(#[source] std::io::Error),
    #[error("understand the boot id {0:?}")]
    BootId(String),
    #[error("read the simulated clock {0}")]
    Simulated(PathBuf),
}

impl Clock {
    /// Fails without `/proc`, because nothing else tells one boot from another.
    pub(crate) fn open() -> Result<Self, ClockError> {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(ClockError::Read)?;
        parse_boot_id(&text)
            .map(|boot| Self { boot, simulated: None })
            .ok_or(ClockError::BootId(text))
    }

    /// Opens the clocks of a simulated camera: `file` is read at every look at them, and its boot id once.
    pub(crate) fn simulated(file: PathBuf) -> Result<Self, ClockError> {
        let Some(read) = read_simulated(&file) else {
            return Err(ClockError::Simulated(file));
        };
        let clock = Self {
            boot: read.boot,
            // One for each process, and a clock is copied everywhere.
            simulated: Some(Box::leak(file.into_boxed_path())),
        };
        clock.now();
        Ok(clock)
    }

    pub(crate) fn boot(&self) -> BootId {
        self.boot
    }

    pub(crate) fn now(&self) -> ClockReading {
        let simulated = self.simulated.and_then(read_simulated);
        if let Some(simulated) = &simulated {
            BOOTTIME_SHIFT_US.store(simulated.boottime_shift_us, Ordering::Relaxed);
        }
        // The wall clock is read between two readings of the other one, so that both are of the same instant.
        let before = boottime_us();
        let reading = kernel();
        let after = boottime_us();
        let (wall_us, trust) = match simulated {
            None if self.simulated.is_some() => (reading.wall_us, None),
            None => (reading.wall_us, error_us(&reading)),
            Some(simulated) => (
                reading.wall_us.saturating_add(simulated.wall_shift_us),
                simulated.synchronised.then_some(simulated.error_us),
            ),
        };
        ClockReading {
            boot: self.boot,
            boottime_us: before.midpoint(after),
            wall_us,
            synchronised: trust.is_some(),
            error_us: trust.map_or(0, |error_us| error_us.saturating_add(after.abs_diff(before))),
        }
    }

    /// The moment of an earlier press of this boot.
    ///
    /// `at_boottime_us`: CLOCK_BOOTTIME of the press, microseconds.
    pub(crate) fn reading_at(&self, at_boottime_us: u64) -> ClockReading {
        reading_at_boottime(&self.now(), at_boottime_us)
    }
}

/// CLOCK_BOOTTIME, microseconds since boot, sleep included.
pub(crate) fn boottime_us() -> u64 {
    let shift_us = BOOTTIME_SHIFT_US.load(Ordering::Relaxed);
    micros(ClockId::CLOCK_BOOTTIME).unsigned_abs().saturating_add_signed(shift_us)
}

/// CLOCK_MONOTONIC, microseconds; the clock that drivers stamp edges and frames with.
pub(crate) fn monotonic_us() -> u64 {
    micros(ClockId::CLOCK_MONOTONIC).unsigned_abs()
}

/// The CLOCK_BOOTTIME of an instant that a driver gave by CLOCK_MONOTONIC, microseconds.
pub(crate) fn boottime_of_monotonic_us(at_monotonic_us: u64) -> u64 {
    let ago = monotonic_us().saturating_sub(at_monotonic_us);
    boottime_us().saturating_sub(ago)
}

/// Returns true if the wall clock is synchronised now.
pub(crate) fn wall_is_synchronised() -> bool {
    error_us(&kernel()).is_some()
}

fn read_simulated(file: &Path) -> Option<Simulated> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

fn micros(clock: ClockId) -> i64 {
    // These clocks exist on every Linux this can be built for; a sandbox that forbids them forbids everything else too.
    clock_gettime(clock).map_or(0, |at| at.tv_sec().saturating_mul(1_000_000).saturating_add(at.tv_nsec() / 1_000))
}

/// The wall clock, and what the kernel says of it, of one instant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KernelClock {
    pub wall_us: i64,
    /// The return value of adjtimex.
    pub answer: i32,
    pub status: i32,
    /// The kernel's own largest error, microseconds.
    pub error_us: u64,
    /// By how much the clock is still being moved, microseconds.
    pub to_move_us: u64,
}

/// One call for all of it: a clock that is set between two calls would be believed with the wrong time.
fn kernel() -> KernelClock {
    // SAFETY: timex is plain numbers and padding, for which all zeros is a valid value; modes = 0 only reads.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a whole timex of our own that outlives the call.
    let answer = unsafe { libc::adjtimex(&raw mut state) };
    if answer < 0 {
        return KernelClock {
            wall_us: micros(ClockId::CLOCK_REALTIME),
            answer,
            status: libc::STA_UNSYNC,
            error_us: 0,
            to_move_us: 0,
        };
    }
    let in_us = if state.status & libc::STA_NANO == 0 { 1 } else { 1000 };
    KernelClock {
        wall_us: state.time.tv_sec.saturating_mul(1_000_000).saturating_add(state.time.tv_usec / in_us),
        answer,
        status: state.status,
        error_us: u64::try_from(state.maxerror).unwrap_or(0),
        to_move_us: (state.offset / in_us).unsigned_abs(),
    }
}

/// The largest error of a wall clock that follows a source of time, microseconds; nothing if it follows none.
///
/// adjtimex's answer `TIME_ERROR` also means a lost pulse source, which is no reason to distrust the network, so the flag
/// decides; a call that failed (-1) told us nothing.
pub(crate) fn error_us(reading: &KernelClock) -> Option<u64> {
    let trusted = reading.answer >= 0 && reading.status & libc::STA_UNSYNC == 0;
    trusted.then(|| reading.error_us.saturating_add(reading.to_move_us).saturating_add(NETWORK_ERROR_US))
}

/// The moment `boottime_us` of the same boot as `known`, by the wall clock as `known` has it.
pub(crate) fn reading_at_boottime(known: &ClockReading, boottime_us: u64) -> ClockReading {
    let shift = to_signed(boottime_us).saturating_sub(to_signed(known.boottime_us));
    ClockReading {
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

    fn moment(boottime_us: u64, wall_us: i64, synchronised: bool) -> ClockReading {
        ClockReading {
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
        let pressed = reading_at_boottime(&now, 9_250_000);
        assert_eq!(pressed, moment(9_250_000, 1_699_999_999_250_000, true));
        assert_eq!(reading_at_boottime(&now, 10_000_000), now);
        // Odd clocks are carried along, never a panic.
        reading_at_boottime(&moment(0, i64::MIN, false), u64::MAX);
        reading_at_boottime(&moment(u64::MAX, i64::MIN, false), 0);
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
            let reading = KernelClock {
                wall_us: 0,
                answer,
                status,
                error_us: 500,
                to_move_us: 30_000,
            };
            // What timesyncd still has to move is not yet right, whatever it says of its error.
            let expected = trusted.then_some(NETWORK_ERROR_US + 30_500);
            assert_eq!(error_us(&reading), expected, "{answer} {status}");
        }
    }

    #[test]
    fn the_wall_clock_is_read_as_it_is() {
        let now = Clock::open().unwrap().now();
        let wall_us = micros(ClockId::CLOCK_REALTIME);
        assert!(wall_us.abs_diff(now.wall_us) < 1_000_000, "{wall_us} {now:?}");
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
        let pressed = clock.reading_at(first.boottime_us);
        let second = clock.now();
        assert!(first.boottime_us > 0);
        assert!(second.boottime_us >= first.boottime_us);
        assert_eq!(pressed.boottime_us, first.boottime_us);
        assert_eq!(first.boot, second.boot);
        let mono = monotonic_us();
        assert!(boottime_us().abs_diff(boottime_of_monotonic_us(mono)) < 1_000_000);
    }
}
