//! `cargo emulate`: the SD card image in an emulated Raspberry Pi, with a cloud on this computer. The work is done by a
//! program of the crate `image-build`, which this one need not know, so that it is built sooner.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::deb::{self, Arch};
use crate::debian::{self, Emulation, Release, System};
use crate::{image, workspace};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The camera's program for arm64, for an image that has to be made: instead of building it.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Pictures in a burst.
    #[arg(long, value_name = "NUMBER")]
    pictures: Option<u64>,
    /// Instead of the image one laid out as Raspberry Pi OS Lite, made here of Debian's packages, with the camera added to it
    /// as `cargo image -- --onto` does. As root, on Debian.
    #[arg(long)]
    onto: bool,
    /// Keep the card and what the console said, and say where they are.
    #[arg(long)]
    keep: bool,
}

/// Returns whether all was as promised.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let mut system = None;
    if arguments.onto {
        debian::can_be_had()?;
        let _emulation = Emulation::of(Arch::Arm64)?;
        system = Some(System::for_a_pi(Release::Debian13)?);
    } else if image::file()?.is_file() {
        println!("the image that is there is taken; cargo image makes a new one");
    } else if !image::run(&image::Arguments::with_program(arguments.program.clone()))? {
        return Ok(false);
    }
    // What is started beside the emulated Pi: the cloud, and the camera's own tool for pulled cards.
    let built = workspace::cargo()
        .args([
            "build",
            "--package",
            "keepsake-cloud",
            "--package",
            "keepsake-appliance",
        ])
        .status()
        .context("run cargo")?;
    if !built.success() {
        return Ok(false);
    }
    let mut emulate = workspace::cargo();
    emulate
        .args(["run", "--quiet", "--package", "image-build"])
        .args(["--features", "emulate", "--bin", "emulate", "--"]);
    if let Some(system) = &system {
        emulate
            .arg("--onto")
            .arg(&system.root)
            .arg("--program")
            .arg(deb::program_for_the_pi(arguments.program.as_deref())?);
    } else {
        emulate.arg("--output").arg(image::folder()?);
    }
    if let Some(pictures) = arguments.pictures {
        emulate.arg(format!("--pictures={pictures}"));
    }
    if arguments.keep {
        emulate.arg("--keep");
    }
    Ok(emulate.status().context("run cargo")?.success())
}
