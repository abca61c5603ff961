//! MySQL: finding it, initializing a data folder, and the command that starts it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::initialize::{PASSWORD, USER, allow_root, wait_for_success};
use crate::prefix::{Prefix, Source};

/// The variable with a `mysqld` of MySQL to use instead of a fetched one. The path is not searched: on most systems
/// `mysqld` is MariaDB.
const PROGRAM_VARIABLE: &str = "KEEPSAKE_TEST_MYSQLD";

/// A MySQL that can be run.
#[derive(Debug)]
pub(super) enum MySql {
    Installed(PathBuf),
    Fetched(Prefix),
}

impl MySql {
    /// Only Debian's unstable suite has it. The suite moves, so tests print the version.
    pub(super) fn find() -> Result<Self> {
        if let Some(chosen) = std::env::var_os(PROGRAM_VARIABLE) {
            return Ok(Self::Installed(chosen.into()));
        }
        Prefix::fetch("mysql", &["mysql-server-core"], Source::Suite("unstable")).map(Self::Fetched)
    }

    /// Returns how to install one.
    pub(super) fn install_hint() -> String {
        format!("name a mysqld of MySQL 8 or later in {PROGRAM_VARIABLE}")
    }

    /// Returns the server's command, without the settings of a test.
    pub(super) fn command(&self, data: &Path) -> Result<Command> {
        let mut command = match self {
            Self::Installed(path) => {
                let mut command = Command::new(path);
                command.arg("--no-defaults");
                command
            }
            Self::Fetched(prefix) => {
                let mut command = prefix.command("usr/sbin/mysqld")?;
                let usr = prefix.path().join("usr");
                command.arg("--no-defaults").args([
                    format!("--basedir={}", usr.display()),
                    format!("--lc-messages-dir={}/share/mysql", usr.display()),
                    format!("--character-sets-dir={}/share/mysql/charsets", usr.display()),
                    format!("--plugin-dir={}/lib/mysql/plugin", usr.display()),
                ]);
                command
            }
        };
        allow_root(&mut command);
        command
            .arg(format!("--datadir={}", data.display()))
            .arg("--mysqlx=OFF")
            // The folder for reading and writing files by SQL does not exist.
            .arg("--secure-file-priv=NULL");
        Ok(command)
    }

    /// Creates the system tables and our user in the empty folder `data`.
    pub(super) fn initialize(&self, data: &Path) -> Result<()> {
        let sql = data.with_file_name("mysql-user.sql");
        let made = format!(
            "CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\n\
             GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n"
        );
        fs::write(&sql, made).with_context(|| format!("write {}", sql.display()))?;
        let child = self
            .command(data)?
            .arg("--initialize-insecure")
            .arg(format!("--init-file={}", sql.display()))
            // The log is created at this size; a small one is copied faster.
            .arg("--innodb-redo-log-capacity=8M")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start mysqld")?;
        let done = wait_for_success("initialise MySQL", child);
        let _ = fs::remove_file(sql);
        done
    }
}
