//! A cloud with its embedded broker, on ports that it keeps over restarts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::api::Api;
use crate::programs;
use crate::store_probe::{Location, StoreProbe};
use keepsake_provision::process::{Events, Program, WaitError, free_port, last_words};

/// The longest that a cloud may take to be ready: on a busy machine, in a debug build.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A cloud and its data directory, running or not.
#[derive(Debug)]
pub struct Cloud {
    data: PathBuf,
    log: PathBuf,
    http_port: u16,
    mqtt_port: u16,
    ingest_port: Option<u16>,
    database: Location,
    flags: Vec<String>,
    events: Arc<Events>,
    program: Option<Program>,
}

impl Cloud {
    /// Returns a cloud with its data in `folder/cloud`, not started.
    pub fn new(folder: &Path) -> Self {
        let data = folder.join("cloud");
        fs::create_dir_all(&data).unwrap();
        Self {
            database: Location::in_folder(&data),
            data,
            log: folder.join("cloud.log"),
            http_port: free_port(),
            mqtt_port: free_port(),
            ingest_port: None,
            // How full the disk of this machine is must not affect tests of other things.
            flags: vec!["--free-bytes-min=1".into(), "--free-percent-min=0".into()],
            events: Arc::default(),
            program: None,
        }
    }

    /// Returns a cloud with its data in `folder/cloud` that is ready.
    pub fn started(folder: &Path) -> Self {
        let mut cloud = Self::new(folder);
        cloud.start();
        cloud
    }

    /// Lets its own broker sessions go through this port, where a proxy listens.
    #[must_use]
    pub fn ingesting_through(mut self, port: u16) -> Self {
        self.ingest_through(port);
        self
    }

    /// As [`Cloud::ingesting_through`], from the next start on.
    pub fn ingest_through(&mut self, port: u16) {
        self.ingest_port = Some(port);
    }

    /// Stores everything in a database server, `mysql://user:password@host:port/name`.
    #[must_use]
    pub fn storing_in(mut self, url: &str) -> Self {
        self.database = Location::at(url);
        self.flag(&format!("--database={url}"))
    }

    /// Sets a flag in the form `--name=value`, instead of one with the same name.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        let name = flag.split_once('=').map_or(flag, |(name, _)| name);
        self.flags
            .retain(|other| other.split_once('=').map_or(other.as_str(), |(name, _)| name) != name);
        self.flags.push(flag.to_owned());
        self
    }

    /// Starts it and waits until it is ready.
    pub fn start(&mut self) {
        if let Err(missed) = self.try_start() {
            panic!("the cloud was not ready ({missed:?})\n{}", last_words(&self.log, &self.events));
        }
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// [`WaitError`] when it ended, or was not ready in time.
    pub fn try_start(&mut self) -> Result<(), WaitError> {
        let since = self.launch();
        let ready = self.events.wait(since, READY_WITHIN, |said| {
            let mut ready = said.iter().map(|line| &line["ready"]);
            ready.find(|ready| ready.is_object()).cloned()
        })?;
        if let Some(link) = ready["setup"].as_str() {
            let key = self.api_without_token().set_up(link);
            fs::write(self.key_file(), key).expect("save the token of the owner");
        }
        Ok(())
    }

    /// The setting with a new API token for the camera `device`; a camera needs one over HTTP.
    pub fn camera_token(&self, device: &str) -> String {
        format!("cloud.token={}", self.api().camera_key(device))
    }

    /// The owner's token is beside the database, so that it moves with that.
    fn key_file(&self) -> PathBuf {
        self.data.join("tests.key")
    }

    fn launch(&mut self) -> usize {
        assert!(self.program.is_none(), "the cloud is running already");
        let mut command = Command::new(programs::cloud());
        command
            .arg("--data")
            .arg(&self.data)
            .args(["--listen", &format!("127.0.0.1:{}", self.http_port)])
            .args(["--mqtt-listen", &format!("127.0.0.1:{}", self.mqtt_port)])
            .args(&self.flags);
        if let Some(port) = self.ingest_port {
            command.args(["--mqtt-broker-url", &format!("mqtt://127.0.0.1:{port}")]);
        }
        command.env("RUST_LOG", log_level());
        let since = self.events.len();
        self.program = Some(Program::start(command, &self.events, &self.log));
        since
    }

    /// Starts it without waiting.
    pub fn launch_only(&mut self) {
        self.launch();
    }

    pub fn is_running(&mut self) -> bool {
        self.program.as_mut().is_some_and(Program::is_running)
    }

    /// Sends SIGKILL, which ends its broker as well.
    pub fn kill(&mut self) {
        if let Some(program) = self.program.take() {
            program.kill();
        }
    }

    /// Sends SIGTERM and expects a clean end.
    pub fn stop(&mut self) {
        if let Some(program) = self.program.take() {
            let status = program.stop(Duration::from_secs(30));
            assert!(status.success(), "a clean stop ends with 0, not {status}");
        }
    }

    pub fn pid(&self) -> u32 {
        self.program.as_ref().expect("a running cloud").pid()
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn http_port(&self) -> u16 {
        self.http_port
    }

    pub fn mqtt_port(&self) -> u16 {
        self.mqtt_port
    }

    pub fn mqtt_url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.mqtt_port)
    }

    pub fn http_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    /// Returns the API with the owner's token, once the cloud was ready.
    pub fn api(&self) -> Api {
        match fs::read_to_string(self.key_file()) {
            Ok(key) => self.api_without_token().with_key(&key),
            Err(_) => self.api_without_token(),
        }
    }

    /// Returns the API without a token.
    pub fn api_without_token(&self) -> Api {
        Api::new(&format!("127.0.0.1:{}", self.http_port))
    }

    pub fn store(&self) -> StoreProbe {
        StoreProbe::open(&self.database).expect("open the database of the cloud")
    }

    pub fn database(&self) -> &Location {
        &self.database
    }

    /// Returns the log of all its runs.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Returns the store id of its last ready line.
    pub fn store_id(&self) -> String {
        let ready = |line: &Value| line["ready"]["store"].as_str().map(str::to_owned);
        let said = self.events.since(0);
        said.iter().rev().find_map(ready).expect("a ready line names the store")
    }
}

/// Returns the log level of the programs: `KEEPSAKE_TEST_LOG`, or the level that a failed test needs.
pub(crate) fn log_level() -> String {
    std::env::var("KEEPSAKE_TEST_LOG").unwrap_or_else(|_| "info".to_owned())
}
