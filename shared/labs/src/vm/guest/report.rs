//! The events that the guest sends, with the time of its own clock.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use fs_err::File;
use nix::time::{ClockId, clock_gettime};

use crate::vm::protocol::Event;

/// Returns CLOCK_BOOTTIME in microseconds.
pub(super) fn now_us() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has this clock");
    u64::try_from(Duration::from(now).as_micros()).unwrap_or(0)
}

/// Writes whole lines from several threads.
#[derive(Debug, Clone)]
pub(super) struct EventWriter(pub(super) Arc<Mutex<File>>);

impl EventWriter {
    pub(super) fn write(&self, event: &Event) {
        let mut line = serde_json::to_vec(event).expect("an event is JSON");
        line.push(b'\n');
        let mut port = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // On an error no one is left to read it.
        let _ = port.write_all(&line);
    }

    /// Sends an event for every line of a program, until it ends.
    pub(super) fn forward_lines(&self, from: impl Read + Send + 'static, event: fn(String) -> Event) {
        let tell = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(from).lines() {
                let Ok(line) = line else { return };
                tell.write(&event(line));
            }
        });
    }
}
