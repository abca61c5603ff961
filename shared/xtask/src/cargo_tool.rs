//! Cargo's own helpers, fetched when they are missing: into `target/tools`, never into the person's own cargo.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use keepsake_provision::workspace;

/// A program of crates.io, by the version that works with our Rust; newer ones may want a newer one.
pub(crate) struct CargoTool {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

impl CargoTool {
    /// The file of the program: the person's own, or one built once, which takes a few minutes.
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
        println!("{name} is missing; it is built once, which takes a few minutes");
        let status = workspace::cargo()
            .args(["install", name, "--locked", "--quiet"])
            .args(["--version", version, "--root"])
            .arg(&tools)
            .status()
            .context("run cargo install")?;
        if !status.success() {
            bail!("{name} cannot be installed");
        }
        Ok(own)
    }
}
