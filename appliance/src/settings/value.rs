//! Conversions of values from `camera.toml`, the environment and the command line.

use keepsake_protocol::settings::schema::{RawValue, SETTINGS, Setting, ValueKind};
use serde_json::Value as Json;
use toml::{Table, Value};

/// Converts a TOML value for [`Setting::check`].
pub(super) fn raw_value(value: &Value) -> RawValue<'_> {
    match value {
        Value::Integer(number) => u64::try_from(*number).map_or(RawValue::Other, RawValue::Integer),
        Value::Boolean(on) => RawValue::Bool(*on),
        Value::String(text) => RawValue::Text(text),
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => RawValue::Other,
    }
}

/// Returns the defaults of all settings.
pub(super) fn default_table() -> Table {
    let mut table = Table::new();
    for setting in SETTINGS {
        let value = Value::try_from(Json::from(setting.default)).expect("a test checks that every default is valid");
        let section = setting.key.split_once('.').map(|(section, _)| section);
        let within = match section {
            Some(section) => table
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()))
                .as_table_mut()
                .expect("no setting has the name of a section"),
            None => &mut table,
        };
        within.insert(short_name(setting).to_owned(), value);
    }
    table
}

/// Returns the name of the environment variable of a setting.
pub(super) fn environment_variable(setting: &Setting) -> String {
    format!("KEEPSAKE_{}", setting.key.to_ascii_uppercase().replace('.', "_"))
}

/// Converts text from the environment or the command line to the right type; unparsable text stays text, for
/// [`Setting::check`] to reject.
pub(super) fn parse_text(setting: &Setting, text: &str) -> Value {
    match setting.kind {
        ValueKind::Integer { .. } | ValueKind::OptionalInteger { .. } | ValueKind::IntegerEnum { .. } => text
            .trim()
            .replace('_', "")
            .parse()
            .map_or_else(|_| Value::String(text.to_owned()), Value::Integer),
        ValueKind::Bool => text.trim().parse().map_or_else(|_| Value::String(text.to_owned()), Value::Boolean),
        ValueKind::Choice(_) => Value::String(text.trim().to_owned()),
        ValueKind::Text(_) => Value::String(text.to_owned()),
    }
}

/// Returns true for the name of a section.
pub(super) fn is_section(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.key.split_once('.').is_some_and(|(s, _)| s == name))
}

/// Returns the name without its section.
pub(super) fn short_name(setting: &Setting) -> &'static str {
    setting.key.rsplit('.').next().unwrap_or(setting.key)
}

pub(super) fn is_number(setting: &Setting) -> bool {
    match setting.kind {
        ValueKind::Integer { .. } | ValueKind::OptionalInteger { .. } | ValueKind::IntegerEnum { .. } => true,
        ValueKind::Bool | ValueKind::Choice(_) | ValueKind::Text(_) => false,
    }
}

/// Returns the word closest to `written`, if it is close enough; case is ignored.
pub(super) fn closest(written: &str, words: impl IntoIterator<Item = &'static str>) -> Option<&'static str> {
    let written = written.trim().to_lowercase();
    let likeness = |word: &'static str| {
        let likeness = strsim::normalized_damerau_levenshtein(&written, &word.to_lowercase());
        (likeness, word)
    };
    words
        .into_iter()
        .map(likeness)
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

/// Returns the key closest to `key`, if it is close enough.
pub(super) fn closest_setting(key: &str) -> Option<&'static str> {
    let written = key.rsplit('.').next().unwrap_or(key);
    SETTINGS
        .iter()
        .map(|setting| {
            let whole = strsim::normalized_damerau_levenshtein(key, setting.key);
            // The right name in the wrong section, or in none.
            let name = strsim::normalized_damerau_levenshtein(written, short_name(setting)) - 0.05;
            (whole.max(name), setting.key)
        })
        .filter(|(likeness, _)| *likeness >= 0.65)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, key)| key)
}
