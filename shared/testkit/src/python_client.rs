//! The reference client `fixtures/camera.py`: a camera written from docs/protocol.md alone, in another language.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use keepsake_provision::process::{Events, Program, last_words};
use keepsake_provision::servers::python::Python;

use crate::appliance::{CaptureKey, capture_keys};

/// Returns a file of `fixtures/`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// A reference client, running or not.
#[derive(Debug)]
pub struct ReferenceClient {
    python: Python,
    device: String,
    card: PathBuf,
    log: PathBuf,
    arguments: Vec<String>,
    events: Arc<Events>,
    program: Option<Program>,
}

impl ReferenceClient {
    /// Returns a client called `device` with its card in `folder/device`, not started, or `None` after reporting that
    /// the test `what` is skipped. `mqtt_port`: of the broker.
    pub fn or_skip(what: &str, folder: &Path, device: &str, mqtt_port: u16) -> Option<Self> {
        Some(Self {
            python: Python::or_skip(what)?,
            device: device.to_owned(),
            card: folder.join(device),
            log: folder.join(format!("{device}.log")),
            arguments: vec![format!("--port={mqtt_port}"), format!("--device={device}")],
            events: Arc::default(),
            program: None,
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
        assert!(self.program.is_none(), "the camera is running already");
        let mut command = self.python.script(&fixture("camera.py"));
        command.args(&self.arguments).arg("--card").arg(&self.card);
        self.program = Some(Program::start(command, &self.events, &self.log));
    }

    pub fn press(&mut self, photo: &Path) {
        self.write_line(&format!("press {}", photo.display()));
    }

    /// Presses without a picture.
    pub fn fail(&mut self) {
        self.write_line("fail");
    }

    fn write_line(&mut self, line: &str) {
        self.program.as_mut().expect("a running camera").write_line(line);
    }

    /// Waits until `found` returns something for the events from number `since` on.
    pub fn expect<T>(&self, what: &str, since: usize, within: Duration, found: impl FnMut(&[Value]) -> Option<T>) -> T {
        self.events.wait(since, within, found).unwrap_or_else(|missed| {
            panic!(
                "{}: {what}: {missed:?} after at most {within:?}\n{}",
                self.device,
                last_words(&self.log, &self.events)
            )
        })
    }

    /// Waits for `n` events of this kind from number `since` on, and returns them.
    pub fn expect_some(&self, n: usize, kind: &str, since: usize, within: Duration) -> Vec<Value> {
        self.expect(&format!("{n} times {kind}"), since, within, |said| {
            let all: Vec<Value> = said.iter().filter(|event| event["event"] == kind).cloned().collect();
            (all.len() >= n).then_some(all)
        })
    }

    pub fn saved(&self) -> Vec<CaptureKey> {
        capture_keys(&self.events.since(0), "saved")
    }

    pub fn event_count(&self) -> usize {
        self.events.len()
    }

    pub fn events(&self, since: usize) -> Vec<Value> {
        self.events.since(since)
    }

    /// Sends SIGKILL.
    pub fn kill(&mut self) {
        if let Some(program) = self.program.take() {
            program.kill();
        }
    }

    /// Asks it to quit and waits.
    pub fn stop(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.write_line("quit");
            let status = program.wait(Duration::from_secs(20));
            assert!(status.success(), "a clean stop ends with 0, not {status}");
        }
    }
}
