//! A cloud with its embedded broker, on ports that it keeps over restarts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::api::Api;
use crate::appliance::{CaptureKey, on_a_small_card};
use crate::ledger::{Audit, audit};
use crate::program_runs::{ProgramRuns, deref_to_runs, log_level};
use crate::store_probe::{StoreAddress, StoreProbe};
use crate::{photos, programs};
use keepsake_provision::process::free_port;
use keepsake_provision::temp_dir;

/// The longest that a cloud may take to be ready: on a busy machine, in a debug build.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A cloud and its data directory, running or not.
#[derive(Debug)]
pub struct Cloud {
    runs: ProgramRuns,
    data: PathBuf,
    http_port: u16,
    mqtt_port: u16,
    ingest_port: Option<u16>,
    database: StoreAddress,
    /// MiB of its disk.
    disk_mib: Option<u32>,
    flags: Vec<String>,
}

deref_to_runs!(Cloud);

impl Cloud {
    /// Returns a cloud with its data in `folder/cloud`, not started.
    pub fn new(folder: &Path) -> Self {
        let data = folder.join("cloud");
        fs::create_dir_all(&data).unwrap();
        Self {
            runs: ProgramRuns::new("cloud", folder.join("cloud.log")),
            database: StoreAddress::sqlite(&data),
            disk_mib: None,
            data,
            http_port: free_port(),
            mqtt_port: free_port(),
            ingest_port: None,
            // A nearly full disk of this machine must not affect tests of other things.
            flags: vec!["--free-bytes-min=1".into(), "--free-percent-min=0".into()],
        }
    }

    /// Starts it and waits until it is ready.
    #[must_use]
    pub fn started(mut self) -> Self {
        self.start();
        self
    }

    /// Lets its own broker sessions go through this port, where a proxy listens.
    #[must_use]
    pub fn ingesting_through(mut self, port: u16) -> Self {
        self.ingest_through(port);
        self
    }

    /// Lets its own broker sessions go through this port from the next start on.
    pub fn ingest_through(&mut self, port: u16) {
        self.ingest_port = Some(port);
    }

    /// Puts its data directory on a small file system of its own, which only the program sees.
    #[must_use]
    pub fn on_a_disk_of(mut self, mib: u32) -> Self {
        self.disk_mib = Some(mib);
        self
    }

    /// Stores everything in a database server, `mysql://user:password@host:port/name`.
    #[must_use]
    pub fn storing_in(mut self, url: &str) -> Self {
        url.clone_into(&mut self.database.url);
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
        self.launch();
        let ready = self.expect("the ready line", self.run_start(), READY_WITHIN, |lines| {
            let mut ready = lines.iter().map(|line| &line["ready"]);
            ready.find(|ready| ready.is_object()).cloned()
        });
        if let Some(link) = ready["setup"].as_str() {
            let token = self.api_without_token().set_up(link);
            fs::write(self.token_file(), token).expect("save the token of the owner");
        }
    }

    /// The setting with a new API token for the camera `device`; a camera needs one over HTTP.
    pub fn camera_token(&self, device: &str) -> String {
        format!("cloud.token={}", self.api().camera_token(device))
    }

    /// The owner's token is beside the database, so that it moves with that.
    fn token_file(&self) -> PathBuf {
        self.data.join("tests.token")
    }

    /// Starts it without waiting.
    pub fn launch(&mut self) {
        let mut command = match self.disk_mib {
            None => Command::new(programs::cloud()),
            Some(mib) => {
                let mut command = on_a_small_card(mib, &self.data);
                command.arg(programs::cloud());
                command
            }
        };
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
        self.runs.launch(command);
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
        match fs::read_to_string(self.token_file()) {
            Ok(token) => self.api_without_token().with_token(&token),
            Err(_) => self.api_without_token(),
        }
    }

    /// Returns the API without a token.
    pub fn api_without_token(&self) -> Api {
        Api::new(&format!("127.0.0.1:{}", self.http_port))
    }

    /// Returns the number of pictures that were stored already when they came.
    ///
    /// # Panics
    /// The cloud does not answer with its metrics.
    pub fn repeats(&self) -> u64 {
        let (status, metrics) = self.api().get("/metrics").expect("the cloud answers");
        assert_eq!(status, 200);
        let metrics = String::from_utf8(metrics).expect("metrics are text");
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("keepsake_messages_total{outcome=\"repeat\"} "));
        line.map_or(0, |count| count.parse().expect("a count"))
    }

    pub fn store(&self) -> StoreProbe {
        StoreProbe::open(&self.database).expect("open the database of the cloud")
    }

    pub fn database(&self) -> &StoreAddress {
        &self.database
    }

    /// Stops it, copies its data directory to `backup`, and starts it again.
    pub fn back_up(&mut self, backup: &Path) {
        self.stop();
        temp_dir::copy(&self.data, backup);
        self.start();
    }

    /// Replaces the data of a cloud that is not running by a backup, and starts it.
    pub fn restore(&mut self, backup: &Path) {
        temp_dir::restore(backup, &self.data);
        self.start();
    }

    /// Audits the database against these captures and the real photographs.
    pub fn audit(&self, confirmed: &[CaptureKey]) -> Audit {
        audit(&self.store(), confirmed, &photos::all(&photos::folder()))
    }

    /// Returns the store id of its last ready line.
    pub fn store_id(&self) -> String {
        let store = |line: &Value| line["ready"]["store"].as_str().map(str::to_owned);
        self.events(0).iter().rev().find_map(store).expect("a ready line names the store")
    }
}
