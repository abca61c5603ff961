//! Checks of the dependencies: which may come into the tree (cargo-deny), and which nothing uses (cargo-machete).

use std::process::Command;

use anyhow::{Context, Result};
use keepsake_provision::workspace;

use crate::cargo_tool::CargoTool;

const DENY: CargoTool = CargoTool { name: "cargo-deny", version: "0.20.2" };
const MACHETE: CargoTool = CargoTool { name: "cargo-machete", version: "0.9.2" };

/// Runs these checks of cargo-deny; returns whether they found nothing.
pub(crate) fn deny(checks: &[&str]) -> Result<bool> {
    let status = Command::new(DENY.find()?)
        .current_dir(workspace::root())
        .args(["--workspace", "--all-features", "check", "--hide-inclusion-graph"])
        .args(checks)
        .status()
        .context("run cargo-deny")?;
    Ok(status.success())
}

/// Looks for dependencies that no source file names; returns whether there are none.
pub(crate) fn unused() -> Result<bool> {
    let status = Command::new(MACHETE.find()?)
        .current_dir(workspace::root())
        .status()
        .context("run cargo-machete")?;
    Ok(status.success())
}
