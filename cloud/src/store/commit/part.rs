//! Tables `partial` and `part`: captures that came in parts and are not whole yet.
//!
//! Parts may overlap, because a resend may be cut in other places. What is dropped here is brought back by `want` or by
//! the camera's own back-off, so dropping is always safe.

use keepsake_protocol::capture::FrameHeader;
use keepsake_protocol::{CaptureId, DeviceId, Hash, HashPrefix, Sequence, SpoolId};
use sqlx::{AnyConnection, Row};

use crate::store::bind::{Key, from_bigint, id, sequence, to_bigint};
use crate::store::error::{Result, StoreError};
use crate::store::limits::Limits;
use crate::store::open::Store;
use crate::store::statement::sql;

pub(crate) enum PartOutcome {
    Unfinished,
    /// All bytes, with the right hash; the parts are gone.
    Whole(Vec<u8>),
    /// All bytes, with another hash; the parts are gone.
    WrongHash(Vec<u8>),
}

/// Keeps one part, and puts the capture together if that was the last one missing.
pub(crate) async fn insert(
    tx: &mut AnyConnection,
    device: &DeviceId,
    header: &FrameHeader,
    bytes: &[u8],
    now_us: i64,
    limits: &Limits,
) -> Result<PartOutcome> {
    let record = &header.capture;
    let key = Key::of(record);
    let known = sql("SELECT total FROM partial WHERE spool = ? AND sequence = ? AND hash = ?")
        .bind(key)
        .fetch_optional(&mut *tx, "look for an unfinished capture")
        .await?;
    let known_total = known.map(|row| from_bigint(row.get(0)));
    // One of the two messages lies about the length. Which one cannot be known, so the new one starts over.
    if known_total.is_some_and(|total| total != record.total) {
        delete_parts(tx, key).await?;
    }
    if known_total != Some(record.total) {
        sql("INSERT INTO partial (spool, sequence, hash, device, total, parts, bytes, progress_us) \
             VALUES (?, ?, ?, ?, ?, 0, 0, ?)")
        .bind((key, device, record.total, now_us))
        .execute(&mut *tx, "begin an unfinished capture")
        .await?;
    }
    if !put(tx, header, bytes, now_us).await? {
        return Ok(PartOutcome::Unfinished);
    }
    if missing(tx, key).await?.is_empty() {
        let whole = assemble(tx, key).await?;
        delete_parts(tx, key).await?;
        let (whole, found) = hashed(whole).await?;
        return Ok(if found == key.hash {
            PartOutcome::Whole(whole)
        } else {
            PartOutcome::WrongHash(whole)
        });
    }
    make_room(tx, device, key, limits).await?;
    Ok(PartOutcome::Unfinished)
}

/// Writes the part unless a part that starts there reaches as far. Returns whether anything changed.
async fn put(tx: &mut AnyConnection, header: &FrameHeader, bytes: &[u8], now_us: i64) -> Result<bool> {
    let key = Key::of(&header.capture);
    let there: Option<i64> = sql("SELECT len FROM part WHERE spool = ? AND sequence = ? AND hash = ? AND start = ?")
        .bind((key, header.offset))
        .optional_scalar(&mut *tx, "look for a part")
        .await?;
    let len = to_bigint(header.len);
    let (parts, grown): (i64, i64) = match there {
        Some(there) if there >= len => return Ok(false),
        Some(there) => {
            sql("DELETE FROM part WHERE spool = ? AND sequence = ? AND hash = ? AND start = ?")
                .bind((key, header.offset))
                .execute(&mut *tx, "replace a shorter part")
                .await?;
            (0, len - there)
        }
        None => (1, len),
    };
    sql("INSERT INTO part (spool, sequence, hash, start, len, bytes) VALUES (?, ?, ?, ?, ?, ?)")
        .bind((key, header.offset, len, bytes))
        .execute(&mut *tx, "keep a part")
        .await?;
    sql("UPDATE partial SET parts = parts + ?, bytes = bytes + ?, progress_us = ? \
         WHERE spool = ? AND sequence = ? AND hash = ?")
    .bind((parts, grown, now_us, key))
    .execute(tx, "note the progress of a capture")
    .await?;
    Ok(true)
}

/// The bytes of an unfinished capture that no part has, as `[start, end)`.
pub(crate) async fn missing(tx: &mut AnyConnection, key: Key) -> Result<Vec<(u64, u64)>> {
    let total: Option<i64> = sql("SELECT total FROM partial WHERE spool = ? AND sequence = ? AND hash = ?")
        .bind(key)
        .optional_scalar(&mut *tx, "read an unfinished capture")
        .await?;
    let total = from_bigint(total.unwrap_or(0));
    let parts = sql("SELECT start, len FROM part WHERE spool = ? AND sequence = ? AND hash = ? ORDER BY start")
        .bind(key)
        .fetch_all(tx, "read which parts are here")
        .await?;
    let mut gaps = Vec::new();
    let mut reached = 0;
    for part in &parts {
        let (start, len) = (from_bigint(part.get(0)), from_bigint(part.get(1)));
        if start > reached {
            gaps.push((reached, start));
        }
        reached = reached.max(start + len);
    }
    if reached < total {
        gaps.push((reached, total));
    }
    Ok(gaps)
}

/// Reads the parts one by one into the whole picture; there is no gap.
async fn assemble(tx: &mut AnyConnection, key: Key) -> Result<Vec<u8>> {
    let starts: Vec<i64> = sql("SELECT start FROM part WHERE spool = ? AND sequence = ? AND hash = ? ORDER BY start")
        .bind(key)
        .scalars(&mut *tx, "list the parts of a capture")
        .await?;
    let mut whole = Vec::new();
    for start in starts {
        let part: Vec<u8> = sql("SELECT bytes FROM part WHERE spool = ? AND sequence = ? AND hash = ? AND start = ?")
            .bind((key, start))
            .scalar(&mut *tx, "read a part")
            .await?;
        let overlap = (whole.len() as u64).saturating_sub(from_bigint(start));
        let overlap = usize::try_from(overlap).unwrap_or(usize::MAX);
        whole.extend_from_slice(part.get(overlap..).unwrap_or_default());
    }
    Ok(whole)
}

/// Hashing 64 MiB takes long enough to be felt by every other task of the thread.
async fn hashed(bytes: Vec<u8>) -> Result<(Vec<u8>, Hash)> {
    tokio::task::spawn_blocking(move || {
        let hash = Hash::of(&bytes);
        (bytes, hash)
    })
    .await
    .map_err(|error| StoreError::Database { what: "hash a capture", source: Box::new(error) })
}

/// Drops what has been without progress for longest until the camera is within its limits. The capture just
/// `touched` goes only if it is beyond them alone, as one cut into absurdly many parts is.
async fn make_room(tx: &mut AnyConnection, device: &DeviceId, touched: Key, limits: &Limits) -> Result<()> {
    let sums = sql("SELECT CAST(COALESCE(SUM(parts), 0) AS SIGNED), CAST(COALESCE(SUM(bytes), 0) AS SIGNED) \
         FROM partial WHERE device = ?")
    .bind(device)
    .fetch_optional(&mut *tx, "measure the unfinished captures of a camera")
    .await?;
    let (mut parts, mut bytes) = sums.map_or((0, 0), |row| (from_bigint(row.get(0)), from_bigint(row.get(1))));
    if parts <= limits.parts_max && bytes <= limits.part_bytes_max {
        return Ok(());
    }
    let oldest = sql("SELECT spool, sequence, hash, parts, bytes FROM partial WHERE device = ? ORDER BY progress_us")
        .bind(device)
        .fetch_all(&mut *tx, "list the unfinished captures of a camera")
        .await?;
    let mut candidates = Vec::with_capacity(oldest.len());
    for row in &oldest {
        candidates.push((Key::read(row)?, from_bigint(row.get(3)), from_bigint(row.get(4))));
    }
    // The one that was just touched last, even where several have the same time.
    candidates.sort_by_key(|(key, _, _)| *key == touched);
    for (key, its_parts, its_bytes) in candidates {
        if parts <= limits.parts_max && bytes <= limits.part_bytes_max {
            break;
        }
        delete_parts(tx, key).await?;
        parts -= its_parts;
        bytes -= its_bytes;
    }
    Ok(())
}

/// The unfinished captures within a span of sequences.
pub(crate) async fn unfinished(
    tx: &mut AnyConnection,
    spool: SpoolId,
    (first, last): (Sequence, Sequence),
) -> Result<Vec<(Sequence, HashPrefix, Hash)>> {
    let rows = sql("SELECT sequence, hash FROM partial WHERE spool = ? AND sequence BETWEEN ? AND ?")
        .bind((spool, first, last))
        .fetch_all(tx, "list unfinished captures")
        .await?;
    rows.iter()
        .map(|row| {
            let hash: Hash = id(row.get::<&[u8], _>(1), "a hash")?;
            Ok((sequence(row.get(0))?, hash.prefix(), hash))
        })
        .collect()
}

/// Drops all unfinished captures without progress since `before_us`. Returns how many.
pub(crate) async fn drop_before(tx: &mut AnyConnection, before_us: i64) -> Result<u64> {
    let stale = sql("SELECT spool, sequence, hash FROM partial WHERE progress_us < ? LIMIT 1000")
        .bind(before_us)
        .fetch_all(&mut *tx, "list captures without progress")
        .await?;
    for row in &stale {
        delete_parts(tx, Key::read(row)?).await?;
    }
    Ok(stale.len() as u64)
}

async fn delete_parts(tx: &mut AnyConnection, key: Key) -> Result<()> {
    for statement in [
        "DELETE FROM part WHERE spool = ? AND sequence = ? AND hash = ?",
        "DELETE FROM partial WHERE spool = ? AND sequence = ? AND hash = ?",
    ] {
        sql(statement).bind(key).execute(&mut *tx, "drop the parts of a capture").await?;
    }
    Ok(())
}

impl Store {
    /// Returns how many bytes of an unfinished capture are here, and its length.
    pub async fn progress(&self, capture: CaptureId) -> Result<Option<(u64, u64)>> {
        let row =
            sql("SELECT bytes, total FROM partial WHERE spool = ? AND sequence = ? ORDER BY progress_us DESC LIMIT 1")
                .bind((capture.spool, capture.sequence))
                .row(self, "read the progress of a capture")
                .await?;
        Ok(row.map(|row| {
            let (bytes, total) = (from_bigint(row.get(0)), from_bigint(row.get(1)));
            // Parts that overlap are counted twice.
            (bytes.min(total), total)
        }))
    }
}

impl Store {
    /// Drops unfinished captures that nobody has brought a part of for too long. Returns how many.
    pub async fn drop_stale_parts(&self, now_us: i64) -> Result<u64> {
        let age = i64::try_from(self.limits.part_age_max.as_micros()).unwrap_or(i64::MAX);
        self.with_timeout(async {
            let mut tx = self.begin("begin dropping old parts").await?;
            let dropped = drop_before(&mut tx, now_us.saturating_sub(age)).await?;
            tx.commit("commit dropping old parts").await?;
            Ok(dropped)
        })
        .await
    }
}
