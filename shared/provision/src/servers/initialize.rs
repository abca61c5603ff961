//! The parts that MariaDB and MySQL share: the command of a server, and the initialization of an empty data directory.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, Result, bail};

use crate::prefix::Prefix;

/// The user of the private servers, with all privileges.
pub(super) const USER: &str = "keepsake";
/// Public, and good enough on loopback for the length of a test.
pub(super) const PASSWORD: &str = "only-for-tests";

/// A server that can be run.
#[derive(Debug)]
pub(super) enum ServerProgram {
    Installed(PathBuf),
    Fetched(Prefix),
}

impl ServerProgram {
    /// Returns the server's command without the settings of a test. `fetched`: the program in a fetched package.
    pub(super) fn command(&self, fetched: &str, data: &Path) -> Result<Command> {
        let mut command = match self {
            Self::Installed(path) => Command::new(path),
            Self::Fetched(prefix) => prefix.command(fetched)?,
        };
        // This flag must be the first.
        command.arg("--no-defaults");
        if let Self::Fetched(prefix) = self {
            let usr = prefix.path().join("usr");
            command.args([
                format!("--basedir={}", usr.display()),
                format!("--lc-messages-dir={}/share/mysql", usr.display()),
                format!("--character-sets-dir={}/share/mysql/charsets", usr.display()),
                format!("--plugin-dir={}/lib/mysql/plugin", usr.display()),
            ]);
        }
        // Both servers refuse to run as root unless a flag says so.
        if crate::host::is_root() {
            command.arg("--user=root");
        }
        command.arg(format!("--datadir={}", data.display()));
        Ok(command)
    }
}

/// Waits for a child that initializes a data directory; the error carries its own error lines.
pub(super) fn wait_for_success(what: &str, child: Child) -> Result<()> {
    let done = child.wait_with_output().with_context(|| what.to_owned())?;
    if done.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&done.stderr);
    let errors: Vec<&str> = stderr.lines().filter(|line| line.contains("ERROR")).collect();
    bail!("{what}: {}: {}", done.status, errors.join("; "))
}
