//! cargo-deny, fetched when it is missing: into `target/tools`, never into the person's own cargo.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Newer ones may want a newer Rust than ours.
const VERSION: &str = "0.20.2";

/// Runs the checks named; returns whether they found nothing.
pub(crate) fn check(what: &[&str]) -> Result<bool> {
    let deny = find()?;
    let status = Command::new(deny)
        .current_dir(workspace::root())
        .args([
            "--workspace",
            "--all-features",
            "check",
            "--hide-inclusion-graph",
        ])
        .args(what)
        .status()
        .context("run cargo-deny")?;
    Ok(status.success())
}

fn find() -> Result<PathBuf> {
    let tools = workspace::target()?.join("tools");
    let own = tools.join("bin/cargo-deny");
    for candidate in [PathBuf::from("cargo-deny"), own.clone()] {
        let works = Command::new(&candidate)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if works.is_ok_and(|status| status.success()) {
            return Ok(candidate);
        }
    }
    println!("cargo-deny is missing; it is built once, which takes a few minutes");
    let status = workspace::cargo()
        .args(["install", "cargo-deny", "--locked", "--quiet"])
        .args(["--version", VERSION, "--root"])
        .arg(&tools)
        .status()
        .context("run cargo install")?;
    if !status.success() {
        bail!("cargo-deny cannot be installed");
    }
    Ok(own)
}
