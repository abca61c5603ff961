//! Settings from the cloud: validation, trials of connection settings, and the file on the card that stores both.
//!
//! Each setting is checked separately: one that is out of bounds, unknown, or set by the command line is rejected and
//! reported, the rest applies, and a rejected setting keeps its value. Versions only rise; they belong to one
//! database and one camera account, and start again with another.
//!
//! Connection settings are first *tried*: saved as a trial before they are used, and kept once a connection with
//! them has reached the cloud this camera belongs to. Otherwise the previous ones apply again, whatever happened in
//! between: the trial has a deadline in time since boot; after a reboot, where that is meaningless, a trial starts
//! again, at most [`STARTS_MAX`] times.
//!
//! They override `camera.toml`. But if a connection setting was changed there after the cloud's value was accepted,
//! the cloud's value is dropped, so that a camera that lost its connection can be repaired from its card.

use std::io;
use std::path::PathBuf;

use keepsake_protocol::settings::schema::{SETTINGS, Scope, Setting};
use keepsake_protocol::settings::{
    DesiredSettings, REASON_BYTES_MAX, REJECTED_MAX, RejectedSetting, SettingsReport, TrialStatus,
};
use keepsake_protocol::{BootId, DeviceId, StoreId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::durable_file::{read_json, replace_privately};
use crate::settings::{Config, Loaded, value_in};

/// The file name, in the spool directory.
const FILE: &str = "settings.json";
/// Larger than any valid file.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// Boots that may restart a trial before it has failed: a camera that often loses power must reconnect
/// too.
const STARTS_MAX: u32 = 3;

/// A moment in this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootTime {
    pub boot: BootId,
    /// CLOCK_BOOTTIME, microseconds.
    pub boottime_us: u64,
}

/// The result of applying settings from the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyOutcome {
    /// The version is not newer than the known one.
    Outdated,
    /// The changes apply from now on.
    Applied,
    /// The other changes apply from now on; the connection settings need a restart of the program, which starts the trial.
    Trial,
}

/// The loaded settings with the accepted settings of the cloud.
#[derive(Debug)]
pub struct EffectiveSettings {
    path: PathBuf,
    loaded: Loaded,
    device: DeviceId,
    persisted: Persisted,
    config: Config,
    warnings: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Persisted {
    device: Option<DeviceId>,
    store: Option<StoreId>,
    version: u64,
    #[serde(rename = "mark")]
    revision: u64,
    /// Valid settings that apply.
    values: Map<String, Value>,
    /// The values in `camera.toml` of the connection settings when the cloud's were accepted.
    #[serde(rename = "beneath")]
    file_values: Map<String, Value>,
    rejected: Vec<RejectedSetting>,
    trial: Option<ConnectionTrial>,
}

/// Connection settings that replace those in `values`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ConnectionTrial {
    values: Map<String, Value>,
    boot: BootId,
    until_us: u64,
    starts: u32,
}

impl EffectiveSettings {
    /// Reads the file on the card, and decides whether a trial continues. A file that cannot be read is renamed: the
    /// cloud sends its settings with every connection.
    pub fn open(loaded: Loaded, device: DeviceId, now: BootTime) -> Self {
        let path = loaded.config.spool.dir.join(FILE);
        let mut warnings = Vec::new();
        let persisted = read_json(&path, FILE_BYTES_MAX).unwrap_or_else(|error| {
            warnings.push(format!("the settings from the cloud were lost, {}: {error}", path.display()));
            let _ = std::fs::rename(&path, path.with_extension("damaged"));
            Persisted::default()
        });
        let mut settings = Self {
            path,
            config: loaded.config.clone(),
            loaded,
            device,
            persisted,
            warnings,
        };
        let before = settings.persisted.clone();
        settings.drop_locally_overridden();
        settings.resume_trial(now);
        if settings.persisted != before
            && let Err(error) = settings.persist()
        {
            // A trial whose start cannot be saved could restart for ever.
            settings.warnings.push(format!("save the settings from the cloud: {error}"));
            settings.persisted.trial = None;
        }
        settings.config = settings.merged();
        settings
    }

    /// Returns the settings that apply now, including those of the cloud and of a trial.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Applies settings from the cloud this camera belongs to. The result is in [`Self::config`].
    ///
    /// # Errors
    /// The card could not be written, and nothing has changed.
    pub fn apply(&mut self, desired: &DesiredSettings, now: BootTime) -> io::Result<ApplyOutcome> {
        if desired.version <= self.version_of(desired.store) {
            return Ok(ApplyOutcome::Outdated);
        }
        let mut good = Map::new();
        let mut rejected = Vec::new();
        for (name, value) in &desired.values {
            match self.loaded.validate(name, value) {
                Ok(()) => {
                    good.insert(name.clone(), value.clone());
                }
                Err(reason) => {
                    // The previous value stays.
                    if let Some(before) = self.persisted.values.get(name) {
                        good.insert(name.clone(), before.clone());
                    }
                    reject(&mut rejected, name, &reason);
                }
            }
        }
        let (connection, live) = split(good);
        let (before, _) = split(self.persisted.values.clone());
        let mut persisted = Persisted {
            device: Some(self.device.clone()),
            store: desired.store.or(self.persisted.store),
            version: desired.version,
            revision: desired.revision,
            rejected,
            file_values: self.persisted.file_values.clone(),
            values: live.clone(),
            trial: None,
        };
        let with = |connection: &Map<String, Value>| {
            let mut all = live.clone();
            all.extend(connection.clone());
            self.loaded.with_overrides(&all)
        };
        let trial_names = changed(&with(&before), &with(&connection));
        if trial_names.is_empty() {
            persisted.file_values = self.file_values(&connection);
            persisted.values.extend(connection);
        } else {
            let within = self.config.cloud.trial_timeout();
            persisted.values.extend(before);
            persisted.trial = Some(ConnectionTrial {
                values: connection,
                boot: now.boot,
                until_us: after(now, within),
                starts: 1,
            });
        }
        self.replace(persisted)?;
        // A trial starts with the next restart: a running program only changes live settings.
        self.config = self.loaded.with_overrides(&self.persisted.values);
        Ok(if trial_names.is_empty() {
            ApplyOutcome::Applied
        } else {
            ApplyOutcome::Trial
        })
    }

    /// Ends a trial successfully, because a connection reached the cloud this camera belongs to. Returns true if there was a trial.
    ///
    /// # Errors
    /// The card could not be written; the trial continues.
    pub fn confirm(&mut self) -> io::Result<bool> {
        let Some(trial) = &self.persisted.trial else {
            return Ok(false);
        };
        self.replace(Persisted {
            file_values: self.file_values(&trial.values),
            values: self.values_with(trial),
            trial: None,
            ..self.persisted.clone()
        })?;
        Ok(true)
    }

    /// Returns the deadline of the current trial, CLOCK_BOOTTIME in microseconds.
    pub fn trial_deadline_us(&self) -> Option<u64> {
        self.persisted.trial.as_ref().map(|trial| trial.until_us)
    }

    /// Ends a trial that failed. The previous settings apply from the next restart of the program.
    ///
    /// # Errors
    /// The card could not be written; the saved deadline is over anyway.
    pub fn roll_back(&mut self) -> io::Result<()> {
        self.end_trial("did not reach the cloud in time: the previous connection is used again");
        self.persist()
    }

    /// Returns the last applied version and its report for the cloud.
    pub fn report(&self, now: BootTime) -> (u64, SettingsReport) {
        let trying = self.persisted.trial.as_ref().map(|trial| TrialStatus {
            names: self.trial_names(trial),
            remaining_s: trial.until_us.saturating_sub(now.boottime_us) / 1_000_000,
        });
        let effective = SETTINGS
            .iter()
            .filter(|setting| setting.scope != Scope::Local && !setting.secret)
            .map(|setting| (setting.key.to_owned(), value_in(&self.config, setting.key)))
            .collect();
        let ours = self.persisted.device.as_ref() == Some(&self.device);
        let state = SettingsReport {
            revision: if ours { self.persisted.revision } else { 0 },
            rejected: self.persisted.rejected.clone(),
            trial: trying,
            effective,
        };
        (self.version(), state)
    }

    /// Returns the last version that this camera account applied.
    pub fn version(&self) -> u64 {
        if self.persisted.device.as_ref() == Some(&self.device) {
            self.persisted.version
        } else {
            0
        }
    }

    /// Returns new warnings for the log, each once.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn version_of(&self, store: Option<StoreId>) -> u64 {
        match (store, self.persisted.store) {
            (Some(theirs), Some(ours)) if theirs != ours => 0,
            (Some(_) | None, Some(_) | None) => self.version(),
        }
    }

    fn merged(&self) -> Config {
        let trial = self.persisted.trial.as_ref();
        let values = trial.map_or_else(|| self.persisted.values.clone(), |trial| self.values_with(trial));
        self.loaded.with_overrides(&values)
    }

    /// Returns the values of the cloud with the connection settings of the trial.
    fn values_with(&self, trial: &ConnectionTrial) -> Map<String, Value> {
        let (_, mut values) = split(self.persisted.values.clone());
        values.extend(trial.values.clone());
        values
    }

    fn trial_names(&self, trial: &ConnectionTrial) -> Vec<String> {
        changed(
            &self.loaded.with_overrides(&self.persisted.values),
            &self.loaded.with_overrides(&self.values_with(trial)),
        )
    }

    fn drop_locally_overridden(&mut self) {
        let names: Vec<String> = self.persisted.file_values.keys().cloned().collect();
        for name in names {
            let now = self.loaded.file_value(&name);
            if self.persisted.file_values.get(&name) == Some(&now) {
                continue;
            }
            self.persisted.file_values.remove(&name);
            self.persisted.values.remove(&name);
            let why = "was changed in camera.toml since, which overrides it";
            reject(&mut self.persisted.rejected, &name, why);
            self.warnings.push(format!("{name} {why}"));
        }
    }

    fn resume_trial(&mut self, now: BootTime) {
        let Some(trial) = &mut self.persisted.trial else {
            return;
        };
        if trial.boot == now.boot {
            if now.boottime_us >= trial.until_us {
                self.end_trial("did not reach the cloud in time");
            }
        } else if trial.starts >= STARTS_MAX {
            self.end_trial("did not reach the cloud after several restarts");
        } else {
            trial.starts += 1;
            trial.boot = now.boot;
            trial.until_us = after(now, self.loaded.config.cloud.trial_timeout());
        }
    }

    fn end_trial(&mut self, why: &str) {
        let Some(trial) = self.persisted.trial.take() else {
            return;
        };
        for name in self.trial_names(&trial) {
            reject(&mut self.persisted.rejected, &name, why);
            self.warnings.push(format!("{name} from the cloud {why}"));
        }
    }

    fn file_values(&self, connection: &Map<String, Value>) -> Map<String, Value> {
        let by_the_file = |name: &String| (name.clone(), self.loaded.file_value(name));
        connection.keys().map(by_the_file).collect()
    }

    /// Replaces the state, unless it cannot be saved.
    fn replace(&mut self, persisted: Persisted) -> io::Result<()> {
        let before = std::mem::replace(&mut self.persisted, persisted);
        self.persist().inspect_err(|_| self.persisted = before)
    }

    /// Saves the state privately, because it may contain a password.
    fn persist(&self) -> io::Result<()> {
        replace_privately(&self.path, &serde_json::to_vec_pretty(&self.persisted)?)
    }
}

/// Splits settings into connection settings and others.
fn split(values: Map<String, Value>) -> (Map<String, Value>, Map<String, Value>) {
    values
        .into_iter()
        .partition(|(name, _)| Setting::find(name).is_some_and(|setting| setting.scope == Scope::Connection))
}

/// Returns the keys of the connection settings that differ.
fn changed(before: &Config, after: &Config) -> Vec<String> {
    SETTINGS
        .iter()
        .filter(|setting| setting.scope == Scope::Connection)
        .filter(|setting| value_in(before, setting.key) != value_in(after, setting.key))
        .map(|setting| setting.key.to_owned())
        .collect()
}

fn after(now: BootTime, wait: std::time::Duration) -> u64 {
    let wait_us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
    now.boottime_us.saturating_add(wait_us)
}

/// Records a rejection; the last reason is kept. A name from outside is truncated.
fn reject(rejected: &mut Vec<RejectedSetting>, name: &str, reason: &str) {
    const NAME_BYTES_MAX: usize = 64;
    let cut = |text: &str, most: usize| text[..text.floor_char_boundary(most)].to_owned();
    let name = cut(name, NAME_BYTES_MAX);
    rejected.retain(|known| known.name != name);
    if rejected.len() < REJECTED_MAX {
        rejected.push(RejectedSetting { name, reason: cut(reason, REASON_BYTES_MAX) });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::ApplyOutcome::{Applied, Outdated, Trial};
    use super::*;
    use crate::settings;

    const STORE: StoreId = StoreId([1; 16]);
    const BOOT: BootId = BootId([7; 16]);

    /// A card with its camera.toml and the command line.
    struct Card {
        folder: tempfile::TempDir,
        started_with: Vec<(String, String)>,
    }

    impl Card {
        fn new(toml: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let spool = folder.path().join("spool");
            std::fs::create_dir(&spool).unwrap();
            let spool = ("spool.dir".to_owned(), spool.display().to_string());
            let card = Self { folder, started_with: vec![spool] };
            card.write(toml);
            card
        }

        fn write(&self, toml: &str) {
            std::fs::write(self.folder.path().join("camera.toml"), toml).unwrap();
        }

        fn open(&self, now: BootTime) -> EffectiveSettings {
            self.open_as("porch", now)
        }

        fn open_as(&self, device: &str, now: BootTime) -> EffectiveSettings {
            let file = self.folder.path().join("camera.toml");
            let loaded = settings::load(Some(&file), &self.started_with, false);
            assert_eq!(loaded.problems, []);
            EffectiveSettings::open(loaded, device.parse().unwrap(), now)
        }
    }

    fn at(seconds: u64) -> BootTime {
        BootTime { boot: BOOT, boottime_us: seconds * 1_000_000 }
    }

    fn desired(version: u64, values: Value) -> DesiredSettings {
        let Value::Object(values) = values else {
            panic!("values are an object")
        };
        DesiredSettings { version, store: Some(STORE), revision: version * 10, values }
    }

    fn apply(settings: &mut EffectiveSettings, version: u64, values: Value, at_s: u64) -> ApplyOutcome {
        settings.apply(&desired(version, values), at(at_s)).unwrap()
    }

    fn rejected(settings: &EffectiveSettings) -> Vec<String> {
        let (_, state) = settings.report(at(0));
        let names = state.rejected.into_iter();
        names.map(|one| format!("{} {}", one.name, one.reason)).collect()
    }

    #[test]
    fn versions_only_rise_also_over_a_restart() {
        let card = Card::new("capture_interval_s = 5");
        let mut settings = card.open(at(0));
        assert_eq!(settings.config().capture_interval_s, 5);
        assert_eq!(apply(&mut settings, 3, json!({"capture_interval_s": 60}), 1), Applied);
        for old in [3, 2, 0] {
            assert_eq!(apply(&mut settings, old, json!({"capture_interval_s": 1}), 2), Outdated);
        }
        let mut settings = card.open(at(3));
        assert_eq!((settings.config().capture_interval_s, settings.version()), (60, 3));
        let (version, state) = settings.report(at(3));
        assert_eq!((version, state.revision), (3, 30));
        assert_eq!(state.effective["capture_interval_s"], 60);
        assert_eq!(apply(&mut settings, 3, json!({"capture_interval_s": 1}), 4), Outdated);
        // A setting that the cloud no longer sends has the file's value again.
        apply(&mut settings, 4, json!({}), 5);
        assert_eq!(settings.config().capture_interval_s, 5);
    }

    #[test]
    fn versions_start_again_with_another_database_or_camera_account() {
        let card = Card::new("");
        let mut settings = card.open(at(0));
        apply(&mut settings, 9, json!({"capture_interval_s": 60}), 1);
        let other = DesiredSettings {
            store: Some(StoreId([2; 16])),
            ..desired(1, json!({"capture_interval_s": 30}))
        };
        assert_eq!(settings.apply(&other, at(2)).unwrap(), Applied);
        assert_eq!((settings.config().capture_interval_s, settings.version()), (30, 1));
        // Renamed at the camera: the settings stay until its new account has some.
        let mut settings = card.open_as("shed", at(3));
        assert_eq!((settings.config().capture_interval_s, settings.version()), (30, 0));
        let first = DesiredSettings {
            store: other.store,
            ..desired(1, json!({"capture_interval_s": 7}))
        };
        assert_eq!(settings.apply(&first, at(4)).unwrap(), Applied);
        assert_eq!(settings.config().capture_interval_s, 7);
    }

    #[test]
    fn an_invalid_setting_is_reported_and_the_valid_ones_apply() {
        let mut card = Card::new("");
        card.started_with.push(("light.mode".to_owned(), "off".to_owned()));
        let mut settings = card.open(at(0));
        let good = desired(1, json!({"capture_interval_s": 60, "picture.quality": 80}));
        settings.apply(&good, at(1)).unwrap();
        let mixed = json!({
            "capture_interval_s": -5, "picture.quality": 70, "picture.width_max": "wide", "capture_intervall_s": 9,
            "spool.dir": "/", "device": "other", "button.pin": 3, "light.mode": "heartbeat",
            "cloud.part_bytes_max": 1e9, "camera.width": null, "simulated.enabled": true, "light.quiet_hours": ["22:00"],
        });
        assert_eq!(apply(&mut settings, 2, mixed, 2), Applied);
        let config = settings.config();
        // The last good value stays, the rest applies.
        assert_eq!((config.capture_interval_s, config.picture.quality), (60, 70));
        let reasons = rejected(&settings);
        for (name, says) in [
            ("capture_interval_s", "must be 0 or a whole number"),
            ("picture.width_max", "must be 0 or a whole number"),
            ("capture_intervall_s", "did you mean capture_interval_s?"),
            ("spool.dir", "only be set on the camera"),
            ("device", "only be set on the camera"),
            ("button.pin", "only be set on the camera"),
            ("light.mode", "set by the command line"),
            ("cloud.part_bytes_max", "must be a whole number"),
            ("camera.width", "must be a whole number"),
            ("simulated.enabled", "only be set on the camera"),
            ("light.quiet_hours", "must be text"),
        ] {
            let found = reasons.iter().find(|reasons| reasons.starts_with(&format!("{name} ")));
            assert!(found.is_some_and(|reasons| reasons.contains(says)), "{name}: {reasons:?}");
        }
        assert_eq!(reasons.len(), 11);
        assert_eq!(rejected(&card.open(at(3))), reasons);
    }

    #[test]
    fn another_connection_is_tried_and_kept_once_it_is_confirmed() {
        let card = Card::new("[cloud]\nurl = \"mqtt://old:1\"\n");
        let mut settings = card.open(at(0));
        assert_eq!(
            apply(&mut settings, 1, json!({"cloud.url": "mqtt://new:2", "capture_interval_s": 9}), 10),
            Trial
        );
        // The running program continues with the old one; other settings apply at once.
        assert_eq!(settings.config().cloud.url.host, "old");
        assert_eq!(settings.config().capture_interval_s, 9);
        let mut settings = card.open(at(11));
        assert_eq!(settings.config().cloud.url.host, "new");
        let (_, state) = settings.report(at(11));
        let trying = state.trial.unwrap();
        assert_eq!((trying.names, trying.remaining_s), (vec!["cloud.url".to_owned()], 299));
        assert!(settings.confirm().unwrap());
        assert!(!settings.confirm().unwrap());
        let settings = card.open(at(100_000));
        assert_eq!(settings.config().cloud.url.host, "new");
        assert_eq!(rejected(&settings), [""; 0]);
    }

    #[test]
    fn an_unconfirmed_connection_is_given_up_whatever_happens_in_between() {
        let card = Card::new("[cloud]\nurl = \"mqtt://old:1\"\n");
        assert_eq!(apply(&mut card.open(at(0)), 1, json!({"cloud.url": "mqtt://new:2"}), 10), Trial);
        // Killed and started again within the time: tried for the rest of it.
        let settings = card.open(at(200));
        assert_eq!(settings.config().cloud.url.host, "new");
        assert_eq!(settings.trial_deadline_us(), Some(310_000_000));
        // Started after it: over.
        let settings = card.open(at(311));
        assert_eq!(settings.config().cloud.url.host, "old");
        assert!(rejected(&settings)[0].starts_with("cloud.url did not reach the cloud"));
        // The same version again changes nothing.
        let mut settings = card.open(at(312));
        assert_eq!(apply(&mut settings, 1, json!({"cloud.url": "mqtt://new:2"}), 313), Outdated);
        assert_eq!(settings.config().cloud.url.host, "old");
    }

    #[test]
    fn the_running_program_ends_a_trial_at_its_deadline() {
        let card = Card::new("[cloud]\ntrial_timeout_s = 5\n");
        apply(&mut card.open(at(0)), 1, json!({"cloud.user": "me", "cloud.password": "secret"}), 10);
        let mut settings = card.open(at(11));
        assert_eq!(settings.config().cloud.user, "me");
        assert_eq!(settings.trial_deadline_us(), Some(15_000_000));
        assert!(!format!("{:?}", settings.report(at(11))).contains("secret"));
        settings.roll_back().unwrap();
        assert_eq!(settings.trial_deadline_us(), None);
        let settings = card.open(at(12));
        assert_eq!(settings.config().cloud.user, "");
        assert_eq!(rejected(&settings).len(), 2);
    }

    #[test]
    fn a_power_cut_restarts_a_trial_a_limited_number_of_times() {
        let card = Card::new("[cloud]\nurl = \"mqtt://old:1\"\n");
        apply(&mut card.open(at(0)), 1, json!({"cloud.url": "mqtt://new:2"}), 10);
        for boot in 1..STARTS_MAX {
            let now = BootTime {
                boot: BootId([u8::try_from(boot).unwrap(); 16]),
                boottime_us: 5_000_000,
            };
            let settings = card.open(now);
            assert_eq!(settings.config().cloud.url.host, "new", "boot {boot}");
            assert_eq!(settings.trial_deadline_us(), Some(305_000_000));
        }
        let settings = card.open(BootTime { boot: BootId([99; 16]), boottime_us: 0 });
        assert_eq!(settings.config().cloud.url.host, "old");
    }

    #[test]
    fn a_connection_changed_on_the_card_overrides_the_cloud() {
        let card = Card::new("capture_interval_s = 1\n[cloud]\nurl = \"mqtt://old:1\"\n");
        let mut settings = card.open(at(0));
        let desired = desired(1, json!({"cloud.url": "mqtt://new:2", "capture_interval_s": 9}));
        settings.apply(&desired, at(10)).unwrap();
        card.open(at(11)).confirm().unwrap();
        card.write("capture_interval_s = 2\n[cloud]\nurl = \"mqtt://home:3\"\n");
        for _ in 0..2 {
            let settings = card.open(at(12));
            assert_eq!(settings.config().cloud.url.host, "home");
            // Only the connection: everything else is for the cloud to say.
            assert_eq!(settings.config().capture_interval_s, 9);
            assert!(rejected(&settings)[0].contains("changed in camera.toml"));
        }
    }

    #[test]
    fn a_truncated_file_is_set_aside_and_the_settings_are_applied_again() {
        let card = Card::new("");
        apply(&mut card.open(at(0)), 5, json!({"capture_interval_s": 9}), 1);
        let file = card.folder.path().join("spool").join(FILE);
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        let mut settings = card.open(at(2));
        assert_eq!((settings.config().capture_interval_s, settings.version()), (0, 0));
        assert_eq!(settings.take_warnings().len(), 1);
        assert_eq!(apply(&mut settings, 5, json!({"capture_interval_s": 9}), 3), Applied);
    }

    #[test]
    fn a_card_that_cannot_be_written_changes_nothing() {
        let card = Card::new("");
        let mut settings = card.open(at(0));
        std::fs::remove_dir_all(card.folder.path().join("spool")).unwrap();
        assert!(settings.apply(&desired(1, json!({"capture_interval_s": 9})), at(1)).is_err());
        assert_eq!((settings.config().capture_interval_s, settings.version()), (0, 0));
    }

    proptest! {
        #[test]
        fn every_setting_stays_within_its_bounds_whatever_the_cloud_sends(
            names in proptest::collection::vec(0..SETTINGS.len(), 1..8),
            text in "\\PC{0,300}", number: i64, which in 0..5_usize,
        ) {
            let card = Card::new("");
            let mut settings = card.open(at(0));
            let value = match which {
                0 => json!(text),
                1 => json!(number),
                2 => json!([number]),
                3 => json!({"a": text}),
                _ => json!(number % 2 == 0),
            };
            let mut values = Map::new();
            for name in names {
                values.insert(SETTINGS[name].key.to_owned(), value.clone());
            }
            values.insert(text, value);
            apply(&mut settings, 1, Value::Object(values), 1);
            let (_, state) = card.open(at(2)).report(at(2));
            for (name, value) in &state.effective {
                let setting = Setting::find(name).unwrap();
                prop_assert_eq!(setting.check(value.into()), Ok(()), "{}", name);
            }
            prop_assert!(keepsake_protocol::codec::encode(&state).len() < 64 * 1024);
        }
    }
}
