//! MariaDB and MySQL, run as private servers: durable as they are meant to run, on a port they keep over restarts.
//!
//! An initialised data folder is kept below `target/fetched` and copied for every server, so that a start takes one or
//! two seconds. Tests that only need *a* database share one server a test binary ([`Database::shared`]), each with a
//! schema of its own; tests that kill have their own ([`Database::or_not_run`]).

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use mysql::Conn;
use mysql::prelude::Queryable;

use super::initialize::{PASSWORD, USER};
use super::mariadb::MariaDb;
use super::mysql::MySql;
use crate::process::{Events, Program, eventually, free_port};
use crate::skip::not_run;
use crate::temp_dir::{TempDir, copy};
use crate::workspace;

/// Starting takes two seconds; after a kill, on a busy machine, a disk full of work is gone through first.
const READY_WITHIN: Duration = Duration::from_secs(90);
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    MariaDb,
    MySql,
}

impl Kind {
    fn url_variable(self) -> &'static str {
        match self {
            Self::MariaDb => "KEEPSAKE_MARIADB_URL",
            Self::MySql => "KEEPSAKE_MYSQL_URL",
        }
    }

    fn install_hint(self) -> String {
        match self {
            Self::MariaDb => MariaDb::install_hint(),
            Self::MySql => MySql::install_hint(),
        }
    }

    fn folder(self) -> &'static str {
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

/// What a server must have to be trusted with a commit, said even where it is the default. Flags of a test come later
/// and win.
const DURABLE: [&str; 3] = [
    "--innodb-flush-log-at-trx-commit=1",
    "--sync-binlog=1",
    "--innodb-doublewrite=ON",
];

/// Small enough for several at once beside everything else.
const SMALL: [&str; 4] = [
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--performance-schema=OFF",
    "--innodb-buffer-pool-size=64M",
];

/// A database server of ours, which may be down at the moment.
#[derive(Debug)]
pub struct Database {
    kind: Kind,
    installation: Installation,
    folder: PathBuf,
    port: u16,
    flags: Vec<String>,
    version: Arc<OnceLock<String>>,
    program: Option<Program>,
}

#[derive(Debug)]
enum Installation {
    MariaDb(MariaDb),
    MySql(MySql),
}

impl Installation {
    fn find(kind: Kind) -> Result<Self> {
        match kind {
            Kind::MariaDb => MariaDb::find().map(Self::MariaDb),
            Kind::MySql => MySql::find().map(Self::MySql),
        }
    }

    fn command(&self, data: &Path) -> Result<Command> {
        match self {
            Self::MariaDb(engine) => engine.command(data),
            Self::MySql(engine) => engine.command(data),
        }
    }

    fn initialize(&self, data: &Path) -> Result<()> {
        match self {
            Self::MariaDb(engine) => engine.initialize(data),
            Self::MySql(engine) => engine.initialize(data),
        }
    }
}

impl Database {
    /// A server with its files in `folder`, not started yet; or `None`, after it was said that the test `what` is not
    /// run, and how it could be.
    pub fn or_skip(what: &str, kind: Kind, folder: &Path) -> Option<Self> {
        Self::new(kind, folder)
            .inspect_err(|why| not_run(what, format!("no {kind}: {why:#}"), &kind.install_hint()))
            .ok()
    }

    /// A server with its files in `folder`, not started yet.
    ///
    /// # Errors
    /// It is not on the system and cannot be fetched.
    pub fn new(kind: Kind, folder: &Path) -> Result<Self> {
        let engine = Installation::find(kind)?;
        let template = template(kind, &engine)?;
        let folder = folder.join(kind.folder());
        copy(&template, &folder.join("data"));
        Ok(Self {
            kind,
            installation: engine,
            folder,
            port: free_port(),
            flags: Vec::new(),
            version: Arc::default(),
            program: None,
        })
    }

    /// Settings for the next starts, such as `--innodb-flush-log-at-trx-commit=2`, instead of those given before.
    pub fn set_flags(&mut self, flags: &[&str]) {
        self.flags = flags.iter().map(|&flag| flag.to_owned()).collect();
    }

    /// Starts it and waits until it lets clients in.
    pub fn start(&mut self) {
        assert!(self.program.is_none(), "{} runs already", self.kind);
        // The number in it may belong to somebody else by now, for whom MySQL would make way.
        let _ = fs::remove_file(self.data().join("s.lock"));
        let mut command = self
            .installation
            .command(&self.data())
            .expect("the command it has had before");
        command
            .args(SMALL)
            .args(DURABLE)
            .arg(format!("--port={}", self.port))
            // Relative to the data folder: the whole path may be longer than the name of a socket may be.
            .args(["--socket=s", "--pid-file=pid"])
            .args(&self.flags);
        let events: Arc<Events> = Arc::default();
        let program = Program::start(command, &events, &self.log_path());
        self.program = Some(program);
        let kind = self.kind;
        eventually(&format!("{kind} lets clients in"), READY_WITHIN, || {
            let program = self.program.as_mut().expect("just started");
            assert!(
                program.is_running(),
                "{kind} ended\n{}",
                program.last_words()
            );
            let mut client = connect(&self.url("")).ok()?;
            let version: Option<String> = client.query_first("SELECT VERSION()").ok()?;
            let _ = self.version.set(version?);
            Some(())
        });
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(program) = self.program.take() {
            program.kill();
        }
    }

    /// SIGTERM, and a clean end.
    pub fn stop(&mut self) {
        if let Some(program) = self.program.take() {
            let status = program.stop(STOP_WITHIN);
            assert!(status.success(), "a clean stop ends with 0, not {status}");
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.program.as_mut().is_some_and(Program::is_running)
    }

    /// Nothing of it runs, and it keeps its connections and its port: what a frozen or unreachable machine looks like.
    pub fn freeze(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// After [`Self::freeze`].
    pub fn thaw(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: i32) {
        if let Some(program) = &self.program {
            program.signal(signal);
        }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the cloud finds the schema `name`, as `--database` reads it.
    pub fn url(&self, name: &str) -> String {
        format!("mysql://{USER}:{PASSWORD}@127.0.0.1:{}/{name}", self.port)
    }

    /// The kind and what the server says it is, for instance `MySQL 9.7.0`.
    ///
    /// # Panics
    /// Before the first start.
    pub fn version(&self) -> String {
        let version = self.version.get().expect("the server was started once");
        format!("{} {version}", self.kind)
    }

    /// Makes an empty schema, and returns its URL. There must be none of that name.
    pub fn create_schema(&self, name: &str) -> String {
        self.execute(&format!("CREATE DATABASE {name}"));
        self.url(name)
    }

    /// A connection of one's own, over a client library that is not the cloud's.
    pub fn connect(&self, name: &str) -> Conn {
        connect(&self.url(name)).unwrap_or_else(|error| panic!("{}: {error:#}", self.kind))
    }

    /// Runs one statement as a user who may do everything.
    pub fn execute(&self, sql: &str) {
        self.connect("")
            .query_drop(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Cuts every connection of a client but this one's own (`KILL`). Returns how many.
    pub fn kill_connections(&self) -> usize {
        let mut client = self.connect("");
        let list = "SELECT id, db FROM information_schema.processlist \
                    WHERE user = 'keepsake' AND id <> CONNECTION_ID()";
        // MySQL cannot always list connections: a picture on its way in one of them is no text that it can show.
        let within = Duration::from_secs(10);
        let all: Vec<(u64, Option<String>)> =
            eventually("list the connections", within, || client.query(list).ok());
        let cut = |client: &mut Conn, id: u64| client.query_drop(format!("KILL {id}")).is_ok();
        all.into_iter()
            .filter(|(id, _)| cut(&mut client, *id))
            .count()
    }

    /// What it has logged so far, over all runs.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// An empty schema on a server that all tests of this binary share, or on the one of your own that
    /// `KEEPSAKE_MARIADB_URL` or `KEEPSAKE_MYSQL_URL` names (`mysql://user:password@host:port`; the user must be able
    /// to make databases). `None` after it was said that the test `what` is not run, and how it could be.
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
                let how = format!(
                    "{}, or name a server of yours in {}",
                    kind.install_hint(),
                    kind.url_variable()
                );
                not_run(what, format!("no {kind}: {why:#}"), &how);
                None
            }
        }
    }
}

/// An empty schema of one test; it goes with it.
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
        Self {
            base: base.to_owned(),
            name,
        }
    }

    /// As `--database` reads it.
    pub fn url(&self) -> String {
        format!("{}/{}", self.base, self.name)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A connection of one's own, over a client library that is not the cloud's.
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
        // A socket of the same machine would be another way in than the cloud's.
        .prefer_socket(false);
    Conn::new(options).context("connect to a database")
}

/// Starts the server that the tests of this binary share, and returns its URL without a schema. It ends with the process.
fn start_shared(kind: Kind) -> Result<String> {
    /// What has to go when the process ends: nobody drops what is in a static.
    static KEPT: Mutex<Vec<(Database, TempDir)>> = Mutex::new(Vec::new());
    extern "C" fn end() {
        KEPT.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    // A child ends with the thread that has started it, and the one that asks here is only that of the first test.
    thread::spawn(move || {
        let folder = TempDir::new(&format!("shared-{}", kind.folder()));
        let url = Database::new(kind, &folder).map(|mut server| {
            server.start();
            println!("{} runs for the tests of this program", server.version());
            let url = server.url("").trim_end_matches('/').to_owned();
            let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.is_empty() {
                // SAFETY: the function touches nothing but what a lock guards, and outlives the process.
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
    // One that can be had and does not start is a failure, and no reason to run nothing.
    receiver.recv().expect("the server starts; see above")
}

/// A data folder as it is after initialising, made once and then copied.
fn template(kind: Kind, engine: &Installation) -> Result<PathBuf> {
    let cache = workspace::cache()?;
    let _lock = workspace::lock(&cache, &format!("{}-data", kind.folder()))?;
    // Another program, or another version of it, wants another one.
    let made_by = format!("{:?}", engine.command(Path::new(""))?);
    let ready = cache.join(format!("{}-data", kind.folder()));
    let label = cache.join(format!("{}-data.made-by", kind.folder()));
    if ready.is_dir() && fs::read_to_string(&label).is_ok_and(|label| label == made_by) {
        return Ok(ready);
    }
    let making = cache.join(format!("{}-data.making", kind.folder()));
    for old in [&ready, &making] {
        let _ = fs::remove_dir_all(old);
    }
    fs::create_dir_all(&making).with_context(|| format!("create {}", making.display()))?;
    engine.initialize(&making)?;
    fs::rename(&making, &ready).with_context(|| format!("rename {}", making.display()))?;
    fs::write(&label, made_by).with_context(|| format!("write {}", label.display()))?;
    Ok(ready)
}
