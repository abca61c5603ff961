//! The report of `appliance check-config`.

use std::fmt::Write as _;
use std::path::Path;

use keepsake_protocol::settings::schema::SETTINGS;
use toml::Table;

use super::Config;
use super::load::load_from;
use super::merge::value_at;
use super::problem::Level;
use super::value::default_table;

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
    let (ours, defaults) = (Table::try_from(config).unwrap_or_default(), default_table());
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
