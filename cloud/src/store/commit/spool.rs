//! Table `spool`: the camera and the counters of every spool.

use keepsake_protocol::{DeviceId, Sequence, SpoolId};
use sqlx::{AnyConnection, Row};

use crate::store::bind::{id, sequence, to_bigint};
use crate::store::error::{ErrorContext, Result};

/// Notes that `device` speaks of `install`, whose next sequence is at least `next`. Who raises that number owns it: a
/// camera that was renamed goes on counting, and a copy of its card that only repeats what was known takes nothing.
pub(crate) async fn touch_spool(
    tx: &mut AnyConnection,
    device: &DeviceId,
    install: SpoolId,
    next: Sequence,
    now_us: i64,
) -> Result<()> {
    let known: Option<i64> = sqlx::query_scalar("SELECT next FROM spool WHERE spool = ?")
        .bind(install.0.as_slice())
        .fetch_optional(&mut *tx)
        .await
        .context("read an install")?;
    match known {
        None => insert(tx, device, install, next, false, now_us).await,
        Some(known) if to_bigint(next.get()) > known => {
            sqlx::query("UPDATE spool SET device = ?, next = ?, next_us = ? WHERE spool = ?")
                .bind(device.as_str())
                .bind(to_bigint(next.get()))
                .bind(now_us)
                .bind(install.0.as_slice())
                .execute(tx)
                .await
                .context("raise the next sequence of an install")?;
            Ok(())
        }
        Some(_) => Ok(()),
    }
}

/// The install the cloud made for uploads in the name of `device`, and its next sequence, which is now taken.
pub(crate) async fn next_upload(tx: &mut AnyConnection, device: &DeviceId, now_us: i64) -> Result<(SpoolId, Sequence)> {
    let known = sqlx::query("SELECT spool, next FROM spool WHERE device = ? AND uploads = 1 ORDER BY spool LIMIT 1")
        .bind(device.as_str())
        .fetch_optional(&mut *tx)
        .await
        .context("find the install for uploads")?;
    let (install, taken) = match known {
        Some(row) => (id(row.get::<&[u8], _>(0), "an install")?, sequence(row.get(1))?),
        None => {
            let install = SpoolId(rand::random());
            insert(tx, device, install, Sequence::FIRST, true, now_us).await?;
            (install, Sequence::FIRST)
        }
    };
    sqlx::query("UPDATE spool SET next = ?, next_us = ? WHERE spool = ?")
        .bind(to_bigint(taken.next().get()))
        .bind(now_us)
        .bind(install.0.as_slice())
        .execute(tx)
        .await
        .context("take the number of an upload")?;
    Ok((install, taken))
}

async fn insert(
    tx: &mut AnyConnection,
    device: &DeviceId,
    install: SpoolId,
    next: Sequence,
    uploads: bool,
    now_us: i64,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO spool (spool, device, uploads, next, next_us, sequences, failed, pictures, deleted) \
         VALUES (?, ?, ?, ?, ?, 0, 0, 0, 0)",
    )
    .bind(install.0.as_slice())
    .bind(device.as_str())
    .bind(i64::from(uploads))
    .bind(to_bigint(next.get()))
    .bind(now_us)
    .execute(tx)
    .await
    .context("note an install")?;
    Ok(())
}

/// Changes the counters by so much.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct CounterDelta {
    pub(crate) sequences: i64,
    pub(crate) told: i64,
    pub(crate) stored: i64,
    pub(crate) deleted: i64,
}

pub(crate) async fn add_to_counters(tx: &mut AnyConnection, install: SpoolId, by: CounterDelta) -> Result<()> {
    sqlx::query(
        "UPDATE spool SET sequences = sequences + ?, failed = failed + ?, pictures = pictures + ?, deleted = deleted + ? \
         WHERE spool = ?",
    )
    .bind(by.sequences)
    .bind(by.told)
    .bind(by.stored)
    .bind(by.deleted)
    .bind(install.0.as_slice())
    .execute(tx)
    .await
    .context("count in an install")?;
    Ok(())
}
