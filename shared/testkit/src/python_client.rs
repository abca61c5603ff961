//! The reference client `fixtures/camera.py`: a camera written from docs/protocol.md alone, in another language.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use keepsake_provision::servers::python::Python;

use crate::appliance::{CaptureKey, capture_keys};
use crate::program_runs::{ProgramRuns, deref_to_runs};

/// Returns a file of `fixtures/`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// A reference client, running or not.
#[derive(Debug)]
pub struct ReferenceClient {
    runs: ProgramRuns,
    python: Python,
    card: PathBuf,
    arguments: Vec<String>,
}

deref_to_runs!(ReferenceClient);

impl ReferenceClient {
    /// Returns a client called `device` with its card in `folder/device`, not started, or `None` after reporting that
    /// the test `what` is skipped. `mqtt_port`: of the broker.
    pub fn or_skip(what: &str, folder: &Path, device: &str, mqtt_port: u16) -> Option<Self> {
        Some(Self {
            runs: ProgramRuns::new(device, folder.join(format!("{device}.log"))),
            python: Python::or_skip(what)?,
            card: folder.join(device),
            arguments: vec![format!("--port={mqtt_port}"), format!("--device={device}")],
        })
    }

    /// Adds an argument in the form `--name=value`, from the next start on.
    #[must_use]
    pub fn with(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts it; it connects when it can.
    pub fn start(&mut self) {
        let mut command = self.python.script(&fixture("camera.py"));
        command.args(&self.arguments).arg("--card").arg(&self.card);
        self.runs.launch(command);
    }

    pub fn press(&mut self, photo: &Path) {
        self.write_line(&format!("press {}", photo.display()));
    }

    /// Presses without a picture.
    pub fn fail(&mut self) {
        self.write_line("fail");
    }

    fn write_line(&mut self, line: &str) {
        self.program().expect("a running camera").write_line(line);
    }

    /// Waits for `n` events of this kind from number `since` on, and returns them.
    pub fn expect_some(&self, n: usize, kind: &str, since: usize, within: Duration) -> Vec<Value> {
        self.expect(&format!("{n} times {kind}"), since, within, |events| {
            let all: Vec<Value> = events.iter().filter(|event| event["event"] == kind).cloned().collect();
            (all.len() >= n).then_some(all)
        })
    }

    /// Asks it to quit and expects a clean end.
    pub fn stop(&mut self) {
        self.runs.stop_by(Duration::from_secs(20), |program| program.write_line("quit"));
    }

    pub fn saved(&self) -> Vec<CaptureKey> {
        capture_keys(&self.events(0), "saved")
    }
}

impl Drop for ReferenceClient {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}
