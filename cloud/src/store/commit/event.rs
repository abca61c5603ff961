//! Table `event`: faults and boot lines as cameras sent them. [`Store::events`] lists them together with tombstones.

use keepsake_protocol::event::{Event, Fault};
use keepsake_protocol::{DeviceId, Hash};
use sqlx::{AnyConnection, Row};

use crate::store::error::{Result, StoreError};
use crate::store::limits::BATCH_MESSAGES_MAX;
use crate::store::open::Store;
use crate::store::paginate::paginate;
use crate::store::statement::{keep_newest, sql};

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
    let known: Option<i64> = sql("SELECT at_us FROM event WHERE device = ? AND hash = ?")
        .bind((device, hash))
        .optional_scalar(&mut *tx, "look for an event")
        .await?;
    if known.is_some() {
        return Ok(());
    }
    sql("INSERT INTO event (device, hash, kind, payload, at_us) VALUES (?, ?, ?, ?, ?)")
        .bind((device, hash, kind, payload, now_us))
        .execute(&mut *tx, "note an event")
        .await?;
    keep_newest(tx, "event", "at_us", device, events_max).await
}

/// An event of a camera.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceEvent {
    pub event: Event,
    /// When it was committed, microseconds UTC.
    pub at_us: i64,
}

impl Store {
    /// Returns the events of a camera with its tombstones, the latest first: about `limit` before `before`, and from
    /// which moment to go on. What was committed at one moment stays on one page, so a page may be longer by a batch.
    pub async fn events(
        &self,
        device: &DeviceId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<(Vec<DeviceEvent>, Option<i64>)> {
        let batch = u32::try_from(BATCH_MESSAGES_MAX).unwrap_or(u32::MAX);
        let most = limit.saturating_add(batch);
        let mut events = Vec::new();
        for statement in [
            "SELECT payload, at_us FROM event WHERE device = ? AND at_us < ? ORDER BY at_us DESC LIMIT ?",
            "SELECT payload, at_us FROM tombstone WHERE device = ? AND at_us < ? ORDER BY at_us DESC LIMIT ?",
        ] {
            let rows = sql(statement)
                .bind((device, before.unwrap_or(i64::MAX), most))
                .rows(self, "list the events of a camera")
                .await?;
            for row in &rows {
                // It was read before it was stored; only another program could have stored anything else.
                let event = keepsake_protocol::codec::decode(row.get::<&[u8], _>(0))
                    .map_err(|error| StoreError::Corrupt(format!("an event: {error}")))?;
                let at_us = row.get(1);
                events.push(DeviceEvent { event, at_us });
            }
        }
        events.sort_by_key(|event| std::cmp::Reverse(event.at_us));
        Ok(paginate(events, limit, |event| event.at_us))
    }

    /// The faults of a camera that came last, and when, microseconds UTC; at most `limit`.
    pub async fn faults(&self, device: &DeviceId, limit: u32) -> Result<Vec<(Fault, i64)>> {
        let rows =
            sql("SELECT payload, at_us FROM event WHERE device = ? AND kind = 'fault' ORDER BY at_us DESC LIMIT ?")
                .bind((device, limit))
                .rows(self, "list faults")
                .await?;
        Ok(rows
            .iter()
            .filter_map(|row| match keepsake_protocol::codec::decode(row.get::<&[u8], _>(0)).ok()? {
                Event::Fault(fault) => Some((fault, row.get(1))),
                Event::Tombstone(_) | Event::Boot(_) => None,
            })
            .collect())
    }
}
