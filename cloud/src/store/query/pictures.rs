//! Table `picture`: lists of pictures without their bytes.

use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::id::PictureId;
use keepsake_protocol::{BootId, CaptureId, DeviceId};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::pictures::capture_time;
use crate::store::bind::{from_bigint, id, sequence};
use crate::store::error::{Result, StoreError};
use crate::store::open::Store;
use crate::store::picture::{Picture, PictureCursor, Thumbnail};
use crate::store::query::boot_clocks;
use crate::store::readers::Reader;
use crate::store::statement::{Statement, sql};

/// A page of pictures in the order of capture time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageQuery {
    /// Oldest first, from the picture after the cursor.
    After(PictureCursor),
    /// Newest first, from the picture before the cursor, or from the newest.
    Before(Option<PictureCursor>),
}

impl PageQuery {
    /// Returns the statement that selects the page. It reads one range of an index: the first comparison is the range,
    /// the others only leave out the pictures with the time of the cursor that are on its other side.
    fn statement(self, one_device: bool) -> String {
        let device = if one_device { "device = ? AND " } else { "" };
        let (side, order) = match self {
            Self::After(_) => (">", "ASC"),
            Self::Before(_) => ("<", "DESC"),
        };
        format!(
            "WHERE {device}sort_us {side}= ? AND (sort_us {side} ? OR (sort_us = ? AND arrival {side} ?)) \
             ORDER BY sort_us {order}, arrival {order} LIMIT ?"
        )
    }
}

/// Returns a statement that reads whole rows; `rest` follows the name of the table.
pub(in crate::store) fn select(rest: &str) -> Statement {
    sql(AssertSqlSafe(format!(
        "SELECT arrival, spool, sequence, hash, device, bytes, content_type, width, height, cause, command, \
         pressed_boot, pressed_boottime_us, pressed_wall_us, pressed_synchronised, pressed_error_us, \
         captured_after_us, saved_after_us, sent_after_us, attempt, settings_version, stored_us, conflict, \
         damaged, thumbnail, color, not_before_us, sort_us FROM picture {rest}"
    )))
}

impl Store {
    /// Returns at most `limit` pictures of one camera, or of all, without their bytes.
    pub async fn pictures(&self, device: Option<&DeviceId>, page: PageQuery, limit: u32) -> Result<Vec<Picture>> {
        const NEWEST: PictureCursor = PictureCursor { sort_us: i64::MAX, arrival: i64::MAX };
        let from = match page {
            PageQuery::After(cursor) => cursor,
            PageQuery::Before(cursor) => cursor.unwrap_or(NEWEST),
        };
        self.with_timeout(async {
            let mut connection = self.reader().await?;
            let mut query = select(&page.statement(device.is_some()));
            if let Some(device) = device {
                query = query.bind(device);
            }
            let rows = query
                .bind((from.sort_us, from.sort_us, from.sort_us, from.arrival, limit))
                .fetch_all(&mut *connection, "list pictures")
                .await?;
            read_all(connection, &rows).await
        })
        .await
    }

    /// Returns at most `limit` pictures of all cameras in the order of their arrival, after this one. In this order a
    /// reader that goes on where it was misses nothing.
    pub async fn pictures_arrived_after(&self, arrival: i64, limit: u32) -> Result<Vec<Picture>> {
        self.with_timeout(async {
            let mut connection = self.reader().await?;
            let rows = select("WHERE arrival > ? ORDER BY arrival LIMIT ?")
                .bind((arrival, limit))
                .fetch_all(&mut *connection, "list new pictures")
                .await?;
            read_all(connection, &rows).await
        })
        .await
    }

    /// Returns the highest arrival of a stored picture, 0 if there is none.
    pub async fn last_arrival(&self) -> Result<i64> {
        let last = sql("SELECT COALESCE(MAX(arrival), 0) FROM picture")
            .value(self, "read the last arrival")
            .await?;
        Ok(last.unwrap_or(0))
    }

    /// Returns the number of stored pictures of one camera, or of all.
    pub async fn picture_count(&self, device: Option<&DeviceId>) -> Result<u64> {
        let query = match device {
            Some(device) => sql("SELECT pictures FROM device WHERE id = ?").bind(device),
            None => sql("SELECT CAST(COALESCE(SUM(pictures), 0) AS SIGNED) FROM device"),
        };
        let all: Option<i64> = query.value(self, "count pictures").await?;
        Ok(all.map_or(0, from_bigint))
    }

    /// Returns a picture by its id.
    pub async fn picture(&self, wanted: &PictureId) -> Result<Option<Picture>> {
        let all = self.pictures_of(wanted.capture).await?;
        Ok(all.into_iter().find(|picture| picture.hash.prefix() == wanted.hash))
    }

    /// Returns the pictures of a capture: one, or more if a card was cloned.
    pub async fn pictures_of(&self, capture: CaptureId) -> Result<Vec<Picture>> {
        self.with_timeout(async {
            let mut connection = self.reader().await?;
            let rows = select("WHERE spool = ? AND sequence = ? ORDER BY arrival LIMIT 100")
                .bind((capture.spool, capture.sequence))
                .fetch_all(&mut *connection, "read the pictures of a capture")
                .await?;
            read_all(connection, &rows).await
        })
        .await
    }

    /// Returns a picture by its arrival.
    pub async fn picture_at(&self, arrival: i64) -> Result<Option<Picture>> {
        self.with_timeout(async {
            let mut connection = self.reader().await?;
            let rows = select("WHERE arrival = ?")
                .bind(arrival)
                .fetch_all(&mut *connection, "read a picture")
                .await?;
            Ok(read_all(connection, &rows).await?.pop())
        })
        .await
    }

    /// Returns the thumbnail of a picture, JPEG.
    pub async fn thumbnail(&self, arrival: i64) -> Result<Option<Vec<u8>>> {
        sql("SELECT bytes FROM thumbnail WHERE arrival = ?")
            .bind(arrival)
            .value(self, "read a thumbnail")
            .await
    }
}

/// Longer uptimes are invented, and would overflow: about 3,000 years.
pub(in crate::store) const BOOTTIME_US_MAX: i64 = 100_000_000_000_000_000;

/// Returns the numbers of conflicting and of damaged pictures of a camera, and its latest picture by capture time.
pub(crate) async fn summary(connection: &mut AnyConnection, device: &DeviceId) -> Result<(u64, u64, Option<Picture>)> {
    let counted = async |connection: &mut AnyConnection, column: &str| {
        let statement = format!("SELECT COUNT(*) FROM picture WHERE device = ? AND {column} = 1");
        sql(AssertSqlSafe(statement))
            .bind(device)
            .scalar(connection, "count the pictures of a camera")
            .await
    };
    let conflicts = counted(&mut *connection, "conflict").await?;
    let damaged = counted(&mut *connection, "damaged").await?;
    let latest = select("WHERE device = ? ORDER BY sort_us DESC, arrival DESC LIMIT 1")
        .bind(device)
        .fetch_optional(&mut *connection, "read the latest picture of a camera")
        .await?;
    let mut latest = latest.as_ref().map(read).transpose()?;
    boot_clocks::correct(connection, &mut latest.iter_mut().collect::<Vec<_>>()).await?;
    Ok((from_bigint(conflicts), from_bigint(damaged), latest))
}

/// Reads whole rows, and corrects their capture times by the clock offsets of their boots.
async fn read_all(mut connection: Reader, rows: &[AnyRow]) -> Result<Vec<Picture>> {
    let mut pictures = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
    boot_clocks::correct(&mut connection, &mut pictures.iter_mut().collect::<Vec<_>>()).await?;
    connection.release();
    Ok(pictures)
}

/// Reads a row of [`select`].
pub(in crate::store) fn read(row: &AnyRow) -> Result<Picture> {
    let corrupt = |what: &str| StoreError::Corrupt(format!("a picture with {what}"));
    let named = |at: usize| -> serde_json::Value { row.get::<String, _>(at).into() };
    let pixels = |at: usize| u32::try_from(row.get::<i64, _>(at)).unwrap_or(0);
    let optional = |at: usize| row.get::<Option<i64>, _>(at).map(from_bigint);
    let mut picture = Picture {
        arrival: row.get(0),
        capture: CaptureId {
            spool: id(row.get::<&[u8], _>(1), "a spool id")?,
            sequence: sequence(row.get(2))?,
        },
        hash: id(row.get::<&[u8], _>(3), "a hash")?,
        device: row.get::<String, _>(4).parse().map_err(|_| corrupt("an odd camera name"))?,
        bytes: from_bigint(row.get(5)),
        content_type: serde_json::from_value(named(6)).map_err(|_| corrupt("an odd type"))?,
        width: pixels(7),
        height: pixels(8),
        cause: serde_json::from_value(named(9)).map_err(|_| corrupt("an odd cause"))?,
        command: row.get(10),
        pressed: ClockReading {
            boot: id::<BootId>(row.get::<&[u8], _>(11), "a boot id")?,
            boottime_us: from_bigint(row.get(12)),
            wall_us: row.get(13),
            synchronised: row.get::<i64, _>(14) != 0,
            error_us: from_bigint(row.get(15)),
        },
        captured_after_us: from_bigint(row.get(16)),
        saved_after_us: optional(17),
        sent_after_us: optional(18),
        attempt: pixels(19),
        settings_version: from_bigint(row.get(20)),
        stored_us: row.get(21),
        conflict: row.get::<i64, _>(22) != 0,
        damaged: row.get::<i64, _>(23) != 0,
        thumbnail: Thumbnail::from_column(row.get(24)),
        color: row.get::<Option<i64>, _>(25).and_then(|color| u32::try_from(color).ok()),
        not_before_us: row.get(26),
        sort_us: row.get(27),
        taken: capture_time::upload_time(row.get(21)),
    };
    picture.set_capture_time(&[]);
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::limits::Limits;

    #[tokio::test]
    async fn a_page_is_one_range_of_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Limits::default()).await.unwrap();
        let cursor = PictureCursor { sort_us: 1, arrival: 1 };
        for (page, one_device, expected) in [
            (PageQuery::Before(Some(cursor)), false, "picture_sorted (sort_us<?)"),
            (PageQuery::After(cursor), false, "picture_sorted (sort_us>?)"),
            (PageQuery::Before(Some(cursor)), true, "picture_device_sorted (device=? AND sort_us<?)"),
            (PageQuery::After(cursor), true, "picture_device_sorted (device=? AND sort_us>?)"),
        ] {
            let explain = format!("EXPLAIN QUERY PLAN SELECT * FROM picture {}", page.statement(one_device));
            let plan = sqlx::query(AssertSqlSafe(explain))
                .fetch_all(&mut *store.reader().await.unwrap())
                .await
                .unwrap();
            let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
            assert_eq!(plan, [format!("SEARCH picture USING INDEX {expected}")]);
        }
    }
}
