//! Table `install`: one life of a spool, whose it is, and its counters.

use keepsake_protocol::{DeviceId, Sequence, SpoolId};
use sqlx::{AnyConnection, Row};

use crate::store::bind::{from_bigint, id, sequence, to_bigint};
use crate::store::commit::inventory;
use crate::store::error::{ErrorContext, Result};

/// Where the presses went. Each is counted once: pressed = stored + deleted + told + held + missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub stored: u64,
    /// Deleted by the owner after they were stored.
    pub deleted: u64,
    /// Sequences that have a reason instead of a picture.
    pub told: u64,
    /// On the camera's card and not in the cloud.
    pub held: u64,
    /// Given out, with no fate, and not on the card.
    pub missing: u64,
}

impl Counters {
    pub fn pressed(&self) -> u64 {
        self.stored
            .saturating_add(self.deleted)
            .saturating_add(self.told)
            .saturating_add(self.held)
            .saturating_add(self.missing)
    }
}

impl std::iter::Sum for Counters {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            stored: sum.stored.saturating_add(one.stored),
            deleted: sum.deleted.saturating_add(one.deleted),
            told: sum.told.saturating_add(one.told),
            held: sum.held.saturating_add(one.held),
            missing: sum.missing.saturating_add(one.missing),
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolState {
    pub install: SpoolId,
    /// Made by the cloud for uploads; there is no card behind it.
    pub uploads: bool,
    /// The highest "next sequence" heard of.
    pub next: Sequence,
    pub counters: Counters,
    /// The camera joined ranges to fit its message, so `held` may be too high and `missing` too low.
    pub coarse: bool,
}

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

/// All installs of a camera, the one that last gave out a number first.
pub(crate) async fn list_for_device(connection: &mut AnyConnection, device: &DeviceId) -> Result<Vec<SpoolState>> {
    let rows = sqlx::query(
        "SELECT spool, next, next_us, sequences, failed, pictures, deleted, uploads FROM spool \
         WHERE device = ? ORDER BY next_us DESC, spool",
    )
    .bind(device.as_str())
    .fetch_all(&mut *connection)
    .await
    .context("read the installs of a camera")?;
    let mut installs = Vec::with_capacity(rows.len());
    for row in rows {
        let install: SpoolId = id(row.get::<&[u8], _>(0), "an install")?;
        let next = sequence(row.get(1))?;
        let sequences = from_bigint(row.get(3));
        let uploads = row.get::<i64, _>(7) != 0;
        let (held, coarse) = if uploads {
            (0, false)
        } else {
            inventory::held(connection, install, next, row.get(2), sequences).await?
        };
        installs.push(SpoolState {
            install,
            uploads,
            next,
            counters: Counters {
                told: from_bigint(row.get(4)),
                stored: from_bigint(row.get(5)),
                deleted: from_bigint(row.get(6)),
                held,
                missing: (next.get() - 1).saturating_sub(sequences).saturating_sub(held),
            },
            coarse,
        });
    }
    Ok(installs)
}
