//! mosquitto with its default limits, on a port that it keeps over restarts.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::installation::Installation;
use crate::host::find_program;
use crate::prefix::Source;
use crate::process::{Events, Program, eventually, free_port};
use crate::skip::not_run;

/// The variable with a mosquitto to use instead of the system's or a fetched one.
const PROGRAM_VARIABLE: &str = "KEEPSAKE_TEST_MOSQUITTO";
/// The program in a fetched package.
const PROGRAM: &str = "usr/sbin/mosquitto";
const READY_WITHIN: Duration = Duration::from_secs(20);

/// The state that survives a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// None, which is mosquitto's default.
    Off,
    /// The state of at most a second before: its sessions may hold messages that were acknowledged since.
    EverySecond,
}

/// A mosquitto and its directory, running or not.
#[derive(Debug)]
pub struct Mosquitto {
    installation: Installation,
    version: String,
    folder: PathBuf,
    port: u16,
    program: Option<Program>,
}

/// The version of mosquitto.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The system's, or the one in its distribution.
    System,
    /// The newest in Debian: 2.1 or later.
    Newest,
}

impl Mosquitto {
    /// Returns a broker with its files in `folder/mosquitto`, not started, or `None` after reporting that the test
    /// `what` is skipped.
    pub fn or_skip(what: &str, folder: &Path, persistence: Persistence) -> Option<Self> {
        Self::new(folder, persistence)
            .inspect_err(|why| {
                let how = format!("install mosquitto, or name its file in {PROGRAM_VARIABLE}");
                not_run(what, why, &how);
            })
            .ok()
    }

    /// Returns a broker with its files in `folder/mosquitto`, not started.
    ///
    /// # Errors
    /// It is not on the system and cannot be fetched.
    pub fn new(folder: &Path, persistence: Persistence) -> Result<Self> {
        let port = free_port();
        let stock = |folder: &Path| configuration(port, folder, persistence);
        Self::configured(folder, Release::System, port, stock)
    }

    /// Returns a broker with the limits of `cloud/deploy/mosquitto`, not started.
    ///
    /// # Errors
    /// It is not on the system and cannot be fetched.
    pub fn with_shipped_limits(folder: &Path) -> Result<Self> {
        let port = free_port();
        Self::configured(folder, Release::System, port, |_| {
            format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_inflight_messages 100\n\
                 max_queued_messages 1000000\nmax_queued_bytes 1073741824\nset_tcp_nodelay true\n"
            )
        })
    }

    /// Returns a broker with its own configuration, not started.
    ///
    /// `port`: one of its listeners, which shows that it is up. `configuration`: called with the directory of its
    /// files.
    ///
    /// # Errors
    /// It is not on the system and cannot be fetched.
    pub fn configured(
        folder: &Path,
        release: Release,
        port: u16,
        configuration: impl FnOnce(&Path) -> String,
    ) -> Result<Self> {
        let installation = match release {
            Release::System => Installation::find(PROGRAM_VARIABLE, Some("mosquitto"), "mosquitto", Source::System)?,
            Release::Newest => Installation::fetch("mosquitto", Source::Suite("unstable"))?,
        };
        let version = version(installation.command(PROGRAM)?)?;
        let folder = folder.join("mosquitto");
        fs::create_dir_all(&folder).expect("create a folder in that of the test");
        // Started by root it would become another user, who may not write into this directory.
        let configuration = format!("user root\n{}", configuration(&folder));
        fs::write(folder.join("mosquitto.conf"), configuration).expect("write a file in the folder of the test");
        Ok(Self { installation, version, folder, port, program: None })
    }

    /// Adds a user to the password file with mosquitto_passwd.
    pub fn add_user(&self, file: &Path, user: &str, password: &str) {
        let command = match &self.installation {
            Installation::Installed(_) => find_program("mosquitto_passwd").map(Command::new),
            Installation::Fetched(prefix) => prefix.command("usr/bin/mosquitto_passwd").ok(),
        };
        let mut command = command.expect("a mosquitto_passwd beside mosquitto");
        if !file.exists() {
            command.arg("-c");
        }
        let done = command.arg("-b").arg(file).args([user, password]).output().expect("run mosquitto_passwd");
        assert!(done.status.success(), "mosquitto_passwd: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Starts it and waits until it accepts connections.
    pub fn start(&mut self) {
        assert!(self.program.is_none(), "mosquitto runs already");
        let mut command = self.installation.command(PROGRAM).expect("the command worked before");
        command.arg("-c").arg(self.folder.join("mosquitto.conf"));
        let events: Arc<Events> = Arc::default();
        let program = Program::start(command, &events, &self.log_path());
        let program = self.program.insert(program);
        let port = self.port;
        eventually("mosquitto lets clients in", READY_WITHIN, || {
            assert!(program.is_running(), "mosquitto ended\n{}", program.last_words());
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
    }

    /// Sends SIGKILL.
    pub fn kill(&mut self) {
        if let Some(program) = self.program.take() {
            program.kill();
        }
    }

    /// Sends SIGTERM and expects a clean end.
    pub fn stop(&mut self) {
        if let Some(program) = self.program.take() {
            let status = program.stop(Duration::from_secs(20));
            assert!(status.success(), "a clean stop ends with 0, not {status}");
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.program.as_mut().is_some_and(Program::is_running)
    }

    /// Returns whether there is a saved state for the next start.
    pub fn has_saved_state(&self) -> bool {
        self.folder.join("mosquitto.db").exists()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its process id.
    ///
    /// # Panics
    /// It is not running.
    pub fn pid(&self) -> u32 {
        self.program.as_ref().expect("a running server").pid()
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Returns its own version line, for instance `mosquitto version 2.0.11`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns the log of all its runs.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("mosquitto.log")
    }
}

/// Returns `mosquitto_pub`, the system's or a fetched one.
///
/// # Errors
/// It is not on the system and cannot be fetched.
pub fn publisher() -> Result<Command> {
    match find_program("mosquitto_pub") {
        Some(installed) => Ok(Command::new(installed)),
        None => Installation::fetch("mosquitto-clients", Source::System)?.command("usr/bin/mosquitto_pub"),
    }
}

/// The defaults: 1,000 queued messages and 20 in flight, anything more is dropped silently.
fn configuration(port: u16, folder: &Path, persistence: Persistence) -> String {
    let folder = folder.display();
    let persistence = match persistence {
        Persistence::Off => "persistence false\n".to_owned(),
        // The default of half an hour between saves would leave nothing to restore.
        Persistence::EverySecond => {
            format!("persistence true\npersistence_location {folder}/\nautosave_interval 1\n")
        }
    };
    format!("listener {port} 127.0.0.1\nallow_anonymous true\n{persistence}")
}

/// Runs its help, which starts with the version, so that a broken program is found before the test starts.
fn version(mut command: Command) -> Result<String> {
    let shown = format!("run {command:?} -h");
    let done = command.arg("-h").stdin(Stdio::null()).output().context(shown.clone())?;
    // Its help exits with 3.
    let help = String::from_utf8_lossy(&done.stdout);
    match help.lines().next() {
        Some(first) if first.starts_with("mosquitto version") => Ok(first.to_owned()),
        _ => {
            let error = String::from_utf8_lossy(&done.stderr);
            bail!("{shown}: {}: no version of mosquitto {}", done.status, error.trim())
        }
    }
}
