//! A simulated camera: the real program with a line on standard input as its button, and the events it prints.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use keepsake_protocol::{HashPrefix, SpoolId};
use serde_json::{Value, json};

use crate::program_runs::{ProgramRuns, deref_to_runs, log_level};
use crate::{photos, programs};
use keepsake_provision::process::Program;

/// The longest that a camera may take to be ready, with thousands of captures waiting, in a debug build.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// The identity of a capture in events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CaptureKey {
    pub spool: SpoolId,
    pub sequence: u64,
    pub hash: HashPrefix,
}

impl CaptureKey {
    fn of(event: &Value) -> Self {
        let text = |field: &str| event[field].as_str().unwrap_or_else(|| panic!("{field} in {event}"));
        Self {
            spool: text("install").parse().expect("a spool id"),
            sequence: event["sequence"].as_u64().expect("a sequence"),
            // A `saved` event has the full hash, a `stored` event its beginning.
            hash: text("hash").get(..16).and_then(|start| start.parse().ok()).expect("a hash"),
        }
    }
}

/// A camera and its spool, running or not.
#[derive(Debug)]
pub struct Appliance {
    runs: ProgramRuns,
    spool: PathBuf,
    photos: PathBuf,
    cloud: String,
    /// Its camera.toml; without one all settings are on the command line.
    config: Option<PathBuf>,
    settings: Vec<String>,
    /// The size of the small file system its spool is on, MiB.
    card_mib: Option<u32>,
    /// The file with the time of its clocks, instead of this machine's.
    clock: Option<PathBuf>,
}

deref_to_runs!(Appliance);

impl Appliance {
    /// Returns a camera called `device` with its spool in `folder/device`, not started. `cloud`: `mqtt://host:port`.
    pub fn new(folder: &Path, device: &str, cloud: &str) -> Self {
        fs::create_dir_all(folder).unwrap();
        Self {
            runs: ProgramRuns::new(device, folder.join(format!("{device}.log"))),
            spool: folder.join(device),
            photos: photos::folder(),
            cloud: cloud.to_owned(),
            config: None,
            settings: [
                // Tests press faster than fingers do, and wait less than people do.
                "button.repeat_ms_min=0",
                "backoff.reconnect_max_s=2",
            ]
            .map(str::to_owned)
            .into(),
            card_mib: None,
            clock: None,
        }
    }

    /// Starts it and waits until it is ready for a press.
    #[must_use]
    pub fn started(mut self) -> Self {
        self.start();
        self
    }

    /// Starts it and waits until the broker has accepted it.
    #[must_use]
    pub fn connected(mut self, within: Duration) -> Self {
        self.start();
        self.wait_until_connected(within);
        self
    }

    #[must_use]
    pub fn set(mut self, setting: &str) -> Self {
        self.change(setting);
        self
    }

    /// Changes a setting from the next start on.
    pub fn change(&mut self, setting: &str) {
        self.settings.push(setting.to_owned());
    }

    #[must_use]
    pub fn photographing(mut self, photos: &Path) -> Self {
        photos.clone_into(&mut self.photos);
        self
    }

    /// Puts the address of its cloud into a camera.toml, where the cloud can change it: settings on the command line
    /// override the cloud's.
    #[must_use]
    pub fn with_a_file(mut self) -> Self {
        let file = self.log_path().with_extension("toml");
        fs::write(&file, format!("[cloud]\nurl = \"{}\"\n", self.cloud)).unwrap();
        self.config = Some(file);
        self
    }

    /// Puts its spool on a card of `mib` MiB, which vanishes when the program ends. See [`can_mount_small_cards`].
    #[must_use]
    pub fn on_a_card_of(mut self, mib: u32) -> Self {
        self.card_mib = Some(mib);
        self
    }

    /// Gives it clocks of its own.
    #[must_use]
    pub fn by_the_clock(mut self, clock: &crate::clock::SimulatedClock) -> Self {
        self.clock = Some(clock.path().to_owned());
        self
    }

    /// Starts it and waits until it is ready for a press.
    pub fn start(&mut self) {
        self.launch();
        self.expect_event(self.run_start(), READY_WITHIN, &json!({"event": "ready"}));
    }

    /// Waits until the broker has accepted it in this run.
    pub fn wait_until_connected(&self, within: Duration) {
        self.expect_event(self.run_start(), within, &json!({"event": "connected"}));
    }

    /// Starts it without waiting.
    pub fn launch(&mut self) {
        let command = self.command();
        self.runs.launch(command);
    }

    fn command(&self) -> Command {
        fs::create_dir_all(&self.spool).unwrap();
        let mut command = match self.card_mib {
            None => Command::new(programs::appliance()),
            Some(mib) => {
                let mut command = on_a_small_card(mib, &self.spool);
                command.arg(programs::appliance());
                command
            }
        };
        command
            .args(["run", "--simulated", "--events"])
            .arg("--spool")
            .arg(&self.spool)
            .args(["--device", self.name()])
            .arg("--photos")
            .arg(&self.photos);
        match &self.config {
            Some(file) => command.arg("--config").arg(file),
            None => command.args(["--cloud", &self.cloud]),
        };
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command
            .current_dir(self.spool.parent().expect("a spool is in a folder"))
            .env("RUST_LOG", log_level());
        if let Some(clock) = &self.clock {
            command.env("KEEPSAKE_SIMULATED_CLOCK", clock);
        }
        command
    }

    /// Runs a shell script where its small card is mounted, with `$appliance` and `$spool`, and returns its output.
    ///
    /// # Panics
    /// It has no small card, or the script cannot be run.
    pub fn run_script_on_its_card(&self, script: &str) -> String {
        let mib = self.card_mib.expect("a camera with a small card");
        fs::create_dir_all(&self.spool).unwrap();
        let done = on_a_small_card(mib, &self.spool)
            .args(["sh", "-c", script])
            .env("appliance", programs::appliance())
            .env("spool", &self.spool)
            .output()
            .unwrap();
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Runs `appliance` with other arguments to completion: `spool list` and the like.
    pub fn run_tool(arguments: &[&str]) -> Output {
        Command::new(programs::appliance())
            .args(arguments)
            .stdin(std::process::Stdio::null())
            .output()
            .expect("run appliance")
    }

    /// Starts a second process with the same spool, which is a user's mistake.
    pub fn start_a_second(&self, within: Duration) -> (std::process::ExitStatus, String) {
        let log = self.log_path().with_extension("second.log");
        let mut second = Program::start(self.command(), &Arc::default(), &log);
        let status = second.wait(within);
        (status, fs::read_to_string(&log).unwrap_or_default())
    }

    pub fn press(&mut self) {
        if let Some(program) = self.program() {
            program.write_line("");
        }
    }

    /// Presses `n` times, waits until every capture is saved, and returns them.
    pub fn press_and_save(&mut self, n: usize, within: Duration) -> Vec<CaptureKey> {
        let since = self.event_count();
        for _ in 0..n {
            self.press();
        }
        self.expect("every press saved", since, within, |events| {
            let saved = capture_keys(events, "saved");
            (saved.len() >= n).then_some(saved)
        })
    }

    /// Presses `n` times, waits until every capture is stored, and returns them.
    pub fn press_and_store(&mut self, n: usize, within: Duration) -> Vec<CaptureKey> {
        let saved = self.press_and_save(n, within);
        self.expect_stored(&saved, within);
        saved
    }

    /// Waits until the cloud's receipts for all of these have come, in whichever run.
    pub fn expect_stored(&self, all: &[CaptureKey], within: Duration) {
        self.expect("a receipt for every capture", 0, within, |events| {
            let stored: HashSet<CaptureKey> = capture_keys(events, "stored").into_iter().collect();
            all.iter().all(|one| stored.contains(one)).then_some(())
        });
    }

    /// Returns the captures that were saved in all runs.
    pub fn saved(&self) -> Vec<CaptureKey> {
        capture_keys(&self.events(0), "saved")
    }

    /// Returns the spool id and the next number that the last start announced.
    pub fn ready(&self) -> (SpoolId, u64) {
        let events = self.run_events();
        let ready = events.iter().find(|event| event["event"] == "ready").expect("a camera that was ready");
        let spool = ready["install"].as_str().expect("a spool");
        (spool.parse().expect("a spool id"), ready["next"].as_u64().expect("a next number"))
    }

    /// Returns the warnings of the current run.
    pub fn warnings(&self) -> Vec<String> {
        let events = self.run_events();
        let warnings = events.iter().filter(|event| event["event"] == "warning");
        warnings.map(|event| event["text"].as_str().unwrap_or_default().to_owned()).collect()
    }

    pub fn spool(&self) -> &Path {
        &self.spool
    }
}

/// Returns the captures in events of this kind, in their order.
pub fn capture_keys(events: &[Value], kind: &str) -> Vec<CaptureKey> {
    events.iter().filter(|event| event["event"] == kind).map(CaptureKey::of).collect()
}

/// Checks whether this machine allows mounting a file system that only our own process sees.
///
/// # Errors
/// The message of `unshare` or `mount`.
pub fn can_mount_small_cards(folder: &Path) -> Result<(), String> {
    let tried = on_a_small_card(1, folder).arg("true").output();
    match tried {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()),
        Err(error) => Err(format!("run unshare: {error}")),
    }
}

/// Returns a command whose arguments run in a mount namespace of their own, where `folder` is a small file system.
/// Users other than root get a user namespace for that.
pub(crate) fn on_a_small_card(mib: u32, folder: &Path) -> Command {
    // SAFETY: geteuid(2) takes nothing and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    let mut command = Command::new("unshare");
    command
        .arg(if root { "-m" } else { "-Urm" })
        .args(["--", "sh", "-c"])
        .arg(r#"mount -t tmpfs -o size="$1"m keepsake "$2" && shift 2 && exec "$@""#)
        .args(["sh", &mib.to_string()])
        .arg(folder);
    command
}
