//! `cargo image`: the SD card image, in `target/image`. The work is done by the crate `image-build`, which this one need
//! not know, so that it is built sooner.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{deb, workspace};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The camera's program for arm64, instead of building it.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Uses the packages that were fetched for the last image, and no network.
    #[arg(long)]
    offline: bool,
}

impl Arguments {
    /// As `cargo image` alone, with the camera's program if it is there already.
    pub(crate) fn with_program(program: Option<PathBuf>) -> Self {
        Self {
            program,
            offline: false,
        }
    }
}

/// Returns whether the image was made.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => deb::build_for_the_pi()?,
    };
    let mut image = workspace::cargo();
    image
        .args([
            "run",
            "--quiet",
            "--package",
            "image-build",
            "--bin",
            "image",
            "--",
        ])
        .arg("--program")
        .arg(program)
        .arg("--output")
        .arg(workspace::target()?.join("image"));
    if arguments.offline {
        image.arg("--offline");
    }
    Ok(image.status().context("run cargo")?.success())
}
