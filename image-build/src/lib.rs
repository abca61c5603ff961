//! The SD card image of the camera, built in separate steps.
//!
//! [`prepare`] fetches and unpacks Debian's packages for the Pi; [`build`] makes the card from them and the files in
//! `card/`; [`artifacts`] writes the files beside the image; [`reproducible`] builds it twice and compares;
//! [`customize`] adds the camera to Raspberry Pi OS instead; [`mod@write`] writes the image to a card. No program for
//! the Pi is run: a read-only root file system needs no package manager, so its files are laid out directly
//! ([`build::root`]) and nothing is configured in an emulated processor. docs/decisions/0018-image.md has the reasons
//! and the costs.
//!
//! Same packages, same program and same `SOURCE_DATE_EPOCH` are meant to make the same bytes, wherever and by whomever.

use std::path::{Path, PathBuf};

pub mod artifacts;
pub mod build;
pub mod customize;
pub mod host_tools;
pub mod inputs;
pub mod layout;
pub mod prepare;
pub mod reproducible;
pub mod write;

/// The image that was made last in this directory, whether or not there is one.
pub fn image_in(output: &Path) -> PathBuf {
    let version = env!("CARGO_PKG_VERSION");
    output.join(format!("keepsake-{version}-arm64.img.zst"))
}
