//! Totals of one transaction, written once at its end.

use std::collections::BTreeMap;

use keepsake_protocol::DeviceId;
use sqlx::AnyConnection;

use crate::store::commit::device;
use crate::store::error::Result;
use crate::store::meta;

/// The arrival numbers and counts that one transaction gathers.
#[derive(Debug, Default)]
pub(crate) struct BatchTotals {
    /// The last number given out.
    arrival: Option<i64>,
    /// The number of pictures that each camera gained.
    pictures: BTreeMap<DeviceId, i64>,
}

impl BatchTotals {
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
        let pictures: BTreeMap<&DeviceId, i64> = self.pictures.iter().map(|(device, more)| (device, *more)).collect();
        device::count_pictures(tx, &pictures).await
    }
}

const ARRIVAL: &str = "arrival";
