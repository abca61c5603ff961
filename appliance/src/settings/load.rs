//! Loads the layers of settings, merges them, and reports the problems of each.

use std::env;
use std::path::Path;

use keepsake_protocol::settings::schema::{Scope, Setting};
use serde_json::{Map, Value as Json};

use super::layer::{Layer, shortened};
use super::merge::{merge, value_in};
use super::problem::{Level, Origin, Problem};
use super::value::closest_setting;
use super::{Config, lenient_toml, system};
use crate::durable_file;

/// The result of loading. `config` is usable whatever `problems` contains.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    pub config: Config,
    pub problems: Vec<Problem>,
    /// The file has an error, and the settings come from the last good file.
    pub used_last_good: bool,
    /// The bytes of the file if it has no errors, for [`Self::save_as_last_good`].
    good_file: Option<Vec<u8>>,
    layers: Layers,
}

/// The layers by origin, kept so that desired settings from the cloud can be merged between them.
#[derive(Debug, Clone, Default, PartialEq)]
struct Layers {
    file: Layer,
    environment: Layer,
    command_line: Layer,
}

impl Loaded {
    /// Returns true if the file has an error (fault 1); the camera continues to take pictures.
    pub fn file_has_errors(&self) -> bool {
        self.problems
            .iter()
            .any(|p| p.level == Level::Error && matches!(p.origin, Origin::File(_)))
    }

    /// Returns true if the environment or the command line has an error: the person who started the program can correct it (exit 78).
    pub fn cli_has_errors(&self) -> bool {
        self.problems
            .iter()
            .any(|p| p.level == Level::Error && matches!(p.origin, Origin::Environment | Origin::CommandLine))
    }

    /// Returns the settings with these values from the cloud: they override the file, and the environment and the command
    /// line override them.
    ///
    /// `overrides`: names and values that [`Self::validate`] accepted; others are ignored.
    pub fn with_overrides(&self, overrides: &Map<String, Json>) -> Config {
        let Layers { file, environment, command_line } = &self.layers;
        merge_layers(&[file, &Layer::from_cloud(overrides), environment, command_line]).0
    }

    /// Checks a setting from the cloud. The error is the end of a sentence that begins with the name.
    pub fn validate(&self, name: &str, value: &Json) -> Result<(), String> {
        let Some(setting) = Setting::find(name) else {
            return Err(match closest_setting(&shortened(name)) {
                Some(near) => format!("is not a setting of this camera, did you mean {near}?"),
                None => "is not a setting of this camera".to_owned(),
            });
        };
        if setting.scope == Scope::Local {
            return Err("can only be set on the camera, in camera.toml".to_owned());
        }
        for (layer, origin) in [
            (&self.layers.command_line, Origin::CommandLine),
            (&self.layers.environment, Origin::Environment),
        ] {
            if layer.values.iter().any(|(key, _)| *key == name) {
                return Err(format!("is set by {origin} of the camera, which overrides it"));
            }
        }
        setting.check(value.into())
    }

    /// Returns the value that the camera's own file gives this setting; `null` for an unknown name.
    pub fn file_value(&self, name: &str) -> Json {
        value_in(&merge(&self.layers.file.values).0, name)
    }

    /// Saves a copy of a good file in the spool directory, in case the file is damaged later. The directory must exist.
    ///
    /// # Errors
    /// The copy could not be written; the previous copy is intact.
    pub fn save_as_last_good(&self) -> std::io::Result<()> {
        let Some(bytes) = &self.good_file else {
            return Ok(());
        };
        let path = self.config.last_good_path();
        // Avoids a write to the SD card at every start.
        if std::fs::read(&path).is_ok_and(|kept| &kept == bytes) {
            return Ok(());
        }
        durable_file::replace_privately(&path, bytes)
    }
}

/// Loads the settings: defaults, then `file`, then the environment, then `overrides` (`--set name=value`).
///
/// `file`: must exist; `None`: no file. `use_last_good`: a file with an error is replaced by its copy in
/// the spool directory ([`Loaded::save_as_last_good`]). Reads at most two small files, never fails and never panics.
pub fn load(file: Option<&Path>, overrides: &[(String, String)], use_last_good: bool) -> Loaded {
    // Only variables with our prefix that are valid text are used.
    let environment: Vec<(String, String)> = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("KEEPSAKE_"))
        .collect();
    load_from(file, &environment, overrides, use_last_good)
}

pub(super) fn load_from(
    path: Option<&Path>,
    environment: &[(String, String)],
    overrides: &[(String, String)],
    use_last_good: bool,
) -> Loaded {
    let (file, bytes) = path.map_or_else(Default::default, Layer::from_file);
    let environment = Layer::from_environment(environment);
    let command_line = Layer::from_command_line(overrides);
    let mut problems = [&file, &environment, &command_line].map(|layer| layer.problems.clone()).concat();

    let mut merged = merge_layers(&[&file, &environment, &command_line]);
    let good_file = bytes.filter(|_| !file.has_errors());
    let mut file = file;
    let mut used_last_good = false;
    if use_last_good && file.has_errors() {
        // The valid settings of the file say where the spool is.
        let (last_good, _) = Layer::from_file(&merged.0.last_good_path());
        if !last_good.has_errors() {
            merged = merge_layers(&[&last_good, &environment, &command_line]);
            file = last_good;
            used_last_good = true;
        }
    }
    problems.extend(merged.1);
    Loaded {
        config: merged.0,
        used_last_good,
        good_file,
        problems,
        layers: Layers { file, environment, command_line },
    }
}

fn merge_layers(layers: &[&Layer]) -> (Config, Vec<Problem>) {
    merge(layers.iter().flat_map(|layer| &layer.values))
}

/// Returns the valid system settings in these bytes; the defaults if they are not settings at all.
pub fn read_system_settings(bytes: &[u8]) -> system::SystemSettings {
    lenient_toml::parse(bytes)
        .map_or_else(|_| system::SystemSettings::default(), |parsed| system::system_settings(&parsed.table).0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use keepsake_protocol::settings::schema::SETTINGS;
    use toml::{Table, Value};

    use super::*;
    use crate::settings::check_config;
    use crate::settings::merge::value_at;
    use crate::settings::value::raw_value;

    const TEMPLATE: &str = include_str!("../../camera.toml");

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    fn of_file(text: &str) -> Loaded {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("camera.toml");
        fs::write(&path, text).unwrap();
        load_from(Some(&path), &[], &[], false)
    }

    fn of_command_line(overrides: &[(&str, &str)]) -> Loaded {
        load_from(None, &[], &pairs(overrides), false)
    }

    #[test]
    fn the_shipped_file_shows_every_setting_with_its_default() {
        let table: Table = TEMPLATE.parse().unwrap();
        let defaults = Table::try_from(Config::default()).unwrap();
        for setting in SETTINGS {
            let shown = value_at(&table, setting.key);
            assert_eq!(shown, value_at(&defaults, setting.key), "{}", setting.key);
            assert_eq!(shown.map(raw_value), Some(setting.default), "{} is not shown", setting.key);
            assert_eq!(setting.check(setting.default), Ok(()), "{}", setting.key);
        }
        let loaded = of_file(TEMPLATE);
        assert_eq!(loaded.config, Config::default());
        assert_eq!(loaded.problems, []);
    }

    /// Returns each key of the shipped file with the comment above it, in the order of the file.
    fn explanations() -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut section = String::new();
        for paragraph in TEMPLATE.split("\n\n") {
            let mut comment = String::new();
            for line in paragraph.lines() {
                if let Some(name) = line.strip_prefix('[') {
                    section = name.replace(']', ".");
                } else if let Some(text) = line.strip_prefix('#') {
                    comment += text;
                } else if let Some((name, _)) = line.split_once(" = ") {
                    found.push((format!("{section}{name}"), comment.clone()));
                }
            }
        }
        found
    }

    #[test]
    fn the_shipped_file_is_in_the_order_of_the_table_and_explains_every_bound() {
        use keepsake_protocol::settings::schema::ValueKind;

        let explanations = explanations();
        let keys: Vec<&str> = explanations.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, SETTINGS.iter().map(|setting| setting.key).collect::<Vec<_>>());
        for (setting, (key, comment)) in SETTINGS.iter().zip(&explanations) {
            let bounds = match setting.kind {
                ValueKind::Integer { min, max, .. } => vec![format!("{min} to {max}")],
                ValueKind::OptionalInteger { min, max, .. } => vec![format!("{min} to {max}"), "0: ".to_owned()],
                ValueKind::Choice(of) => of.iter().map(|word| format!("\"{word}\"")).collect(),
                ValueKind::IntegerEnum { of, .. } => vec![of.join(", ")],
                ValueKind::Bool | ValueKind::Text(_) => Vec::new(),
            };
            for bound in bounds {
                assert!(comment.contains(&bound), "{key}: {bound} is not explained");
            }
        }
    }

    #[test]
    fn the_table_has_every_setting_and_nothing_else() {
        let defaults = Table::try_from(Config::default()).unwrap();
        let mut fields = Vec::new();
        for (name, value) in defaults {
            match value {
                Value::Table(section) => {
                    fields.extend(section.keys().map(|key| format!("{name}.{key}")));
                }
                Value::String(_) | Value::Integer(_) | Value::Boolean(_) => fields.push(name),
                Value::Float(_) | Value::Datetime(_) | Value::Array(_) => {
                    panic!("{name} is of a kind that no setting has")
                }
            }
        }
        let mut keys: Vec<_> = SETTINGS.iter().map(|setting| setting.key.to_owned()).collect();
        fields.sort();
        keys.sort();
        assert_eq!(fields, keys);
    }

    #[test]
    fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("camera.toml");
        fs::write(&path, "capture_interval_s = 1\n[button]\npin = 1\n[light]\npin = 4\n").unwrap();
        let loaded = load_from(
            Some(&path),
            &pairs(&[("KEEPSAKE_BUTTON_PIN", "2"), ("KEEPSAKE_LIGHT_PIN", "2")]),
            &pairs(&[("light.pin", "3")]),
            false,
        );
        assert_eq!(loaded.problems, []);
        let config = loaded.config;
        assert_eq!((config.capture_interval_s, config.button.pin, config.light.pin), (1, 2, 3));
    }

    #[test]
    fn unused_passwords_and_certificates_are_reported() {
        for (text, says) in [
            ("cert_file = \"/c\"", "must both be set"),
            ("ca_file = \"/c\"", "only used with TLS"),
            ("password = \"x\"", "without cloud.user"),
            ("user = \"u\"\npassword = \"x\"\npassword_file = \"/p\"", "the file is used"),
        ] {
            let loaded = of_file(&format!("[cloud]\n{text}"));
            assert!(!loaded.file_has_errors(), "{text}");
            let problem = loaded.problems[0].to_string();
            assert!(problem.contains(says), "{problem}");
        }
    }

    #[test]
    fn text_that_looks_like_a_number_stays_text() {
        let loaded = of_command_line(&[("device", "123456"), ("cloud.password", "007"), ("cloud.user", "true")]);
        assert_eq!(loaded.problems, []);
        assert_eq!(loaded.config.device.unwrap().as_str(), "123456");
        assert_eq!(loaded.config.cloud.password, "007");
    }

    #[test]
    fn a_wrong_value_is_named_with_its_bound_and_keeps_its_default() {
        for (text, says) in [
            (
                "[cloud]\npart_bytes_max = 5",
                "cloud.part_bytes_max = 5 must be a whole number, 16384 to 4194304 bytes",
            ),
            ("[cloud]\npart_bytes_max = -1", "part_bytes_max = -1 must be a whole number"),
            ("[cloud]\npart_bytes_max = 1e5", "must be a whole number"),
            ("[cloud]\npart_bytes_max = \"20000\"", "must be a whole number"),
            ("capture_interval_s = 604801", "must be 0 or a whole number, 1 to 604800 seconds"),
            ("device = \"a/b\"", "device = \"a/b\" is not a device name"),
            ("device = 7", "device = 7 must be text (write it in quotes)"),
            ("[cloud]\nurl = \"ftp://a\"", "use mqtt(s)://"),
            ("[spool]\nwhen_full = \"explode\"", "must be one of refuse, drop-oldest"),
            ("[simulated]\nenabled = \"yes\"", "must be true or false"),
            ("[light]\nquiet_hours = \"dusk\"", "must look like 22:00-06:30"),
            ("cloud = \"mqtt://a\"", "write [cloud] on a line of its own"),
            ("[spool]\ndir = \"\"", "must name a directory"),
        ] {
            let loaded = of_file(text);
            assert_eq!(loaded.config, Config::default(), "{text}");
            assert!(loaded.file_has_errors() && !loaded.cli_has_errors());
            let problem = loaded.problems[0].to_string();
            assert!(problem.contains(says) && problem.contains("camera.toml"), "{problem}");
        }
    }

    #[test]
    fn every_wrong_value_is_reported_and_the_right_ones_apply() {
        let loaded = of_file("capture_interval_s = -5\n[button]\npin = 99\ndebounce_ms = 20\n");
        assert_eq!(loaded.problems.len(), 2, "{:?}", loaded.problems);
        assert_eq!(loaded.config.button.debounce_ms, 20);
    }

    #[test]
    fn an_unknown_name_is_a_mistake_with_a_suggestion() {
        for (text, says) in [
            ("capture_intervall_s = 5", "did you mean capture_interval_s?"),
            ("[cloud]\npart_byte_max = 20000", "did you mean cloud.part_bytes_max?"),
            ("part_bytes_max = 20000", "did you mean cloud.part_bytes_max?"),
            ("[clod]\nurl = \"mqtt://a\"", "did you mean [cloud]?"),
            ("[cloud]\nflavour = 1", "cloud.flavour is not a setting"),
        ] {
            let loaded = of_file(text);
            assert!(loaded.file_has_errors(), "{text}");
            assert_eq!(loaded.problems.len(), 1);
            assert!(loaded.problems[0].text.contains(says), "{}", loaded.problems[0]);
        }
        // A person is present to correct it.
        let loaded = of_command_line(&[("cloud.part_byte_max", "20000")]);
        assert!(loaded.cli_has_errors() && !loaded.file_has_errors());
        assert!(loaded.problems[0].text.contains("did you mean cloud.part_bytes_max?"));
        assert!(of_command_line(&[("cloud.part_bytes_max", "much")]).cli_has_errors());
    }

    #[test]
    fn variables_of_other_programs_are_left_alone() {
        let ours = pairs(&[("KEEPSAKE_CLOUD_LISTEN", "127.0.0.1:1"), ("KEEPSAKE_TEST_MYSQL", "x")]);
        assert_eq!(load_from(None, &ours, &[], false).problems, []);
        let slip = pairs(&[("KEEPSAKE_SPOL_DIR", "x")]);
        let loaded = load_from(None, &slip, &[], false);
        assert!(loaded.problems[0].text.contains("KEEPSAKE_SPOOL_DIR"));
    }

    #[test]
    fn a_spoiled_file_is_replaced_by_the_last_good_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("camera.toml");
        let spool = folder.path().join("spool");
        fs::create_dir(&spool).unwrap();
        let overrides = pairs(&[("spool.dir", spool.to_str().unwrap())]);
        let load = || load_from(Some(&path), &[], &overrides, true);

        fs::write(&path, "device = \"porch\"\ncapture_interval_s = 60\n").unwrap();
        let good = load();
        good.save_as_last_good().unwrap();

        fs::write(&path, "device = \"porch\ncapture_interval_s = 60\n").unwrap();
        let spoiled = load();
        assert!(spoiled.used_last_good && spoiled.file_has_errors());
        assert_eq!(spoiled.config, good.config);
        // A bad file never becomes the last good one.
        spoiled.save_as_last_good().unwrap();
        assert_eq!(load().config, good.config);

        // A missing file is treated the same.
        fs::remove_file(&path).unwrap();
        assert_eq!(load().config, good.config);
        // Without a copy the camera uses the valid settings.
        fs::remove_file(spool.join("camera.last-good.toml")).unwrap();
        let alone = load();
        assert!(!alone.used_last_good && alone.file_has_errors());
        assert_eq!(alone.config.device, None);
    }

    #[test]
    fn settings_that_do_not_go_together_are_brought_together() {
        let loaded = of_command_line(&[
            ("cloud.part_bytes_max", "4_194_304"),
            ("cloud.window_bytes", "65536"),
            ("backoff.initial_s", "100"),
            ("backoff.max_s", "5"),
        ]);
        assert_eq!(loaded.config.cloud.part_bytes_max, 65536);
        assert_eq!(loaded.config.backoff.max_s, 100);
        assert_eq!(loaded.problems.len(), 2);
        assert!(!loaded.cli_has_errors());
    }

    #[test]
    fn a_secret_is_never_repeated() {
        let secret = "x".repeat(300);
        let loaded = of_command_line(&[("cloud.password", &secret)]);
        assert!(loaded.cli_has_errors() && !loaded.problems[0].text.contains("xxx"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("camera.toml");
        fs::write(&path, "[cloud]\npassword = \"open sesame\"\nuser = \"ali\"").unwrap();
        let (text, good) = check_config(&path);
        assert!(good && text.contains("cloud.user = \"ali\"") && !text.contains("sesame"), "{text}");
        fs::write(&path, "[cloud]\npasword = \"open sesame\"").unwrap();
        let (text, good) = check_config(&path);
        assert!(!good && text.contains("error") && !text.contains("sesame"), "{text}");
    }

    proptest! {
        #[test]
        fn no_value_makes_loading_panic_or_break_a_bound(
            which in 0..SETTINGS.len(), text in "\\PC{0,40}|-?[0-9]{1,22}|true|false",
        ) {
            let setting = &SETTINGS[which];
            let loaded = load_from(None, &[], &[(setting.key.to_owned(), text)], false);
            let table = Table::try_from(&loaded.config).unwrap();
            for setting in SETTINGS {
                prop_assert_eq!(setting.check(raw_value(value_at(&table, setting.key).unwrap())), Ok(()));
            }
            prop_assert!(!loaded.problems.iter().any(|p| p.origin == Origin::Combination && p.level == Level::Error));
        }
    }
}
