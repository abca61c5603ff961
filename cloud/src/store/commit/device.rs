//! Table `device`: the cameras, and when each was last heard of.

use keepsake_protocol::DeviceId;
use keepsake_protocol::status::{Presence, Status};
use sqlx::AnyConnection;

use crate::store::bind::from_bigint;
use crate::store::error::Result;
use crate::store::statement::sql;

/// Notes that there is such a camera, and if `alive` that it has just spoken. Returns false, and notes nothing, if it
/// would be one more than `devices_max`.
pub(crate) async fn touch_device(
    tx: &mut AnyConnection,
    device: &DeviceId,
    now_us: i64,
    alive: bool,
    devices_max: u64,
) -> Result<bool> {
    let known: Option<i64> = sql("SELECT last_seen_us FROM device WHERE id = ?")
        .bind(device)
        .optional_scalar(&mut *tx, "look for a camera")
        .await?;
    match known {
        None => {
            let all: i64 = sql("SELECT COUNT(*) FROM device").scalar(&mut *tx, "count cameras").await?;
            if from_bigint(all) >= devices_max {
                return Ok(false);
            }
            sql("INSERT INTO device (id, first_seen_us, last_seen_us, online) VALUES (?, ?, ?, 0)")
                .bind((device, now_us, now_us))
                .execute(tx, "note a camera")
                .await?;
        }
        Some(_) if alive => {
            sql("UPDATE device SET last_seen_us = ? WHERE id = ?")
                .bind((now_us, device))
                .execute(tx, "note that a camera has spoken")
                .await?;
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
    sql("UPDATE device SET online = ? WHERE id = ?")
        .bind((online, device))
        .execute(&mut *tx, "note the presence of a camera")
        .await?;
    if status.reported_at.is_some() {
        let json = serde_json::to_string(status).expect("a status has no map with odd keys");
        sql("UPDATE device SET status = ?, status_us = ? WHERE id = ?")
            .bind((json, now_us, device))
            .execute(tx, "keep the status of a camera")
            .await?;
    }
    Ok(())
}
