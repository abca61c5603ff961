//! The event stream as JSON lines on stdout, for scripts that watch a camera (`--events`).

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use keepsake_protocol::event::TombstoneReason;
use keepsake_protocol::settings::RejectedSetting;
use keepsake_protocol::{DeviceId, Hash, HashPrefix, Sequence, SpoolId};
use serde::Serialize;

/// An event.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event<'a> {
    Ready {
        device: &'a DeviceId,
        #[serde(rename = "install")]
        spool: SpoolId,
        next: Sequence,
    },
    Light {
        pattern: &'a str,
    },
    /// The LED was switched on `light_after_us` after the press was detected.
    Pressed {
        press: u64,
        light_after_us: u64,
    },
    Saved {
        press: Option<u64>,
        #[serde(rename = "install")]
        spool: SpoolId,
        sequence: Sequence,
        hash: Hash,
        bytes: u64,
        after_us: u64,
    },
    Tombstone {
        press: Option<u64>,
        #[serde(rename = "install")]
        spool: SpoolId,
        sequence: Sequence,
        reason: TombstoneReason,
    },
    Refused {
        press: Option<u64>,
        text: &'a str,
    },
    Stored {
        #[serde(rename = "install")]
        spool: SpoolId,
        sequence: Sequence,
        hash: HashPrefix,
        after_us: Option<u64>,
    },
    Answer {
        answer: &'a str,
        presses: &'a [u64],
    },
    /// Settings from the cloud were applied.
    Settings {
        version: u64,
        rejected: &'a [RejectedSetting],
        /// Settings that are tried from the next restart.
        trying: &'a [String],
    },
    /// The button was held to request `reconnect` or `forget`.
    Held {
        wish: &'a str,
    },
    /// The program restarts because of a command, a held button, or new connection settings.
    Restarting,
    Connected,
    Disconnected {
        text: &'a str,
    },
    Warning {
        text: &'a str,
    },
}

/// Lines that wait for a slow reader; more are dropped.
const LINES_MAX: usize = 65_536;

/// Writes events if enabled. A slow or missing reader never delays the LED or the pictures.
#[derive(Debug, Clone, Default)]
pub struct EventWriter {
    lines: Option<SyncSender<Line>>,
}

#[derive(Debug)]
enum Line {
    Text(Vec<u8>),
    /// Answers when all before is written.
    Flush(SyncSender<()>),
}

impl EventWriter {
    /// Writes to standard output, on its own thread.
    pub fn to_stdout() -> std::io::Result<Self> {
        let (lines, to_write) = sync_channel(LINES_MAX);
        std::thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || write_all(&to_write))?;
        Ok(Self { lines: Some(lines) })
    }

    pub fn emit(&self, report: &Event<'_>) {
        let Some(lines) = &self.lines else { return };
        let mut line = serde_json::to_vec(report).expect("a report has only plain fields");
        line.push(b'\n');
        if lines.try_send(Line::Text(line)).is_err() {
            tracing::debug!("dropped an event: its reader is too slow");
        }
    }

    /// Waits until all events are written, but not for long.
    pub fn flush(&self) {
        let Some(lines) = &self.lines else { return };
        let (written, done) = sync_channel(1);
        if lines.try_send(Line::Flush(written)).is_ok() {
            let _ = done.recv_timeout(Duration::from_secs(1));
        }
    }
}

fn write_all(lines: &Receiver<Line>) {
    let mut out = std::io::stdout().lock();
    while let Ok(line) = lines.recv() {
        match line {
            // A reader that went away is no reason to stop taking pictures.
            Line::Text(text) => drop(out.write_all(&text).and_then(|()| out.flush())),
            Line::Flush(written) => drop(written.send(())),
        }
    }
}
