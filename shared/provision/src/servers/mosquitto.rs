//! mosquitto, the broker most people have: with the limits it comes with, on a port it keeps over restarts.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::host::find_program;
use crate::prefix::{Prefix, Source};
use crate::process::{Events, Program, eventually, free_port};
use crate::skip::not_run;

/// Names a mosquitto to be used instead of the system's or a fetched one.
const PROGRAM_VARIABLE: &str = "KEEPSAKE_TEST_MOSQUITTO";
const READY_WITHIN: Duration = Duration::from_secs(20);

/// What of the sessions and messages outlives a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// Nothing; so it comes from its makers.
    Off,
    /// What was there at most a second before: sessions with messages that may have been acknowledged since then.
    EverySecond,
}

/// A mosquitto and its folder; it may be down at the moment.
#[derive(Debug)]
pub struct Mosquitto {
    origin: Installation,
    version: String,
    folder: PathBuf,
    port: u16,
    program: Option<Program>,
}

/// Which mosquitto.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The system's, or the one its distribution has.
    System,
    /// The newest that Debian has packaged: 2.1 or later.
    Newest,
}

#[derive(Debug)]
enum Installation {
    Installed(PathBuf),
    Fetched(Prefix),
}

impl Installation {
    fn find(release: Release) -> Result<Self> {
        if release == Release::Newest {
            let newest = Source::Suite("unstable");
            return Prefix::fetch("mosquitto", &["mosquitto"], newest).map(Self::Fetched);
        }
        if let Some(chosen) = std::env::var_os(PROGRAM_VARIABLE) {
            return Ok(Self::Installed(chosen.into()));
        }
        match find_program("mosquitto") {
            Some(installed) => Ok(Self::Installed(installed)),
            None => Prefix::fetch("mosquitto", &["mosquitto"], Source::System).map(Self::Fetched),
        }
    }

    fn command(&self) -> Result<Command> {
        match self {
            Self::Installed(path) => Ok(Command::new(path)),
            Self::Fetched(prefix) => prefix.command("usr/sbin/mosquitto"),
        }
    }

    /// The program that writes password files, which is always beside the broker.
    fn password_command(&self) -> Result<Command> {
        match self {
            Self::Installed(_) => find_program("mosquitto_passwd")
                .map(Command::new)
                .context("there is no mosquitto_passwd on this system"),
            Self::Fetched(prefix) => prefix.command("usr/bin/mosquitto_passwd"),
        }
    }
}

impl Mosquitto {
    /// A broker with its files in `folder/mosquitto`, not started yet; or `None`, after it was said that the test `what`
    /// is not run, and how it could be.
    pub fn or_skip(what: &str, folder: &Path, persistence: Persistence) -> Option<Self> {
        Self::new(folder, persistence)
            .inspect_err(|why| {
                let how = format!("install mosquitto, or name its file in {PROGRAM_VARIABLE}");
                not_run(what, why, &how);
            })
            .ok()
    }

    /// A broker with its files in `folder/mosquitto`, not started yet.
    ///
    /// # Errors
    /// It is not on the system and cannot be fetched.
    pub fn new(folder: &Path, persistence: Persistence) -> Result<Self> {
        let port = free_port();
        let stock = |folder: &Path| configuration(port, folder, persistence);
        Self::configured(folder, Release::System, port, stock)
    }

    /// A broker with a configuration of the caller's own, not started yet, that lets in only whom it knows.
    ///
    /// `port`: one that it listens on, by which it is seen to be there. `configuration`: made for the folder of its files.
    ///
    /// # Errors
    /// It is not on the system and cannot be fetched.
    pub fn configured(
        folder: &Path,
        release: Release,
        port: u16,
        configuration: impl FnOnce(&Path) -> String,
    ) -> Result<Self> {
        let origin = Installation::find(release)?;
        let version = version(origin.command()?)?;
        let folder = folder.join("mosquitto");
        fs::create_dir_all(&folder).expect("create a folder in that of the test");
        // Started by root it would become another user, who may not write into this folder.
        let configuration = format!("user root\n{}", configuration(&folder));
        fs::write(folder.join("mosquitto.conf"), configuration)
            .expect("write a file in the folder of the test");
        Ok(Self {
            origin,
            version,
            folder,
            port,
            program: None,
        })
    }

    /// Adds a name and its password to the file, with the program that its users have for it.
    pub fn add_user(&self, file: &Path, user: &str, password: &str) {
        let mut command = self
            .origin
            .password_command()
            .expect("a mosquitto_passwd beside mosquitto");
        if !file.exists() {
            command.arg("-c");
        }
        let done = command
            .arg("-b")
            .arg(file)
            .args([user, password])
            .output()
            .expect("run mosquitto_passwd");
        assert!(
            done.status.success(),
            "mosquitto_passwd: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    }

    /// Starts it and waits until it lets clients in.
    pub fn start(&mut self) {
        assert!(self.program.is_none(), "mosquitto runs already");
        let mut command = self
            .origin
            .command()
            .expect("the command it has had before");
        command.arg("-c").arg(self.folder.join("mosquitto.conf"));
        let events: Arc<Events> = Arc::default();
        let program = Program::start(command, &events, &self.log_path());
        let program = self.program.insert(program);
        let port = self.port;
        eventually("mosquitto lets clients in", READY_WITHIN, || {
            assert!(
                program.is_running(),
                "mosquitto ended\n{}",
                program.last_words()
            );
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(program) = self.program.take() {
            program.kill();
        }
    }

    /// SIGTERM, and a clean end.
    pub fn stop(&mut self) {
        if let Some(program) = self.program.take() {
            let status = program.stop(Duration::from_secs(20));
            assert!(status.success(), "a clean stop ends with 0, not {status}");
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.program.as_mut().is_some_and(Program::is_running)
    }

    /// Whether there is a state that the next start would begin from.
    pub fn has_saved_state(&self) -> bool {
        self.folder.join("mosquitto.db").exists()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// As it says it itself, for instance `mosquitto version 2.0.11`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What it has logged so far, over all runs.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("mosquitto.log")
    }
}

/// `mosquitto_pub`, with which people try out a broker: the system's, or a fetched one.
///
/// # Errors
/// A sentence: why none can be had.
pub fn publisher() -> Result<Command> {
    match find_program("mosquitto_pub") {
        Some(installed) => Ok(Command::new(installed)),
        None => Prefix::fetch("mosquitto-clients", &["mosquitto-clients"], Source::System)?
            .command("usr/bin/mosquitto_pub"),
    }
}

/// Stock: 1,000 messages in a queue and 20 in flight, and whatever is more is dropped without a word.
fn configuration(port: u16, folder: &Path, persistence: Persistence) -> String {
    let folder = folder.display();
    let persistence = match persistence {
        Persistence::Off => "persistence false\n".to_owned(),
        // Its own half an hour between two saves would leave a test nothing to come back from.
        Persistence::EverySecond => {
            format!("persistence true\npersistence_location {folder}/\nautosave_interval 1\n")
        }
    };
    format!("listener {port} 127.0.0.1\nallow_anonymous true\n{persistence}")
}

/// Asks it for its help, which begins with the version: whether it can be run is known before a test begins.
fn version(mut command: Command) -> Result<String> {
    let shown = format!("run {command:?} -h");
    let done = command
        .arg("-h")
        .stdin(Stdio::null())
        .output()
        .context(shown.clone())?;
    // The exit code of its help says nothing: it is 3.
    let said = String::from_utf8_lossy(&done.stdout);
    match said.lines().next() {
        Some(first) if first.starts_with("mosquitto version") => Ok(first.to_owned()),
        _ => {
            let error = String::from_utf8_lossy(&done.stderr);
            bail!(
                "{shown}: {}: no version of mosquitto {}",
                done.status,
                error.trim()
            )
        }
    }
}
