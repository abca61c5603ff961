//! Totals of one transaction, written once at its end: a round trip for each capture would take too long.

use std::collections::{BTreeMap, HashSet};

use keepsake_protocol::DeviceId;
use sqlx::AnyConnection;

use crate::store::commit::device;
use crate::store::error::Result;
use crate::store::meta;
use crate::store::statement::sql;

/// The contacts, arrival numbers and counts that one transaction gathers.
#[derive(Debug, Default)]
pub(crate) struct BatchTotals {
    /// The cameras that were noted, and whether as alive.
    seen: HashSet<(DeviceId, bool)>,
    /// The last number given out.
    arrival: Option<i64>,
    /// The number of pictures that each camera gained.
    pictures: BTreeMap<DeviceId, i64>,
}

impl BatchTotals {
    /// Records contact with a camera once; returns false if there is no room for another camera.
    pub(crate) async fn record_contact(
        &mut self,
        tx: &mut AnyConnection,
        camera: &DeviceId,
        now_us: i64,
        alive: bool,
        devices_max: u64,
    ) -> Result<bool> {
        let key = (camera.clone(), alive);
        if self.seen.contains(&key) {
            return Ok(true);
        }
        let room = device::touch_device(tx, camera, now_us, alive, devices_max).await?;
        if room {
            self.seen.insert(key);
        }
        Ok(room)
    }

    /// The next arrival, for a picture of this camera. It is taken if the transaction commits, so readers never see a
    /// higher number before a lower one.
    pub(crate) async fn arrival(&mut self, tx: &mut AnyConnection, device: &DeviceId) -> Result<i64> {
        let last = match self.arrival {
            Some(last) => last,
            None => meta::last(tx, ARRIVAL).await?,
        };
        self.arrival = Some(last + 1);
        *self.pictures.entry(device.clone()).or_default() += 1;
        Ok(last + 1)
    }

    /// Writes what was gathered; the commit comes next.
    pub(crate) async fn finish(self, tx: &mut AnyConnection) -> Result<()> {
        if let Some(last) = self.arrival {
            meta::raise(tx, ARRIVAL, last).await?;
        }
        for (device, more) in &self.pictures {
            count(tx, device, *more).await?;
        }
        Ok(())
    }
}

const ARRIVAL: &str = "arrival";

/// Counts pictures of a camera: counting rows takes the longer the more there are.
pub(crate) async fn count(tx: &mut AnyConnection, device: &DeviceId, more: i64) -> Result<()> {
    sql("UPDATE device SET pictures = pictures + ? WHERE id = ?")
        .bind((more, device))
        .execute(tx, "count the pictures of a camera")
        .await?;
    Ok(())
}
