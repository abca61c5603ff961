//! Everything that is durable, behind one type: the only place that names sqlx and the only place with SQL.
//!
//! One writer connection (transactions queue for it) and a pool of readers. [`Store::commit`] is the heart: a batch of
//! deposits in one transaction, all or nothing; what it returns is committed, and any error, a broken COMMIT too, means
//! not committed (P2). Doing a deposit twice equals doing it once (P3). The SQL is what SQLite, MySQL and MariaDB have
//! in common; duplicates are found by looking first inside the one writing transaction.

pub mod address;
mod commit;
mod connection;
mod durability_check;
mod meta;
mod query;
mod schema;
mod writer;

use crate::store::commit::batch;
use crate::store::commit::boot_clock;
use crate::store::commit::event;
use crate::store::commit::fate;
use crate::store::commit::inventory;
use crate::store::commit::part;
use crate::store::commit::picture;
use crate::store::commit::quarantine;
use crate::store::commit::spool;
use crate::store::commit::tombstone;
use crate::store::commit::upload_dedup;
use crate::store::query::commands;
use crate::store::query::devices;
use std::path::PathBuf;
use std::time::Duration;

use keepsake_protocol::capture::{CaptureMetadata, FrameHeader};
use keepsake_protocol::presence::Presence;
use keepsake_protocol::{DeviceId, Hash, Sequence, SpoolId, StoreId};
use sqlx::any::{AnyArguments, AnyPoolOptions, AnyRow};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::query::{Query, QueryScalar};
use sqlx::{Any, AnyConnection, AnyPool, Connection, Row};

use crate::ingest::operation::{CommitOutcome, IngestOp};

use crate::store::commit::batch::Batch;
use address::Address;
use connection::{Connector, WriterLease};
use writer::{Transaction, Writer};

pub use crate::store::commit::event::DeviceEvent;
pub use crate::store::commit::picture::{PageQuery, Picture, Thumbnail};
pub use crate::store::commit::quarantine::QuarantinedMessage;
pub use crate::store::commit::spool::{Counters, SpoolState};
pub use crate::store::query::commands::{Command, StageReached};
pub use crate::store::query::devices::Device;
pub use crate::store::query::sessions::LoginSession;
pub use crate::store::query::settings::{DeviceSettings, SettingsUpdate};
pub use crate::store::query::tokens::ApiToken;
pub use crate::store::query::users::{User, UserError};
pub use connection::StoreOptions;

/// The file in the data folder.
pub const FILE: &str = "keepsake.sqlite";

/// Connections for reading.
const READERS: u32 = 4;
/// A page does not wait longer than this for one of them.
const READER_WAIT: Duration = Duration::from_secs(5);
/// One that does not answer by then is given up.
const PING_WAIT: Duration = Duration::from_secs(2);

/// One transaction takes at most this many messages.
pub const BATCH_MESSAGES_MAX: usize = 32;

/// What the store keeps of things that come from outside (P4).
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of unfinished captures per camera; beyond, the ones without progress for longest go.
    pub part_bytes_max: u64,
    /// Parts of unfinished captures per camera.
    pub parts_max: u64,
    /// How long an unfinished capture is kept without progress.
    pub part_age_max: Duration,
    /// Messages in quarantine per camera; beyond, the oldest go.
    pub quarantine_rows_max: u64,
    /// First bytes kept of one message in quarantine.
    pub quarantine_message_bytes_max: usize,
    /// Bytes in quarantine per camera.
    pub quarantine_bytes_max: u64,
    /// Faults and boot lines per camera.
    pub events_max: u64,
    /// Cameras; whoever may publish may make up names.
    pub devices_max: u64,
    /// Messages in quarantine in all, for the same reason.
    pub quarantine_all_rows_max: u64,
    /// Commands remembered per camera.
    pub commands_max: u64,
    /// Versions of its settings remembered per camera.
    pub settings_max: u64,
    /// Captures asked back in answer to one status.
    pub wants_max: usize,
    /// The longest a unit of work may take.
    pub unit_of_work: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            part_bytes_max: 256 * 1024 * 1024,
            parts_max: 5_000,
            part_age_max: Duration::from_secs(7 * 24 * 3600),
            quarantine_rows_max: 500,
            quarantine_message_bytes_max: 64 * 1024,
            quarantine_bytes_max: 4 * 1024 * 1024,
            events_max: 1_000,
            devices_max: 1_000,
            quarantine_all_rows_max: 2_000,
            commands_max: 1_000,
            settings_max: 100,
            wants_max: 500,
            unit_of_work: Duration::from_secs(30),
        }
    }
}

/// Why the store did not do something. Whatever was asked is not done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{what}")]
    Database {
        what: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the store did not answer within {0:?}")]
    TimedOut(Duration),
    #[error("the store holds {0}, which no version of this program writes")]
    Corrupt(String),
    /// Nothing is committed there, so that nothing is promised that it cannot keep.
    #[error("{0}")]
    UnsafeDatabase(String),
    #[error("another cloud writes to this database")]
    AnotherWriter,
    #[error(
        "the database's tables are of a newer version of this program (migration {0}); start that one, or restore a backup from before"
    )]
    SchemaTooNew(i64),
    #[error("no room for a camera of a new name, there are {0}")]
    TooManyDevices(u64),
    #[error(transparent)]
    User(#[from] UserError),
    #[error("prepare the data folder {folder}")]
    Folder {
        folder: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl StoreError {
    /// Whether this has to do with the database rather than with what it was given, as far as that can be told.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Database { source, .. } => match source.downcast_ref::<sqlx::Error>() {
                // Classes 22 and 23 of SQLSTATE: the values themselves. SQLite has its own numbers, and is never cut off.
                Some(sqlx::Error::Database(error)) => error.code().is_some_and(|code| {
                    code.len() == 5 && !code.starts_with("22") && !code.starts_with("23")
                }),
                Some(_) => true,
                None => false,
            },
            Self::TimedOut(_) | Self::UnsafeDatabase(_) | Self::AnotherWriter => true,
            Self::Corrupt(_)
            | Self::TooManyDevices(_)
            | Self::User(_)
            | Self::Folder { .. }
            | Self::SchemaTooNew(_) => false,
        }
    }

    /// Whether the database, or the disk it is on, is full. Small changes may still be possible then.
    pub fn is_full(&self) -> bool {
        let Self::Database { source, .. } = self else {
            return false;
        };
        let Some(sqlx::Error::Database(error)) = source.downcast_ref() else {
            return false;
        };
        match error.try_downcast_ref::<MySqlDatabaseError>() {
            // ER_DISK_FULL, ER_RECORD_FILE_FULL, and ER_GET_ERRNO with ENOSPC.
            Some(mysql) => match mysql.number() {
                1021 | 1114 => true,
                1030 => mysql.message().contains("error 28"),
                _ => false,
            },
            // SQLITE_FULL.
            None => error.code().is_some_and(|code| code == "13"),
        }
    }

    /// A plain sentence for cameras and pages, without what only the log should have.
    pub fn sentence(&self) -> String {
        if self.is_full() {
            return "the cloud's database has no room left".to_owned();
        }
        match self {
            Self::UnsafeDatabase(_) | Self::AnotherWriter | Self::SchemaTooNew(_) => {
                self.to_string()
            }
            Self::Database { .. }
            | Self::TimedOut(_)
            | Self::Corrupt(_)
            | Self::TooManyDevices(_)
            | Self::User(_)
            | Self::Folder { .. } => "the cloud's database does not answer".to_owned(),
        }
    }
}

type Result<T> = std::result::Result<T, StoreError>;

/// Which picture or tombstone exactly: its number and its hash (P3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    install: SpoolId,
    sequence: Sequence,
    hash: Hash,
}

impl Key {
    fn of(record: &CaptureMetadata) -> Self {
        Self {
            install: record.spool,
            sequence: record.sequence,
            hash: record.hash,
        }
    }

    /// From the first three columns.
    fn read(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            install: id(row.get::<&[u8], _>(0), "an install")?,
            sequence: sequence(row.get(1))?,
            hash: id(row.get::<&[u8], _>(2), "a hash")?,
        })
    }
}

/// Binds `install`, `sequence` and `hash`, in this order.
trait BindKey {
    fn key(self, key: Key) -> Self;
}

impl BindKey for Query<'_, Any, AnyArguments> {
    fn key(self, key: Key) -> Self {
        self.bind(key.install.0.as_slice())
            .bind(to_bigint(key.sequence.get()))
            .bind(key.hash.0.as_slice())
    }
}

impl<T> BindKey for QueryScalar<'_, Any, T, AnyArguments> {
    fn key(self, key: Key) -> Self {
        self.bind(key.install.0.to_vec())
            .bind(to_bigint(key.sequence.get()))
            .bind(key.hash.0.to_vec())
    }
}

/// Says what was being done when the database failed.
trait ErrorContext<T> {
    fn context(self, what: &'static str) -> Result<T>;
}

impl<T> ErrorContext<T> for std::result::Result<T, sqlx::Error> {
    fn context(self, what: &'static str) -> Result<T> {
        self.map_err(|source| StoreError::Database {
            what,
            source: Box::new(source),
        })
    }
}

/// A handle that may be cloned; all clones share the connections.
#[derive(Debug, Clone)]
pub struct Store {
    writer: Writer,
    readers: AnyPool,
    connector: Connector,
    id: StoreId,
    limits: Limits,
}

impl Store {
    /// Opens the database at `place`, makes what is not there, and brings the tables up to date.
    ///
    /// # Errors
    /// [`StoreError::Folder`] if there can be no such folder, [`StoreError::SchemaTooNew`] if a newer program made the tables,
    /// [`StoreError::UnsafeDatabase`] and [`StoreError::Led`] if nothing may be written there, [`StoreError::Database`] and
    /// [`StoreError::TimedOut`] if there is no database. Any but the first two may pass.
    pub async fn open(place: impl Into<StoreOptions>, limits: Limits) -> Result<Self> {
        Self::open_as(place.into(), limits, WriterLease::Required).await
    }

    /// As [`Store::open`], for a command that changes a few rows of people and keys while a cloud may be at work there:
    /// where that one has the lease, it is left to it, and so are the tables.
    ///
    /// # Errors
    /// As those of [`Store::open`], but for [`StoreError::Led`].
    pub async fn open_secondary(place: impl Into<StoreOptions>, limits: Limits) -> Result<Self> {
        Self::open_as(place.into(), limits, WriterLease::Optional).await
    }

    async fn open_as(place: StoreOptions, limits: Limits, lead: WriterLease) -> Result<Self> {
        if let Address::Folder(folder) = &place.address {
            std::fs::create_dir_all(folder).map_err(|source| StoreError::Folder {
                folder: folder.clone(),
                source,
            })?;
        }
        let connector = Connector::new(place, lead)?;
        let writer = Writer::new(connector.clone());
        tokio::time::timeout(limits.unit_of_work, writer.check())
            .await
            .map_err(|_| StoreError::TimedOut(limits.unit_of_work))??;
        let id = connector.id().ok_or(StoreError::AnotherWriter)?;
        let readers = AnyPoolOptions::new()
            .after_connect({
                let connector = connector.clone();
                move |connection, _| {
                    let connector = connector.clone();
                    Box::pin(async move {
                        connector.apply_session_settings(connection).await?;
                        connector
                            .check_identity(connection)
                            .await
                            .map_err(|error| sqlx::Error::Configuration(error.into()))
                    })
                }
            })
            // sqlx asks without a bound whether a connection that comes back is well, and its place is taken meanwhile:
            // on a network that swallows packets all places would be gone for a quarter of an hour.
            .after_release(|connection, _| Box::pin(ping(connection)))
            .before_acquire(|connection, _| Box::pin(ping(connection)))
            .test_before_acquire(false)
            .max_connections(READERS)
            .acquire_timeout(READER_WAIT)
            .connect_lazy_with(connector.options());
        Ok(Self {
            writer,
            readers,
            connector,
            id,
            limits,
        })
    }

    /// The random id made with the database; cameras pin it.
    pub fn id(&self) -> StoreId {
        self.id
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Closes all connections; what is under way is rolled back.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Commits a batch: all of it or nothing. Outcomes are in the order of the deposits.
    ///
    /// # Errors
    /// [`StoreError`]: nothing is committed, or it cannot be known; the same batch may simply be committed again.
    pub async fn commit(&self, deposits: &[IngestOp], now_us: i64) -> Result<Vec<CommitOutcome>> {
        self.with_timeout(async {
            let mut tx = self.begin("begin a batch").await?;
            let mut batch = Batch::default();
            let mut outcomes = Vec::with_capacity(deposits.len());
            for deposit in deposits {
                outcomes.push(self.apply(&mut tx, &mut batch, deposit, now_us).await?);
            }
            batch.finish(&mut tx).await?;
            tx.commit().await.context("commit a batch")?;
            Ok(outcomes)
        })
        .await
    }

    /// Looks whether the store could be written to now, and whether it is still the one it was and still safe. Commits
    /// nothing.
    ///
    /// # Errors
    /// [`StoreError`]: nothing can be committed.
    pub async fn check(&self) -> Result<()> {
        self.with_timeout(self.writer.check()).await
    }

    /// What is wrong with the durability of the database and was accepted, in plain sentences.
    pub fn weaknesses(&self) -> Vec<String> {
        self.connector.weaknesses()
    }

    /// Commits something that is always possible, to tell a store that is away from a batch that it cannot take.
    ///
    /// # Errors
    /// [`StoreError`]: the store takes nothing at all.
    pub async fn probe(&self, now_us: i64) -> Result<()> {
        self.with_timeout(async {
            let mut tx = self.begin("begin a probe").await?;
            meta::put(&mut tx, "probe", &now_us.to_be_bytes()).await?;
            tx.commit().await.context("commit a probe")
        })
        .await
    }

    /// Drops unfinished captures that nobody has brought a part of for too long. Returns how many.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was dropped.
    pub async fn drop_stale_parts(&self, now_us: i64) -> Result<u64> {
        let age = i64::try_from(self.limits.part_age_max.as_micros()).unwrap_or(i64::MAX);
        self.with_timeout(async {
            let mut tx = self.begin("begin dropping old parts").await?;
            let dropped = part::drop_before(&mut tx, now_us.saturating_sub(age)).await?;
            tx.commit().await.context("commit dropping old parts")?;
            Ok(dropped)
        })
        .await
    }

    /// Deletes a picture as its owner asked: row and bytes go, its fate stays, so that it is never taken again. Returns
    /// whether it was there.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was deleted.
    pub async fn delete(&self, picture: &Picture) -> Result<bool> {
        self.with_timeout(async {
            let mut tx = self.begin("begin deleting").await?;
            let key = Key {
                install: picture.capture.spool,
                sequence: picture.capture.sequence,
                hash: picture.hash,
            };
            let deleted = fate::mark_deleted(&mut tx, key).await?;
            if deleted {
                picture::remove(&mut tx, picture.arrival).await?;
                batch::count(&mut tx, &picture.device, -1).await?;
            }
            tx.commit().await.context("commit deleting")?;
            Ok(deleted)
        })
        .await
    }

    /// Stores a picture that came by `POST /upload`: the cloud makes its CaptureId.
    ///
    /// # Errors
    /// [`StoreError`]: not stored.
    pub async fn upload(
        &self,
        device: &DeviceId,
        upload: &Upload<'_>,
        now_us: i64,
    ) -> Result<Picture> {
        self.with_timeout(async {
            let mut tx = self.begin("begin an upload").await?;
            if !devices::touch_device(&mut tx, device, now_us, false, self.limits.devices_max)
                .await?
            {
                tx.rollback().await;
                return Err(StoreError::TooManyDevices(self.limits.devices_max));
            }
            let (install, sequence) = spool::next_upload(&mut tx, device, now_us).await?;
            let header = upload.header(install, sequence, now_us);
            let damaged = upload.damaged;
            let mut batch = Batch::default();
            let kept = picture::insert(
                &mut tx,
                &mut batch,
                device,
                &header,
                upload.bytes,
                now_us,
                damaged,
            )
            .await?;
            let arrival =
                kept.ok_or_else(|| StoreError::Corrupt("an upload number twice".to_owned()))?;
            batch.finish(&mut tx).await?;
            tx.commit().await.context("commit an upload")?;
            // Not read back: it is stored now, and whoever is told otherwise sends it again.
            Ok(Picture::stored(arrival, device, header, now_us, damaged))
        })
        .await
    }

    async fn apply(
        &self,
        tx: &mut AnyConnection,
        batch: &mut Batch,
        deposit: &IngestOp,
        now_us: i64,
    ) -> Result<CommitOutcome> {
        if let Some((device, alive)) = speaker(deposit)
            && !batch
                .record_contact(tx, device, now_us, alive, self.limits.devices_max)
                .await?
        {
            return self.reject_for_space(tx, deposit, now_us).await;
        }
        match deposit {
            IngestOp::Capture {
                device,
                header,
                bytes,
            } => {
                let record = &header.capture;
                spool::touch_spool(tx, device, record.spool, record.sequence.next(), now_us)
                    .await?;
                let stored = |arrival| CommitOutcome::Stored {
                    install: record.spool,
                    sequence: record.sequence,
                    hash: record.hash.prefix(),
                    arrival,
                };
                if header.offset == 0 && header.len == record.total {
                    let arrival =
                        picture::insert(tx, batch, device, header, bytes, now_us, false).await?;
                    return Ok(stored(arrival));
                }
                if fate::is_settled(tx, Key::of(record)).await? {
                    return Ok(stored(None));
                }
                match part::insert(tx, device, header, bytes, now_us, &self.limits).await? {
                    part::PartOutcome::Unfinished => Ok(CommitOutcome::PartStored),
                    part::PartOutcome::Whole(whole) => {
                        let arrival =
                            picture::insert(tx, batch, device, header, &whole, now_us, false)
                                .await?;
                        Ok(stored(arrival))
                    }
                    part::PartOutcome::WrongHash(whole) => {
                        let suspect = crate::ingest::operation::QuarantineEntry {
                            device: Some(device.clone()),
                            topic: keepsake_protocol::topic::Topic::new(
                                device,
                                keepsake_protocol::topic::MessageKind::Frame,
                            )
                            .to_string(),
                            reason: format!(
                                "the parts of capture {} together do not have the hash their headers claim",
                                record.id()
                            ),
                            hash: Hash::of(&whole),
                            bytes: whole.into(),
                        };
                        quarantine::insert(tx, &suspect, now_us, &self.limits).await?;
                        Ok(CommitOutcome::WrongHash)
                    }
                }
            }
            IngestOp::Tombstone {
                device,
                tombstone,
                hash,
                payload,
            } => {
                spool::touch_spool(tx, device, tombstone.spool, tombstone.last().next(), now_us)
                    .await?;
                tombstone::insert(tx, device, tombstone, *hash, payload, now_us).await?;
                Ok(CommitOutcome::TombstoneStored {
                    install: tombstone.spool,
                    sequence: tombstone.sequence,
                    hash: hash.prefix(),
                })
            }
            IngestOp::Event {
                device,
                kind,
                hash,
                payload,
                line,
                install,
            } => {
                event::insert(
                    tx,
                    device,
                    kind,
                    *hash,
                    payload,
                    now_us,
                    self.limits.events_max,
                )
                .await?;
                if let Some(line) = line {
                    boot_clock::insert(tx, device, line, *hash, now_us).await?;
                }
                Ok(CommitOutcome::EventStored {
                    awaited: install.map(|install| (install, hash.prefix())),
                })
            }
            IngestOp::Inventory {
                device,
                inventory: have,
            } => {
                spool::touch_spool(tx, device, have.spool, have.next, now_us).await?;
                let (stored, want) = fate::answer_inventory(tx, have).await?;
                Ok(CommitOutcome::InventoryAnswered {
                    install: have.spool,
                    stored,
                    want,
                    answers: keepsake_protocol::receipt::InventoryAck {
                        id: have.id,
                        page: have.page,
                    },
                    next: fate::next(tx, have.spool).await?,
                })
            }
            IngestOp::Status {
                device,
                status,
                retained,
            } => {
                devices::store_status(tx, device, status, now_us, *retained).await?;
                let mut wants = Vec::new();
                // A last will knows nothing of the card, so what was known before stays.
                if status.reported_at.is_some() {
                    for held in &status.spools {
                        spool::touch_spool(tx, device, held.spool, held.next, now_us).await?;
                    }
                    inventory::replace(tx, device, &status.spools, now_us).await?;
                    if status.presence == Presence::Online {
                        wants =
                            inventory::missing_captures(tx, &status.spools, self.limits.wants_max)
                                .await?;
                    }
                }
                Ok(CommitOutcome::StatusStored { wants })
            }
            IngestOp::Reply { device, reply } => {
                commands::record_stage(tx, device, reply, now_us).await?;
                Ok(CommitOutcome::ReplyStored)
            }
            IngestOp::Upload {
                device,
                hash,
                bytes,
                content_type,
                width,
                height,
                maybe_repeat: again,
            } => {
                if *again && upload_dedup::is_repeat(tx, device, *hash, now_us).await? {
                    return Ok(CommitOutcome::UploadStored { arrival: None });
                }
                let (install, sequence) = spool::next_upload(tx, device, now_us).await?;
                let upload = Upload {
                    bytes,
                    content_type: *content_type,
                    width: *width,
                    height: *height,
                    damaged: false,
                };
                let header = upload.header(install, sequence, now_us);
                let arrival =
                    picture::insert(tx, batch, device, &header, bytes, now_us, false).await?;
                upload_dedup::remember(tx, device, *hash, now_us).await?;
                Ok(CommitOutcome::UploadStored { arrival })
            }
            IngestOp::Quarantine(suspect) => {
                quarantine::insert(tx, suspect, now_us, &self.limits).await?;
                Ok(CommitOutcome::Quarantined)
            }
            IngestOp::TooLarge {
                install,
                sequence,
                hash,
                reason,
                ..
            } => Ok(CommitOutcome::Refused {
                install: *install,
                sequence: *sequence,
                hash: *hash,
                reason: reason.clone(),
                retry_after: RETRY_S,
            }),
        }
    }

    /// What a deposit becomes that would need one camera too many.
    async fn reject_for_space(
        &self,
        tx: &mut AnyConnection,
        deposit: &IngestOp,
        now_us: i64,
    ) -> Result<CommitOutcome> {
        const REASON: &str = "this cloud has no room for another camera";
        if let IngestOp::Upload {
            device,
            hash,
            bytes,
            ..
        } = deposit
        {
            // Nobody keeps it and offers it again.
            let suspect = crate::ingest::operation::QuarantineEntry {
                device: None,
                topic: format!("an upload of {device}"),
                reason: REASON.to_owned(),
                hash: *hash,
                bytes: bytes.clone(),
            };
            quarantine::insert(tx, &suspect, now_us, &self.limits).await?;
            return Ok(CommitOutcome::Quarantined);
        }
        Ok(match deposit.capture() {
            Some((install, sequence, hash)) => CommitOutcome::Refused {
                install,
                sequence,
                hash,
                reason: REASON.to_owned(),
                retry_after: RETRY_S,
            },
            None => CommitOutcome::Dropped,
        })
    }

    /// Begins to write; what comes of it is committed by [`Transaction::commit`] or not at all.
    async fn begin(&self, what: &'static str) -> Result<Transaction> {
        self.writer.begin(what).await
    }

    async fn with_timeout<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let limit = self.limits.unit_of_work;
        tokio::time::timeout(limit, work)
            .await
            .unwrap_or(Err(StoreError::TimedOut(limit)))
    }
}

/// Whether a connection for reading answers.
async fn ping(connection: &mut AnyConnection) -> sqlx::Result<bool> {
    tokio::time::timeout(PING_WAIT, connection.ping())
        .await
        .map_err(|_| sqlx::Error::PoolTimedOut)?
        .map(|()| true)
}

/// How long a camera waits before it offers again what this cloud has no place for, seconds.
const RETRY_S: u64 = 6 * 3600;

/// The camera that made this deposit, and whether that is a sign of life.
fn speaker(deposit: &IngestOp) -> Option<(&DeviceId, bool)> {
    match deposit {
        // The broker speaks in a last will, and repeats what it retained; neither is the camera speaking.
        IngestOp::Status {
            device,
            status,
            retained,
        } => Some((device, !retained && status.reported_at.is_some())),
        // It has no presence, and nothing is missed when it is silent.
        IngestOp::Upload { device, .. } => Some((device, false)),
        // Anyone may have written what cannot be understood.
        IngestOp::Quarantine(_) => None,
        IngestOp::Capture { .. }
        | IngestOp::Tombstone { .. }
        | IngestOp::Event { .. }
        | IngestOp::Inventory { .. }
        | IngestOp::Reply { .. }
        | IngestOp::TooLarge { .. } => deposit.device().map(|device| (device, true)),
    }
}

/// A picture that came without a number, by HTTP or from a camera that knows nothing of Keepsake.
#[derive(Debug)]
pub struct Upload<'a> {
    pub bytes: &'a [u8],
    pub content_type: keepsake_protocol::capture::ContentType,
    /// Pixels.
    pub width: u32,
    pub height: u32,
    /// Right bytes that do not decode.
    pub damaged: bool,
}

impl Upload<'_> {
    fn header(&self, install: SpoolId, sequence: Sequence, now_us: i64) -> FrameHeader {
        let total = self.bytes.len() as u64;
        FrameHeader {
            capture: CaptureMetadata {
                spool: install,
                sequence,
                hash: Hash::of(self.bytes),
                total,
                content_type: self.content_type,
                width: self.width,
                height: self.height,
                cause: keepsake_protocol::capture::Cause::Upload,
                command: None,
                pressed: keepsake_protocol::clock::ClockReading {
                    boot: keepsake_protocol::BootId([0; 16]),
                    boottime_us: 0,
                    wall_us: now_us,
                    synchronised: true,
                    error_us: 0,
                },
                captured_after_us: 0,
                settings_version: 0,
            },
            offset: 0,
            len: total,
            attempt: 0,
            saved_after_us: None,
            sent_after_us: None,
            not_before_us: None,
        }
    }
}

/// Numbers from outside that are larger than a BIGINT say no more than "very large".
fn to_bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number of the store's own that cannot be negative.
fn from_bigint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Cuts what is sorted by a moment to about `limit`, and says from which moment to go on. What was committed at one moment
/// is never cut apart: it would be lost between two pages.
fn paginate<T>(mut all: Vec<T>, limit: u32, at_us: impl Fn(&T) -> i64) -> (Vec<T>, Option<i64>) {
    let mut end = all.len().min(limit as usize);
    while end > 0 && end < all.len() && at_us(&all[end]) == at_us(&all[end - 1]) {
        end += 1;
    }
    let next = (end > 0 && end < all.len()).then(|| at_us(&all[end - 1]));
    all.truncate(end);
    (all, next)
}

/// An id read back from its column.
fn id<T>(bytes: &[u8], what: &'static str) -> Result<T>
where
    T: for<'a> TryFrom<&'a [u8]>,
{
    T::try_from(bytes).map_err(|_| StoreError::Corrupt(format!("{what} of {} bytes", bytes.len())))
}

fn sequence(number: i64) -> Result<Sequence> {
    u64::try_from(number)
        .ok()
        .and_then(|number| Sequence::try_from(number).ok())
        .ok_or_else(|| StoreError::Corrupt(format!("sequence {number}")))
}

#[cfg(test)]
impl Store {
    /// Lets nobody write until what it returns is dropped.
    pub(crate) async fn occupy(&self) -> Result<impl Sized> {
        self.begin("occupy the store").await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_upload_that_is_stored_is_told_even_if_nothing_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Limits::default()).await.unwrap();
        store.readers.close().await;
        let upload = Upload {
            bytes: b"one",
            content_type: keepsake_protocol::capture::ContentType::Jpeg,
            width: 1,
            height: 1,
            damaged: false,
        };
        let device = "camera".parse().unwrap();
        let picture = store.upload(&device, &upload, 1).await.unwrap();
        assert_eq!(picture.arrival, 1);
    }
}
