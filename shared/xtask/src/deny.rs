//! cargo-deny: what may come into the tree.

use std::process::Command;

use anyhow::{Context, Result};

use keepsake_provision::workspace;

use crate::cargo_tool::CargoTool;

const DENY: CargoTool = CargoTool {
    name: "cargo-deny",
    version: "0.20.2",
};

/// Runs the checks named; returns whether they found nothing.
pub(crate) fn check(what: &[&str]) -> Result<bool> {
    let status = Command::new(DENY.find()?)
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
