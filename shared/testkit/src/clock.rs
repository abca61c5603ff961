//! The clocks of a simulated camera, in a file that the camera reads whenever it needs the time. The test knows the
//! true time.
//!
//! Only the past is simulated: a press "an hour ago" is made by a camera that lives an hour in the past at that
//! moment. The cloud uses the clock of this machine, so it may be started once the camera has caught up.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use keepsake_protocol::BootId;

/// The file, and the time in the camera's world.
#[derive(Debug)]
pub struct SimulatedClock {
    path: PathBuf,
    boot: u8,
    /// The time by which the camera's world is behind this machine, microseconds.
    ago_us: i64,
    /// The true time when the camera was switched on, microseconds UTC.
    booted_us: i64,
    /// The camera's wall clock minus the true time, microseconds.
    off_us: i64,
    synchronised: bool,
}

/// The largest error that the camera's kernel reports, microseconds.
const ERROR_US: u64 = 40_000;

impl SimulatedClock {
    /// Returns the clocks of a camera that was switched on a minute before, lives `ago` in the past, and shows 1
    /// January 1970.
    pub fn new(folder: &Path, ago: Duration) -> Self {
        let mut clock = Self {
            path: folder.join("clock.json"),
            boot: 0,
            ago_us: micros(ago),
            booted_us: 0,
            off_us: 0,
            synchronised: false,
        };
        clock.boot();
        clock
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the true time in the camera's world, microseconds UTC.
    pub fn true_us(&self) -> i64 {
        wall_us() - self.ago_us
    }

    /// Switches the camera off and on again, a minute later. Its program has to be stopped before.
    pub fn boot(&mut self) {
        self.boot += 1;
        self.booted_us = self.true_us() - 60_000_000;
        self.off_us = -self.booted_us;
        self.synchronised = false;
        self.write();
    }

    /// Advances the time in the camera's world.
    pub fn advance(&mut self, time: Duration) {
        self.ago_us -= micros(time);
        assert!(self.ago_us >= 0, "nothing from the future");
        self.write();
    }

    /// Sets the clock to the true time plus `off` microseconds, and marks it synchronized.
    pub fn synchronize(&mut self, off_us: i64) {
        (self.off_us, self.synchronised) = (off_us, true);
        self.write();
    }

    fn write(&self) {
        let state = serde_json::json!({
            "boot": BootId([self.boot; 16]),
            "boottime_shift_us": self.true_us() - self.booted_us - boottime_us(),
            "wall_shift_us": self.off_us - self.ago_us,
            "synchronised": self.synchronised,
            "error_us": ERROR_US,
        });
        let beside = self.path.with_extension("new");
        fs::write(&beside, state.to_string()).unwrap();
        fs::rename(&beside, &self.path).unwrap();
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).expect("not that long")
}

fn wall_us() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    micros(since.expect("after 1970"))
}

fn boottime_us() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of our own that outlives the call.
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    assert_eq!(answer, 0, "read CLOCK_BOOTTIME");
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}
