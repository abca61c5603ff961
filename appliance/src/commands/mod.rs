//! The commands of the command line, one per file.

mod check_config;
mod run;
mod sd_card;
mod self_test;
mod settings_arguments;
mod show_stopped_pattern;
mod spool;
mod unpair;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::settings_arguments::Settings;
use crate::status::diagnostics::RecentWarnings;

pub use crate::commands::settings_arguments::FAILED;

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
    Unpair {
        #[arg(long, env = "KEEPSAKE_SPOOL_DIR")]
        spool: Option<PathBuf>,
    },
}

/// Runs the command that the arguments name. The caller logs an error and exits with [`FAILED`].
pub fn run(arguments: Arguments, recent_warnings: RecentWarnings) -> anyhow::Result<ExitCode> {
    match arguments.verb {
        Verb::Run { settings, events } => run::run(&settings, events, recent_warnings),
        Verb::CheckConfig { file } => Ok(check_config::run(&file)),
        Verb::SelfTest { settings } => Ok(self_test::run(&settings)),
        Verb::ShowStoppedPattern { settings, once } => show_stopped_pattern::run(&settings, once),
        Verb::Spool { verb } => spool::run(verb),
        Verb::SdCard { verb } => sd_card::run(&verb),
        Verb::Unpair { spool } => unpair::run(spool),
    }
}
