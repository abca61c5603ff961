//! Table `spool`: the camera and the counters of every spool.

use keepsake_protocol::{DeviceId, Sequence, SpoolId};
use sqlx::{AnyConnection, Row};

use crate::store::bind::{id, sequence, to_bigint};
use crate::store::error::Result;
use crate::store::statement::sql;

/// Notes that `device` speaks of `spool`, whose next sequence is at least `next`. Who raises that number owns it: a
/// camera that was renamed goes on counting, and a copy of its card that only repeats what was known takes nothing.
pub(crate) async fn touch_spool(
    tx: &mut AnyConnection,
    device: &DeviceId,
    spool: SpoolId,
    next: Sequence,
    now_us: i64,
) -> Result<()> {
    let known: Option<i64> = sql("SELECT next FROM spool WHERE spool = ?")
        .bind(spool)
        .optional_scalar(&mut *tx, "read a spool")
        .await?;
    match known {
        None => insert(tx, device, spool, next, false, now_us).await,
        Some(known) if to_bigint(next.get()) > known => {
            sql("UPDATE spool SET device = ?, next = ?, next_us = ? WHERE spool = ?")
                .bind((device, next, now_us, spool))
                .execute(tx, "raise the next sequence of a spool")
                .await?;
            Ok(())
        }
        Some(_) => Ok(()),
    }
}

/// The spool the cloud made for uploads in the name of `device`, and its next sequence, which is now taken.
pub(crate) async fn next_upload(tx: &mut AnyConnection, device: &DeviceId, now_us: i64) -> Result<(SpoolId, Sequence)> {
    let known = sql("SELECT spool, next FROM spool WHERE device = ? AND uploads = 1 ORDER BY spool LIMIT 1")
        .bind(device)
        .fetch_optional(&mut *tx, "find the spool for uploads")
        .await?;
    let (spool, taken) = match known {
        Some(row) => (id(row.get::<&[u8], _>(0), "a spool")?, sequence(row.get(1))?),
        None => {
            let spool = SpoolId(rand::random());
            insert(tx, device, spool, Sequence::FIRST, true, now_us).await?;
            (spool, Sequence::FIRST)
        }
    };
    sql("UPDATE spool SET next = ?, next_us = ? WHERE spool = ?")
        .bind((taken.next().get(), now_us, spool))
        .execute(tx, "take the number of an upload")
        .await?;
    Ok((spool, taken))
}

async fn insert(
    tx: &mut AnyConnection,
    device: &DeviceId,
    spool: SpoolId,
    next: Sequence,
    uploads: bool,
    now_us: i64,
) -> Result<()> {
    sql(
        "INSERT INTO spool (spool, device, uploads, next, next_us, sequences, failed, pictures, deleted) \
         VALUES (?, ?, ?, ?, ?, 0, 0, 0, 0)",
    )
    .bind((spool, device, uploads, next, now_us))
    .execute(tx, "note a spool")
    .await?;
    Ok(())
}

/// Changes the counters by so much.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct CounterDelta {
    pub(crate) sequences: i64,
    pub(crate) failed: i64,
    pub(crate) stored: i64,
    pub(crate) deleted: i64,
}

pub(crate) async fn add_to_counters(tx: &mut AnyConnection, spool: SpoolId, by: CounterDelta) -> Result<()> {
    sql(
        "UPDATE spool SET sequences = sequences + ?, failed = failed + ?, pictures = pictures + ?, \
         deleted = deleted + ? WHERE spool = ?",
    )
    .bind((by.sequences, by.failed, by.stored, by.deleted, spool))
    .execute(tx, "count in a spool")
    .await?;
    Ok(())
}
