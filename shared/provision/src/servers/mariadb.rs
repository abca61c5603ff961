//! MariaDB: finding it, initializing a data directory, and the command that starts it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::initialize::{PASSWORD, ServerProgram, USER, wait_for_success};
use crate::host::find_program;
use crate::prefix::{Prefix, Source};

/// The variable with a `mariadbd` to use instead of the system's or a fetched one.
const PROGRAM_VARIABLE: &str = "KEEPSAKE_TEST_MARIADBD";

/// A MariaDB that can be run.
#[derive(Debug)]
pub(super) struct MariaDb(ServerProgram);

impl MariaDb {
    pub(super) fn find() -> Result<Self> {
        if let Some(chosen) = std::env::var_os(PROGRAM_VARIABLE) {
            return Ok(Self(ServerProgram::Installed(chosen.into())));
        }
        match find_program("mariadbd") {
            Some(installed) => Ok(Self(ServerProgram::Installed(installed))),
            None => Prefix::fetch("mariadb", &["mariadb-server-core"], Source::System)
                .map(|prefix| Self(ServerProgram::Fetched(prefix))),
        }
    }

    /// Returns how to install one.
    pub(super) fn install_hint() -> String {
        format!("install mariadb-server-core, or name a mariadbd in {PROGRAM_VARIABLE}")
    }

    /// Returns the server's command, without the settings of a test.
    pub(super) fn command(&self, data: &Path) -> Result<Command> {
        self.0.command("usr/sbin/mariadbd", data)
    }

    /// Creates the system tables and our user in the empty directory `data`, as the script `mariadb-install-db` does:
    /// that one only finds programs of the system.
    pub(super) fn initialize(&self, data: &Path) -> Result<()> {
        let scripts = match &self.0 {
            ServerProgram::Installed(_) => ["/usr/share/mysql", "/usr/share/mariadb"]
                .map(PathBuf::from)
                .into_iter()
                .find(|folder| SCRIPTS.iter().all(|name| folder.join(name).is_file()))
                .context("the scripts that make system tables are not in /usr/share/mysql")?,
            ServerProgram::Fetched(prefix) => prefix.path().join("usr/share/mysql"),
        };
        let mut sql = "CREATE DATABASE mysql;\nUSE mysql;\n\
                       SET @skip_auth_anonymous = 1;\nSET @auth_root_socket = NULL;\n"
            .to_owned();
        for name in SCRIPTS {
            let file = scripts.join(name);
            sql += &fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        }
        sql += &format!(
            "REPLACE INTO global_priv VALUES ('%', '{USER}', JSON_OBJECT('access', 18446744073709551615, \
             'plugin', 'mysql_native_password', 'authentication_string', PASSWORD('{PASSWORD}')));\n"
        );
        let mut child = self
            .command(data)?
            .args([
                "--bootstrap",
                "--log-warnings=0",
                "--enforce-storage-engine=",
                // The log is created at this size; a small one is copied faster.
                "--innodb-log-file-size=16M",
                "--max-allowed-packet=8M",
                "--net-buffer-length=16K",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start mariadbd")?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // Its messages fit into the pipe; a server that ends early reports why on it.
        let _ = stdin.write_all(sql.as_bytes());
        drop(stdin);
        wait_for_success("initialise MariaDB", child)
    }
}

const SCRIPTS: [&str; 3] = ["mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql"];
