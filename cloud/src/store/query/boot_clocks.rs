//! Table `boot_clock`: the capture times of pictures that are read, by all clock offsets that are known now.

use std::collections::HashMap;

use keepsake_protocol::BootId;
use keepsake_protocol::event::BootClockOffset;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::store::bind::{from_bigint, id};
use crate::store::error::Result;
use crate::store::picture::Picture;
use crate::store::statement::select_rows;

/// Sets the capture times of these pictures.
pub(crate) async fn correct(connection: &mut AnyConnection, pictures: &mut [&mut Picture]) -> Result<()> {
    let mut boots: Vec<BootId> = pictures.iter().map(|picture| picture.pressed.boot).collect();
    boots.sort_unstable();
    boots.dedup();
    let select = "SELECT boot, device, offset_us, error_us, measured_us, estimated FROM boot_clock";
    let rows = select_rows(select, "boot = ?", &boots, "")
        .fetch_all(connection, "read the clock offsets of boots")
        .await?;
    let mut lines: HashMap<(BootId, String), Vec<BootClockOffset>> = HashMap::new();
    for row in &rows {
        let boot: BootId = id(row.get::<&[u8], _>("boot"), "a boot id")?;
        lines.entry((boot, row.get("device"))).or_default().push(clock_offset(row, boot));
    }
    for picture in pictures {
        let of = (picture.pressed.boot, picture.device.as_str().to_owned());
        picture.set_capture_time(lines.get(&of).map_or(&[], Vec::as_slice));
    }
    Ok(())
}

/// Returns the clock offset in a row of the table.
pub(crate) fn clock_offset(row: &AnyRow, boot: BootId) -> BootClockOffset {
    BootClockOffset {
        boot,
        offset_us: row.get("offset_us"),
        error_us: from_bigint(row.get("error_us")),
        at_us: row.get::<Option<i64>, _>("measured_us").map(from_bigint),
        estimated: row.get::<i64, _>("estimated") != 0,
        spool: None,
    }
}
