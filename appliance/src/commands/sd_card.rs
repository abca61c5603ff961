//! `appliance sd-card`: prepares and watches the SD card of the image.

use std::process::ExitCode;

use clap::Subcommand;

use crate::sd_card;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Before the network: room for the pictures, and the settings from the KEEPSAKE partition.
    Prepare,
    /// Beside the camera: CAMERA-STATUS.txt, and the Wi-Fi that works.
    Watch,
    /// Copy the end of the log to the card.
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
