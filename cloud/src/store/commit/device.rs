//! Table `device`: the cameras, and when each was last heard of.

use keepsake_protocol::DeviceId;
use keepsake_protocol::status::{Presence, Status};
use sqlx::AnyConnection;

use crate::store::bind::from_bigint;
use crate::store::error::{ErrorContext, Result};

/// Notes that there is such a camera, and if `alive` that it has just spoken. Returns false, and notes nothing, if it
/// would be one more than `devices_max`.
pub(crate) async fn touch_device(
    tx: &mut AnyConnection,
    device: &DeviceId,
    now_us: i64,
    alive: bool,
    devices_max: u64,
) -> Result<bool> {
    let known: Option<i64> = sqlx::query_scalar("SELECT last_seen_us FROM device WHERE id = ?")
        .bind(device.as_str())
        .fetch_optional(&mut *tx)
        .await
        .context("look for a camera")?;
    match known {
        None => {
            let all: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM device")
                .fetch_one(&mut *tx)
                .await
                .context("count cameras")?;
            if from_bigint(all) >= devices_max {
                return Ok(false);
            }
            sqlx::query("INSERT INTO device (id, first_seen_us, last_seen_us, online) VALUES (?, ?, ?, 0)")
                .bind(device.as_str())
                .bind(now_us)
                .bind(now_us)
                .execute(tx)
                .await
                .context("note a camera")?;
        }
        Some(_) if alive => {
            sqlx::query("UPDATE device SET last_seen_us = ? WHERE id = ?")
                .bind(now_us)
                .bind(device.as_str())
                .execute(tx)
                .await
                .context("note that a camera has spoken")?;
        }
        Some(_) => {}
    }
    Ok(true)
}

/// Keeps a status. A last will changes only whether the camera is there, and is not the camera speaking.
pub(crate) async fn store_status(
    tx: &mut AnyConnection,
    device: &DeviceId,
    status: &Status,
    now_us: i64,
    retained: bool,
) -> Result<()> {
    let online = match status.presence {
        // What the broker kept from earlier does not prove that the camera is there now.
        Presence::Online => !retained,
        Presence::Offline => false,
    };
    sqlx::query("UPDATE device SET online = ? WHERE id = ?")
        .bind(i64::from(online))
        .bind(device.as_str())
        .execute(&mut *tx)
        .await
        .context("note the presence of a camera")?;
    if status.reported_at.is_some() {
        let json = serde_json::to_string(status).expect("a status has no map with odd keys");
        sqlx::query("UPDATE device SET status = ?, status_us = ? WHERE id = ?")
            .bind(json)
            .bind(now_us)
            .bind(device.as_str())
            .execute(tx)
            .await
            .context("keep the status of a camera")?;
    }
    Ok(())
}
