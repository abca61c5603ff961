//! Table `fate`: what became of every capture. Fates only rise and are never forgotten, so that a repeat of anything
//! ever taken earns its receipt and nothing is stored twice (P3).

use std::collections::HashMap;

use keepsake_protocol::{CaptureId, Hash, HashPrefix, Sequence, SpoolId};
use sqlx::{AnyConnection, Row};

use crate::store::bind::{Key, from_bigint, id, sequence, to_bigint};
use crate::store::commit::spool;
use crate::store::commit::spool::{SpoolCounters, SpoolRows};
use crate::store::error::Result;
use crate::store::statement::{insert_rows, select_rows, sql};

pub(crate) const TOMBSTONE: i64 = 1;
pub(crate) const STORED: i64 = 2;
const DELETED: i64 = 3;

/// The state of a picture, by the fates of its capture so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PriorFate {
    /// This very picture is stored, or was and has been deleted.
    Settled,
    /// Not yet; `conflict` = another picture has its number.
    New { conflict: bool },
}

/// The fates of the captures of one transaction, whose spools are locked.
#[derive(Debug, Default)]
pub(crate) struct Fates {
    known: HashMap<CaptureId, Vec<(Hash, i64)>>,
    /// Captures of which a picture comes after a tombstone.
    raised: Vec<CaptureId>,
    new: Vec<Key>,
}

impl Fates {
    pub(crate) async fn read(tx: &mut AnyConnection, captures: &[CaptureId]) -> Result<Self> {
        let rows = select_rows(
            "SELECT spool, sequence, hash, fate FROM fate",
            "(spool = ? AND sequence = ?)",
            captures,
            "",
        )
        .fetch_all(tx, "read the fates of captures")
        .await?;
        let mut fates = Self::default();
        for row in &rows {
            let key = Key::read(row)?;
            fates.known.entry(key.capture()).or_default().push((key.hash, row.get(3)));
        }
        Ok(fates)
    }

    /// Makes the fate of a picture `stored`, unless it is that or deleted already.
    pub(crate) fn mark_stored(&mut self, key: Key, spools: &mut SpoolRows) -> PriorFate {
        let known = self.known.entry(key.capture()).or_default();
        if known.iter().any(|(hash, fate)| *fate >= STORED && *hash == key.hash) {
            return PriorFate::Settled;
        }
        let is_first = known.is_empty();
        let all = known.len();
        known.retain(|(_, fate)| *fate >= STORED);
        let failed = all - known.len();
        let conflict = !known.is_empty();
        known.push((key.hash, STORED));
        if failed > 0 {
            self.raised.push(key.capture());
        }
        self.new.push(key);
        let by = SpoolCounters {
            sequences: i64::from(is_first),
            failed: -to_bigint(failed as u64),
            stored: 1,
            deleted: 0,
        };
        spools.count(key.spool, by);
        PriorFate::New { conflict }
    }

    pub(crate) async fn write(self, tx: &mut AnyConnection) -> Result<()> {
        for capture in self.raised {
            sql("DELETE FROM fate WHERE spool = ? AND sequence = ? AND fate = ?")
                .bind((capture, TOMBSTONE))
                .execute(&mut *tx, "raise the fate of a capture")
                .await?;
        }
        insert(tx, self.new, STORED).await
    }
}

/// Returns true if this very picture is stored or deleted.
pub(crate) async fn is_settled(tx: &mut AnyConnection, key: Key) -> Result<bool> {
    let fate: Option<i64> = sql("SELECT fate FROM fate WHERE spool = ? AND sequence = ? AND hash = ?")
        .bind(key)
        .optional_scalar(tx, "read a fate")
        .await?;
    Ok(fate.is_some_and(|fate| fate >= STORED))
}

/// Makes the fate of a stored picture `deleted`. Returns whether it was stored.
pub(crate) async fn mark_deleted(tx: &mut AnyConnection, key: Key) -> Result<bool> {
    let fate: Option<i64> = sql("SELECT fate FROM fate WHERE spool = ? AND sequence = ? AND hash = ?")
        .bind(key)
        .optional_scalar(&mut *tx, "read a fate")
        .await?;
    if fate != Some(STORED) {
        return Ok(false);
    }
    sql("UPDATE fate SET fate = ? WHERE spool = ? AND sequence = ? AND hash = ?")
        .bind((DELETED, key))
        .execute(&mut *tx, "raise a fate to deleted")
        .await?;
    let by = SpoolCounters { stored: -1, deleted: 1, ..SpoolCounters::default() };
    spool::add_to_counters(tx, key.spool, by).await?;
    Ok(true)
}

/// Makes the fate of every sequence in `first..=last` that has none `failed`.
pub(crate) async fn mark_tombstone(
    tx: &mut AnyConnection,
    spool: SpoolId,
    (first, last): (Sequence, Sequence),
    hash: Hash,
) -> Result<()> {
    let known = with_fate(tx, spool, (first.get(), last.get())).await?;
    let mut known = known.into_iter().peekable();
    let mut new = Vec::new();
    let mut now = first;
    loop {
        if known.next_if_eq(&now.get()).is_none() {
            new.push(Key { spool, sequence: now, hash });
        }
        if now >= last {
            break;
        }
        now = now.next();
    }
    let failed = to_bigint(new.len() as u64);
    insert(tx, new, TOMBSTONE).await?;
    let by = SpoolCounters { sequences: failed, failed, ..SpoolCounters::default() };
    spool::add_to_counters(tx, spool, by).await
}

async fn insert(tx: &mut AnyConnection, keys: Vec<Key>, fate: i64) -> Result<()> {
    let rows = keys.into_iter().map(|key| (key, fate));
    insert_rows("INSERT INTO fate (spool, sequence, hash, fate)", rows)
        .execute(tx, "note fates")
        .await
}

/// One more than the highest sequence with a fate.
pub(crate) async fn next(tx: &mut AnyConnection, spool: SpoolId) -> Result<Option<Sequence>> {
    let last: Option<i64> = sql("SELECT MAX(sequence) FROM fate WHERE spool = ?")
        .bind(spool)
        .scalar(tx, "read the highest fate")
        .await?;
    last.map(|last| Ok(sequence(last)?.next())).transpose()
}

/// The sequences within `first..=last` that have any fate, in order, each once.
async fn with_fate(tx: &mut AnyConnection, spool: SpoolId, (first, last): (u64, u64)) -> Result<Vec<u64>> {
    let found: Vec<i64> =
        sql("SELECT DISTINCT sequence FROM fate WHERE spool = ? AND sequence BETWEEN ? AND ? ORDER BY sequence")
            .bind((spool, first, last))
            .scalars(tx, "read which sequences have a fate")
            .await?;
    Ok(found.into_iter().map(from_bigint).collect())
}

/// Returns the number of sequences within `first..=last` that have any fate.
pub(crate) async fn count_within(tx: &mut AnyConnection, spool: SpoolId, (first, last): (u64, u64)) -> Result<u64> {
    let found: i64 = sql("SELECT COUNT(DISTINCT sequence) FROM fate WHERE spool = ? AND sequence BETWEEN ? AND ?")
        .bind((spool, first, last))
        .scalar(tx, "count fates")
        .await?;
    Ok(from_bigint(found))
}

/// The first sequences within `first..=last` that have no fate, at most `most`, without reading more than about as
/// many rows as it returns: halves that are full, or empty, are decided by counting them.
pub(crate) async fn without_fate(
    tx: &mut AnyConnection,
    spool: SpoolId,
    (first, last): (u64, u64),
    most: usize,
) -> Result<Vec<u64>> {
    /// Few enough to read them all.
    const SMALL: u64 = 1024;
    let mut found = Vec::new();
    let mut open = vec![(first, last)];
    while let Some((first, last)) = open.pop() {
        if found.len() >= most {
            break;
        }
        let length = last - first + 1;
        let known = count_within(tx, spool, (first, last)).await?;
        if known == length {
            continue;
        }
        if known == 0 {
            found.extend((first..=last).take(most - found.len()));
        } else if length <= SMALL {
            let known = with_fate(tx, spool, (first, last)).await?;
            let mut known = known.into_iter().peekable();
            let missing = (first..=last).filter(|now| known.next_if_eq(now).is_none());
            found.extend(missing.take(most - found.len()));
        } else {
            let middle = first + length / 2;
            open.push((middle, last));
            open.push((first, middle - 1));
        }
    }
    Ok(found)
}

/// The pictures within a span that are stored or deleted.
pub(crate) async fn settled(
    tx: &mut AnyConnection,
    spool: SpoolId,
    (first, last): (Sequence, Sequence),
) -> Result<Vec<(Sequence, HashPrefix)>> {
    let rows = sql("SELECT sequence, hash FROM fate WHERE spool = ? AND sequence BETWEEN ? AND ? AND fate >= ?")
        .bind((spool, first, last, STORED))
        .fetch_all(tx, "read fates")
        .await?;
    rows.iter()
        .map(|row| {
            let hash: Hash = id(row.get::<&[u8], _>(1), "a hash")?;
            Ok((sequence(row.get(0))?, hash.prefix()))
        })
        .collect()
}
