//! Table `device`: the cameras, and when each was last heard of.

use std::collections::{BTreeMap, HashSet};

use keepsake_protocol::DeviceId;
use keepsake_protocol::status::{Presence, Status};
use sqlx::{AnyConnection, Row};

use crate::store::bind::from_bigint;
use crate::store::error::Result;
use crate::store::statement::{insert_rows, select_rows, sql, update_rows};

/// Notes that there are these cameras, and that those who are `alive` have just spoken. Returns the cameras of new names
/// that would be more than `devices_max`.
pub(crate) async fn touch_devices<'a>(
    tx: &mut AnyConnection,
    speakers: &BTreeMap<&'a DeviceId, bool>,
    now_us: i64,
    devices_max: u64,
) -> Result<HashSet<&'a DeviceId>> {
    let devices: Vec<&DeviceId> = speakers.keys().copied().collect();
    let rows = select_rows("SELECT id FROM device", "id = ?", &devices, "")
        .fetch_all(tx, "look for cameras")
        .await?;
    let known: HashSet<&str> = rows.iter().map(|row| row.get(0)).collect();
    let mut new: Vec<&DeviceId> = devices.into_iter().filter(|device| !known.contains(device.as_str())).collect();
    let mut rejected = HashSet::new();
    if !new.is_empty() {
        let all: i64 = sql("SELECT COUNT(*) FROM device").scalar(&mut *tx, "count cameras").await?;
        let room = devices_max.saturating_sub(from_bigint(all));
        rejected.extend(new.split_off(new.len().min(usize::try_from(room).unwrap_or(usize::MAX))));
        let rows = new.into_iter().map(|device| (device, now_us, now_us, false));
        let into = "INSERT INTO device (id, first_seen_us, last_seen_us, online)";
        insert_rows(into, rows).execute(tx, "note cameras").await?;
    }
    let alive = speakers.iter().filter(|(device, alive)| **alive && known.contains(device.as_str()));
    let alive: Vec<&DeviceId> = alive.map(|(device, _)| *device).collect();
    let update = "UPDATE device SET last_seen_us = ? WHERE id IN";
    update_rows(update, now_us, &alive).execute(tx, "note that cameras have spoken").await?;
    Ok(rejected)
}

/// Counts pictures of cameras: counting rows takes the longer the more there are.
pub(crate) async fn count_pictures(tx: &mut AnyConnection, more: &BTreeMap<&DeviceId, i64>) -> Result<()> {
    let mut by_count: BTreeMap<i64, Vec<&DeviceId>> = BTreeMap::new();
    for (device, more) in more {
        by_count.entry(*more).or_default().push(device);
    }
    for (more, devices) in by_count {
        let update = "UPDATE device SET pictures = pictures + ? WHERE id IN";
        update_rows(update, more, &devices).execute(tx, "count the pictures of cameras").await?;
    }
    Ok(())
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
