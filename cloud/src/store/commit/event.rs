//! Table `event`: faults and boot lines as cameras sent them. [`Store::events`] lists them together with tombstones.

use keepsake_protocol::event::{Event, Fault};
use keepsake_protocol::{DeviceId, Hash};
use sqlx::{AnyConnection, Row};

use crate::store::bind::to_bigint;
use crate::store::error::{ErrorContext, Result, StoreError};
use crate::store::limits::BATCH_MESSAGES_MAX;
use crate::store::open::Store;
use crate::store::paginate::paginate;

/// Keeps an event once, and at most `events_max` of a camera, the latest.
pub(crate) async fn insert(
    tx: &mut AnyConnection,
    device: &DeviceId,
    kind: &'static str,
    hash: Hash,
    payload: &[u8],
    now_us: i64,
    events_max: u64,
) -> Result<()> {
    let known: Option<i64> = sqlx::query_scalar("SELECT at_us FROM event WHERE device = ? AND hash = ?")
        .bind(device.as_str())
        .bind(hash.0.as_slice())
        .fetch_optional(&mut *tx)
        .await
        .context("look for an event")?;
    if known.is_some() {
        return Ok(());
    }
    sqlx::query("INSERT INTO event (device, hash, kind, payload, at_us) VALUES (?, ?, ?, ?, ?)")
        .bind(device.as_str())
        .bind(hash.0.as_slice())
        .bind(kind)
        .bind(payload)
        .bind(now_us)
        .execute(&mut *tx)
        .await
        .context("note an event")?;
    let oldest: Option<i64> =
        sqlx::query_scalar("SELECT at_us FROM event WHERE device = ? ORDER BY at_us DESC LIMIT 1 OFFSET ?")
            .bind(device.as_str())
            .bind(to_bigint(events_max))
            .fetch_optional(&mut *tx)
            .await
            .context("count events")?;
    if let Some(oldest) = oldest {
        sqlx::query("DELETE FROM event WHERE device = ? AND at_us <= ?")
            .bind(device.as_str())
            .bind(oldest)
            .execute(tx)
            .await
            .context("drop old events")?;
    }
    Ok(())
}

/// What a camera told besides pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceEvent {
    pub event: Event,
    /// When it was committed, microseconds UTC.
    pub at_us: i64,
}

impl Store {
    /// What a camera told, tombstones too, the latest first: about `limit` from before the moment `before`, and from
    /// which moment to go on. What was committed at one moment stays on one page, so a page may be longer by a batch.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn events(
        &self,
        device: &DeviceId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<(Vec<DeviceEvent>, Option<i64>)> {
        let batch = u32::try_from(BATCH_MESSAGES_MAX).unwrap_or(u32::MAX);
        let most = limit.saturating_add(batch);
        self.with_timeout(async {
            let mut told = Vec::new();
            for statement in [
                "SELECT payload, at_us FROM event WHERE device = ? AND at_us < ? ORDER BY at_us DESC LIMIT ?",
                "SELECT payload, at_us FROM tombstone WHERE device = ? AND at_us < ? ORDER BY at_us DESC LIMIT ?",
            ] {
                let rows = sqlx::query(statement)
                    .bind(device.as_str())
                    .bind(before.unwrap_or(i64::MAX))
                    .bind(i64::from(most))
                    .fetch_all(&self.readers)
                    .await
                    .context("list what a camera told")?;
                for row in &rows {
                    // It was read before it was stored; only another program could have stored anything else.
                    let event = keepsake_protocol::codec::decode(row.get::<&[u8], _>(0))
                        .map_err(|error| StoreError::Corrupt(format!("an event: {error}")))?;
                    let at_us = row.get(1);
                    told.push(DeviceEvent { event, at_us });
                }
            }
            told.sort_by_key(|told| std::cmp::Reverse(told.at_us));
            Ok(paginate(told, limit, |told| told.at_us))
        })
        .await
    }

    /// The faults of a camera that came last, and when, microseconds UTC; at most `limit`.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn faults(&self, device: &DeviceId, limit: u32) -> Result<Vec<(Fault, i64)>> {
        self.with_timeout(async {
            let rows = sqlx::query(
                "SELECT payload, at_us FROM event WHERE device = ? AND kind = 'fault' ORDER BY at_us DESC LIMIT ?",
            )
            .bind(device.as_str())
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await
            .context("list faults")?;
            Ok(rows
                .iter()
                .filter_map(|row| match keepsake_protocol::codec::decode(row.get::<&[u8], _>(0)).ok()? {
                    Event::Fault(fault) => Some((fault, row.get(1))),
                    Event::Tombstone(_) | Event::Boot(_) => None,
                })
                .collect())
        })
        .await
    }
}
