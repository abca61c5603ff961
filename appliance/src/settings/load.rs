//! Loads the layers of settings, merges them, and reports the problems of each.

use std::env;
use std::fmt;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use keepsake_protocol::settings::schema::{SETTINGS, Scope, Setting};
use serde_json::{Map, Value as Json};
use toml::{Table, Value};

use super::value::{closest, closest_setting, environment_variable, is_section, parse_text, raw_value};
use super::{CloudSettings, Config, lenient_toml, suggest, system};

/// The severity of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// All known settings are valid.
    Warning,
    /// A setting, or the whole file, cannot be used.
    Error,
}

/// The source of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    File(PathBuf),
    Environment,
    CommandLine,
    /// Each setting is valid, but they conflict with each other.
    Combination,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment => f.write_str("the environment"),
            Self::CommandLine => f.write_str("the command line"),
            Self::Combination => f.write_str("all settings together"),
        }
    }
}

/// A problem with the settings: a sentence with the key, its value and the valid values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub level: Level,
    pub origin: Origin,
    /// The line of the file, from 1; `None` if it concerns more than one line.
    pub line: Option<usize>,
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}: line {line}: {}", self.origin, self.text),
            None => write!(f, "{}: {}", self.origin, self.text),
        }
    }
}

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
        let Layers {
            file,
            environment,
            command_line,
        } = &self.layers;
        merge(&[file, &Layer::from_cloud(overrides), environment, command_line]).0
    }

    /// Checks a setting from the cloud.
    ///
    /// # Errors
    /// The end of a sentence that begins with the name.
    pub fn validate(&self, name: &str, value: &Json) -> Result<(), String> {
        let Some(setting) = Setting::find(name) else {
            return Err(match closest_setting(&shortened(name)) {
                Some(near) => format!("is not a setting of this camera, did you mean {near}?"),
                None => "is not a setting of this camera".to_owned(),
            });
        };
        if setting.scope == Scope::Local {
            return Err("is only set at the camera, in camera.toml".to_owned());
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
        value_in(&merge(&[&self.layers.file]).0, name)
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
        lenient_toml::replace_privately(&path, bytes)
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

fn load_from(
    path: Option<&Path>,
    environment: &[(String, String)],
    overrides: &[(String, String)],
    use_last_good: bool,
) -> Loaded {
    let (file, bytes) = path.map_or_else(Default::default, Layer::from_file);
    let environment = Layer::from_environment(environment);
    let command_line = Layer::from_command_line(overrides);
    let mut problems = [&file, &environment, &command_line]
        .map(|layer| layer.problems.clone())
        .concat();

    let mut merged = merge(&[&file, &environment, &command_line]);
    let good_file = bytes.filter(|_| !file.has_errors());
    let mut file = file;
    let mut used_last_good = false;
    if use_last_good && file.has_errors() {
        // The valid settings of the file say where the spool is.
        let (last_good, _) = Layer::from_file(&merged.0.last_good_path());
        if !last_good.has_errors() {
            merged = merge(&[&last_good, &environment, &command_line]);
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
        layers: Layers {
            file,
            environment,
            command_line,
        },
    }
}

/// Returns the value of a setting in `config` as JSON; `null` for an unknown name.
pub(crate) fn value_in(config: &Config, name: &str) -> Json {
    let config = serde_json::to_value(config).unwrap_or_default();
    let value = match name.split_once('.') {
        Some((section, name)) => &config[section][name],
        None => &config[name],
    };
    value.clone()
}

/// The valid settings of one origin, and the problems of the others.
#[derive(Debug, Clone, Default, PartialEq)]
struct Layer {
    values: Vec<(&'static str, Value)>,
    problems: Vec<Problem>,
}

impl Layer {
    fn has_errors(&self) -> bool {
        self.problems.iter().any(|p| p.level == Level::Error)
    }

    /// The layer of `camera.toml`, and the bytes of the file if it could be read.
    fn from_file(path: &Path) -> (Self, Option<Vec<u8>>) {
        let origin = Origin::File(path.to_owned());
        let mut layer = Self::default();
        let (bytes, warning) = match lenient_toml::read(path) {
            Ok(read) => read,
            Err(error) => {
                layer.report(Level::Error, &origin, None, error);
                return (layer, None);
            }
        };
        if let Some(text) = warning {
            layer.report(Level::Warning, &origin, None, text);
        }
        match lenient_toml::parse(&bytes) {
            Ok(mut parsed) => {
                for remark in std::mem::take(&mut parsed.warnings) {
                    layer.report(Level::Warning, &origin, remark.line, remark.text);
                }
                let mistakes = std::mem::take(&mut parsed.mistakes);
                let is_whole = mistakes.is_empty();
                for remark in mistakes {
                    layer.report(Level::Error, &origin, remark.line, remark.text);
                }
                let (_, remarks) = system::system_settings(&parsed.table);
                for remark in remarks {
                    // A missing setting may be in a line that cannot be read.
                    if !is_whole && !parsed.has(&remark.key) {
                        continue;
                    }
                    let line = parsed.line_of(&remark.key);
                    layer.report(remark.level, &origin, line, remark.text);
                }
                let table = std::mem::take(&mut parsed.table);
                layer.insert_table(&origin, "", table, &|key| parsed.line_of(key));
                layer.reject_pin_conflict(&origin, &|key| parsed.line_of(key));
                // As a person goes through the file.
                layer.problems.sort_by_key(|problem| problem.line);
            }
            Err(error) => layer.report(Level::Error, &origin, None, error),
        }
        (layer, Some(bytes))
    }

    fn insert_table(&mut self, origin: &Origin, section: &str, table: Table, line_of: &dyn Fn(&str) -> Option<usize>) {
        for (name, value) in table {
            let key = if section.is_empty() {
                name
            } else {
                format!("{section}.{name}")
            };
            let line = line_of(&key);
            match (value, Setting::find(&key)) {
                (Value::Table(inner), None) if section.is_empty() && is_section(&key) => {
                    self.insert_table(origin, &key, inner, line_of);
                }
                (value, Some(setting)) => self.insert(origin, line, setting, value),
                // Settings of the operating system, which are already checked.
                (_, None) if section.is_empty() && system::is_system_section(&key) => {}
                (Value::Array(_), None) if section.is_empty() && is_section(&key) => {
                    let text = format!("write [{key}], with one bracket on each side");
                    self.report(Level::Error, origin, line, text);
                }
                (_, None) if section.is_empty() && is_section(&key) => {
                    let text = format!("{key} is a section; write [{key}] on a line of its own");
                    self.report(Level::Error, origin, line, text);
                }
                (Value::Table(_) | Value::Array(_), None) if section.is_empty() => {
                    self.report(Level::Error, origin, line, unknown_section(&key));
                }
                (_, None) => self.report(Level::Error, origin, line, unknown(&key)),
            }
        }
    }

    /// Rejects both pins if button and light use the same one, because neither would work.
    fn reject_pin_conflict(&mut self, origin: &Origin, line_of: &dyn Fn(&str) -> Option<usize>) {
        const BUTTON: &str = "button.pin";
        let config = merge(&[self]).0;
        let pin = config.button.pin;
        if !config.light.pins().contains(&pin) {
            return;
        }
        let (light, other) = if config.light.rgb_pins.is_some() {
            ("light.rgb_pins", "one of light.rgb_pins")
        } else {
            ("light.pin", "light.pin")
        };
        self.values.retain(|(key, _)| ![BUTTON, light].contains(key));
        let line = line_of(BUTTON).max(line_of(light));
        let text = format!(
            "button.pin and {other} are both {pin}; each needs a pin of its own, such as 17 for the button and 27 for the light"
        );
        self.report(Level::Error, origin, line, text);
    }

    fn from_environment(variables: &[(String, String)]) -> Self {
        let mut layer = Self::default();
        for (name, text) in variables {
            let known = SETTINGS.iter().find(|setting| &environment_variable(setting) == name);
            if let Some(setting) = known {
                layer.insert(&Origin::Environment, None, setting, parse_text(setting, text));
                continue;
            }
            // Other Keepsake programs have variables too, so only a name that is close to ours is reported.
            let near = SETTINGS
                .iter()
                .map(environment_variable)
                .find(|ours| strsim::damerau_levenshtein(ours, name) <= 2);
            if let Some(near) = near {
                let text = format!("{name} is not a setting, did you mean {near}?");
                layer.report(Level::Warning, &Origin::Environment, None, text);
            }
        }
        layer
    }

    fn from_command_line(overrides: &[(String, String)]) -> Self {
        let mut layer = Self::default();
        for (key, text) in overrides {
            match Setting::find(key) {
                Some(setting) => {
                    layer.insert(&Origin::CommandLine, None, setting, parse_text(setting, text));
                }
                // A person is present, so a typing error is reported as an error.
                None => layer.report(Level::Error, &Origin::CommandLine, None, unknown(key)),
            }
        }
        layer
    }

    /// Creates a layer from values that were already checked.
    fn from_cloud(overrides: &Map<String, Json>) -> Self {
        let mut layer = Self::default();
        for (name, value) in overrides {
            if let Some(setting) = Setting::find(name)
                && let Ok(value) = Value::try_from(value)
                && setting.check(raw_value(&value)).is_ok()
            {
                layer.values.push((setting.key, value));
            }
        }
        layer
    }

    fn insert(&mut self, origin: &Origin, line: Option<usize>, setting: &'static Setting, value: Value) {
        match setting.check(raw_value(&value)) {
            Ok(()) => self.values.push((setting.key, value)),
            Err(what) => {
                let text = format!(
                    "{} = {} {what}{}",
                    setting.key,
                    display_value(setting, &value),
                    suggest::for_value(setting, &value)
                );
                self.report(Level::Error, origin, line, text);
            }
        }
    }

    fn report(&mut self, level: Level, origin: &Origin, line: Option<usize>, text: String) {
        self.problems.push(Problem {
            level,
            origin: origin.clone(),
            line,
            text,
        });
    }
}

/// Returns the value as it may be shown.
fn display_value(setting: &Setting, value: &Value) -> String {
    // An address that contains a password is hidden too.
    let holds_a_user = setting.key == "cloud.url" && value.to_string().contains('@');
    if setting.secret || holds_a_user {
        "(hidden)".to_owned()
    } else {
        shortened(&value.to_string())
    }
}

fn unknown(key: &str) -> String {
    let key = shortened(key);
    match closest_setting(&key) {
        Some(near) => format!("{key} is not a setting, did you mean {near}?"),
        None => format!("{key} is not a setting; compare it with the camera.toml of the image"),
    }
}

fn unknown_section(key: &str) -> String {
    let key = shortened(key);
    let ours = SETTINGS.iter().filter_map(|setting| setting.key.split_once('.'));
    let sections = ours.map(|(section, _)| section).chain(system::SECTIONS);
    match closest(&key, sections) {
        Some("wifi") => format!("[{key}] is not a section, did you mean [[wifi]]?"),
        Some(name) => format!("[{key}] is not a section, did you mean [{name}]?"),
        None => format!("[{key}] is not a section, and nothing below it is used"),
    }
}

/// Limits the length of text from the file.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut short: String = text
        .chars()
        .take(CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}

/// Merges the layers; later ones override earlier ones. The problems are conflicts between valid settings.
fn merge(layers: &[&Layer]) -> (Config, Vec<Problem>) {
    let mut table = Table::try_from(Config::default()).expect("every default is a TOML value");
    for (key, value) in layers.iter().flat_map(|layer| &layer.values) {
        match key.split_once('.') {
            Some((section, name)) => table[section][name] = value.clone(),
            None => table[*key] = value.clone(),
        }
    }
    let mut problems = Vec::new();
    let mut say = |level, text| {
        problems.push(Problem {
            level,
            origin: Origin::Combination,
            line: None,
            text,
        });
    };
    let mut config: Config = table.try_into().unwrap_or_else(|error| {
        // Every value was checked against the table, so this is a mistake in the table; even then the camera runs.
        say(Level::Error, format!("the defaults are used: {error}"));
        Config::default()
    });
    if config.cloud.part_bytes_max > config.cloud.window_bytes {
        config.cloud.part_bytes_max = config.cloud.window_bytes;
        let text = "cloud.part_bytes_max is above cloud.window_bytes and is treated as equal to it";
        say(Level::Warning, text.to_owned());
    }
    for text in credential_warnings(&config.cloud) {
        say(Level::Warning, text.to_owned());
    }
    let backoff = &mut config.backoff;
    if backoff.max_s < backoff.initial_s {
        backoff.max_s = backoff.initial_s;
        let text = "backoff.max_s is below backoff.initial_s and is treated as equal to it";
        say(Level::Warning, text.to_owned());
    }
    if backoff.reconnect_max_s < backoff.reconnect_initial_s {
        backoff.reconnect_max_s = backoff.reconnect_initial_s;
        let text = "backoff.reconnect_max_s is below backoff.reconnect_initial_s and is treated as equal to it";
        say(Level::Warning, text.to_owned());
    }
    (config, problems)
}

/// Returns warnings about passwords and certificates that have no effect.
fn credential_warnings(cloud: &CloudSettings) -> Vec<&'static str> {
    let there = |path: &PathBuf| !path.as_os_str().is_empty();
    let CloudSettings {
        ca_file: ca,
        cert_file: cert,
        key_file: key,
        password_file,
        ..
    } = cloud;
    let password = !cloud.password.is_empty();
    [
        (
            there(cert) != there(key),
            "cloud.cert_file and cloud.key_file must both be set; one alone is ignored",
        ),
        (
            !cloud.url.scheme.tls() && [ca, cert, key].into_iter().any(there),
            "cloud.ca_file, cloud.cert_file and cloud.key_file are only used with TLS, which cloud.url does not use",
        ),
        (
            password && there(password_file),
            "cloud.password and cloud.password_file are both set; the file is used",
        ),
        (
            cloud.user.is_empty() && (password || there(password_file)),
            "there is a password without cloud.user; it is ignored",
        ),
    ]
    .into_iter()
    .filter_map(|(wrong, text)| wrong.then_some(text))
    .collect()
}

/// Returns the valid system settings in these bytes; the defaults if they are not settings at all.
pub fn read_system_settings(bytes: &[u8]) -> system::SystemSettings {
    lenient_toml::parse(bytes).map_or_else(
        |_| system::SystemSettings::default(),
        |parsed| system::system_settings(&parsed.table).0,
    )
}

/// Returns the output of `appliance check-config FILE`, and true if the file has neither errors nor warnings.
pub fn check_config(path: &Path) -> (String, bool) {
    let loaded = load_from(Some(path), &[], &[], false);
    let mut text = String::new();
    for problem in &loaded.problems {
        let level = match problem.level {
            Level::Warning => "warning",
            Level::Error => "error",
        };
        let _ = writeln!(text, "{level}: {problem}");
    }
    let good = loaded.problems.is_empty();
    if good {
        let _ = writeln!(text, "{}: no mistakes", path.display());
    }
    let _ = write!(text, "{}", non_default_settings(&loaded.config));
    (text, good)
}

/// Lists the settings that differ from their defaults, one per line, without secrets.
fn non_default_settings(config: &Config) -> String {
    let flat = |config: &Config| Table::try_from(config).unwrap_or_default();
    let (ours, defaults) = (flat(config), flat(&Config::default()));
    let mut text = String::new();
    for setting in SETTINGS {
        let (value, default) = (value_at(&ours, setting.key), value_at(&defaults, setting.key));
        let (Some(value), Some(default)) = (value, default) else {
            continue;
        };
        if value != default {
            let shown = if setting.secret {
                "(hidden)".to_owned()
            } else {
                format!("{value} (default {default})")
            };
            let _ = writeln!(text, "  {} = {shown}", setting.key);
        }
    }
    if text.is_empty() {
        text.push_str("  all settings have their default values\n");
    }
    text
}

fn value_at<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((section, name)) => table.get(section)?.get(name),
        None => table.get(key),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

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
            assert!(shown.is_some(), "{} is not shown", setting.key);
        }
        let loaded = of_file(TEMPLATE);
        assert_eq!(loaded.config, Config::default());
        assert_eq!(loaded.problems, []);
    }

    #[test]
    fn the_table_and_the_program_agree_on_every_default() {
        let defaults = Table::try_from(Config::default()).unwrap();
        for setting in SETTINGS {
            let ours = value_at(&defaults, setting.key).unwrap();
            assert_eq!(raw_value(ours), setting.default, "{}", setting.key);
            assert_eq!(setting.check(setting.default), Ok(()), "{}", setting.key);
        }
    }

    #[test]
    fn the_shipped_file_explains_every_bound() {
        for setting in SETTINGS {
            use keepsake_protocol::settings::schema::ValueKind;
            let says = |words: &[String]| {
                for word in words {
                    assert!(TEMPLATE.contains(word), "{}: {word} is not explained", setting.key);
                }
            };
            match setting.kind {
                ValueKind::Integer { max, .. } | ValueKind::OptionalInteger { max, .. } => {
                    says(&[max.to_string()]);
                }
                ValueKind::Choice(of) => {
                    says(&of.iter().map(|w| format!("\"{w}\"")).collect::<Vec<_>>());
                }
                ValueKind::IntegerEnum { of, .. } => says(&[of.join(", ")]),
                ValueKind::Bool | ValueKind::Text(_) => {}
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
        assert_eq!(
            (config.capture_interval_s, config.button.pin, config.light.pin),
            (1, 2, 3)
        );
    }

    #[test]
    fn passwords_and_certificates_that_are_of_no_use_are_told() {
        for (text, says) in [
            ("cert_file = \"/c\"", "must both be set"),
            ("ca_file = \"/c\"", "only used with TLS"),
            ("password = \"x\"", "without cloud.user"),
            (
                "user = \"u\"\npassword = \"x\"\npassword_file = \"/p\"",
                "the file is used",
            ),
        ] {
            let loaded = of_file(&format!("[cloud]\n{text}"));
            assert!(!loaded.file_has_errors(), "{text}");
            let said = loaded.problems[0].to_string();
            assert!(said.contains(says), "{said}");
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
            (
                "[cloud]\npart_bytes_max = -1",
                "part_bytes_max = -1 must be a whole number",
            ),
            ("[cloud]\npart_bytes_max = 1e5", "must be a whole number"),
            ("[cloud]\npart_bytes_max = \"20000\"", "must be a whole number"),
            (
                "capture_interval_s = 604801",
                "must be 0 or a whole number, 1 to 604800 seconds",
            ),
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
            let said = loaded.problems[0].to_string();
            assert!(said.contains(says) && said.contains("camera.toml"), "{said}");
        }
    }

    #[test]
    fn every_wrong_value_is_told_and_the_right_ones_apply() {
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
        assert!(
            good && text.contains("cloud.user = \"ali\"") && !text.contains("sesame"),
            "{text}"
        );
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
