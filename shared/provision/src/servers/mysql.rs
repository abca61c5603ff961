//! MySQL: where it comes from, how an empty data folder is made, and how it is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::initialize::{PASSWORD, USER, allow_root, wait_for_success};
use crate::prefix::{Prefix, Source};

/// Names a `mysqld` of MySQL to be used instead of a fetched one. One on the path is not looked for: it is MariaDB on
/// most systems.
const PROGRAM_VARIABLE: &str = "KEEPSAKE_TEST_MYSQLD";

/// A MySQL that can be run.
#[derive(Debug)]
pub(super) enum MySql {
    Installed(PathBuf),
    Fetched(Prefix),
}

impl MySql {
    /// Only Debian's unstable suite has it; that suite moves, so whoever tests with it says which version it was.
    pub(super) fn find() -> Result<Self> {
        if let Some(chosen) = std::env::var_os(PROGRAM_VARIABLE) {
            return Ok(Self::Installed(chosen.into()));
        }
        Prefix::fetch("mysql", &["mysql-server-core"], Source::Suite("unstable")).map(Self::Fetched)
    }

    /// How to get one, for whoever has none.
    pub(super) fn install_hint() -> String {
        format!("name a mysqld of MySQL 8 or later in {PROGRAM_VARIABLE}")
    }

    /// The server, with everything but the settings it is to have.
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
                    format!(
                        "--character-sets-dir={}/share/mysql/charsets",
                        usr.display()
                    ),
                    format!("--plugin-dir={}/lib/mysql/plugin", usr.display()),
                ]);
                command
            }
        };
        allow_root(&mut command);
        command
            .arg(format!("--datadir={}", data.display()))
            .arg("--mysqlx=OFF")
            // Reading and writing files by SQL: the folder it would want for that is not there.
            .arg("--secure-file-priv=NULL");
        Ok(command)
    }

    /// Makes the system tables and our user in the empty folder `data`.
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
            // A start makes it as large as it is told to; a small one is copied faster.
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
