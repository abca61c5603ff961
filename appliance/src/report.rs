//! What happens, one JSON object a line on standard output, for scripts that watch a camera (`--events`).

use std::io::Write;

use serde::Serialize;
use shared::event::Reason;
use shared::{DeviceId, Hash, HashPrefix, InstallId, Sequence};

/// One happening.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Report<'a> {
    Ready {
        device: &'a DeviceId,
        install: InstallId,
        next: Sequence,
    },
    Light {
        pattern: &'a str,
    },
    /// The light was switched on so long after the press was felt, microseconds.
    Pressed {
        press: u64,
        light_after_us: u64,
    },
    Saved {
        press: Option<u64>,
        install: InstallId,
        sequence: Sequence,
        hash: Hash,
        bytes: u64,
        after_us: u64,
    },
    Tombstone {
        press: Option<u64>,
        install: InstallId,
        sequence: Sequence,
        reason: Reason,
    },
    Refused {
        press: Option<u64>,
        text: &'a str,
    },
    Stored {
        install: InstallId,
        sequence: Sequence,
        hash: HashPrefix,
        after_us: Option<u64>,
    },
    Answer {
        answer: &'a str,
        presses: &'a [u64],
    },
    Connected,
    Disconnected {
        text: &'a str,
    },
    Warning {
        text: &'a str,
    },
}

/// Writes reports, or does not.
#[derive(Debug, Clone, Copy)]
pub struct Reporter {
    pub on: bool,
}

impl Reporter {
    /// A reader that went away is no reason to stop taking pictures.
    pub fn tell(&self, report: &Report<'_>) {
        if !self.on {
            return;
        }
        let mut line = serde_json::to_vec(report).expect("a report has only plain fields");
        line.push(b'\n');
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(&line).and_then(|()| out.flush());
    }
}
