//! `appliance sd-card`: prepares and watches the SD card of the image.

use std::process::ExitCode;

use clap::Subcommand;

use crate::sd_card;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Extend the space for pictures and apply the settings from the KEEPSAKE partition. Runs before the network starts.
    Prepare,
    /// Keep CAMERA-STATUS.txt up to date and remember the Wi-Fi that works. Runs next to the camera.
    Watch,
    /// Save the end of the log on the card.
    KeepLog,
}

pub(super) fn run(verb: &Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Prepare => sd_card::prepare_card(),
        Verb::Watch => sd_card::watch(),
        Verb::KeepLog => sd_card::keep_log(),
    }
    .map(|()| ExitCode::SUCCESS)
}
