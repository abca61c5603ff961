//! Cargo subcommands from crates.io, installed into `target/tools` when they are missing, never into the user's own
//! cargo.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use keepsake_provision::workspace;

/// A crates.io program, pinned to a version that builds with our Rust.
pub(crate) struct CargoTool {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

impl CargoTool {
    /// Returns the program: the user's own, or one built once, which takes a few minutes.
    pub(crate) fn find(&self) -> Result<PathBuf> {
        let Self { name, version } = self;
        let tools = workspace::target().join("tools");
        let own = tools.join("bin").join(name);
        for candidate in [PathBuf::from(name), own.clone()] {
            let works = Command::new(&candidate)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if works.is_ok_and(|status| status.success()) {
                return Ok(candidate);
            }
        }
        println!("{name} is missing; building it once, which takes a few minutes");
        let status = workspace::cargo()
            .args(["install", name, "--locked", "--quiet"])
            .args(["--version", version, "--root"])
            .arg(&tools)
            .status()
            .context("run cargo install")?;
        if !status.success() {
            bail!("cargo install {name} has failed");
        }
        Ok(own)
    }
}
