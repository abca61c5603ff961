//! The place of pictures in the order of capture time: column `sort_us` of table `picture`.
//!
//! `sort_us` is the best estimate of the capture time. CLOCK_BOOTTIME is exact within a boot, so all pictures of one
//! boot are placed by the estimate of one of them: they stay in the order of their sequences, however late one of them
//! arrives.

use std::collections::HashMap;

use keepsake_protocol::{BootId, DeviceId};
use sqlx::{AnyConnection, Row};

use crate::store::bind::{id, to_bigint};
use crate::store::error::{Result, StoreError};
use crate::store::picture::Picture;
use crate::store::query::boot_clocks;
use crate::store::query::pictures::{BOOTTIME_US_MAX, read, select};
use crate::store::statement::{select_each, sql};

/// The boot id of pictures that no camera pressed a button for, such as uploads.
pub(crate) const NO_BOOT: BootId = BootId([0; 16]);
/// The year 9999.
const SORT_US_MAX: i64 = 253_370_764_800_000_000;
/// A boot is not moved for a better estimate that differs by less: each reading of a clock differs by a little.
const SHIFT_US_MIN: u64 = 1_000_000;
/// Selects the picture by which the pictures of a boot are placed: one with a synchronised clock, if there is any.
const REFERENCE: &str = "WHERE device = ? AND pressed_boot = ? AND pressed_boottime_us < ? \
                         ORDER BY pressed_synchronised DESC, arrival DESC LIMIT 1";

/// The placement of one boot.
#[derive(Debug, Clone, Copy)]
struct Placement {
    /// The capture time less CLOCK_BOOTTIME.
    offset_us: i64,
    /// By a synchronised clock.
    synchronised: bool,
}

type Boot = (DeviceId, BootId);

/// Sets `sort_us` of new pictures. The first picture of a boot with a synchronised clock moves the others, stored ones
/// and new ones.
pub(crate) async fn place(tx: &mut AnyConnection, pictures: &mut [Picture]) -> Result<()> {
    let mut placements = placements(tx, pictures).await?;
    let before = placements.clone();
    let mut estimated: Vec<&mut Picture> = pictures
        .iter_mut()
        .filter(|picture| {
            boot(picture).is_some_and(|boot| match before.get(&boot) {
                Some(known) => !known.synchronised && picture.pressed.synchronised,
                None => true,
            })
        })
        .collect();
    boot_clocks::correct(tx, &mut estimated).await?;
    for picture in pictures.iter_mut() {
        picture.sort_us = estimate(picture);
        let Some(boot) = boot(picture) else { continue };
        let placement = Placement {
            offset_us: boot_offset(picture),
            synchronised: picture.pressed.synchronised,
        };
        let known = placements.entry(boot).or_insert(placement);
        if placement.synchronised && !known.synchronised {
            known.synchronised = true;
            if known.offset_us.abs_diff(placement.offset_us) >= SHIFT_US_MIN {
                known.offset_us = placement.offset_us;
            }
        }
    }
    for picture in pictures.iter_mut() {
        if let Some(placement) = boot(picture).and_then(|boot| placements.get(&boot)) {
            picture.sort_us = placement.offset_us + to_bigint(picture.pressed.boottime_us);
        }
    }
    for (boot, placement) in &placements {
        if before.get(boot).is_some_and(|before| before.offset_us != placement.offset_us) {
            move_boot(tx, boot, placement.offset_us).await?;
        }
    }
    Ok(())
}

/// Returns the boot by which a picture is placed, if it has one.
fn boot(picture: &Picture) -> Option<Boot> {
    let clock = &picture.pressed;
    let has_boot = clock.boot != NO_BOOT && to_bigint(clock.boottime_us) < BOOTTIME_US_MAX;
    has_boot.then(|| (picture.device.clone(), clock.boot))
}

/// Reads the placements of the boots of these pictures.
async fn placements(tx: &mut AnyConnection, pictures: &[Picture]) -> Result<HashMap<Boot, Placement>> {
    let mut boots: Vec<Boot> = pictures.iter().filter_map(boot).collect();
    boots.sort_unstable();
    boots.dedup();
    let keys: Vec<_> = boots.iter().map(|(device, boot)| (device, *boot, BOOTTIME_US_MAX)).collect();
    let select = "SELECT device, pressed_boot, sort_us, pressed_boottime_us, pressed_synchronised FROM picture";
    let rows = select_each(select, REFERENCE, &keys).fetch_all(tx, "read the places of boots").await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        let device: String = row.get(0);
        let device = device
            .parse()
            .map_err(|_| StoreError::Corrupt("a picture of an odd camera name".to_owned()))?;
        let placement = Placement {
            offset_us: row.get::<i64, _>(2) - row.get::<i64, _>(3),
            synchronised: row.get::<i64, _>(4) != 0,
        };
        found.insert((device, id(row.get::<&[u8], _>(1), "a boot id")?), placement);
    }
    Ok(found)
}

/// Moves the pictures of a boot to where its clock offsets put them.
pub(crate) async fn sort_boot(tx: &mut AnyConnection, device: &DeviceId, boot: BootId) -> Result<()> {
    if boot == NO_BOOT {
        return Ok(());
    }
    let row = select(REFERENCE)
        .bind((device, boot, BOOTTIME_US_MAX))
        .fetch_optional(&mut *tx, "read a picture of a boot")
        .await?;
    let Some(mut reference) = row.as_ref().map(read).transpose()? else {
        return Ok(());
    };
    boot_clocks::correct(tx, &mut [&mut reference]).await?;
    let estimate_us = estimate(&reference);
    if estimate_us.abs_diff(reference.sort_us) >= SHIFT_US_MIN {
        reference.sort_us = estimate_us;
        move_boot(tx, &(device.clone(), boot), boot_offset(&reference)).await?;
    }
    Ok(())
}

async fn move_boot(tx: &mut AnyConnection, (device, boot): &Boot, offset_us: i64) -> Result<()> {
    sql("UPDATE picture SET sort_us = pressed_boottime_us + ? \
         WHERE device = ? AND pressed_boot = ? AND pressed_boottime_us < ?")
    .bind((offset_us, device, *boot, BOOTTIME_US_MAX))
    .execute(tx, "move the pictures of a boot")
    .await?;
    Ok(())
}

fn estimate(picture: &Picture) -> i64 {
    picture.taken.best_us.clamp(0, SORT_US_MAX)
}

fn boot_offset(picture: &Picture) -> i64 {
    picture.sort_us - to_bigint(picture.pressed.boottime_us)
}
