//! `appliance sd-card`: prepares and watches the card. The SD card image starts it as root.
//!
//! [`prepare`] runs before the network: it extends the data partition to the end of the card, finds the settings on the `KEEPSAKE`
//! partition, and applies them to the system and the camera. [`watch`] runs next to the camera: it remembers the Wi-Fi that
//! works and writes `CAMERA-STATUS.txt`. No settings file prevents the camera from starting: invalid settings are
//! reported, and the last good settings are used instead.
//!
//! The decisions are in `find_settings_file`, `wifi`, `status` and [`crate::settings::load()`], which are pure; this module carries them out.

mod find_settings_file;
mod grow;
mod status;
mod wifi;

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::net;
use crate::settings::{self, Level, Network, Origin, SystemSettings, read_system_settings};
use find_settings_file::Candidate;
use status::{Start, Starts};

/// Interval between updates.
const UPDATE_EVERY: Duration = Duration::from_secs(5);
/// Interval between writes to the FAT partition, and their most per start: it is the part of the card
/// that a power cut can damage.
const WRITE_EVERY: Duration = Duration::from_secs(60);
const WRITES_MAX: u32 = 20;
/// Bytes of log saved per start, and the number of starts.
const LOG_BYTES: usize = 128 << 10;
const LOGS: usize = 5;
/// Most mistakes in the settings that are listed.
const MISTAKES_MAX: usize = 6;
const LAST_GOOD_USED: &str = "Until this is corrected, the last good settings are used (fault 1).";
const STATUS_FILE: &str = "CAMERA-STATUS.txt";

/// The paths on a card; tests use their own.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The partition that is visible on any computer.
    pub boot: PathBuf,
    /// A directory that persists.
    pub data: PathBuf,
    /// `/etc`, which is reset at every start.
    pub etc: PathBuf,
    /// `/run`, which is reset too.
    pub run: PathBuf,
    /// The home directory for the SSH key.
    pub root_home: PathBuf,
    /// The settings file of the image, to recognize an unchanged copy.
    pub shipped: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            boot: "/boot/keepsake".into(),
            data: "/data/card".into(),
            etc: "/etc".into(),
            run: "/run/keepsake-card".into(),
            root_home: "/root".into(),
            shipped: "/usr/share/keepsake/camera.toml".into(),
        }
    }
}

/// The results of [`prepare`] for [`watch`].
///
/// It contains passwords: there is no `Debug`, and only root can read its file.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    pub sentences: Vec<String>,
    /// Name and password of the Wi-Fi networks, in the order in which wpa_supplicant numbers them.
    networks: Vec<(String, String)>,
    cloud_is_unset: bool,
    device: String,
}

/// Prepares the system: settings, Wi-Fi, host name, time zone, SSH.
///
/// # Errors
/// None that a setting or a missing partition could cause: only what makes the system itself unusable, such as an `/etc`
/// that cannot be written.
pub fn prepare(places: &Paths) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    if let Err(error) = fs::create_dir_all(&places.data) {
        prepared.sentences.push(format!(
            "The part of the card that stores pictures cannot be used ({error}). Nothing can be saved. What to do: try another card."
        ));
    }
    let found = find_settings(places);
    prepared.sentences.extend(found.sentences);
    let kept = read_networks(&places.data.join("wifi-that-worked.json"));
    let networks = wifi::prioritized(&found.card.networks, &[kept, found.kept].concat());
    prepared.networks = networks
        .iter()
        .map(|(network, _)| (network.name.clone(), network.password.clone()))
        .collect();
    let camera = settings::load(found.effective_file.as_deref(), &[], false).config;
    prepared.cloud_is_unset = camera.cloud.url == settings::CloudUrl::default();
    prepared.device = camera.device.map(|name| name.to_string()).unwrap_or_default();

    let etc = |name: &str| places.etc.join(name);
    if !prepared.networks.is_empty() {
        let text = wifi::configuration(&networks, found.card.country.as_deref());
        write_privately(&etc("wpa_supplicant/wpa_supplicant-wlan0.conf"), text.as_bytes())?;
        for (network, _) in networks.iter().filter(|(network, _)| network.password.is_empty()) {
            prepared.sentences.push(format!(
                "The password of Wi-Fi \"{}\" is empty, so it can only be joined if it is open. If it has a password, write it between the quotes of password = \"\".",
                network.name
            ));
        }
        if found.card.country.is_none() {
            prepared.sentences.push(
                "No country is set for the Wi-Fi, so only channels that are allowed everywhere are used. What to do: write your country's two letters below [[wifi]], such as country = \"NO\"."
                    .to_owned(),
            );
        }
    }
    if let Some(server) = &found.card.time_server {
        let text = format!("[Time]\nNTP={server}\n");
        write_privately(&etc("systemd/timesyncd.conf.d/card.conf"), text.as_bytes())?;
        make_world_readable(&etc("systemd/timesyncd.conf.d/card.conf"))?;
    }
    if let Some(zone) = &found.card.timezone {
        let zone = Path::new("/usr/share/zoneinfo").join(zone);
        if zone.is_file() {
            let link = etc("localtime");
            let _ = fs::remove_file(&link);
            symlink(&zone, &link).context("set the time zone")?;
        } else {
            prepared
                .sentences
                .push("system.timezone is not a known time zone, such as \"Europe/Oslo\". UTC is used.".to_owned());
        }
    }
    if let Some(name) = &found.card.hostname {
        fs::write(etc("hostname"), format!("{name}\n")).context("write the host name")?;
    }
    if let Some(key) = &found.card.ssh_key {
        let file = places.root_home.join(".ssh/authorized_keys");
        write_privately(&file, format!("{key}\n").as_bytes())?;
        fs::set_permissions(places.root_home.join(".ssh"), fs::Permissions::from_mode(0o700))?;
        prepared
            .sentences
            .push("SSH is enabled for the key in camera.toml.".to_owned());
    }
    let text = serde_json::to_vec(&prepared).context("note what was prepared")?;
    write_privately(&places.run.join("prepared.json"), &text)?;
    Ok(prepared)
}

/// [`prepare`] on the card itself, with what only a whole system has: growth, a host name, an owner of the settings.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_card() -> Result<()> {
    let places = Paths::default();
    let grown = grow::fill_card("/data");
    let mut prepared = prepare(&places)?;
    match grown {
        Ok(Some(bytes)) => prepared.sentences.push(format!(
            "The space for pictures was extended to the whole card: {} MB.",
            bytes / 1_000_000
        )),
        Ok(None) => {}
        Err(error) => prepared.sentences.push(format!(
            "The space for pictures could not be extended to the whole card: {error:#}."
        )),
    }
    let text = serde_json::to_vec(&prepared).context("note what was prepared")?;
    write_privately(&places.run.join("prepared.json"), &text)?;
    if let Ok(name) = fs::read_to_string(places.etc.join("hostname")) {
        nix::unistd::sethostname(name.trim()).context("set the host name")?;
    }
    let settings = places.etc.join("keepsake/camera.toml");
    let group = nix::unistd::Group::from_name("keepsake").ok().flatten();
    if let Some(group) = group {
        nix::unistd::chown(&settings, None, Some(group.gid)).context("give the settings to the camera")?;
        fs::set_permissions(&settings, fs::Permissions::from_mode(0o640))?;
    }
    for sentence in &prepared.sentences {
        tracing::info!("{sentence}");
    }
    Ok(())
}

struct FoundSettings {
    /// The file whose settings apply; `None`: the defaults.
    effective_file: Option<PathBuf>,
    card: SystemSettings,
    /// The networks of the last good file, if the current one is invalid or missing.
    kept: Vec<Network>,
    sentences: Vec<String>,
}

/// Finds the settings on the partition, and puts them where the camera reads them.
///
/// Without settings, the camera finds none either, shows fault 1, and uses its own last good settings.
fn find_settings(places: &Paths) -> FoundSettings {
    let mut sentences = Vec::new();
    let last_good = places.data.join("camera.last-good.toml");
    let for_the_camera = places.etc.join("keepsake/camera.toml");
    let (chosen, about) = find_settings_file::select(candidates(places)).unzip();
    sentences.extend(about.flatten());
    let name = chosen.map_or_else(|| "camera.toml".to_owned(), |file| file.name);
    let bytes = match settings::read_bounded(&places.boot.join(&name)) {
        Ok(bytes) if !bytes.iter().all(u8::is_ascii_whitespace) => bytes,
        unread => {
            sentences.push(describe_unread(&name, unread));
            if let Err(error) = fs::remove_file(&for_the_camera)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::error!(%error, "take the old settings away");
            }
            let kept = fs::read(&last_good).ok();
            sentences.push(match &kept {
                Some(_) => LAST_GOOD_USED.to_owned(),
                None => "Until then the camera uses its default settings (fault 1): no Wi-Fi, no cloud; pictures are kept on this card."
                    .to_owned(),
            });
            return FoundSettings {
                effective_file: kept.is_some().then_some(last_good),
                card: read_system_settings(&kept.unwrap_or_default()),
                kept: Vec::new(),
                sentences,
            };
        }
    };
    if let Err(error) = write_privately(&for_the_camera, &bytes) {
        tracing::error!("{error:#}");
    }
    let loaded = settings::load(Some(&for_the_camera), &[], false);
    let mut card = read_system_settings(&bytes);
    // Only the file matters to a person with a card reader, not the command line or the environment.
    let of_the_file = |problem: &&settings::Problem| matches!(problem.origin, Origin::File(_) | Origin::Combination);
    let problems: Vec<_> = loaded.problems.iter().filter(of_the_file).collect();
    for problem in problems.iter().take(MISTAKES_MAX) {
        let kind = match problem.level {
            Level::Warning => "Look at",
            Level::Error => "Mistake in",
        };
        let end = if problem.text.ends_with('?') { "" } else { "." };
        sentences.push(match problem.line {
            Some(line) => format!("{kind} line {line} of {name}: {}{end}", problem.text),
            None => format!("{kind} {name}: {}{end}", problem.text),
        });
    }
    if problems.len() > MISTAKES_MAX {
        sentences.push(format!("{name} has {} more mistakes.", problems.len() - MISTAKES_MAX));
    }
    if !loaded.file_has_errors() {
        if problems.is_empty() {
            sentences.push(format!("{name} was read, and it has no mistakes."));
        }
        // Avoids a write to the SD card at every start.
        if fs::read(&last_good).is_ok_and(|before| before == bytes) {
        } else if let Err(error) = settings::replace_privately(&last_good, &bytes) {
            tracing::warn!(%error, "keep a copy of the settings");
        }
        return FoundSettings {
            effective_file: Some(for_the_camera),
            card,
            kept: Vec::new(),
            sentences,
        };
    }
    let Ok(before) = fs::read(&last_good) else {
        sentences.push("Until this is corrected, the rest of the file is used (fault 1).".to_owned());
        return FoundSettings {
            effective_file: Some(for_the_camera),
            card,
            kept: Vec::new(),
            sentences,
        };
    };
    sentences.push(LAST_GOOD_USED.to_owned());
    let before = read_system_settings(&before);
    card.country = card.country.or(before.country);
    card.hostname = card.hostname.or(before.hostname);
    card.timezone = card.timezone.or(before.timezone);
    card.time_server = card.time_server.or(before.time_server);
    FoundSettings {
        effective_file: Some(last_good),
        card,
        kept: before.networks,
        sentences,
    }
}

fn describe_unread(name: &str, unread: std::io::Result<Vec<u8>>) -> String {
    use std::io::ErrorKind;

    const COPY: &str =
        "What to do: put the camera.toml of the image, with your Wi-Fi and your cloud in it, on this card.";
    match unread.map_err(|error| (error.kind(), error)) {
        Ok(_) => format!("{name} is empty. {COPY}"),
        Err((ErrorKind::NotFound, _)) => format!("There is no camera.toml on this card. {COPY}"),
        Err((ErrorKind::IsADirectory, _)) => format!("{name} is a folder, not a file. {COPY}"),
        Err((ErrorKind::PermissionDenied, _)) => {
            format!("{name} cannot be read: its permissions do not allow it. {COPY}")
        }
        Err((_, error)) => {
            format!("{name} cannot be read ({error}); the card may be failing. What to do: try another card.")
        }
    }
}

fn candidates(places: &Paths) -> Vec<Candidate> {
    let shipped = fs::read(&places.shipped).ok();
    let Ok(entries) = fs::read_dir(&places.boot) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(about) = entry.metadata() else {
            continue;
        };
        if !about.is_file() || !find_settings_file::is_settings_name(&name) {
            continue;
        }
        let changed_at_s = about
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |time| time.as_secs());
        let same_size = shipped
            .as_ref()
            .is_some_and(|shipped| shipped.len() as u64 == about.len());
        found.push(Candidate {
            is_as_shipped: same_size && fs::read(entry.path()).ok() == shipped,
            name,
            changed_at_s,
        });
    }
    found
}

/// Keeps the Wi-Fi that works, and `CAMERA-STATUS.txt` up to date, without end.
///
/// # Errors
/// [`prepare`] has not run.
pub fn watch() -> Result<()> {
    let mut watch = Watch::begin(Paths::default())?;
    loop {
        watch.update();
        std::thread::sleep(UPDATE_EVERY);
    }
}

/// The state of [`watch`] between updates.
pub struct Watch {
    places: Paths,
    prepared: Prepared,
    boot: String,
    starts: Starts,
    secrets: Vec<String>,
    written: Option<Instant>,
    writes: u32,
}

impl Watch {
    /// # Errors
    /// [`prepare`] has not run.
    pub fn begin(places: Paths) -> Result<Self> {
        let note = fs::read(places.run.join("prepared.json")).context("read what was prepared")?;
        let prepared: Prepared = serde_json::from_slice(&note).context("understand what was prepared")?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let starts = fs::read(places.data.join("starts.json"))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let secrets = secrets_of(&places, &prepared);
        Ok(Self {
            boot: boot.trim().to_owned(),
            places,
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
            sentences: current_sentences(&self.prepared, &self.places),
        });
        let may = self.written.is_none_or(|at| at.elapsed() >= WRITE_EVERY) && self.writes < WRITES_MAX;
        let secrets: Vec<&str> = self.secrets.iter().map(String::as_str).collect();
        let text = self.starts.text(&secrets);
        let shown = fs::read(self.places.boot.join(STATUS_FILE)).unwrap_or_default();
        if !may || !(is_news || shown != text.as_bytes()) {
            return;
        }
        if let Err(error) = serde_json::to_vec(&self.starts)
            .map_err(std::io::Error::other)
            .and_then(|bytes| settings::replace_privately(&self.places.data.join("starts.json"), &bytes))
        {
            tracing::warn!(%error, "note this start");
        }
        if let Err(error) = write_status(&self.places.boot, &text) {
            tracing::warn!("{error:#}");
        }
        self.written = Some(Instant::now());
        self.writes += 1;
    }
}

/// Returns the secrets that must never appear in a file that anyone with the card can read.
fn secrets_of(places: &Paths, prepared: &Prepared) -> Vec<String> {
    let mut secrets: Vec<String> = Vec::new();
    for file in [
        places.etc.join("keepsake/camera.toml"),
        places.data.join("camera.last-good.toml"),
    ] {
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

/// Returns the current status, without numbers that change all the time.
fn current_sentences(prepared: &Prepared, places: &Paths) -> Vec<String> {
    let mut sentences = prepared.sentences.clone();
    let wpa = |what: &str| stdout_of(Command::new("wpa_cli").args(["-i", "wlan0", what]));
    let addresses = net::addresses();
    let by = |start: &str| addresses.iter().find(|address| address.interface.starts_with(start));
    if let Some(address) = by("eth").or(by("usb")) {
        sentences.push(format!("Network: by cable, address {}.", address.ip));
    }
    if !prepared.networks.is_empty() {
        let status = wpa("status");
        match (wifi::connected_network(&status), by("wlan")) {
            (Some((id, name)), Some(address)) => {
                sentences.push(format!("Network: Wi-Fi \"{name}\", address {}.", address.ip));
                if let Some(network) = prepared.networks.get(id) {
                    remember_network(places, network);
                }
            }
            (Some((_, name)), None) => sentences.push(format!(
                "Wi-Fi \"{name}\" was joined but assigned no address. What to do: restart the router."
            )),
            (None, _) => {
                let log = stdout_of(Command::new("journalctl").args([
                    "--boot",
                    "--quiet",
                    "--output=cat",
                    "--unit=wpa_supplicant@wlan0.service",
                ]));
                for name in wifi::parse_attempts(&log).refused {
                    sentences.push(format!(
                        "Could not join Wi-Fi \"{name}\": the password was refused. What to do: correct it in camera.toml."
                    ));
                }
                let names: Vec<String> = wifi::visible_networks(&wpa("scan_results"))
                    .into_iter()
                    .take(8)
                    .map(|(name, _)| name)
                    .collect();
                if addresses.is_empty() {
                    sentences.push(if names.is_empty() {
                        "No network (fault 2): no Wi-Fi is in range, or this board has no Wi-Fi. Pictures are kept on this card."
                            .to_owned()
                    } else {
                        format!(
                            "No network (fault 2): no Wi-Fi of camera.toml could be joined. In range: {}. Pictures are kept on this card.",
                            names.join(", ")
                        )
                    });
                }
            }
        }
    } else if addresses.is_empty() {
        sentences.push(
            "No network (fault 2): there is no cable, and no Wi-Fi in camera.toml. Pictures are kept on this card."
                .to_owned(),
        );
    }
    if prepared.cloud_is_unset {
        sentences.push(
            "No cloud is set. What to do: write its address into camera.toml, url = \"...\" under [cloud].".to_owned(),
        );
    }
    let service = stdout_of(Command::new("systemctl").args([
        "show",
        "--property=ActiveState",
        "--property=StatusText",
        "keepsake-appliance.service",
    ]));
    let field = |name: &str| {
        service
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_default()
            .to_owned()
    };
    let said = field("StatusText");
    sentences.push(match field("ActiveState").as_str() {
        "active" if said.is_empty() => "Camera: ready for a press.".to_owned(),
        "active" => format!("Camera: ready for a press. Cloud: {said}."),
        "activating" => "Camera: starting.".to_owned(),
        _ => "Camera: the program has stopped (fault 7). What to do: read the log on this card, or restart the camera."
            .to_owned(),
    });
    sentences
}

/// Saves the network that just worked with its password: the current settings may contain a wrong one for the same name.
fn remember_network(places: &Paths, network: &(String, String)) {
    let file = places.data.join("wifi-that-worked.json");
    let (name, password) = network;
    let before = read_networks(&file);
    if before
        .first()
        .is_some_and(|kept| (&kept.name, &kept.password) == (name, password))
    {
        return;
    }
    // Only the network that works now is remembered.
    let pair = [network];
    if let Err(error) = serde_json::to_vec(&pair)
        .map_err(std::io::Error::other)
        .and_then(|bytes| settings::replace_privately(&file, &bytes))
    {
        tracing::warn!(%error, "keep the Wi-Fi that works");
    }
}

fn read_networks(file: &Path) -> Vec<Network> {
    let pairs: Vec<(String, String)> = fs::read(file)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    pairs
        .into_iter()
        .map(|(name, password)| Network { name, password })
        .collect()
}

/// Saves the end of the log on the card, where it survives a power cut.
///
/// # Errors
/// The log cannot be read or written.
pub fn keep_log() -> Result<()> {
    let folder = Paths::default().data.join("log");
    fs::create_dir_all(&folder).context("create the folder of logs")?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").context("read the number of this start")?;
    let file = folder.join(format!("{}.txt", boot.trim()));
    let log = stdout_of(Command::new("journalctl").args(["--boot", "--quiet", "--lines=1000", "--output=short-iso"]));
    ensure!(!log.is_empty(), "the log is empty");
    let mut from = log.len().saturating_sub(LOG_BYTES);
    while !log.is_char_boundary(from) {
        from += 1;
    }
    settings::replace_privately(&file, &log.as_bytes()[from..]).context("write the log")?;
    let mut files: Vec<(std::time::SystemTime, PathBuf)> = fs::read_dir(&folder)?
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    files.sort();
    for (_, old) in files.iter().rev().skip(LOGS) {
        let _ = fs::remove_file(old);
    }
    Ok(())
}

/// In the place of the file that is there: nothing else on the partition moves, so a plug pulled now harms this file at the
/// most.
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
    // A folder is what it is; the partition is opened for the moment of writing.
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

/// Returns the output of a program; empty if it is missing.
fn stdout_of(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

/// Writes a file that only root can read, and creates its directory.
fn write_privately(file: &Path, bytes: &[u8]) -> Result<()> {
    let folder = file.parent().context("a file is in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    settings::replace_privately(file, bytes).with_context(|| format!("write {}", file.display()))
}

fn make_world_readable(file: &Path) -> Result<()> {
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions(file, mode).with_context(|| format!("open {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(root: &Path) -> Paths {
        let places = Paths {
            boot: root.join("boot"),
            data: root.join("data"),
            etc: root.join("etc"),
            run: root.join("run"),
            root_home: root.join("root"),
            shipped: root.join("shipped.toml"),
        };
        for folder in [&places.boot, &places.data, &places.etc] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(&places.shipped, "").unwrap();
        places
    }

    /// A wrong new password must not cost the one by which the camera still gets home.
    #[test]
    fn the_wifi_that_works_is_kept_with_the_password_it_was_joined_by() {
        let root = tempfile::tempdir().unwrap();
        let places = places(root.path());
        let worked = ("Hytta".to_owned(), "the old one".to_owned());
        remember_network(&places, &worked);
        fs::write(
            places.boot.join("camera.toml"),
            "[[wifi]]\nname = \"Hytta\"\npassword = \"mistyped\"\n",
        )
        .unwrap();
        let prepared = prepare(&places).unwrap();
        let wrong = ("Hytta".to_owned(), "mistyped".to_owned());
        assert_eq!(prepared.networks.as_slice(), [wrong, worked.clone()]);

        // wpa_supplicant could not join the first, and has joined the second.
        let status = "ssid=Hytta\nid=1\nwpa_state=COMPLETED\n";
        let (id, _) = wifi::connected_network(status).unwrap();
        remember_network(&places, &prepared.networks[id]);
        let again = prepare(&places).unwrap();
        assert_eq!(again.networks.last(), Some(&worked));
    }
}
