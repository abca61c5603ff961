//! Tables `picture` and `picture_bytes`: inserting and removing rows.

use sqlx::AnyConnection;

use crate::objects::DurableObject;
use crate::store::error::Result;
use crate::store::picture::Picture;
use crate::store::statement::{Bind, insert_rows, sql};

/// The bytes of pictures in one statement: well within the packet that a server as it comes takes, beside one picture
/// of any size.
const STATEMENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The destination of the bytes of a new picture.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bytes<'a> {
    /// Into a row of table `picture_bytes`.
    Row(&'a [u8]),
    /// They are in an object.
    Object(&'a DurableObject),
}

/// Inserts the rows of new pictures, and their bytes.
pub(crate) async fn insert(tx: &mut AnyConnection, pictures: &[Picture], bytes: &[Bytes<'_>]) -> Result<()> {
    insert_rows(
        "INSERT INTO picture (arrival, spool, sequence, hash, device, bytes, content_type, width, height, cause, \
         command, pressed_boot, pressed_boottime_us, pressed_wall_us, pressed_synchronised, pressed_error_us, \
         captured_after_us, saved_after_us, sent_after_us, attempt, settings_version, stored_us, sort_us, conflict, \
         damaged, thumbnail, not_before_us, thumbnail_attempts, color, place, object)",
        pictures.iter().zip(bytes).map(|(picture, bytes)| (columns(picture), location(bytes))),
    )
    .execute(tx, "insert pictures")
    .await?;
    let mut rows = Vec::new();
    let mut together = 0;
    for (picture, bytes) in pictures.iter().zip(bytes) {
        let Bytes::Row(bytes) = bytes else { continue };
        if !rows.is_empty() && together + bytes.len() > STATEMENT_BYTES_MAX {
            insert_bytes(tx, std::mem::take(&mut rows)).await?;
            together = 0;
        }
        rows.push((picture.arrival, *bytes));
        together += bytes.len();
    }
    insert_bytes(tx, rows).await
}

async fn insert_bytes(tx: &mut AnyConnection, rows: Vec<(i64, &[u8])>) -> Result<()> {
    insert_rows("INSERT INTO picture_bytes (arrival, bytes)", rows)
        .execute(tx, "insert the bytes of pictures")
        .await
}

fn location<'a>(bytes: &Bytes<'a>) -> (i64, Option<&'a str>) {
    match bytes {
        Bytes::Row(_) => (0, None),
        Bytes::Object(object) => (object.place, Some(object.key.as_str())),
    }
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
