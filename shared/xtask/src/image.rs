//! `cargo image`: the SD card image, in `target/image`. The work is done by the crate `image-build`, which this one need
//! not know, so that it is built sooner.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::{deb, workspace};

#[derive(Default, clap::Args)]
pub(crate) struct Arguments {
    /// The camera's program for arm64, instead of building it.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Uses the packages that were fetched for the last image, and no network.
    #[arg(long)]
    offline: bool,
    /// Makes the image twice, the second time in another folder, with another mask, time zone and language, and compares.
    #[arg(long)]
    check: bool,
    /// Puts the camera into this image of Raspberry Pi OS Lite (64-bit), without starting it: .img, .img.xz or .img.zst.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["check", "write"])]
    onto: Option<PathBuf>,
    /// Writes the image that was made last to this disk, a card in a reader, and reads it back. Nothing is made.
    #[arg(long, value_name = "DISK", conflicts_with_all = ["check", "program", "offline"])]
    write: Option<PathBuf>,
    /// The image to write, instead of the one that was made last.
    #[arg(long, value_name = "FILE", requires = "write")]
    image: Option<PathBuf>,
    /// What is written to is a file and no disk.
    #[arg(long, requires = "write")]
    file: bool,
    /// The serial number or the size in bytes of a disk that does not look like a card.
    #[arg(long, value_name = "NUMBER", requires = "write")]
    yes_this_disk: Option<String>,
}

impl Arguments {
    /// As `cargo image` alone, with the camera's program if it is there already.
    pub(crate) fn with_program(program: Option<PathBuf>) -> Self {
        Self {
            program,
            ..Self::default()
        }
    }
}

/// Where it makes everything.
pub(crate) fn folder() -> Result<PathBuf> {
    Ok(workspace::target()?.join("image"))
}

/// The image, whether or not it was made.
pub(crate) fn file() -> Result<PathBuf> {
    let version = env!("CARGO_PKG_VERSION");
    Ok(folder()?.join(format!("keepsake-{version}-arm64.img.zst")))
}

/// Debian's packages that images are made with and that are not installed, between blanks.
pub(crate) fn packages_missing() -> Result<String> {
    let output = workspace::cargo()
        .args(["run", "--quiet", "--package", "image-build"])
        .args(["--bin", "image", "--", "--packages-missing"])
        .stderr(Stdio::inherit())
        .output()
        .context("run cargo")?;
    ensure!(output.status.success(), "cargo: {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns whether the image was made, or written.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let mut image = workspace::cargo();
    image
        .args(["run", "--quiet", "--package", "image-build"])
        .args(["--bin", "image", "--", "--output"])
        .arg(folder()?);
    if let Some(disk) = &arguments.write {
        image.arg("--write").arg(disk);
        if let Some(file) = &arguments.image {
            image.arg("--image").arg(file);
        }
        if let Some(number) = &arguments.yes_this_disk {
            image.arg("--yes-this-disk").arg(number);
        }
    } else {
        let program = deb::program_for_the_pi(arguments.program.as_deref())?;
        image.arg("--program").arg(program);
        if let Some(file) = &arguments.onto {
            image.arg("--onto").arg(file);
        }
    }
    for (flag, given) in [
        ("--offline", arguments.offline),
        ("--check", arguments.check),
        ("--file", arguments.file),
    ] {
        if given {
            image.arg(flag);
        }
    }
    Ok(image.status().context("run cargo")?.success())
}
