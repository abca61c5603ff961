//! The programs of MariaDB and MySQL: found or fetched, started, and made to initialize a data directory.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use fs_err as fs;

use super::installation::Installation;
use crate::prefix::Source;
use crate::workspace;

/// The user of the private servers, with all privileges.
pub const USER: &str = "keepsake";
/// Public, and good enough on loopback for the length of a test.
pub const PASSWORD: &str = "only-for-tests";
/// The scripts that make MariaDB's system tables.
const SCRIPTS: [&str; 3] = ["mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql"];

/// The kind of database server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    MariaDb,
    MySql,
}

impl Kind {
    pub(super) fn url_variable(self) -> &'static str {
        match self {
            Self::MariaDb => "KEEPSAKE_MARIADB_URL",
            Self::MySql => "KEEPSAKE_MYSQL_URL",
        }
    }

    /// Returns the variable with a server program to use instead of the system's or a fetched one.
    fn program_variable(self) -> &'static str {
        match self {
            Self::MariaDb => "KEEPSAKE_TEST_MARIADBD",
            Self::MySql => "KEEPSAKE_TEST_MYSQLD",
        }
    }

    /// Returns how to install one.
    pub(super) fn install_hint(self) -> String {
        let variable = self.program_variable();
        match self {
            Self::MariaDb => format!("install mariadb-server-core, or name a mariadbd in {variable}"),
            Self::MySql => format!("name a mysqld of MySQL 8 or later in {variable}"),
        }
    }

    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::MariaDb => "mariadb",
            Self::MySql => "mysql",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MariaDb => "MariaDB",
            Self::MySql => "MySQL",
        })
    }
}

/// A database server that can be run.
#[derive(Debug)]
pub(super) struct DatabaseProgram {
    pub(super) kind: Kind,
    installation: Installation,
}

impl DatabaseProgram {
    pub(super) fn find(kind: Kind) -> Result<Self> {
        let (program, package, source) = match kind {
            Kind::MariaDb => (Some("mariadbd"), "mariadb-server-core", Source::System),
            // On most systems `mysqld` is MariaDB. Only Debian's unstable suite has MySQL; it moves, so tests print the
            // version.
            Kind::MySql => (None, "mysql-server-core", Source::Suite("unstable")),
        };
        let installation = Installation::find(kind.program_variable(), program, package, source)?;
        Ok(Self { kind, installation })
    }

    /// Returns the server's command, without the settings of a test.
    pub(super) fn command(&self, data: &Path) -> Result<Command> {
        let mut command = self.installation.command(match self.kind {
            Kind::MariaDb => "usr/sbin/mariadbd",
            Kind::MySql => "usr/sbin/mysqld",
        })?;
        // This flag must be the first.
        command.arg("--no-defaults");
        if let Some(prefix) = self.installation.prefix() {
            let usr = prefix.join("usr");
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
        if self.kind == Kind::MySql {
            // The directory for reading and writing files by SQL does not exist.
            command.args(["--mysqlx=OFF", "--secure-file-priv=NULL"]);
        }
        command.arg(format!("--datadir={}", data.display()));
        Ok(command)
    }

    /// Returns an initialized data directory, made once and then copied.
    pub(super) fn initialized_data(&self) -> Result<PathBuf> {
        let cache = workspace::cache()?;
        let name = self.kind.folder();
        let _lock = workspace::lock(&cache, &format!("{name}-data"))?;
        // Another program or version needs another directory.
        let made_by = format!("{:?}", self.command(Path::new(""))?);
        let [ready, making, label] =
            ["data", "data.making", "data.made-by"].map(|part| cache.join(format!("{name}-{part}")));
        if ready.is_dir() && fs::read_to_string(&label).is_ok_and(|label| label == made_by) {
            return Ok(ready);
        }
        for old in [&ready, &making] {
            let _ = fs::remove_dir_all(old);
        }
        fs::create_dir_all(&making)?;
        self.initialize(&making)?;
        fs::rename(&making, &ready)?;
        fs::write(&label, made_by)?;
        Ok(ready)
    }

    /// Creates the system tables and our user in the empty directory `data`.
    fn initialize(&self, data: &Path) -> Result<()> {
        let kind = self.kind;
        let sql = data.with_extension("sql");
        fs::write(&sql, self.initial_sql()?)?;
        let mut command = self.command(data)?;
        // The log is created at this size; a small one is copied faster.
        match kind {
            Kind::MariaDb => command
                .args([
                    "--bootstrap",
                    "--log-warnings=0",
                    "--enforce-storage-engine=",
                    "--innodb-log-file-size=16M",
                ])
                .args(["--max-allowed-packet=8M", "--net-buffer-length=16K"])
                .stdin(File::open(&sql).with_context(|| format!("open {}", sql.display()))?),
            Kind::MySql => command
                .args(["--initialize-insecure", "--innodb-redo-log-capacity=8M"])
                .arg(format!("--init-file={}", sql.display()))
                .stdin(Stdio::null()),
        };
        let done = command.output().with_context(|| format!("start {kind}"))?;
        let _ = fs::remove_file(sql);
        if done.status.success() {
            return Ok(());
        }
        let stderr = String::from_utf8_lossy(&done.stderr);
        let errors: Vec<&str> = stderr.lines().filter(|line| line.contains("ERROR")).collect();
        bail!("initialize {kind}: {}: {}", done.status, errors.join("; "))
    }

    fn initial_sql(&self) -> Result<String> {
        if self.kind == Kind::MySql {
            return Ok(format!(
                "CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\n\
                 GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n"
            ));
        }
        // As the script `mariadb-install-db` does, which only finds programs of the system.
        let scripts = match self.installation.prefix() {
            None => ["/usr/share/mysql", "/usr/share/mariadb"]
                .map(PathBuf::from)
                .into_iter()
                .find(|folder| SCRIPTS.iter().all(|name| folder.join(name).is_file()))
                .context("the scripts that make system tables are not in /usr/share/mysql")?,
            Some(prefix) => prefix.join("usr/share/mysql"),
        };
        let mut sql =
            "CREATE DATABASE mysql;\nUSE mysql;\nSET @skip_auth_anonymous = 1;\nSET @auth_root_socket = NULL;\n"
                .to_owned();
        for name in SCRIPTS {
            let file = scripts.join(name);
            sql += &fs::read_to_string(&file)?;
        }
        sql += &format!(
            "REPLACE INTO global_priv VALUES ('%', '{USER}', JSON_OBJECT('access', 18446744073709551615, \
             'plugin', 'mysql_native_password', 'authentication_string', PASSWORD('{PASSWORD}')));\n"
        );
        Ok(sql)
    }
}
