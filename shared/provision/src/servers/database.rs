//! MariaDB and MySQL as private servers with durable settings, on a port that they keep over restarts.
//!
//! An initialized data directory is kept below `target/fetched` and copied for every server, so that a start takes one
//! or two seconds. Tests that only need some database share one server per test binary ([`Database::shared_schema`]),
//! each with a schema of its own; tests that kill have their own ([`Database::or_skip`]).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use mysql::Conn;
use mysql::prelude::Queryable;

use super::database_program::DatabaseProgram;
use crate::process::{Events, Program, eventually, free_port};
use crate::skip::not_run;
use crate::temp_dir::{TempDir, copy};

pub use super::database_program::{Kind, PASSWORD, USER};

/// A start takes two seconds; after a kill, on a busy machine, recovery comes first.
const READY_WITHIN: Duration = Duration::from_secs(90);
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// The settings without which a commit cannot be trusted, explicit even where they are the default. Flags of a test
/// come later and win.
const DURABLE: [&str; 3] = ["--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1", "--innodb-doublewrite=ON"];

/// Small enough to run several at once.
const SMALL: [&str; 4] = [
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--performance-schema=OFF",
    "--innodb-buffer-pool-size=64M",
];

/// A private database server, running or not.
#[derive(Debug)]
pub struct Database {
    server: DatabaseProgram,
    folder: PathBuf,
    port: u16,
    flags: Vec<String>,
    version: Arc<OnceLock<String>>,
    program: Option<Program>,
}

impl Database {
    /// Returns a server with its files in `folder`, not started, or `None` after reporting that the test `what` is
    /// skipped.
    pub fn or_skip(what: &str, kind: Kind, folder: &Path) -> Option<Self> {
        Self::new(kind, folder)
            .inspect_err(|why| not_run(what, format!("no {kind}: {why:#}"), &kind.install_hint()))
            .ok()
    }

    /// Returns a server with its files in `folder`, not started.
    ///
    /// # Errors
    /// It is not on the system and cannot be fetched.
    pub fn new(kind: Kind, folder: &Path) -> Result<Self> {
        let server = DatabaseProgram::find(kind)?;
        let folder = folder.join(kind.folder());
        copy(&server.initialized_data()?, &folder.join("data"));
        Ok(Self {
            server,
            folder,
            port: free_port(),
            flags: Vec::new(),
            version: Arc::default(),
            program: None,
        })
    }

    /// Sets the flags for the next starts, such as `--innodb-flush-log-at-trx-commit=2`, instead of earlier ones.
    pub fn set_flags(&mut self, flags: &[&str]) {
        self.flags = flags.iter().map(|&flag| flag.to_owned()).collect();
    }

    /// Starts it and waits until it accepts clients.
    pub fn start(&mut self) {
        assert!(self.program.is_none(), "{} runs already", self.kind());
        // Its process id may belong to another process by now, and MySQL would not start beside that.
        let _ = fs::remove_file(self.data().join("s.lock"));
        let mut command = self.server.command(&self.data()).expect("the command worked before");
        command
            .args(SMALL)
            .args(DURABLE)
            .arg(format!("--port={}", self.port))
            // Relative to the data directory: the full path may be too long for a socket.
            .args(["--socket=s", "--pid-file=pid"])
            .args(&self.flags);
        let events: Arc<Events> = Arc::default();
        let program = Program::start(command, &events, &self.log_path());
        self.program = Some(program);
        let kind = self.kind();
        eventually(&format!("{kind} lets clients in"), READY_WITHIN, || {
            let program = self.program.as_mut().expect("just started");
            assert!(program.is_running(), "{kind} ended\n{}", program.last_words());
            let mut client = connect(&self.url("")).ok()?;
            let version: Option<String> = client.query_first("SELECT VERSION()").ok()?;
            let _ = self.version.set(version?);
            Some(())
        });
    }

    /// Sends SIGKILL.
    pub fn kill(&mut self) {
        if let Some(program) = self.program.take() {
            program.kill();
        }
    }

    /// Sends SIGTERM and expects a clean end.
    pub fn stop(&mut self) {
        if let Some(program) = self.program.take() {
            let status = program.stop(STOP_WITHIN);
            assert!(status.success(), "a clean stop ends with 0, not {status}");
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.program.as_mut().is_some_and(Program::is_running)
    }

    /// Stops its processes, which keep their connections and the port: what a frozen or unreachable machine looks
    /// like.
    pub fn freeze(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Continues after [`Self::freeze`].
    pub fn thaw(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: i32) {
        if let Some(program) = &self.program {
            program.signal(signal);
        }
    }

    pub fn kind(&self) -> Kind {
        self.server.kind
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its process id.
    ///
    /// # Panics
    /// It is not running.
    pub fn pid(&self) -> u32 {
        self.program.as_ref().expect("a running server").pid()
    }

    /// Returns the URL of the schema `name`, as `--database` takes it.
    pub fn url(&self, name: &str) -> String {
        format!("mysql://{USER}:{PASSWORD}@127.0.0.1:{}/{name}", self.port)
    }

    /// Returns the kind and the server's version, for instance `MySQL 9.7.0`.
    ///
    /// # Panics
    /// Before the first start.
    pub fn version(&self) -> String {
        let version = self.version.get().expect("the server was started once");
        format!("{} {version}", self.kind())
    }

    /// Creates an empty schema and returns its URL. The name must be unused.
    pub fn create_schema(&self, name: &str) -> String {
        self.execute(&format!("CREATE DATABASE {name}"));
        self.url(name)
    }

    /// Connects with a client library that is not the cloud's.
    pub fn connect(&self, name: &str) -> Conn {
        connect(&self.url(name)).unwrap_or_else(|error| panic!("{}: {error:#}", self.kind()))
    }

    /// Runs one statement with all privileges.
    pub fn execute(&self, sql: &str) {
        self.connect("").query_drop(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Kills every connection to a schema except its own, and returns how many.
    pub fn kill_connections(&self) -> usize {
        let mut client = self.connect("");
        let list = "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND db IS NOT NULL";
        // MySQL fails to list connections while one of them transfers a picture, which is not valid text.
        let within = Duration::from_secs(60);
        let all: Vec<u64> = eventually("list the connections", within, || client.query(list).ok());
        // A connection may have ended meanwhile.
        all.into_iter().filter(|id| client.query_drop(format!("KILL {id}")).is_ok()).count()
    }

    /// Returns the log of all its runs.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Returns an empty schema on a server that all tests of this binary share, or on the server in
    /// `KEEPSAKE_MARIADB_URL` or `KEEPSAKE_MYSQL_URL` (`mysql://user:password@host:port`; the user must be able to
    /// create databases). Returns `None` after reporting that the test `what` is skipped.
    pub fn shared_schema(what: &str, kind: Kind) -> Option<Schema> {
        static SERVERS: [OnceLock<Result<String>>; 2] = [OnceLock::new(), OnceLock::new()];
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let server = &SERVERS[usize::from(kind == Kind::MySql)];
        let base = server.get_or_init(|| match std::env::var(kind.url_variable()) {
            Ok(url) => Ok(url.trim_end_matches('/').to_owned()),
            Err(_) => start_shared(kind),
        });
        match base {
            Ok(base) => {
                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                let name = format!("keepsake_test_{}_{number}", std::process::id());
                Some(Schema::create(base, name))
            }
            Err(why) => {
                let how = format!("{}, or name a server of yours in {}", kind.install_hint(), kind.url_variable());
                not_run(what, format!("no {kind}: {why:#}"), &how);
                None
            }
        }
    }
}

/// The schema of one test, dropped with this.
#[derive(Debug)]
pub struct Schema {
    base: String,
    name: String,
}

impl Schema {
    fn create(base: &str, name: String) -> Self {
        let mut client = connect(base).unwrap_or_else(|error| panic!("{error:#}"));
        client
            .query_drop(format!("CREATE DATABASE {name}"))
            .unwrap_or_else(|error| panic!("create a database for a test: {error}"));
        Self { base: base.to_owned(), name }
    }

    /// Returns its URL, as `--database` takes it.
    pub fn url(&self) -> String {
        format!("{}/{}", self.base, self.name)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Connects with a client library that is not the cloud's.
    pub fn connect(&self) -> Conn {
        connect(&self.url()).unwrap_or_else(|error| panic!("{error:#}"))
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        if let Ok(mut client) = connect(&self.base) {
            let _ = client.query_drop(format!("DROP DATABASE {}", self.name));
        }
    }
}

fn connect(url: &str) -> Result<Conn> {
    let options = mysql::Opts::from_url(url).context("read the URL of a database")?;
    let options = mysql::OptsBuilder::from_opts(options)
        .tcp_connect_timeout(Some(Duration::from_secs(5)))
        // The cloud connects by TCP, so this does too.
        .prefer_socket(false);
    Conn::new(options).context("connect to a database")
}

/// Starts the server that the tests of this binary share, and returns its URL without a schema. It ends with the
/// process.
fn start_shared(kind: Kind) -> Result<String> {
    /// The servers to stop at exit: statics are not dropped.
    static KEPT: Mutex<Vec<(Database, TempDir)>> = Mutex::new(Vec::new());
    extern "C" fn end() {
        KEPT.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    // A child ends with the thread that started it, and the calling thread only lives as long as the first test.
    thread::spawn(move || {
        let folder = TempDir::new(&format!("shared-{}", kind.folder()));
        let url = Database::new(kind, &folder).map(|mut server| {
            server.start();
            println!("{} is running for the tests of this binary", server.version());
            let url = server.url("").trim_end_matches('/').to_owned();
            let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.is_empty() {
                // SAFETY: the function touches only data behind a lock, and exists as long as the process.
                unsafe {
                    libc::atexit(end);
                }
            }
            kept.push((server, folder));
            url
        });
        let _ = sender.send(url);
        loop {
            thread::park();
        }
    });
    // A server that was found and does not start is a failure, not a reason to skip.
    receiver.recv().expect("the server starts; see above")
}
