//! `cargo xtask torture`: the long runs of the end-to-end tests. The work is done by a program of the test kit, which this one
//! need not know, so that it is built sooner.

use std::ffi::OsString;

use anyhow::{Context, Result};

use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Returns whether nothing was lost.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let build = [
        "build",
        "--package",
        "keepsake-cloud",
        "--package",
        "keepsake-appliance",
    ];
    let built = workspace::cargo()
        .args(build)
        .status()
        .context("run cargo")?;
    if !built.success() {
        return Ok(false);
    }
    let status = workspace::cargo()
        .args([
            "run",
            "--quiet",
            "--package",
            "keepsake-testkit",
            "--bin",
            "torture",
            "--",
        ])
        .args(&arguments.arguments)
        .status()
        .context("run cargo")?;
    Ok(status.success())
}
