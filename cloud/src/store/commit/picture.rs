//! Tables `picture` and `picture_bytes`: inserting and removing rows.

use sqlx::AnyConnection;

use crate::store::error::Result;
use crate::store::picture::Picture;
use crate::store::statement::{Bind, insert_rows, sql};

/// The bytes of pictures in one statement: well within the packet that a server as it comes takes, beside one picture
/// of any size.
const STATEMENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Inserts the rows of new pictures, and their bytes.
pub(crate) async fn insert(tx: &mut AnyConnection, pictures: &[Picture], bytes: &[&[u8]]) -> Result<()> {
    insert_rows(
        "INSERT INTO picture (arrival, spool, sequence, hash, device, bytes, content_type, width, height, cause, \
         command, pressed_boot, pressed_boottime_us, pressed_wall_us, pressed_synchronised, pressed_error_us, \
         captured_after_us, saved_after_us, sent_after_us, attempt, settings_version, stored_us, sort_us, conflict, \
         damaged, thumbnail, not_before_us, thumbnail_attempts, color)",
        pictures.iter().map(columns),
    )
    .execute(tx, "insert pictures")
    .await?;
    let mut from = 0;
    while from < pictures.len() {
        let mut room = STATEMENT_BYTES_MAX;
        let fit = bytes[from..].iter().take_while(|bytes| {
            let fits = bytes.len() <= room;
            room = room.saturating_sub(bytes.len());
            fits
        });
        let to = from + fit.count().max(1);
        let rows = pictures[from..to].iter().zip(&bytes[from..to]);
        insert_rows(
            "INSERT INTO picture_bytes (arrival, bytes)",
            rows.map(|(picture, bytes)| (picture.arrival, *bytes)),
        )
        .execute(tx, "insert the bytes of pictures")
        .await?;
        from = to;
    }
    Ok(())
}

fn columns(picture: &Picture) -> impl Bind {
    let pressed = &picture.pressed;
    let identity = (
        picture.arrival,
        picture.capture,
        picture.hash,
        &picture.device,
        picture.bytes,
        picture.content_type.as_str(),
        picture.width,
        picture.height,
        picture.cause.as_str(),
        picture.command.as_deref(),
    );
    let clock = (
        pressed.boot,
        pressed.boottime_us,
        pressed.wall_us,
        pressed.synchronised,
        pressed.error_us,
        picture.captured_after_us,
        picture.saved_after_us,
        picture.sent_after_us,
    );
    let rest = (
        picture.attempt,
        picture.settings_version,
        picture.stored_us,
        picture.sort_us,
        picture.conflict,
        picture.damaged,
        picture.thumbnail.column(),
        picture.not_before_us,
        0_u32,
        None::<i64>,
    );
    (identity, clock, rest)
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
