//! The commands of the command line, one per file.

mod check_config;
mod forget_cloud;
mod run;
mod sd_card;
mod self_test;
mod show_stopped_pattern;
mod spool;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::settings::{self, Config, Level, Loaded};
use crate::status::diagnostics::RecentWarnings;

/// Failed, and worth a restart.
pub const FAILED: u8 = 1;

/// Wrong configuration: a restart would change nothing (sysexits.h, EX_CONFIG).
const MISCONFIGURED: u8 = 78;

/// A camera that keeps its word.
#[derive(Parser)]
#[command(name = "appliance", version)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Take a picture on every press and bring it to the cloud.
    Run {
        #[command(flatten)]
        settings: Settings,
        /// Tell what happens, one JSON object a line, on standard output.
        #[arg(long)]
        events: bool,
    },
    /// Read a settings file and say what is wrong with it.
    CheckConfig {
        #[arg(default_value = "camera.toml")]
        file: PathBuf,
    },
    /// Try every part of this camera once, and say what to do about those that fail.
    SelfTest {
        #[command(flatten)]
        settings: Settings,
    },
    /// Let the light say that the program has stopped (fault 7). systemd runs it when that has happened.
    ShowStoppedPattern {
        #[command(flatten)]
        settings: Settings,
        /// Once, then dark; not at all after a stop that was asked for.
        #[arg(long)]
        once: bool,
    },
    /// Look at the pictures on the card; nothing is changed.
    Spool {
        #[command(subcommand)]
        verb: spool::Verb,
    },
    /// Look after the SD card of the image. systemd runs it, as root.
    SdCard {
        #[command(subcommand)]
        verb: sd_card::Verb,
    },
    /// Accept another cloud from now on: pictures the old one has are offered to the new one as far as they are here.
    ForgetCloud {
        #[arg(long, env = "KEEPSAKE_SPOOL_DIR")]
        spool: Option<PathBuf>,
    },
}

/// Where settings come from; later ones win.
#[derive(Args)]
struct Settings {
    /// The settings file; without it the defaults hold.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Button, light and camera on this computer: Enter or SIGUSR1 is a press.
    #[arg(long)]
    simulated: bool,
    /// The folder in which pictures are kept.
    #[arg(long)]
    spool: Option<PathBuf>,
    /// Where the cloud is: mqtt://host:port, mqtts://host:port, https://host:port or http://host:port.
    #[arg(long)]
    cloud: Option<String>,
    /// The name of this camera.
    #[arg(long)]
    device: Option<String>,
    /// A folder of photographs for the simulated camera.
    #[arg(long)]
    photos: Option<PathBuf>,
    /// Any setting by its name in camera.toml, such as cloud.part_bytes_max=16384.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = name_and_value)]
    set: Vec<(String, String)>,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected name=value")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Runs the command that the arguments name.
///
/// # Errors
/// The command failed; the caller logs the error and exits with [`FAILED`].
pub fn run(arguments: Arguments, recent_warnings: RecentWarnings) -> anyhow::Result<ExitCode> {
    match arguments.verb {
        Verb::Run { settings, events } => run::run(&settings, events, recent_warnings),
        Verb::CheckConfig { file } => Ok(check_config::run(&file)),
        Verb::SelfTest { settings } => Ok(self_test::run(&settings)),
        Verb::ShowStoppedPattern { settings, once } => show_stopped_pattern::run(&settings, once),
        Verb::Spool { verb } => spool::run(verb),
        Verb::SdCard { verb } => sd_card::run(&verb),
        Verb::ForgetCloud { spool } => forget_cloud::run(spool),
    }
}

fn load(arguments: &Settings) -> Loaded {
    let mut overrides = Vec::new();
    let mut set = |name: &str, value: String| overrides.push((name.to_owned(), value));
    if arguments.simulated {
        set("simulated.enabled", "true".to_owned());
    }
    if let Some(folder) = &arguments.spool {
        set("spool.dir", folder.display().to_string());
    }
    if let Some(url) = &arguments.cloud {
        set("cloud.url", url.clone());
    }
    if let Some(device) = &arguments.device {
        set("device", device.clone());
    }
    if let Some(photos) = &arguments.photos {
        set("simulated.photos", photos.display().to_string());
    }
    overrides.extend(arguments.set.iter().cloned());
    settings::load(arguments.config.as_deref(), &overrides, true)
}

/// Tells every problem once; `None` = whoever started this has to correct it first.
fn config_or_report(loaded: &Loaded) -> Option<&Config> {
    for problem in &loaded.problems {
        match problem.level {
            Level::Warning => tracing::warn!("{problem}"),
            Level::Error => tracing::error!("{problem}"),
        }
    }
    (!loaded.cli_has_errors()).then_some(&loaded.config)
}

fn spool_folder(given: Option<PathBuf>) -> PathBuf {
    given.unwrap_or_else(|| Config::default().spool.dir)
}
