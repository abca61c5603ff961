//! Merges settings, and resolves the conflicts between valid ones.

use std::path::PathBuf;

use serde_json::Value as Json;
use toml::{Table, Value};

use super::problem::{Level, Origin, Problem};
use super::value::default_table;
use super::{CloudSettings, Config};

/// Merges valid settings with the defaults; later ones override earlier ones. The problems are conflicts between them.
pub(super) fn merge<'a>(values: impl IntoIterator<Item = &'a (&'static str, Value)>) -> (Config, Vec<Problem>) {
    let mut table = default_table();
    let mut part_is_set = false;
    for (key, value) in values {
        part_is_set |= *key == "cloud.part_bytes_max";
        match key.split_once('.') {
            Some((section, name)) => table[section][name] = value.clone(),
            None => table[*key] = value.clone(),
        }
    }
    let mut problems = Vec::new();
    let mut say = |level, text| {
        problems.push(Problem { level, origin: Origin::Combination, line: None, text });
    };
    let mut config: Config = table.try_into().unwrap_or_else(|error| {
        // Every value was checked against the table, so this is a mistake in the table; even then the camera runs.
        say(Level::Error, format!("the defaults are used: {error}"));
        Config::default()
    });
    if config.cloud.part_bytes_max > config.cloud.window_bytes {
        config.cloud.part_bytes_max = config.cloud.window_bytes;
        if part_is_set {
            let text = "cloud.part_bytes_max is above cloud.window_bytes and is treated as equal to it";
            say(Level::Warning, text.to_owned());
        }
    }
    for text in credential_warnings(&config.cloud) {
        say(Level::Warning, text.to_owned());
    }
    let backoff = &mut config.backoff;
    for (max, initial, name) in [
        (&mut backoff.max_s, backoff.initial_s, ""),
        (&mut backoff.reconnect_max_s, backoff.reconnect_initial_s, "reconnect_"),
    ] {
        if *max < initial {
            *max = initial;
            let text = format!("backoff.{name}max_s is below backoff.{name}initial_s and is treated as equal to it");
            say(Level::Warning, text);
        }
    }
    (config, problems)
}

/// Returns warnings about passwords and certificates that have no effect.
fn credential_warnings(cloud: &CloudSettings) -> Vec<&'static str> {
    let there = |path: &PathBuf| !path.as_os_str().is_empty();
    let CloudSettings {
        ca_file: ca, cert_file: cert, key_file: key, password_file, ..
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

/// Returns the value of a setting in `config` as JSON; `null` for an unknown name.
pub(crate) fn value_in(config: &Config, name: &str) -> Json {
    let config = serde_json::to_value(config).unwrap_or_default();
    let value = match name.split_once('.') {
        Some((section, name)) => &config[section][name],
        None => &config[name],
    };
    value.clone()
}

/// Returns the value of a setting in a table of all settings.
pub(super) fn value_at<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((section, name)) => table.get(section)?.get(name),
        None => table.get(key),
    }
}
