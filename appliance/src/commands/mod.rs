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

/// The exit code for a failure that a restart may fix.
pub const FAILED: u8 = 1;

/// The exit code for a wrong configuration: a restart would change nothing (sysexits.h, EX_CONFIG).
const MISCONFIGURED: u8 = 78;

/// A camera that never loses a picture.
#[derive(Parser)]
#[command(name = "appliance", version)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Take a picture on every press and upload it to the cloud.
    Run {
        #[command(flatten)]
        settings: Settings,
        /// Write events to stdout as JSON lines.
        #[arg(long)]
        events: bool,
    },
    /// Check a settings file and list its mistakes.
    CheckConfig {
        #[arg(default_value = "camera.toml")]
        file: PathBuf,
    },
    /// Test every part of this camera, and say how to fix those that fail.
    SelfTest {
        #[command(flatten)]
        settings: Settings,
    },
    /// Show on the LED that the camera has stopped (fault 7). systemd runs this.
    ShowStoppedPattern {
        #[command(flatten)]
        settings: Settings,
        /// Show it once, then turn the LED off; show nothing after a requested stop.
        #[arg(long)]
        once: bool,
    },
    /// List, verify or export the pictures on the card, without changing them.
    Spool {
        #[command(subcommand)]
        verb: spool::Verb,
    },
    /// Prepare and maintain the SD card of the image. systemd runs this as root.
    SdCard {
        #[command(subcommand)]
        verb: sd_card::Verb,
    },
    /// Unpair from the cloud: the next cloud is accepted, and every picture on the card is offered to it.
    ForgetCloud {
        #[arg(long, env = "KEEPSAKE_SPOOL_DIR")]
        spool: Option<PathBuf>,
    },
}

/// The sources of settings; later ones override earlier ones.
#[derive(Args)]
struct Settings {
    /// The settings file. Without it, the defaults apply.
    #[arg(long)]
    config: Option<PathBuf>,
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

/// Logs every problem; returns `None` if the command line has an error.
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
