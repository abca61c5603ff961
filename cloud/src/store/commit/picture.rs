//! Tables `picture` and `picture_bytes`: storing and removing pictures, and their place in the order of capture time.
//!
//! `sort_us` is the best estimate of the capture time. CLOCK_BOOTTIME is exact within a boot, so all pictures of one
//! boot are placed by the estimate of one of them: they stay in the order of their sequences, however late one of them
//! arrives.

use keepsake_protocol::capture::FrameHeader;
use keepsake_protocol::{BootId, DeviceId};
use sqlx::AnyConnection;

use crate::store::bind::{Key, to_bigint};
use crate::store::commit::totals::BatchTotals;
use crate::store::commit::{boot_clock, fate};
use crate::store::error::Result;
use crate::store::picture::Picture;
use crate::store::query::pictures::{BOOTTIME_US_MAX, boot_reference};
use crate::store::statement::sql;

/// The boot id of pictures that no camera pressed a button for, such as uploads.
pub(crate) const NO_BOOT: BootId = BootId([0; 16]);
/// The year 9999.
const SORT_US_MAX: i64 = 253_370_764_800_000_000;
/// A boot is not moved for a better estimate that differs by less: each reading of a clock differs by a little.
const SHIFT_US_MIN: u64 = 1_000_000;

/// Stores a picture whose hash is correct: row, bytes and fate. Returns nothing for a repeat (P3).
pub(crate) async fn insert(
    tx: &mut AnyConnection,
    totals: &mut BatchTotals,
    device: &DeviceId,
    header: &FrameHeader,
    bytes: &[u8],
    now_us: i64,
    damaged: bool,
) -> Result<Option<Picture>> {
    let key = Key::of(&header.capture);
    let conflict = match fate::mark_stored(tx, key).await? {
        fate::PriorFate::Settled => return Ok(None),
        fate::PriorFate::New { conflict } => conflict,
    };
    let arrival = totals.arrival(tx, device).await?;
    let mut picture = Picture::stored(arrival, device, header.clone(), now_us, damaged);
    picture.conflict = conflict;
    place(tx, &mut picture).await?;
    let optional = |number: Option<u64>| number.map(to_bigint);
    sql(
        "INSERT INTO picture (arrival, spool, sequence, hash, device, bytes, content_type, width, height, cause, \
         command, pressed_boot, pressed_boottime_us, pressed_wall_us, pressed_synchronised, pressed_error_us, \
         captured_after_us, saved_after_us, sent_after_us, attempt, settings_version, stored_us, sort_us, conflict, \
         damaged, thumbnail, not_before_us, thumbnail_attempts, color) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, NULL)",
    )
    .bind((
        arrival,
        key,
        device,
        picture.bytes,
        picture.content_type.as_str(),
        picture.width,
        picture.height,
        picture.cause.as_str(),
        picture.command.as_deref(),
        picture.pressed.boot,
        picture.pressed.boottime_us,
        picture.pressed.wall_us,
        picture.pressed.synchronised,
        picture.pressed.error_us,
    ))
    .bind((
        picture.captured_after_us,
        optional(picture.saved_after_us),
        optional(picture.sent_after_us),
        picture.attempt,
        picture.settings_version,
        now_us,
        picture.sort_us,
        conflict,
        damaged,
        picture.thumbnail.column(),
        picture.not_before_us,
    ))
    .execute(&mut *tx, "insert a picture")
    .await?;
    sql("INSERT INTO picture_bytes (arrival, bytes) VALUES (?, ?)")
        .bind((arrival, bytes))
        .execute(tx, "insert the bytes of a picture")
        .await?;
    Ok(Some(picture))
}

/// Sets `sort_us` of a new picture. The first picture of a boot with a synchronised clock moves the others.
async fn place(tx: &mut AnyConnection, picture: &mut Picture) -> Result<()> {
    let (boot, boottime_us) = (picture.pressed.boot, to_bigint(picture.pressed.boottime_us));
    if boot == NO_BOOT || boottime_us >= BOOTTIME_US_MAX {
        picture.sort_us = estimate(picture);
        return Ok(());
    }
    let reference = boot_reference(tx, &picture.device, boot).await?;
    if let Some(reference) = &reference {
        picture.sort_us = boot_offset(reference) + boottime_us;
        if reference.pressed.synchronised || !picture.pressed.synchronised {
            return Ok(());
        }
    }
    picture.set_capture_time(&boot_clock::offsets(tx, &picture.device, boot).await?);
    let estimate_us = estimate(picture);
    if reference.is_none() {
        picture.sort_us = estimate_us;
    } else if estimate_us.abs_diff(picture.sort_us) >= SHIFT_US_MIN {
        picture.sort_us = estimate_us;
        move_boot(tx, picture).await?;
    }
    Ok(())
}

/// Moves the pictures of a boot to where its clock offsets put them.
pub(crate) async fn sort_boot(tx: &mut AnyConnection, device: &DeviceId, boot: BootId) -> Result<()> {
    if boot == NO_BOOT {
        return Ok(());
    }
    let Some(mut reference) = boot_reference(tx, device, boot).await? else {
        return Ok(());
    };
    reference.set_capture_time(&boot_clock::offsets(tx, device, boot).await?);
    let estimate_us = estimate(&reference);
    if estimate_us.abs_diff(reference.sort_us) >= SHIFT_US_MIN {
        reference.sort_us = estimate_us;
        move_boot(tx, &reference).await?;
    }
    Ok(())
}

/// Moves all pictures of the boot of `reference` by its place.
async fn move_boot(tx: &mut AnyConnection, reference: &Picture) -> Result<()> {
    sql("UPDATE picture SET sort_us = pressed_boottime_us + ? \
         WHERE device = ? AND pressed_boot = ? AND pressed_boottime_us < ?")
    .bind((boot_offset(reference), &reference.device, reference.pressed.boot, BOOTTIME_US_MAX))
    .execute(tx, "move the pictures of a boot")
    .await?;
    Ok(())
}

fn estimate(picture: &Picture) -> i64 {
    picture.taken.best_us.clamp(0, SORT_US_MAX)
}

fn boot_offset(reference: &Picture) -> i64 {
    reference.sort_us - to_bigint(reference.pressed.boottime_us)
}

/// Removes row, bytes and thumbnail.
pub(crate) async fn remove(tx: &mut AnyConnection, arrival: i64) -> Result<()> {
    for statement in [
        "DELETE FROM thumbnail WHERE arrival = ?",
        "DELETE FROM picture_bytes WHERE arrival = ?",
        "DELETE FROM picture WHERE arrival = ?",
    ] {
        sql(statement).bind(arrival).execute(&mut *tx, "remove a picture").await?;
    }
    Ok(())
}
