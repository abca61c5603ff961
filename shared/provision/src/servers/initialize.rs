//! What MariaDB and MySQL share when an empty data folder is initialized.

use std::process::{Child, Command};

use anyhow::{Context, Result, bail};

/// The user of the private servers, with all privileges.
pub(super) const USER: &str = "keepsake";
/// Public, and good enough on loopback for the length of a test.
pub(super) const PASSWORD: &str = "only-for-tests";

/// Both servers refuse to run as root unless a flag says so.
pub(super) fn allow_root(command: &mut Command) {
    if crate::host::is_root() {
        command.arg("--user=root");
    }
}

/// Waits for a child that initializes a data folder; the error carries its own error lines.
pub(super) fn wait_for_success(what: &str, child: Child) -> Result<()> {
    let done = child.wait_with_output().with_context(|| what.to_owned())?;
    if done.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&done.stderr);
    let errors: Vec<&str> = stderr.lines().filter(|line| line.contains("ERROR")).collect();
    bail!("{what}: {}: {}", done.status, errors.join("; "))
}
