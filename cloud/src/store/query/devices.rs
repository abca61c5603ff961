//! Table `device`: the cameras, and all that the pages show of one.

use std::sync::LazyLock;

use keepsake_protocol::DeviceId;
use keepsake_protocol::status::{Presence, Status};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::ops::presence::presence;
use crate::store::error::{Result, StoreError};
use crate::store::open::Store;
use crate::store::query::{pictures, spools};
use crate::store::statement::sql;
use crate::store::{Counters, Picture, SpoolState};

/// A camera as the cloud knows it.
#[derive(Debug, Clone)]
pub struct Device {
    pub id: DeviceId,
    pub presence: Presence,
    /// When the camera (not the broker) last sent anything, microseconds UTC.
    pub last_seen_us: i64,
    /// Its last full status; a last will does not replace it.
    pub status: Option<Box<Status>>,
    /// When that came, microseconds UTC.
    pub status_us: Option<i64>,
    /// Over all spools.
    pub counters: Counters,
    pub conflicts: u64,
    pub damaged: u64,
    pub spools: Vec<SpoolState>,
    pub latest: Option<Picture>,
}

impl Device {
    /// Returns the last full status; an empty one if there was none.
    pub fn last_status(&self) -> &Status {
        static NONE: LazyLock<Status> = LazyLock::new(Status::last_will);
        self.status.as_deref().unwrap_or(&NONE)
    }

    /// Returns false if only uploads have this name: they send no status and take no commands.
    pub fn is_camera(&self) -> bool {
        self.status.is_some() || self.spools.iter().any(|spool| !spool.uploads)
    }

    pub fn is_online(&self) -> bool {
        self.is_camera() && self.presence == Presence::Online
    }

    pub fn is_offline(&self) -> bool {
        self.is_camera() && self.presence == Presence::Offline
    }

    /// Returns when the numbers of the last status were reported, microseconds UTC.
    pub fn reported_us(&self) -> i64 {
        self.status_us.unwrap_or(self.last_seen_us)
    }

    /// Returns true if the camera joined ranges to fit its message, so `held` may be too high.
    pub fn is_coarse(&self) -> bool {
        self.spools.iter().any(|spool| spool.coarse)
    }

    /// Returns how many captures the camera retains although it has a receipt for them.
    pub fn retained(&self) -> u64 {
        let spools = &self.last_status().spools;
        spools.iter().map(|spool| spool.kept.count()).fold(0, u64::saturating_add)
    }
}

impl Store {
    /// All cameras by name.
    pub async fn devices(&self, now_us: i64) -> Result<Vec<Device>> {
        self.with_timeout(async {
            let mut connection = self.reader().await?;
            let rows = sql("SELECT id, last_seen_us, online, status, status_us FROM device ORDER BY id")
                .fetch_all(&mut *connection, "list cameras")
                .await?;
            let mut devices = Vec::with_capacity(rows.len());
            for row in &rows {
                devices.push(read(&mut connection, row, now_us).await?);
            }
            connection.release();
            Ok(devices)
        })
        .await
    }

    /// One camera.
    pub async fn device(&self, device: &DeviceId, now_us: i64) -> Result<Option<Device>> {
        self.with_timeout(async {
            let mut connection = self.reader().await?;
            let row = sql("SELECT id, last_seen_us, online, status, status_us FROM device WHERE id = ?")
                .bind(device)
                .fetch_optional(&mut *connection, "read a camera")
                .await?;
            let device = match row {
                Some(row) => Some(read(&mut connection, &row, now_us).await?),
                None => None,
            };
            connection.release();
            Ok(device)
        })
        .await
    }

    /// The names of all cameras, and whether each is there.
    pub async fn presences(&self, now_us: i64) -> Result<Vec<(DeviceId, Presence)>> {
        let rows = sql("SELECT id, last_seen_us, online FROM device ORDER BY id")
            .rows(self, "list who is there")
            .await?;
        rows.iter().map(|row| Ok((name(row)?, device_presence(row, now_us)))).collect()
    }
}

async fn read(connection: &mut AnyConnection, row: &AnyRow, now_us: i64) -> Result<Device> {
    let device = name(row)?;
    let status: Option<String> = row.get(3);
    let status = status
        .map(|json| serde_json::from_str(&json))
        .transpose()
        .map_err(|error| StoreError::Corrupt(format!("a status: {error}")))?;
    let spools = spools::list_for_device(connection, &device).await?;
    let (conflicts, damaged, latest) = pictures::summary(connection, &device).await?;
    Ok(Device {
        presence: device_presence(row, now_us),
        last_seen_us: row.get(1),
        status,
        status_us: row.get(4),
        counters: spools.iter().map(|spool| spool.counters).sum(),
        conflicts,
        damaged,
        spools,
        latest,
        id: device,
    })
}

fn name(row: &AnyRow) -> Result<DeviceId> {
    row.get::<String, _>(0)
        .parse()
        .map_err(|_| StoreError::Corrupt("a camera with an odd name".to_owned()))
}

fn device_presence(row: &AnyRow, now_us: i64) -> Presence {
    let said = if row.get::<i64, _>(2) != 0 {
        Presence::Online
    } else {
        Presence::Offline
    };
    presence(said, row.get(1), now_us)
}
