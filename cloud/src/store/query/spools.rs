//! Tables `spool` and `inventory`: the counters of spools for pages and the API.

use keepsake_protocol::ranges::Ranges;
use keepsake_protocol::{DeviceId, Sequence, SpoolId};
use serde::Serialize;
use sqlx::{AnyConnection, Row};

use crate::store::bind::{from_bigint, id, sequence};
use crate::store::commit::fate;
use crate::store::error::{Result, StoreError};
use crate::store::statement::sql;

/// A report this much younger than the highest number heard of knows of that number, microseconds. Below, a picture may
/// have overtaken the status that speaks of it, as they travel in two sessions.
const OVERTAKEN_US: i64 = 10_000_000;

/// The fates of the presses. Each is counted once: pressed = stored + deleted + failed + held + missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    pub stored: u64,
    /// Deleted by the owner after they were stored.
    pub deleted: u64,
    /// Sequences that have a reason instead of a picture.
    #[serde(rename = "failed")]
    pub failed: u64,
    /// On the camera's card and not in the cloud.
    pub held: u64,
    /// Given out, with no fate, and not on the card.
    pub missing: u64,
}

impl Counters {
    pub fn pressed(&self) -> u64 {
        self.stored
            .saturating_add(self.deleted)
            .saturating_add(self.failed)
            .saturating_add(self.held)
            .saturating_add(self.missing)
    }
}

impl std::iter::Sum for Counters {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            stored: sum.stored.saturating_add(one.stored),
            deleted: sum.deleted.saturating_add(one.deleted),
            failed: sum.failed.saturating_add(one.failed),
            held: sum.held.saturating_add(one.held),
            missing: sum.missing.saturating_add(one.missing),
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolState {
    pub spool: SpoolId,
    /// Made by the cloud for uploads; there is no card behind it.
    pub uploads: bool,
    /// The highest "next sequence" heard of.
    pub next: Sequence,
    pub counters: Counters,
    /// The camera joined ranges to fit its message, so `held` may be too high and `missing` too low.
    pub coarse: bool,
}

/// The spools of a camera, the one that last gave out a number first.
pub(crate) async fn list_for_device(connection: &mut AnyConnection, device: &DeviceId) -> Result<Vec<SpoolState>> {
    let rows = sql("SELECT spool, next, next_us, sequences, failed, pictures, deleted, uploads FROM spool \
         WHERE device = ? ORDER BY next_us DESC, spool")
    .bind(device)
    .fetch_all(&mut *connection, "read the spools of a camera")
    .await?;
    let mut spools = Vec::with_capacity(rows.len());
    for row in rows {
        let spool: SpoolId = id(row.get::<&[u8], _>(0), "a spool id")?;
        let next = sequence(row.get(1))?;
        let sequences = from_bigint(row.get(3));
        let uploads = row.get::<i64, _>(7) != 0;
        let (held, coarse) = if uploads {
            (0, false)
        } else {
            held(connection, spool, next, row.get(2), sequences).await?
        };
        spools.push(SpoolState {
            spool,
            uploads,
            next,
            counters: Counters {
                failed: from_bigint(row.get(4)),
                stored: from_bigint(row.get(5)),
                deleted: from_bigint(row.get(6)),
                held,
                missing: (next.get() - 1).saturating_sub(sequences).saturating_sub(held),
            },
            coarse,
        });
    }
    Ok(spools)
}

/// Returns how many captures below `next` are on some card and have no fate, and whether that may be too many.
///
/// `next_us`: when `next` was first heard of. `sequences`: how many have any fate.
async fn held(
    connection: &mut AnyConnection,
    spool: SpoolId,
    next: Sequence,
    next_us: i64,
    sequences: u64,
) -> Result<(u64, bool)> {
    let rows = sql("SELECT next, waiting, retained, coarse, at_us FROM inventory WHERE spool = ?")
        .bind(spool)
        .fetch_all(&mut *connection, "read what is on the cards")
        .await?;
    let mut on_cards: Vec<(Sequence, Sequence)> = Vec::new();
    // Numbers nobody has reported on yet: a press is on the card before its number leaves the camera, so they are held
    // until a report says otherwise.
    let mut reported = Sequence::FIRST;
    let mut coarse = false;
    for row in &rows {
        let said = sequence(row.get(0))?.min(next);
        let knows_all = row.get::<i64, _>(4) > next_us.saturating_add(OVERTAKEN_US);
        reported = reported.max(if knows_all { next } else { said });
        on_cards.extend(ranges(row.get(1))?.iter());
        on_cards.extend(ranges(row.get(2))?.iter());
        coarse |= row.get::<i64, _>(3) != 0;
    }
    if reported < next {
        on_cards.push((reported, Sequence::MAX));
    }
    let on_cards: Ranges = on_cards.into_iter().collect();
    let last = next.get() - 1;
    let mut spans = Vec::new();
    let mut between = Vec::new();
    let mut reached = 1;
    for (first, through) in on_cards.iter() {
        let span = (first.get(), through.get().min(last));
        if span.0 > span.1 {
            continue;
        }
        if reached < span.0 {
            between.push((reached, span.0 - 1));
        }
        reached = span.1 + 1;
        spans.push(span);
    }
    if reached <= last {
        between.push((reached, last));
    }
    let length = |spans: &[(u64, u64)]| spans.iter().map(|(a, z)| z - a + 1).sum::<u64>();
    // Every number with a fate is below `next`. So the fates on the cards may be counted, or those beside them and
    // taken from all: a camera that keeps all it ever sent must not make the store count all of it for each page.
    let known = if length(&spans) <= length(&between) {
        count_all(connection, spool, &spans).await?
    } else {
        let beside = count_all(connection, spool, &between).await?;
        sequences.saturating_sub(beside)
    };
    let held = length(&spans).saturating_sub(known);
    Ok((held, coarse))
}

async fn count_all(connection: &mut AnyConnection, spool: SpoolId, spans: &[(u64, u64)]) -> Result<u64> {
    let mut all = 0;
    for span in spans {
        all += fate::count_within(connection, spool, *span).await?;
    }
    Ok(all)
}

fn ranges(json: &str) -> Result<Ranges> {
    serde_json::from_str(json).map_err(|error| StoreError::Corrupt(format!("ranges: {error}")))
}
