//! The SD card image of the camera, in steps that can be looked at one by one.
//!
//! [`prepare`] fetches Debian's packages for the Pi and unpacks them; [`build`] makes the card of them and of the files in
//! `card/`; [`artifacts`] lists what is on it; [`reproducible`] builds it twice and compares; [`customize`] adds the camera to
//! Raspberry Pi OS instead; [`mod@write`] brings it onto a card. No program for the Pi is run: a root file system that is
//! read-only needs no package manager, so it is laid out by hand ([`build::root`]) and nothing has to be configured in an
//! emulated processor. Why, and what was lost: docs/decisions/0018-image.md.
//!
//! Same packages, same program and same `SOURCE_DATE_EPOCH` are meant to make the same bytes, wherever and by whomever.

use std::path::{Path, PathBuf};

pub mod artifacts;
pub mod build;
pub mod customize;
pub mod host_tools;
pub mod layout;
pub mod prepare;
pub mod reproducible;
pub mod write;

/// The image that was made last in this folder, whether or not there is one.
pub fn image_in(output: &Path) -> PathBuf {
    let version = env!("CARGO_PKG_VERSION");
    output.join(format!("keepsake-{version}-arm64.img.zst"))
}
