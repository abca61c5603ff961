//! Table `spool`: the camera and the counters of every spool.
//!
//! The row of a spool is the lock of everything that is stored by its id: a transaction locks it before it reads
//! anything else of the spool, and always writes it. The lock puts transactions on one server in order, and the write
//! makes servers of a cluster notice each other.

use std::collections::BTreeMap;

use keepsake_protocol::{DeviceId, Sequence, SpoolId};
use sqlx::{AnyConnection, Row};

use crate::store::bind::{id, sequence};
use crate::store::error::{Result, StoreError};
use crate::store::statement::{for_update, insert_rows, select_rows, sql};

const SELECT: &str = "SELECT spool, device, uploads, next, next_us, sequences, failed, pictures, deleted FROM spool";

/// The locked rows of spools in a transaction.
#[derive(Debug, Default)]
pub(crate) struct SpoolRows(BTreeMap<SpoolId, SpoolRow>);

#[derive(Debug)]
struct SpoolRow {
    device: DeviceId,
    /// Created by the cloud, without a card.
    uploads: bool,
    next: Sequence,
    next_us: i64,
    counters: SpoolCounters,
    is_new: bool,
}

/// The counters of a spool, or a change of them.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct SpoolCounters {
    pub(crate) sequences: i64,
    pub(crate) failed: i64,
    pub(crate) stored: i64,
    pub(crate) deleted: i64,
}

impl SpoolRows {
    /// Locks the rows of these spools that exist.
    pub(crate) async fn lock(tx: &mut AnyConnection, spools: impl IntoIterator<Item = SpoolId>) -> Result<Self> {
        let mut spools: Vec<SpoolId> = spools.into_iter().collect();
        spools.sort_unstable();
        spools.dedup();
        let mut rows = Self::default();
        let lock = for_update(tx);
        for row in select_rows(SELECT, "spool = ?", &spools, lock).fetch_all(tx, "lock spools").await? {
            rows.add(&row)?;
        }
        Ok(rows)
    }

    /// Locks the rows of the spools in which the uploads of these cameras are numbered, too.
    pub(crate) async fn lock_uploads(&mut self, tx: &mut AnyConnection, devices: &[&DeviceId]) -> Result<()> {
        let lock = for_update(tx);
        let locking = select_rows(SELECT, "(device = ? AND uploads = 1)", devices, lock);
        for row in locking.fetch_all(tx, "lock the spools for uploads").await? {
            self.add(&row)?;
        }
        Ok(())
    }

    fn add(&mut self, row: &sqlx::any::AnyRow) -> Result<()> {
        let device: String = row.get(1);
        let spool = SpoolRow {
            device: device
                .parse()
                .map_err(|_| StoreError::Corrupt("a spool with an odd camera name".to_owned()))?,
            uploads: row.get::<i64, _>(2) != 0,
            next: sequence(row.get(3))?,
            next_us: row.get(4),
            counters: SpoolCounters {
                sequences: row.get(5),
                failed: row.get(6),
                stored: row.get(7),
                deleted: row.get(8),
            },
            is_new: false,
        };
        self.0.insert(id(row.get::<&[u8], _>(0), "a spool")?, spool);
        Ok(())
    }

    /// Notes that `device` speaks of `spool`, whose next sequence is at least `next`. Who raises that number owns it: a
    /// camera that was renamed goes on counting, and a copy of its card that only repeats what was known takes nothing.
    pub(crate) fn touch(&mut self, device: &DeviceId, spool: SpoolId, next: Sequence, now_us: i64) {
        let row = self.0.entry(spool).or_insert_with(|| SpoolRow::new(device, false, now_us));
        if next > row.next {
            row.device = device.clone();
            row.next = next;
            row.next_us = now_us;
        }
    }

    /// Returns the spool for the uploads of `device`, and its next sequence, which is now taken.
    pub(crate) fn next_upload(&mut self, device: &DeviceId, now_us: i64) -> (SpoolId, Sequence) {
        let known = self.0.iter().find(|(_, row)| row.uploads && row.device == *device);
        let spool = known.map_or_else(|| SpoolId(rand::random()), |(spool, _)| *spool);
        let row = self.0.entry(spool).or_insert_with(|| SpoolRow::new(device, true, now_us));
        let taken = row.next;
        row.next = taken.next();
        row.next_us = now_us;
        (spool, taken)
    }

    /// Changes the counters of a spool by so much.
    pub(crate) fn count(&mut self, spool: SpoolId, by: SpoolCounters) {
        if let Some(SpoolRow { counters, .. }) = self.0.get_mut(&spool) {
            counters.sequences += by.sequences;
            counters.failed += by.failed;
            counters.stored += by.stored;
            counters.deleted += by.deleted;
        }
    }

    /// Writes all rows, those that did not change, too. A row that another writer has inserted meanwhile is a lost race
    /// and is not replaced.
    pub(crate) async fn write(self, tx: &mut AnyConnection) -> Result<()> {
        for (is_new, verb) in [(true, "INSERT"), (false, "REPLACE")] {
            let rows = self.0.iter().filter(|(_, row)| row.is_new == is_new).map(|(spool, row)| {
                let SpoolCounters { sequences, failed, stored, deleted } = row.counters;
                (
                    *spool,
                    &row.device,
                    row.uploads,
                    row.next,
                    row.next_us,
                    sequences,
                    failed,
                    stored,
                    deleted,
                )
            });
            let columns = "spool, device, uploads, next, next_us, sequences, failed, pictures, deleted";
            insert_rows(&format!("{verb} INTO spool ({columns})"), rows)
                .execute(&mut *tx, "write spools")
                .await?;
        }
        Ok(())
    }
}

impl SpoolRow {
    fn new(device: &DeviceId, uploads: bool, now_us: i64) -> Self {
        Self {
            device: device.clone(),
            uploads,
            next: Sequence::FIRST,
            next_us: now_us,
            counters: SpoolCounters::default(),
            is_new: true,
        }
    }
}

/// Does [`SpoolRows::touch`] for one spool.
pub(crate) async fn touch_spool(
    tx: &mut AnyConnection,
    device: &DeviceId,
    spool: SpoolId,
    next: Sequence,
    now_us: i64,
) -> Result<()> {
    let mut rows = SpoolRows::lock(tx, [spool]).await?;
    rows.touch(device, spool, next, now_us);
    rows.write(tx).await
}

pub(crate) async fn add_to_counters(tx: &mut AnyConnection, spool: SpoolId, by: SpoolCounters) -> Result<()> {
    sql(
        "UPDATE spool SET sequences = sequences + ?, failed = failed + ?, pictures = pictures + ?, \
         deleted = deleted + ? WHERE spool = ?",
    )
    .bind((by.sequences, by.failed, by.stored, by.deleted, spool))
    .execute(tx, "count in a spool")
    .await?;
    Ok(())
}
