//! The cloud's database file, read over a connection of our own, read-only: what is in it is committed, and what the
//! cloud merely believes is not.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use shared::capture::FrameHeader;
use shared::{Hash, HashPrefix, InstallId, Sequence};

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

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use super::*;
    use crate::appliance::Named;

    /// A database as the cloud would have made it, with the first photograph as number 1.
    pub(crate) fn with_one_picture(data: &Path) -> Named {
        let migrations =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cloud/migrations/sqlite");
        let mut files: Vec<_> = fs::read_dir(migrations)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        let database = Connection::open(data.join("keepsake.sqlite")).unwrap();
        for file in files {
            database
                .execute_batch(&fs::read_to_string(file).unwrap())
                .unwrap();
        }
        let bytes = crate::photo::all(&crate::photo::folder()).remove(0);
        let named = Named {
            install: InstallId([7; 16]),
            sequence: 1,
            hash: Hash::of(&bytes).prefix(),
        };
        add(&database, &named, 1, &bytes);
        named
    }

    pub(crate) fn add(database: &Connection, named: &Named, arrival: u64, bytes: &[u8]) {
        let hash = Hash::of(bytes);
        let key = (&named.install.0, named.sequence, &hash.0);
        database
            .execute(
                "INSERT INTO fate (install, sequence, hash, fate) VALUES (?1, ?2, ?3, 2)",
                key,
            )
            .unwrap();
        database
            .execute(
                "INSERT INTO picture (arrival, install, sequence, hash, device, bytes, content_type, width, height,
                     cause, pressed_boot, pressed_boottime_us, pressed_wall_us, pressed_synchronised,
                     pressed_error_us, captured_after_us, attempt, settings_version, stored_us, conflict, damaged,
                     thumbnail, thumbnail_attempts)
                 VALUES (?4, ?1, ?2, ?3, 'porch', 1, '', 1, 1, '', X'', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)",
                (&named.install.0, named.sequence, &hash.0, arrival),
            )
            .unwrap();
        database
            .execute(
                "INSERT INTO picture_bytes (arrival, bytes) VALUES (?1, ?2)",
                (arrival, bytes),
            )
            .unwrap();
    }

    #[test]
    fn bytes_are_committed_when_all_of_them_are() {
        let folder = crate::folder::Folder::new("store");
        let stored = with_one_picture(&folder);
        let database = Connection::open(folder.join("keepsake.sqlite")).unwrap();
        let header = |sequence: u64, offset: u64, len: u64| -> FrameHeader {
            serde_json::from_value(serde_json::json!({
                "install": stored.install, "sequence": sequence, "hash": Hash([5; 32]), "total": 100,
                "content_type": "image/jpeg", "width": 1, "height": 1, "cause": "button",
                "pressed": {"boot": "00".repeat(16), "boottime_us": 1, "wall_us": 2, "synchronised": false},
                "captured_after_us": 0, "offset": offset, "len": len,
            }))
            .unwrap()
        };
        for (start, len) in [(0, 40), (30, 30), (80, 20)] {
            database
                .execute(
                    "INSERT INTO part (install, sequence, hash, start, len, bytes) VALUES (?1, 2, ?2, ?3, ?4, X'')",
                    (&stored.install.0, &[5_u8; 32], start, len),
                )
                .unwrap();
        }
        let store = Store::open(&folder).unwrap();
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
