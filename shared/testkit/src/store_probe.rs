//! The cloud's database, read over a connection of our own: rows there are committed, whatever the cloud believes.
//! Never writes.

use std::cell::RefCell;
use std::fs;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keepsake_protocol::capture::FrameHeader;
use keepsake_protocol::{Hash, HashPrefix, Sequence, SpoolId};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Any, AnyConnection, ConnectOptions, Connection, Row};
use tokio::runtime::Runtime;

/// A stopped server answers nothing: the query has failed then.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// The database and the data directory of a cloud.
#[derive(Debug, Clone)]
pub struct StoreAddress {
    /// The URL of the database.
    pub(crate) url: String,
    /// The data directory.
    pub(crate) data: PathBuf,
}

impl StoreAddress {
    /// Returns the SQLite database that a cloud creates in its data directory by default, to read it.
    pub(crate) fn sqlite(data: &Path) -> Self {
        let file = SqliteConnectOptions::new().filename(data.join("keepsake.sqlite"));
        Self {
            url: file.read_only(true).to_url_lossy().into(),
            data: data.to_owned(),
        }
    }
}

/// A stored picture with its bytes.
#[derive(Debug, Clone)]
pub struct Picture {
    pub spool: SpoolId,
    pub sequence: u64,
    pub hash: Hash,
    pub conflict: bool,
    pub bytes: Vec<u8>,
}

/// A stored tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    pub spool: SpoolId,
    pub first: u64,
    pub last: u64,
    pub reason: String,
}

/// A connection that only reads.
#[derive(Debug)]
pub struct StoreProbe {
    runtime: Runtime,
    connection: RefCell<AnyConnection>,
    /// The directory of the parts of unfinished captures.
    parts: PathBuf,
}

type AnyQuery<'q> = Query<'q, Any, AnyArguments>;

impl StoreProbe {
    /// Opens an existing database.
    pub fn open(store: &StoreAddress) -> sqlx::Result<Self> {
        sqlx::any::install_default_drivers();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connection = runtime.block_on(within(AnyConnection::connect(&store.url)))?;
        Ok(Self {
            runtime,
            connection: RefCell::new(connection),
            parts: store.data.join("parts"),
        })
    }

    /// Returns the highest fate that this capture has with this hash.
    pub fn fate(&self, spool: SpoolId, sequence: Sequence, hash: HashPrefix) -> sqlx::Result<Option<i64>> {
        // A tombstone of a range has one row for its first sequence or one for each: both count.
        let query =
            sqlx::query("SELECT MAX(fate) FROM fate WHERE spool = ? AND sequence = ? AND SUBSTR(hash, 1, 8) = ?");
        let row = self.one(query.bind(spool.0.to_vec()).bind(bigint(sequence.get())).bind(hash.0.to_vec()))?;
        row.try_get(0)
    }

    /// Returns whether a tombstone or an event with this hash is stored. The cloud hashes the JSON exactly as received.
    pub fn has_event(&self, hash: Hash) -> sqlx::Result<bool> {
        let with_hash = |query| sqlx::query(query).bind(hash.0.to_vec());
        Ok(self.count(with_hash("SELECT COUNT(*) FROM tombstone WHERE hash = ?"))? > 0
            || self.count(with_hash("SELECT COUNT(*) FROM event WHERE hash = ?"))? > 0)
    }

    /// Returns whether a message with this hash is in quarantine.
    pub fn has_quarantined(&self, message: Hash) -> sqlx::Result<bool> {
        let query = sqlx::query("SELECT COUNT(*) FROM quarantine WHERE hash = ?");
        Ok(self.count(query.bind(message.0.to_vec()))? > 0)
    }

    /// Returns whether the bytes that follow this header are stored: as parts, or committed as a picture.
    pub fn has_bytes_of(&self, header: &FrameHeader) -> sqlx::Result<bool> {
        // The parts first: they are removed only after the picture is committed.
        let capture = format!("{}-{}-{}-", header.capture.spool, header.capture.sequence.get(), header.capture.hash);
        let mut covered = header.offset;
        for (start, len) in self.parts_of(|name| name.starts_with(&capture)) {
            if start <= covered {
                covered = covered.max(start + len);
            }
        }
        if covered >= header.offset + header.len {
            return Ok(true);
        }
        let whole = "SELECT COUNT(*) FROM fate WHERE spool = ? AND sequence = ? AND hash = ? AND fate >= 2";
        Ok(self.count(bind_capture(sqlx::query(whole), header))? > 0)
    }

    /// Returns start and length of the parts whose files are complete, in their order.
    fn parts_of(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<(u64, u64)> {
        let entries = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
        let captures = entries(self.parts.clone()).flat_map(|device| entries(device.path()));
        let wanted = captures.filter(|capture| capture.file_name().to_str().is_some_and(&is_wanted));
        let mut parts: Vec<(u64, u64)> = wanted
            .flat_map(|capture| entries(capture.path()))
            .filter_map(|file| {
                let name = file.file_name().into_string().ok()?;
                let mut fields = name.split('-').map(str::parse::<u64>);
                let (start, len) = (fields.next()?.ok()?, fields.next()?.ok()?);
                (file.metadata().ok()?.len() == len).then_some((start, len))
            })
            .collect();
        parts.sort_unstable();
        parts
    }

    /// Calls `each` for every stored picture, in the order of spool and sequence.
    pub fn for_each_picture(&self, mut each: impl FnMut(Picture)) -> sqlx::Result<()> {
        let pictures = self.all(sqlx::query(
            "SELECT spool, sequence, hash, conflict, arrival, object, url, bytes FROM picture \
             LEFT JOIN bytes_place ON bytes_place.id = picture.place ORDER BY spool, sequence, hash",
        ))?;
        for picture in pictures {
            let arrival: i64 = picture.try_get(4)?;
            let bytes = match (picture.try_get(5)?, picture.try_get(6)?) {
                (Some(object), Some(url)) => read_object(url, object, number(&picture, 7)?),
                (None, _) => {
                    let query = sqlx::query("SELECT bytes FROM picture_bytes WHERE arrival = ?").bind(arrival);
                    self.all(query)?.first().map(|row| row.try_get(0)).transpose()?
                }
                (Some(_), None) => None,
            };
            each(Picture {
                spool: SpoolId(bytes_of(&picture, 0)?),
                sequence: number(&picture, 1)?,
                hash: Hash(bytes_of(&picture, 2)?),
                conflict: number(&picture, 3)? != 0,
                bytes: bytes.unwrap_or_default(),
            });
        }
        Ok(())
    }

    /// Returns every tombstone.
    pub fn tombstones(&self) -> sqlx::Result<Vec<Tombstone>> {
        let rows = self.all(sqlx::query(
            "SELECT spool, sequence, through, reason FROM tombstone ORDER BY spool, sequence",
        ))?;
        rows.iter()
            .map(|row| {
                Ok(Tombstone {
                    spool: SpoolId(bytes_of(row, 0)?),
                    first: number(row, 1)?,
                    last: number(row, 2)?,
                    reason: row.try_get(3)?,
                })
            })
            .collect()
    }

    /// Returns 0 as well while the database is away.
    pub fn picture_count(&self) -> u64 {
        self.count(sqlx::query("SELECT COUNT(*) FROM picture")).unwrap_or(0)
    }

    /// Returns the arrival of the latest picture, 0 without one and while the database is away. Costs one step of an
    /// index, so that it can be asked often.
    pub fn last_arrival(&self) -> u64 {
        self.count(sqlx::query("SELECT COALESCE(MAX(arrival), 0) FROM picture")).unwrap_or(0)
    }

    /// Returns how many pictures have no thumbnail yet.
    pub fn thumbnails_pending(&self) -> sqlx::Result<u64> {
        self.count(sqlx::query("SELECT COUNT(*) FROM picture WHERE thumbnail = 0"))
    }

    /// Returns the number of stored parts of incomplete pictures.
    pub fn part_count(&self) -> usize {
        self.parts_of(|_| true).len()
    }

    fn count(&self, query: AnyQuery<'_>) -> sqlx::Result<u64> {
        number(&self.one(query)?, 0)
    }

    fn one(&self, query: AnyQuery<'_>) -> sqlx::Result<AnyRow> {
        self.run(async |connection| query.fetch_one(connection).await)
    }

    fn all(&self, query: AnyQuery<'_>) -> sqlx::Result<Vec<AnyRow>> {
        self.run(async |connection| query.fetch_all(connection).await)
    }

    fn run<T>(&self, ask: impl AsyncFnOnce(&mut AnyConnection) -> sqlx::Result<T>) -> sqlx::Result<T> {
        let connection = &mut *self.connection.borrow_mut();
        self.runtime.block_on(within(ask(connection)))
    }
}

async fn within<T>(work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    tokio::time::timeout(ANSWERS_WITHIN, work)
        .await
        .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}

/// Returns the bytes of a picture in a folder; nothing if there are none. `object`: a file, or an archive and the offset
/// of the bytes in it.
fn read_object(url: &str, object: &str, len: u64) -> Option<Vec<u8>> {
    let folder = url.strip_prefix("folder:").expect("the tests keep pictures in folders");
    let (file, offset) = object.split_once(':').unwrap_or((object, "0"));
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    let file = File::open(Path::new(folder).join(file)).ok()?;
    file.read_exact_at(&mut bytes, offset.parse().ok()?).ok()?;
    Some(bytes)
}

fn bind_capture<'q>(query: AnyQuery<'q>, header: &FrameHeader) -> AnyQuery<'q> {
    let capture = &header.capture;
    query
        .bind(capture.spool.0.to_vec())
        .bind(bigint(capture.sequence.get()))
        .bind(capture.hash.0.to_vec())
}

fn bigint(number: u64) -> i64 {
    i64::try_from(number).expect("a number of ours is below 2^53")
}

fn number(row: &AnyRow, column: usize) -> sqlx::Result<u64> {
    let number: i64 = row.try_get(column)?;
    u64::try_from(number).map_err(|error| decode(column, error))
}

fn bytes_of<const N: usize>(row: &AnyRow, column: usize) -> sqlx::Result<[u8; N]> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes.try_into().map_err(|error| decode(column, error))
}

fn decode(column: usize, source: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_string(), source: Box::new(source) }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::appliance::CaptureKey;

    /// A connection that can write, with which the unit tests create their databases.
    pub(crate) struct ScratchStore(StoreProbe);

    impl ScratchStore {
        /// Opens the database in this directory, with the tables the cloud would have created.
        pub(crate) fn open(data: &Path) -> Self {
            let file = data.join("keepsake.sqlite");
            let new = !file.exists();
            let file = SqliteConnectOptions::new().filename(file).create_if_missing(true);
            let address = StoreAddress { url: file.to_url_lossy().into(), data: data.to_owned() };
            let scratch = Self(StoreProbe::open(&address).unwrap());
            if new {
                let tables = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cloud/migrations/sqlite.sql");
                for statement in fs::read_to_string(tables).unwrap().split_terminator(";\n") {
                    let statement = sqlx::AssertSqlSafe(statement.to_owned());
                    scratch.execute(sqlx::query(statement));
                }
            }
            scratch
        }

        /// Returns how many rows have changed.
        pub(crate) fn execute(&self, statement: AnyQuery<'_>) -> u64 {
            let done = self.0.run(async |connection| statement.execute(connection).await);
            done.unwrap().rows_affected()
        }

        pub(crate) fn add(&self, named: &CaptureKey, arrival: i64, bytes: &[u8]) {
            let key = |query: AnyQuery<'static>| {
                query
                    .bind(named.spool.0.to_vec())
                    .bind(bigint(named.sequence))
                    .bind(Hash::of(bytes).0.to_vec())
            };
            self.execute(key(sqlx::query("INSERT INTO fate (spool, sequence, hash, fate) VALUES (?, ?, ?, 2)")));
            let picture = sqlx::query(
                "INSERT INTO picture (spool, sequence, hash, arrival, device, bytes, content_type, width, height,
                     cause, pressed_boot, pressed_boottime_us, pressed_wall_us, pressed_synchronised,
                     pressed_error_us, captured_after_us, attempt, settings_version, stored_us, sort_us, conflict,
                     damaged, thumbnail, thumbnail_attempts)
                 VALUES (?, ?, ?, ?, 'porch', 1, '', 1, 1, '', X'', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)",
            );
            self.execute(key(picture).bind(arrival));
            let whole = sqlx::query("INSERT INTO picture_bytes (arrival, bytes) VALUES (?, ?)");
            self.execute(whole.bind(arrival).bind(bytes.to_vec()));
        }
    }

    /// Runs a check that panics when it finds a violation, and returns its message.
    pub(crate) fn caught<T>(check: impl FnOnce() -> T) -> Result<T, String> {
        catch_unwind(AssertUnwindSafe(check)).map_err(|panic| *panic.downcast::<String>().expect("a formatted message"))
    }

    /// Creates a database with the first photograph as number 1.
    pub(crate) fn with_one_picture(data: &Path) -> CaptureKey {
        let bytes = crate::photos::all(&crate::photos::folder()).remove(0);
        let named = CaptureKey {
            spool: SpoolId([7; 16]),
            sequence: 1,
            hash: Hash::of(&bytes).prefix(),
        };
        ScratchStore::open(data).add(&named, 1, &bytes);
        named
    }

    #[test]
    fn bytes_are_committed_when_all_of_them_are() {
        let folder = keepsake_provision::temp_dir::TempDir::new("store");
        let stored = with_one_picture(&folder);
        let header = |sequence: u64, offset: u64, len: u64| -> FrameHeader {
            let mut header = crate::photos::frame_header(stored.spool, sequence, b"");
            header["hash"] = serde_json::json!(Hash([5; 32]));
            for (field, value) in [("total", 100), ("offset", offset), ("len", len)] {
                header[field] = value.into();
            }
            serde_json::from_value(header).unwrap()
        };
        let capture = format!("{}-2-{}-100", stored.spool, Hash([5; 32]));
        let capture = folder.join("parts/porch").join(capture);
        fs::create_dir_all(&capture).unwrap();
        for (start, len, written) in [(0, 40, 40), (30, 30, 30), (60, 10, 9), (80, 20, 20)] {
            fs::write(capture.join(format!("{start}-{len}-00c0ffee")), vec![0; written]).unwrap();
        }
        let store = StoreProbe::open(&StoreAddress::sqlite(&folder)).unwrap();
        for (offset, len, committed) in [
            (0, 60, true),
            (40, 20, true),
            (80, 20, true),
            (0, 61, false),
            (60, 10, false),
            (79, 2, false),
        ] {
            let found = store.has_bytes_of(&header(2, offset, len)).unwrap();
            assert_eq!(found, committed, "{len} bytes from {offset}");
        }
        assert!(!store.has_bytes_of(&header(3, 0, 1)).unwrap());
        assert!(!store.has_quarantined(Hash([5; 32])).unwrap());
        assert!(!store.has_event(Hash([5; 32])).unwrap());
    }
}
