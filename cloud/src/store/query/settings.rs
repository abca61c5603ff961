//! Table `device_settings`: the desired settings of each camera, in all versions.

use keepsake_protocol::DeviceId;
use serde_json::{Map, Value};
use sqlx::{AnyConnection, Row};

use crate::store::bind::from_bigint;
use crate::store::error::{Result, StoreError};
use crate::store::open::Store;
use crate::store::statement::{keep_newest, sql};

/// All wishes for one camera, as of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSettings {
    pub version: u64,
    /// Another one for every version, and never 0.
    pub revision: u64,
    pub values: Map<String, Value>,
    /// Microseconds UTC.
    pub changed_us: i64,
}

/// The result of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingsUpdate {
    To(DeviceSettings),
    /// Someone else was faster; this is the version there is now.
    Conflict(u64),
}

/// Every JSON reader keeps numbers below this exact; a camera that claims more is not believed.
const VERSION_MAX: u64 = (1 << 53) - 2;

impl Store {
    /// Returns the desired settings of a camera, if there are any.
    pub async fn settings(&self, device: &DeviceId) -> Result<Option<DeviceSettings>> {
        self.with_timeout(async {
            let mut connection = self.reader().await?;
            let settings = latest(&mut connection, device).await?;
            connection.release();
            Ok(settings)
        })
        .await
    }

    /// Wishes for these values instead of those of version `based_on` (0 = there was none). The same values again are
    /// no change.
    ///
    /// `ahead`: the version of a camera that has settings this store knows nothing of, as it was restored from a
    /// backup; the new one is above it.
    pub async fn update_settings(
        &self,
        device: &DeviceId,
        based_on: u64,
        ahead: Option<u64>,
        values: &Map<String, Value>,
        now_us: i64,
    ) -> Result<SettingsUpdate> {
        self.with_timeout(async {
            let mut tx = self.begin("begin changing settings").await?;
            let before = latest(&mut tx, device).await?;
            let version = before.as_ref().map_or(0, |before| before.version);
            if version != based_on {
                tx.rollback().await;
                return Ok(SettingsUpdate::Conflict(version));
            }
            if let Some(before) = before
                && before.values == *values
                && ahead.is_none()
            {
                tx.rollback().await;
                return Ok(SettingsUpdate::To(before));
            }
            let ahead = ahead.filter(|ahead| *ahead <= VERSION_MAX).unwrap_or(0);
            let desired = DeviceSettings {
                version: version.max(ahead) + 1,
                revision: (rand::random::<u64>() >> 11).max(1),
                values: values.clone(),
                changed_us: now_us,
            };
            note(&mut tx, device, &desired).await?;
            keep_newest(&mut tx, "device_settings", "version", device, self.limits.settings_max).await?;
            tx.commit("commit settings").await?;
            Ok(SettingsUpdate::To(desired))
        })
        .await
    }
}

async fn latest(connection: &mut AnyConnection, device: &DeviceId) -> Result<Option<DeviceSettings>> {
    let row = sql("SELECT version, revision, desired, changed_us FROM device_settings WHERE device = ? \
         ORDER BY version DESC LIMIT 1")
    .bind(device)
    .fetch_optional(connection, "read settings")
    .await?;
    row.map(|row| {
        Ok(DeviceSettings {
            version: from_bigint(row.get(0)),
            revision: from_bigint(row.get(1)),
            values: serde_json::from_str(row.get(2))
                .map_err(|error| StoreError::Corrupt(format!("settings: {error}")))?,
            changed_us: row.get(3),
        })
    })
    .transpose()
}

async fn note(tx: &mut AnyConnection, device: &DeviceId, desired: &DeviceSettings) -> Result<()> {
    let wished = Value::Object(desired.values.clone()).to_string();
    sql("INSERT INTO device_settings (device, version, revision, desired, changed_us) VALUES (?, ?, ?, ?, ?)")
        .bind((device, desired.version, desired.revision, wished, desired.changed_us))
        .execute(tx, "note settings")
        .await?;
    Ok(())
}
