//! Table `tombstone`: why sequences have no picture.

use keepsake_protocol::event::{Event, Tombstone, TombstoneReason};
use keepsake_protocol::{DeviceId, Hash, HashPrefix, Sequence, SpoolId};
use sqlx::{AnyConnection, Row};

use crate::store::bind::{Key, id, sequence};
use crate::store::commit::fate;
use crate::store::error::Result;
use crate::store::open::Store;
use crate::store::statement::sql;

/// Keeps a tombstone once, and makes the fates that have none yet `failed`.
pub(crate) async fn insert(
    tx: &mut AnyConnection,
    device: &DeviceId,
    tombstone: &Tombstone,
    hash: Hash,
    payload: &[u8],
    now_us: i64,
) -> Result<()> {
    let key = Key { spool: tombstone.spool, sequence: tombstone.sequence, hash };
    let known: Option<i64> = sql("SELECT at_us FROM tombstone WHERE spool = ? AND sequence = ? AND hash = ?")
        .bind(key)
        .optional_scalar(&mut *tx, "look for a tombstone")
        .await?;
    if known.is_some() {
        return Ok(());
    }
    sql("INSERT INTO tombstone (spool, sequence, hash, through, device, reason, payload, at_us) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
    .bind((key, tombstone.last().get(), device, name(tombstone.reason), payload, now_us))
    .execute(&mut *tx, "note a tombstone")
    .await?;
    let span = (tombstone.sequence, tombstone.last());
    fate::mark_tombstone(tx, tombstone.spool, span, hash).await
}

/// The tombstones whose first sequence lies in a span.
pub(crate) async fn within(
    tx: &mut AnyConnection,
    spool: SpoolId,
    (first, last): (Sequence, Sequence),
) -> Result<Vec<(Sequence, HashPrefix)>> {
    let rows = sql("SELECT sequence, hash FROM tombstone WHERE spool = ? AND sequence BETWEEN ? AND ?")
        .bind((spool, first, last))
        .fetch_all(tx, "read tombstones")
        .await?;
    rows.iter()
        .map(|row| {
            let hash: Hash = id(row.get::<&[u8], _>(1), "a hash")?;
            Ok((sequence(row.get(0))?, hash.prefix()))
        })
        .collect()
}

/// The reason as it stands on the wire.
fn name(reason: TombstoneReason) -> String {
    match serde_json::to_value(reason) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(_) | Err(_) => unreachable!("a reason is a name on the wire"),
    }
}

impl Store {
    /// The tombstones of a camera that were stored last, and when, microseconds UTC; at most `limit`.
    pub async fn tombstones(&self, device: &DeviceId, limit: u32) -> Result<Vec<(Tombstone, i64)>> {
        let rows =
            sql("SELECT payload, at_us FROM tombstone WHERE device = ? ORDER BY at_us DESC, sequence DESC LIMIT ?")
                .bind((device, limit))
                .rows(self, "list tombstones")
                .await?;
        Ok(rows
            .iter()
            .filter_map(|row| {
                // It was read before it was stored; only a much older program could have stored anything else.
                match keepsake_protocol::codec::decode(row.get::<&[u8], _>(0)).ok()? {
                    Event::Tombstone(tombstone) => Some((tombstone, row.get(1))),
                    Event::Fault(_) | Event::Boot(_) => None,
                }
            })
            .collect())
    }
}
