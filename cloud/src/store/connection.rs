//! Opens connections, tells each what it must know, and looks whether the database behind it may be trusted.

use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use keepsake_protocol::{Hash, StoreId};
use parking_lot::Mutex;
use sqlx::any::AnyConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AnyConnection, ConnectOptions, Connection, Executor, Row};

use crate::store::address::{Address, DATABASE_FILE, Server};
use crate::store::error::{ErrorContext, Result, StoreError};
use crate::store::statement::sql;
use crate::store::{durability_check, meta, schema};

/// A server that has not let us in by then is away.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// The wait for the lease before its owner is reported, seconds: the program before us may just be stopping.
const LEASE_WAIT_S: i64 = 2;

/// The first statements of every connection to a server. Strict, so that nothing is cut to fit; the isolation of the
/// least locking that shows only what is committed; and bounds well within that of a unit of work. A connection that
/// nobody has used for a minute is closed, so that the lease of a cloud that has fallen off the network goes back.
const SERVER_TERMS: [&str; 2] = [
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', wait_timeout = 60, \
     net_read_timeout = 30, net_write_timeout = 30, innodb_lock_wait_timeout = 10, autocommit = 1",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
];

/// The first statements of every connection to SQLite.
const SQLITE_TERMS: [&str; 5] = [
    "PRAGMA busy_timeout = 5000",
    // Pages that deleted pictures leave can be given back to the disk. Counts only before anything is written.
    "PRAGMA auto_vacuum = INCREMENTAL",
    "PRAGMA journal_mode = WAL",
    // With WAL the default forgets the last commits in a power cut; a receipt must not be forgotten.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
];

/// The address of the database, and the demands on it.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    pub address: Address,
    /// The data directory, for the parts of unfinished captures.
    pub data: PathBuf,
    /// The largest picture that it must be able to take, bytes.
    pub capture_bytes_max: u64,
    /// Accepts commits that a power cut can undo.
    pub allow_unsafe_durability: bool,
}

impl<P: AsRef<std::path::Path>> From<P> for StoreOptions {
    /// SQLite in this folder.
    fn from(folder: P) -> Self {
        Self {
            address: Address::Folder(folder.as_ref().to_owned()),
            data: folder.as_ref().to_owned(),
            capture_bytes_max: keepsake_protocol::codec::CAPTURE_BYTES_MAX,
            allow_unsafe_durability: false,
        }
    }
}

/// The need of a writer for the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriterLease {
    Required,
    /// Another one may have the lease.
    Optional,
}

/// Opens connections to one place; clones know the same.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    place: StoreOptions,
    lead: WriterLease,
    options: AnyConnectOptions,
    /// The id of the store, once it is known. Another store at the same address is never written to.
    id: Arc<OnceLock<StoreId>>,
    weak: Arc<Mutex<Vec<String>>>,
}

impl Connector {
    pub(super) fn new(place: StoreOptions, lead: WriterLease) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let options = match &place.address {
            Address::Folder(folder) => {
                let file = SqliteConnectOptions::new().filename(folder.join(DATABASE_FILE)).create_if_missing(true);
                AnyConnectOptions::from_url(&file.to_url_lossy())
            }
            Address::Server(server) => AnyConnectOptions::from_str(server.secret()),
        };
        Ok(Self {
            place,
            lead,
            options: options.context("name the database")?,
            id: Arc::default(),
            weak: Arc::default(),
        })
    }

    pub(super) fn address(&self) -> &Address {
        &self.place.address
    }

    pub(super) fn id(&self) -> Option<StoreId> {
        self.id.get().copied()
    }

    /// Returns the accepted risks: a power cut can undo commits.
    pub(super) fn weaknesses(&self) -> Vec<String> {
        self.weak.lock().clone()
    }

    /// A connection that may write: it holds the lease, the tables are up to date, and the database is fit.
    ///
    /// `before`: the number of our last such connection, which the server may still believe to be alive.
    pub(super) fn writer(&self, before: Option<i64>) -> BoxFuture<'_, Result<(AnyConnection, Option<i64>)>> {
        // In a box, as the compiler cannot see that the future itself may go to another thread.
        Box::pin(self.connect_to_write(before))
    }

    async fn connect_to_write(&self, before: Option<i64>) -> Result<(AnyConnection, Option<i64>)> {
        let mut connection = self.connect().await?;
        self.apply_session_settings(&mut connection).await.context("prepare a connection")?;
        let (number, led) = match &self.place.address {
            Address::Folder(_) => (None, false),
            Address::Server(server) => match lease(&mut connection, server, before).await {
                Ok(number) => (Some(number), false),
                Err(StoreError::AnotherWriter) if self.lead == WriterLease::Optional => (None, true),
                Err(error) => return Err(error),
            },
        };
        if self.id.get().is_none() {
            match &self.place.address {
                Address::Folder(_) => schema::update_sqlite(&mut connection).await?,
                Address::Server(_) if led => schema::check_server(&mut connection).await?,
                Address::Server(_) => {
                    // Before the first table, so that nothing of ours is ever in a database that cannot keep it.
                    self.check_settings(&mut connection).await?;
                    schema::update_server(&mut connection).await?;
                }
            }
            let id = meta::store_id(&mut connection).await?;
            let _ = self.id.set(id);
        }
        self.check(&mut connection).await?;
        Ok((connection, number))
    }

    /// Opens a connection for reading.
    pub(super) async fn reader(&self) -> Result<AnyConnection> {
        let mut connection = self.connect().await?;
        self.apply_session_settings(&mut connection).await.context("prepare a connection")?;
        self.check_identity(&mut connection).await?;
        Ok(connection)
    }

    async fn connect(&self) -> Result<AnyConnection> {
        tokio::time::timeout(CONNECT_WAIT, AnyConnection::connect_with(&self.options))
            .await
            .map_err(|_| StoreError::TimedOut(CONNECT_WAIT))?
            .context("connect to the database")
    }

    /// Says what every connection must know.
    pub(super) async fn apply_session_settings(&self, connection: &mut AnyConnection) -> sqlx::Result<()> {
        let terms: &[&str] = match self.place.address {
            Address::Folder(_) => &SQLITE_TERMS,
            Address::Server(_) => &SERVER_TERMS,
        };
        for &statement in terms {
            connection.execute(statement).await?;
        }
        Ok(())
    }

    /// Looks whether this is still our store, of a version we know, and safe to commit to.
    pub(super) async fn check(&self, connection: &mut AnyConnection) -> Result<()> {
        match self.place.address {
            // The file is ours alone, and every setting is our own.
            Address::Folder(_) => Ok(()),
            Address::Server(_) => {
                self.check_identity(connection).await?;
                self.check_settings(connection).await?;
                check_engines(connection).await
            }
        }
    }

    /// Looks whether this is the store that we began with.
    pub(super) async fn check_identity(&self, connection: &mut AnyConnection) -> Result<()> {
        if matches!(self.place.address, Address::Folder(_)) {
            return Ok(());
        }
        schema::check_server(connection).await?;
        let Some(ours) = self.id() else {
            return Ok(());
        };
        let found = meta::get(connection, "store").await?;
        if found.as_deref() == Some(&ours.0) {
            return Ok(());
        }
        Err(StoreError::UnsafeDatabase(
            "the database at the cloud's address is not the one it began with; cameras would not believe its receipts"
                .to_owned(),
        ))
    }

    async fn check_settings(&self, connection: &mut AnyConnection) -> Result<()> {
        let rows = sql(durability_check::VARIABLES_QUERY)
            .fetch_all(&mut *connection, "ask for the settings of the database")
            .await?;
        let settings: HashMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let mut found = durability_check::check(&settings, self.place.capture_bytes_max);
        if !self.place.allow_unsafe_durability {
            found.unfit.append(&mut found.weak);
        }
        let mut weak = self.weak.lock();
        if *weak != found.weak {
            for said in &found.weak {
                tracing::warn!("{said}; accepted, so a power cut may take back what has a receipt");
            }
            *weak = found.weak;
        }
        if found.unfit.is_empty() {
            return Ok(());
        }
        Err(StoreError::UnsafeDatabase(found.unfit.join("; ")))
    }
}

async fn check_engines(connection: &mut AnyConnection) -> Result<()> {
    let other = sql(
        "SELECT table_name, engine FROM information_schema.tables WHERE table_schema = DATABASE() \
         AND table_type = 'BASE TABLE' AND engine <> 'InnoDB' LIMIT 1",
    )
    .fetch_optional(connection, "ask how tables are kept")
    .await?;
    match other {
        None => Ok(()),
        Some(row) => Err(StoreError::UnsafeDatabase(format!(
            "the database's table {} is kept by {} and must be by InnoDB",
            row.get::<String, _>(0),
            row.get::<String, _>(1)
        ))),
    }
}

/// Takes the lease of the one who writes to this database; it ends with the connection. Returns the number of the
/// connection.
async fn lease(connection: &mut AnyConnection, server: &Server, before: Option<i64>) -> Result<i64> {
    // The names of locks are shared by all databases of a server, and no longer than 64 characters.
    let name = format!("keepsake-{}", &Hash::of(server.name().as_bytes()).to_string()[..40]);
    let holder: Option<i64> = sql("SELECT CAST(IS_USED_LOCK(?) AS SIGNED)")
        .bind(&name)
        .scalar(&mut *connection, "ask who writes to the database")
        .await?;
    if let (Some(holder), Some(before)) = (holder, before)
        && holder == before
    {
        // Our own connection of before, given up in the middle of something: what it was at is rolled back. If the
        // number belongs to another process by now, that one loses its lease and reacquires it.
        let ended = connection.execute(sqlx::AssertSqlSafe(format!("KILL {holder}"))).await;
        if let Err(error) = ended {
            tracing::debug!("end our last connection: {error}");
        }
    }
    let taken: Option<i64> = sql("SELECT CAST(GET_LOCK(?, ?) AS SIGNED)")
        .bind((&name, LEASE_WAIT_S))
        .scalar(&mut *connection, "ask for the lease of the database")
        .await?;
    if taken != Some(1) {
        return Err(StoreError::AnotherWriter);
    }
    sql("SELECT CAST(CONNECTION_ID() AS SIGNED)")
        .scalar(connection, "ask for the number of a connection")
        .await
}
