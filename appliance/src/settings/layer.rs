//! Reads one layer of settings: the file, the environment, the command line, or the cloud.

use std::path::Path;

use keepsake_protocol::settings::schema::{SETTINGS, Setting};
use serde_json::{Map, Value as Json};
use toml::{Table, Value};

use super::merge::merge;
use super::problem::{Level, Origin, Problem};
use super::value::{closest, closest_setting, environment_variable, is_section, parse_text, raw_value};
use super::{lenient_toml, suggest, system};

/// The valid settings of one origin, and the problems of the others.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Layer {
    pub(super) values: Vec<(&'static str, Value)>,
    pub(super) problems: Vec<Problem>,
}

impl Layer {
    pub(super) fn has_errors(&self) -> bool {
        self.problems.iter().any(|p| p.level == Level::Error)
    }

    /// Returns the layer of `camera.toml`, and the bytes of the file if it could be read.
    pub(super) fn from_file(path: &Path) -> (Self, Option<Vec<u8>>) {
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
                // In the order in which a person reads the file.
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
        let config = merge(&self.values).0;
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

    pub(super) fn from_environment(variables: &[(String, String)]) -> Self {
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

    pub(super) fn from_command_line(overrides: &[(String, String)]) -> Self {
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
    pub(super) fn from_cloud(overrides: &Map<String, Json>) -> Self {
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
        self.problems.push(Problem { level, origin: origin.clone(), line, text });
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
pub(super) fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut short: String = text.chars().take(CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}
