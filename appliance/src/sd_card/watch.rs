//! Keeps `CAMERA-STATUS.txt` up to date while the camera runs.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::paths::Paths;
use super::prepare::Prepared;
use super::report;
use super::status::{Start, Starts};
use crate::durable_file;
use crate::settings::{self, read_system_settings};

/// Interval between updates.
const UPDATE_EVERY: Duration = Duration::from_secs(5);
/// Interval between writes to the FAT partition, and their most per start: it is the part of the card
/// that a power cut can damage.
const WRITE_EVERY: Duration = Duration::from_secs(60);
const WRITES_MAX: u32 = 20;
const STATUS_FILE: &str = "CAMERA-STATUS.txt";
const STARTS_FILE: &str = "starts.json";
/// Larger than any valid file.
const STARTS_BYTES_MAX: u64 = 1024 * 1024;

/// Remembers the Wi-Fi that works and keeps `CAMERA-STATUS.txt` up to date, for ever. Fails if `prepare` has not run.
pub(crate) fn watch() -> Result<()> {
    let mut watch = Watch::begin(Paths::default())?;
    loop {
        watch.update();
        std::thread::sleep(UPDATE_EVERY);
    }
}

/// The state of [`watch`] between updates.
pub struct Watch {
    paths: Paths,
    prepared: Prepared,
    boot: String,
    starts: Starts,
    secrets: Vec<String>,
    written: Option<Instant>,
    writes: u32,
}

impl Watch {
    /// Fails if `prepare` has not run.
    pub fn begin(paths: Paths) -> Result<Self> {
        let note = fs::read(paths.run.join("prepared.json")).context("read what was prepared")?;
        let prepared: Prepared = serde_json::from_slice(&note).context("understand what was prepared")?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let starts = durable_file::read_json(&paths.data.join(STARTS_FILE), STARTS_BYTES_MAX).unwrap_or_default();
        let secrets = secrets_of(&paths, &prepared);
        Ok(Self {
            boot: boot.trim().to_owned(),
            paths,
            prepared,
            starts,
            secrets,
            written: None,
            writes: 0,
        })
    }

    /// Updates the status file if it changed. Write errors are only logged.
    pub fn update(&mut self) {
        let is_news = self.starts.record(Start {
            boot: self.boot.clone(),
            at: known_time(),
            sentences: report::current_sentences(&self.prepared, &self.paths),
        });
        let may = self.written.is_none_or(|at| at.elapsed() >= WRITE_EVERY) && self.writes < WRITES_MAX;
        let secrets: Vec<&str> = self.secrets.iter().map(String::as_str).collect();
        let text = self.starts.text(&secrets);
        let shown = fs::read(self.paths.boot.join(STATUS_FILE)).unwrap_or_default();
        if !may || !(is_news || shown != text.as_bytes()) {
            return;
        }
        if let Err(error) = durable_file::write_json_privately(&self.paths.data.join(STARTS_FILE), &self.starts) {
            tracing::warn!(%error, "save the list of starts");
        }
        if let Err(error) = write_status(&self.paths.boot, &text) {
            tracing::warn!("{error:#}");
        }
        self.written = Some(Instant::now());
        self.writes += 1;
    }
}

/// Returns the secrets that must never appear in a file that anyone with the card can read.
fn secrets_of(paths: &Paths, prepared: &Prepared) -> Vec<String> {
    let mut secrets: Vec<String> = Vec::new();
    for file in [paths.etc.join("keepsake/camera.toml"), paths.last_good()] {
        let Ok(bytes) = settings::read_bounded(&file) else {
            continue;
        };
        let networks = read_system_settings(&bytes).networks;
        secrets.extend(networks.into_iter().map(|network| network.password));
        let cloud = settings::load(Some(&file), &[], false).config.cloud;
        secrets.extend([cloud.password, cloud.token]);
    }
    // Also the remembered networks, which are in no visible file.
    let kept = prepared.networks.iter();
    secrets.extend(kept.map(|(_, password)| password.clone()));
    secrets
}

/// Overwrites the existing file in place: nothing else on the partition moves, so a power cut now harms at most this
/// file.
fn write_status(boot: &Path, text: &str) -> Result<()> {
    remount(boot, "rw")?;
    let written = (|| {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(boot.join(STATUS_FILE))?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(text.as_bytes())?;
        file.set_len(text.len() as u64)?;
        file.sync_all()
    })();
    remount(boot, "ro")?;
    written.with_context(|| format!("write {STATUS_FILE}"))
}

fn remount(boot: &Path, how: &str) -> Result<()> {
    // A plain directory needs no mount; the partition is writable only while it is written.
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let is_mounted = |line: &str| line.split(' ').nth(1).is_some_and(|at| Path::new(at) == boot);
    if !mounts.lines().any(is_mounted) {
        return Ok(());
    }
    let status = Command::new("mount")
        .args(["-o", &format!("remount,{how}")])
        .arg(boot)
        .status()
        .context("run mount")?;
    ensure!(status.success(), "{} cannot be opened for {how}", boot.display());
    Ok(())
}

/// Returns the time of this start, once it is known.
fn known_time() -> String {
    if !Path::new("/run/systemd/timesync/synchronized").exists() {
        return String::new();
    }
    let up_s = fs::read_to_string("/proc/uptime")
        .ok()
        .and_then(|text| text.split('.').next()?.parse::<i64>().ok())
        .unwrap_or(0);
    let began = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(up_s);
    // Without seconds, so that every update gives the same text.
    began.strftime("%Y-%m-%d %H:%M").to_string()
}
