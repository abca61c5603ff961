//! Table `boot_clock`: the clock offsets that cameras report for their boots. The capture time of a picture is computed
//! when it is read, by the offsets that are known then; only its place in lists is stored.

use keepsake_protocol::event::BootClockOffset;
use keepsake_protocol::{BootId, DeviceId, Hash};
use sqlx::{AnyConnection, Row};

use crate::store::bind::{id, to_bigint};
use crate::store::error::Result;
use crate::store::query::boot_clocks::clock_offset;
use crate::store::statement::{keep_newest, sql};

/// Lines of one boot. A camera bounds itself to fewer; one that does not has its latest lines made into one.
const LINES_MAX: u64 = 32;
/// Lines of one camera; beyond, those heard of longest ago go, and what they corrected is guessed again.
const LINES_OF_DEVICE_MAX: u64 = 4_000;

/// Keeps a line once.
pub(crate) async fn insert(
    tx: &mut AnyConnection,
    device: &DeviceId,
    line: &BootClockOffset,
    hash: Hash,
    now_us: i64,
) -> Result<()> {
    let lines = of_boot(tx, device, line.boot).await?;
    if lines.iter().any(|(known, _)| *known == hash) {
        return Ok(());
    }
    let mut line = line.clone();
    if lines.len() as u64 >= LINES_MAX
        && let Some((known, latest)) = lines.iter().rfind(|(_, known)| known.estimated == line.estimated)
    {
        line = covering(latest, &line);
        sql("DELETE FROM boot_clock WHERE boot = ? AND device = ? AND hash = ?")
            .bind((line.boot, device, *known))
            .execute(&mut *tx, "join boot lines")
            .await?;
    }
    sql(
        "INSERT INTO boot_clock (boot, device, hash, offset_us, error_us, measured_us, estimated, received_us) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind((
        line.boot,
        device,
        hash,
        line.offset_us,
        line.error_us,
        line.at_us.map(to_bigint),
        line.estimated,
        now_us,
    ))
    .execute(&mut *tx, "note a boot line")
    .await?;
    keep_newest(tx, "boot_clock", "received_us", device, LINES_OF_DEVICE_MAX).await
}

/// One line that holds wherever one of the two does, for the whole boot.
fn covering(one: &BootClockOffset, other: &BootClockOffset) -> BootClockOffset {
    // Where a line was measured is given up, so it has to be as unsure as it is at the end of a long boot.
    let spread = |line: &BootClockOffset| {
        let drift_us = line.at_us.map_or(0, |at| keepsake_protocol::clock::drift_us(at.max(LONG_BOOT_US)));
        let whole = BootClockOffset {
            error_us: line.error_us.saturating_add(drift_us),
            at_us: None,
            ..line.clone()
        };
        whole.wall_interval(0)
    };
    let (a, b) = (spread(one), spread(other));
    let (earliest_us, latest_us) = (a.0.min(b.0), a.1.max(b.1));
    BootClockOffset {
        offset_us: earliest_us.midpoint(latest_us),
        error_us: latest_us.abs_diff(earliest_us) / 2 + 1,
        at_us: None,
        ..other.clone()
    }
}

/// A month.
const LONG_BOOT_US: u64 = 30 * 24 * 3600 * 1_000_000;

/// Returns the clock offsets of a boot with the hashes of their events, oldest first.
async fn of_boot(
    connection: &mut AnyConnection,
    device: &DeviceId,
    boot: BootId,
) -> Result<Vec<(Hash, BootClockOffset)>> {
    let rows = sql(
        "SELECT hash, offset_us, error_us, measured_us, estimated FROM boot_clock WHERE boot = ? AND device = ? \
         ORDER BY received_us, hash",
    )
    .bind((boot, device))
    .fetch_all(connection, "read the lines of a boot")
    .await?;
    rows.iter()
        .map(|row| Ok((id(row.get::<&[u8], _>("hash"), "a hash")?, clock_offset(row, boot))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::limits::Limits;
    use crate::store::open::Store;

    #[tokio::test]
    async fn the_lines_of_a_boot_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Limits::default()).await.unwrap();
        let device: DeviceId = "porch".parse().unwrap();
        let boot = BootId([1; 16]);
        let mut tx = store.begin("begin a test").await.unwrap();
        for number in 0..100_i64 {
            let line = BootClockOffset {
                boot,
                offset_us: number * 1_000_000_000,
                error_us: 5,
                at_us: Some(7),
                estimated: number % 10 == 0,
                spool: None,
            };
            let hash = Hash::of(&number.to_be_bytes());
            insert(&mut tx, &device, &line, hash, number).await.unwrap();
        }
        let lines = of_boot(&mut tx, &device, boot).await.unwrap();
        assert_eq!(lines.len() as u64, LINES_MAX);
        let said = |guessed| {
            let of = lines.iter().filter(move |(_, line)| line.estimated == guessed);
            let (begins, ends): (Vec<_>, Vec<_>) = of.map(|(_, line)| line.wall_interval(0)).unzip();
            (begins.into_iter().min().unwrap(), ends.into_iter().max().unwrap())
        };
        assert!(said(false).0 <= 1_000_000_000 && said(false).1 >= 99_000_000_000);
        assert!(said(true).0 <= 0 && said(true).1 >= 90_000_000_000);
    }
}
