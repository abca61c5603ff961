//! Measures the upload rate. Pure: acknowledged bytes and the time go in, bytes per second come out.

use std::time::Duration;

/// The rate is measured over at least this much time without a pause.
const MEASURED_OVER: Duration = Duration::from_millis(200);

/// A moving mean over the time in which something was under way.
#[derive(Debug, Default)]
pub(crate) struct UploadRate {
    bytes_per_s: Option<u64>,
    /// When the link was last idle or last measured, and the bytes acknowledged since.
    since: Duration,
    bytes: u64,
}

impl UploadRate {
    /// Returns the rate once it was measured, bytes per second.
    pub(crate) fn bytes_per_s(&self) -> Option<u64> {
        self.bytes_per_s
    }

    /// Begins a measurement: something is sent over an idle link.
    pub(crate) fn begin(&mut self, now: Duration) {
        (self.since, self.bytes) = (now, 0);
    }

    /// Records acknowledged bytes. `idle`: nothing else is under way. A burst too short to time says nothing.
    pub(crate) fn measure(&mut self, bytes: u64, idle: bool, now: Duration) {
        self.bytes += bytes;
        let took = now.saturating_sub(self.since);
        if took < MEASURED_OVER && !(idle && took >= Duration::from_millis(1)) {
            return;
        }
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let measured = self.bytes.saturating_mul(1_000_000) / took_us;
        let mean = self.bytes_per_s.map_or(measured, |before| (before * 3 + measured) / 4);
        self.bytes_per_s = Some(mean.max(1));
        self.begin(now);
    }

    /// Halves the rate: not one part got through.
    pub(crate) fn halve(&mut self) {
        self.bytes_per_s = self.bytes_per_s.map(|rate| rate / 2);
    }
}
