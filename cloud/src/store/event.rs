//! Table `event`: faults and boot lines as cameras sent them.

use shared::event::{Event, Fault};
use shared::{DeviceId, Hash};
use sqlx::{AnyConnection, Row};

use super::{Doing, Result, Store, bigint};

/// Keeps an event once, and at most `events_max` of a camera, the latest.
pub(super) async fn keep(
    tx: &mut AnyConnection,
    device: &DeviceId,
    kind: &'static str,
    hash: Hash,
    payload: &[u8],
    now_us: i64,
    events_max: u64,
) -> Result<()> {
    let known: Option<i64> =
        sqlx::query_scalar("SELECT at_us FROM event WHERE device = ? AND hash = ?")
            .bind(device.as_str())
            .bind(hash.0.as_slice())
            .fetch_optional(&mut *tx)
            .await
            .doing("look for an event")?;
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
        .doing("note an event")?;
    let oldest: Option<i64> = sqlx::query_scalar(
        "SELECT at_us FROM event WHERE device = ? ORDER BY at_us DESC LIMIT 1 OFFSET ?",
    )
    .bind(device.as_str())
    .bind(bigint(events_max))
    .fetch_optional(&mut *tx)
    .await
    .doing("count events")?;
    if let Some(oldest) = oldest {
        sqlx::query("DELETE FROM event WHERE device = ? AND at_us <= ?")
            .bind(device.as_str())
            .bind(oldest)
            .execute(tx)
            .await
            .doing("drop old events")?;
    }
    Ok(())
}

impl Store {
    /// The faults of a camera that came last, and when, microseconds UTC; at most `limit`.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn faults(&self, device: &DeviceId, limit: u32) -> Result<Vec<(Fault, i64)>> {
        self.within(async {
            let rows = sqlx::query(
                "SELECT payload, at_us FROM event WHERE device = ? AND kind = 'fault' ORDER BY at_us DESC LIMIT ?",
            )
            .bind(device.as_str())
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await
            .doing("list faults")?;
            Ok(rows
                .iter()
                .filter_map(|row| match shared::codec::decode(row.get::<&[u8], _>(0)).ok()? {
                    Event::Fault(fault) => Some((fault, row.get(1))),
                    Event::Tombstone(_) | Event::Boot(_) => None,
                })
                .collect())
        })
        .await
    }
}
