//! MySQL: finding it, initializing a data directory, and the command that starts it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::initialize::{PASSWORD, ServerProgram, USER, wait_for_success};
use crate::prefix::{Prefix, Source};

/// The variable with a `mysqld` of MySQL to use instead of a fetched one. The path is not searched: on most systems
/// `mysqld` is MariaDB.
const PROGRAM_VARIABLE: &str = "KEEPSAKE_TEST_MYSQLD";

/// A MySQL that can be run.
#[derive(Debug)]
pub(super) struct MySql(ServerProgram);

impl MySql {
    /// Only Debian's unstable suite has it. The suite moves, so tests print the version.
    pub(super) fn find() -> Result<Self> {
        if let Some(chosen) = std::env::var_os(PROGRAM_VARIABLE) {
            return Ok(Self(ServerProgram::Installed(chosen.into())));
        }
        Prefix::fetch("mysql", &["mysql-server-core"], Source::Suite("unstable"))
            .map(|prefix| Self(ServerProgram::Fetched(prefix)))
    }

    /// Returns how to install one.
    pub(super) fn install_hint() -> String {
        format!("name a mysqld of MySQL 8 or later in {PROGRAM_VARIABLE}")
    }

    /// Returns the server's command, without the settings of a test.
    pub(super) fn command(&self, data: &Path) -> Result<Command> {
        let mut command = self.0.command("usr/sbin/mysqld", data)?;
        command
            .arg("--mysqlx=OFF")
            // The directory for reading and writing files by SQL does not exist.
            .arg("--secure-file-priv=NULL");
        Ok(command)
    }

    /// Creates the system tables and our user in the empty directory `data`.
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
