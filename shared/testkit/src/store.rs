//! The cloud's database file, read over a connection of our own, read-only: what is in it is committed, and what the
//! cloud merely believes is not.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use shared::capture::FrameHeader;
use shared::{Hash, HashPrefix, InstallId, Sequence};

/// How a fate is written in the table `fate`.
pub const TOLD: i64 = 1;
pub const STORED: i64 = 2;
pub const DELETED: i64 = 3;

/// One stored picture with its bytes.
#[derive(Debug, Clone)]
pub struct Picture {
    pub install: InstallId,
    pub sequence: u64,
    pub hash: Hash,
    pub device: String,
    pub conflict: bool,
    pub bytes: Vec<u8>,
}

/// A tombstone as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub install: InstallId,
    pub first: u64,
    pub last: u64,
    pub reason: String,
}

/// A read-only connection.
#[derive(Debug)]
pub struct Store(Connection);

impl Store {
    /// Opens `keepsake.sqlite` in the data folder of a cloud.
    ///
    /// # Errors
    /// SQLite's, for instance when there is no such file yet.
    pub fn open(data: &Path) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(data.join("keepsake.sqlite"), flags)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        Ok(Self(connection))
    }

    /// The highest fate this capture has, with this hash.
    ///
    /// # Errors
    /// SQLite's.
    pub fn fate(
        &self,
        install: InstallId,
        sequence: Sequence,
        hash: HashPrefix,
    ) -> rusqlite::Result<Option<i64>> {
        // A tombstone of a range has one row for its first sequence or one for each: both mean that it is told.
        self.0
            .query_row(
                "SELECT max(fate) FROM fate
                 WHERE install = ?1 AND sequence = ?2 AND substr(hash, 1, 8) = ?3",
                (&install.0, sequence_column(sequence), &hash.0),
                |row| row.get(0),
            )
            .optional()
            .map(Option::flatten)
    }

    /// Whether a tombstone or an event with this hash is stored. The cloud hashes their JSON exactly as it came.
    ///
    /// # Errors
    /// SQLite's.
    pub fn has_event(&self, hash: Hash) -> rusqlite::Result<bool> {
        self.0.query_row(
            "SELECT EXISTS (SELECT 1 FROM tombstone WHERE hash = ?1)
                 OR EXISTS (SELECT 1 FROM event WHERE hash = ?1)",
            [&hash.0],
            |row| row.get(0),
        )
    }

    /// Whether a message with this hash is in quarantine.
    ///
    /// # Errors
    /// SQLite's.
    pub fn has_quarantined(&self, message: Hash) -> rusqlite::Result<bool> {
        self.0.query_row(
            "SELECT EXISTS (SELECT 1 FROM quarantine WHERE hash = ?1)",
            [&message.0],
            |row| row.get(0),
        )
    }

    /// Whether the bytes that came with this header are committed: as a picture, or as parts of one.
    ///
    /// # Errors
    /// SQLite's.
    pub fn has_bytes_of(&self, header: &FrameHeader) -> rusqlite::Result<bool> {
        let record = &header.record;
        let key = (
            &record.install.0,
            sequence_column(record.sequence),
            &record.hash.0,
        );
        // One transaction, or a picture that is completed between two looks would be in neither place.
        let transaction = self.0.unchecked_transaction()?;
        let whole: bool = transaction.query_row(
            "SELECT EXISTS (SELECT 1 FROM fate WHERE install = ?1 AND sequence = ?2 AND hash = ?3 AND fate >= 2)",
            key,
            |row| row.get(0),
        )?;
        if whole {
            return Ok(true);
        }
        let mut parts = transaction.prepare(
            "SELECT start, start + len FROM part
             WHERE install = ?1 AND sequence = ?2 AND hash = ?3 ORDER BY start",
        )?;
        let parts = parts.query_map(key, |row| {
            Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?))
        })?;
        let mut covered = header.offset;
        for part in parts {
            let (start, end) = part?;
            if start <= covered {
                covered = covered.max(end);
            }
        }
        Ok(covered >= header.offset + header.len)
    }

    /// Every stored picture, in the order of install and sequence; `each` sees one at a time.
    ///
    /// # Errors
    /// SQLite's.
    pub fn for_each_picture(&self, mut each: impl FnMut(Picture)) -> rusqlite::Result<()> {
        let mut query = self.0.prepare(
            "SELECT install, sequence, hash, device, conflict, picture_bytes.bytes
             FROM picture LEFT JOIN picture_bytes USING (arrival) ORDER BY install, sequence, hash",
        )?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            each(Picture {
                install: InstallId(row.get(0)?),
                sequence: row.get(1)?,
                hash: Hash(row.get(2)?),
                device: row.get(3)?,
                conflict: row.get(4)?,
                bytes: row.get::<_, Option<Vec<u8>>>(5)?.unwrap_or_default(),
            });
        }
        Ok(())
    }

    /// Every tombstone.
    ///
    /// # Errors
    /// SQLite's.
    pub fn told(&self) -> rusqlite::Result<Vec<Told>> {
        let mut query = self.0.prepare(
            "SELECT install, sequence, through, reason FROM tombstone ORDER BY install, sequence",
        )?;
        query
            .query_map([], |row| {
                Ok(Told {
                    install: InstallId(row.get(0)?),
                    first: row.get(1)?,
                    last: row.get(2)?,
                    reason: row.get(3)?,
                })
            })?
            .collect()
    }

    pub fn picture_count(&self) -> u64 {
        self.0
            .query_row("SELECT count(*) FROM picture", [], |row| row.get(0))
            .unwrap_or(0)
    }
}

fn sequence_column(sequence: Sequence) -> i64 {
    i64::try_from(sequence.get()).expect("a sequence is below 2^53")
}
