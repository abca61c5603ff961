//! The arguments that all commands have for settings, and the exit codes.

use std::path::PathBuf;

use clap::Args;

use crate::settings::{self, Config, Level, Loaded};

/// The exit code for a failure that a restart may fix.
pub const FAILED: u8 = 1;

/// The exit code for a wrong configuration: a restart would change nothing (sysexits.h, EX_CONFIG).
pub(super) const MISCONFIGURED: u8 = 78;

/// The sources of settings; later ones override earlier ones.
#[derive(Args)]
pub(super) struct Settings {
    /// The settings file. Without it, the defaults apply.
    #[arg(long)]
    pub(super) config: Option<PathBuf>,
    /// Simulate button, LED and camera on this computer: Enter or SIGUSR1 is a press.
    #[arg(long)]
    simulated: bool,
    /// The directory that stores pictures.
    #[arg(long)]
    spool: Option<PathBuf>,
    /// The address of the cloud: mqtt://host:port, mqtts://host:port, https://host:port or http://host:port.
    #[arg(long)]
    cloud: Option<String>,
    /// The name of this camera.
    #[arg(long)]
    device: Option<String>,
    /// A directory of photographs for the simulated camera.
    #[arg(long)]
    photos: Option<PathBuf>,
    /// Any setting by its key in camera.toml, such as cloud.part_bytes_max=16384.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = name_and_value)]
    set: Vec<(String, String)>,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected name=value")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

pub(super) fn load(arguments: &Settings) -> Loaded {
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let overrides: Vec<(String, String)> = [
        ("simulated.enabled", arguments.simulated.then(|| "true".to_owned())),
        ("spool.dir", path(&arguments.spool)),
        ("cloud.url", arguments.cloud.clone()),
        ("device", arguments.device.clone()),
        ("simulated.photos", path(&arguments.photos)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .chain(arguments.set.iter().cloned())
    .collect();
    settings::load(arguments.config.as_deref(), &overrides, true)
}

/// Logs every problem; returns `None` if the command line has an error.
pub(super) fn config_or_report(loaded: &Loaded) -> Option<&Config> {
    for problem in &loaded.problems {
        match problem.level {
            Level::Warning => tracing::warn!("{problem}"),
            Level::Error => tracing::error!("{problem}"),
        }
    }
    (!loaded.cli_has_errors()).then_some(&loaded.config)
}

pub(super) fn spool_folder(given: Option<PathBuf>) -> PathBuf {
    given.unwrap_or_else(|| Config::default().spool.dir)
}
