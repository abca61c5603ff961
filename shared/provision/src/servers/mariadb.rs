//! MariaDB: finding it, initializing a data folder, and the command that starts it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::initialize::{PASSWORD, USER, allow_root, wait_for_success};
use crate::host::find_program;
use crate::prefix::{Prefix, Source};

/// The variable with a `mariadbd` to use instead of the system's or a fetched one.
const PROGRAM_VARIABLE: &str = "KEEPSAKE_TEST_MARIADBD";

/// A MariaDB that can be run.
#[derive(Debug)]
pub(super) enum MariaDb {
    Installed(PathBuf),
    Fetched(Prefix),
}

impl MariaDb {
    pub(super) fn find() -> Result<Self> {
        if let Some(chosen) = std::env::var_os(PROGRAM_VARIABLE) {
            return Ok(Self::Installed(chosen.into()));
        }
        match find_program("mariadbd") {
            Some(installed) => Ok(Self::Installed(installed)),
            None => Prefix::fetch("mariadb", &["mariadb-server-core"], Source::System).map(Self::Fetched),
        }
    }

    /// Returns how to install one.
    pub(super) fn install_hint() -> String {
        format!("install mariadb-server-core, or name a mariadbd in {PROGRAM_VARIABLE}")
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
                let mut command = prefix.command("usr/sbin/mariadbd")?;
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
        command.arg(format!("--datadir={}", data.display()));
        Ok(command)
    }

    /// Creates the system tables and our user in the empty folder `data`, as the script `mariadb-install-db` does:
    /// that one only finds programs of the system.
    pub(super) fn initialize(&self, data: &Path) -> Result<()> {
        let scripts = match self {
            Self::Installed(_) => ["/usr/share/mysql", "/usr/share/mariadb"]
                .map(PathBuf::from)
                .into_iter()
                .find(|folder| SCRIPTS.iter().all(|name| folder.join(name).is_file()))
                .context("the scripts that make system tables are not in /usr/share/mysql")?,
            Self::Fetched(prefix) => prefix.path().join("usr/share/mysql"),
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

const SCRIPTS: [&str; 3] = [
    "mysql_system_tables.sql",
    "mysql_performance_tables.sql",
    "mysql_system_tables_data.sql",
];
