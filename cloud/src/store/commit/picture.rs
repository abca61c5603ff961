//! Tables `picture`, `picture_bytes` and `thumbnail`: what is known of a stored picture, and apart from it its bytes,
//! so that no list ever reads them.

use keepsake_protocol::capture::FrameHeader;
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::id::PictureId;
use keepsake_protocol::{BootId, CaptureId, DeviceId, SpoolId};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::pictures::capture_time;
use crate::store::bind::{BindKey, Key, from_bigint, id, sequence, to_bigint};
use crate::store::commit::totals::BatchTotals;
use crate::store::commit::{boot_clock, fate};
use crate::store::error::{ErrorContext, Result, StoreError};
use crate::store::open::Store;
use crate::store::picture::{Picture, Thumbnail};

/// Which pictures, in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageQuery {
    /// Upwards from the one after this arrival.
    After(i64),
    /// Downwards from the newest, or from the one before this arrival.
    Before(Option<i64>),
}

/// A statement that reads whole rows.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT arrival, spool, sequence, hash, device, bytes, content_type, width, height, cause, command, \
             pressed_boot, pressed_boottime_us, pressed_wall_us, pressed_synchronised, pressed_error_us, \
             captured_after_us, saved_after_us, sent_after_us, attempt, settings_version, stored_us, conflict, \
             damaged, thumbnail, color, not_before_us FROM picture ",
            $rest
        )
    };
}

/// Keeps a picture whose hash is right: row, bytes and fate. Returns its arrival, or nothing for a repeat (P3).
pub(crate) async fn insert(
    tx: &mut AnyConnection,
    totals: &mut BatchTotals,
    device: &DeviceId,
    header: &FrameHeader,
    bytes: &[u8],
    now_us: i64,
    damaged: bool,
) -> Result<Option<i64>> {
    let record = &header.capture;
    let conflict = match fate::mark_stored(tx, Key::of(record)).await? {
        fate::PriorFate::Settled => return Ok(None),
        fate::PriorFate::New { conflict } => conflict,
    };
    let arrival = totals.arrival(tx, device).await?;
    let optional = |number: Option<u64>| number.map(to_bigint);
    sqlx::query(
        "INSERT INTO picture (arrival, spool, sequence, hash, device, bytes, content_type, width, height, cause, \
         command, pressed_boot, pressed_boottime_us, pressed_wall_us, pressed_synchronised, pressed_error_us, \
         captured_after_us, saved_after_us, sent_after_us, attempt, settings_version, stored_us, conflict, damaged, \
         thumbnail, not_before_us, thumbnail_attempts, color) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, NULL)",
    )
    .bind(arrival)
    .key(Key::of(record))
    .bind(device.as_str())
    .bind(to_bigint(record.total))
    .bind(record.content_type.as_str())
    .bind(i64::from(record.width))
    .bind(i64::from(record.height))
    .bind(record.cause.as_str())
    .bind(record.command.as_deref())
    .bind(record.pressed.boot.0.as_slice())
    .bind(to_bigint(record.pressed.boottime_us))
    .bind(record.pressed.wall_us)
    .bind(i64::from(record.pressed.synchronised))
    .bind(to_bigint(record.pressed.error_us))
    .bind(to_bigint(record.captured_after_us))
    .bind(optional(header.saved_after_us))
    .bind(optional(header.sent_after_us))
    .bind(i64::from(header.attempt))
    .bind(to_bigint(record.settings_version))
    .bind(now_us)
    .bind(i64::from(conflict))
    .bind(i64::from(damaged))
    .bind(if damaged { NONE } else { PENDING })
    .bind(header.not_before_us)
    .execute(&mut *tx)
    .await
    .context("note a picture")?;
    sqlx::query("INSERT INTO picture_bytes (arrival, bytes) VALUES (?, ?)")
        .bind(arrival)
        .bind(bytes)
        .execute(tx)
        .await
        .context("keep the bytes of a picture")?;
    Ok(Some(arrival))
}

/// Removes row, bytes and small version.
pub(crate) async fn remove(tx: &mut AnyConnection, arrival: i64) -> Result<()> {
    for statement in [
        "DELETE FROM thumbnail WHERE arrival = ?",
        "DELETE FROM picture_bytes WHERE arrival = ?",
        "DELETE FROM picture WHERE arrival = ?",
    ] {
        sqlx::query(statement).bind(arrival).execute(&mut *tx).await.context("remove a picture")?;
    }
    Ok(())
}

const PENDING: i64 = 0;
const READY: i64 = 1;
const NONE: i64 = 2;

impl Store {
    /// Pictures of one camera, or of all, without their bytes; at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn pictures(&self, device: Option<&DeviceId>, page: PageQuery, limit: u32) -> Result<Vec<Picture>> {
        let (statement, from): (&'static str, i64) = match (device.is_some(), page) {
            (false, PageQuery::After(after)) => (select!("WHERE arrival > ? ORDER BY arrival LIMIT ?"), after),
            (false, PageQuery::Before(before)) => {
                (select!("WHERE arrival < ? ORDER BY arrival DESC LIMIT ?"), before.unwrap_or(i64::MAX))
            }
            (true, PageQuery::After(after)) => {
                (select!("WHERE device = ? AND arrival > ? ORDER BY arrival LIMIT ?"), after)
            }
            (true, PageQuery::Before(before)) => (
                select!("WHERE device = ? AND arrival < ? ORDER BY arrival DESC LIMIT ?"),
                before.unwrap_or(i64::MAX),
            ),
        };
        self.with_timeout(async {
            let mut connection = self.readers.acquire().await.context("list pictures")?;
            let mut query = sqlx::query(statement);
            if let Some(device) = device {
                query = query.bind(device.as_str());
            }
            let rows = query
                .bind(from)
                .bind(i64::from(limit))
                .fetch_all(&mut *connection)
                .await
                .context("list pictures")?;
            read_all(&mut connection, &rows).await
        })
        .await
    }

    /// How many pictures of one camera, or of all, are stored.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn picture_count(&self, device: Option<&DeviceId>) -> Result<u64> {
        self.with_timeout(async {
            let query = match device {
                Some(device) => sqlx::query_scalar("SELECT pictures FROM device WHERE id = ?").bind(device.as_str()),
                None => sqlx::query_scalar("SELECT CAST(COALESCE(SUM(pictures), 0) AS SIGNED) FROM device"),
            };
            let all: Option<i64> = query.fetch_optional(&self.readers).await.context("count pictures")?;
            Ok(all.map_or(0, from_bigint))
        })
        .await
    }

    /// One picture by its name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn picture(&self, wanted: &PictureId) -> Result<Option<Picture>> {
        let all = self.pictures_of(wanted.capture).await?;
        Ok(all.into_iter().find(|picture| picture.hash.prefix() == wanted.hash))
    }

    /// All pictures of one capture: one, or more where a card was cloned.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn pictures_of(&self, capture: CaptureId) -> Result<Vec<Picture>> {
        self.with_timeout(async {
            let mut connection = self.readers.acquire().await.context("read a capture")?;
            let rows = sqlx::query(select!("WHERE spool = ? AND sequence = ? ORDER BY arrival LIMIT 100"))
                .bind(capture.spool.0.as_slice())
                .bind(to_bigint(capture.sequence.get()))
                .fetch_all(&mut *connection)
                .await
                .context("read the pictures of a capture")?;
            read_all(&mut connection, &rows).await
        })
        .await
    }

    /// One picture by its arrival.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn picture_at(&self, arrival: i64) -> Result<Option<Picture>> {
        self.with_timeout(async {
            let mut connection = self.readers.acquire().await.context("read a picture")?;
            let row = sqlx::query(select!("WHERE arrival = ?"))
                .bind(arrival)
                .fetch_optional(&mut *connection)
                .await
                .context("read a picture")?;
            read_one(&mut connection, row.as_ref()).await
        })
        .await
    }

    /// The bytes of a picture exactly as the camera made them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn image(&self, arrival: i64) -> Result<Option<Vec<u8>>> {
        self.blob("SELECT bytes FROM picture_bytes WHERE arrival = ?", arrival).await
    }

    /// The small version of a picture, JPEG.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn thumbnail(&self, arrival: i64) -> Result<Option<Vec<u8>>> {
        self.blob("SELECT bytes FROM thumbnail WHERE arrival = ?", arrival).await
    }

    async fn blob(&self, statement: &'static str, arrival: i64) -> Result<Option<Vec<u8>>> {
        self.with_timeout(async {
            sqlx::query_scalar(statement)
                .bind(arrival)
                .fetch_optional(&self.readers)
                .await
                .context("read the bytes of a picture")
        })
        .await
    }

    /// The newest picture still waiting for its small version, after noting the attempt: should decoding it kill the
    /// program, it is not tried for ever. Those tried `attempts_max` times are given up on here; that says nothing about
    /// their bytes, as the program may have ended for any reason.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin_thumbnail(&self, attempts_max: u32) -> Result<Option<Picture>> {
        self.with_timeout(async {
            let mut tx = self.begin("begin a thumbnail").await?;
            sqlx::query("UPDATE picture SET thumbnail = ? WHERE thumbnail = ? AND thumbnail_attempts >= ?")
                .bind(NONE)
                .bind(PENDING)
                .bind(i64::from(attempts_max))
                .execute(&mut *tx)
                .await
                .context("give up on thumbnails")?;
            let row = sqlx::query(select!("WHERE thumbnail = 0 ORDER BY arrival DESC LIMIT 1"))
                .fetch_optional(&mut *tx)
                .await
                .context("find a picture without a thumbnail")?;
            let picture = row.as_ref().map(read).transpose()?;
            if let Some(picture) = &picture {
                sqlx::query("UPDATE picture SET thumbnail_attempts = thumbnail_attempts + 1 WHERE arrival = ?")
                    .bind(picture.arrival)
                    .execute(&mut *tx)
                    .await
                    .context("note an attempt at a thumbnail")?;
            }
            tx.commit().await.context("commit the attempt at a thumbnail")?;
            Ok(picture)
        })
        .await
    }

    /// Keeps the small version of a picture with its average colour, or that there can be none, and whether the bytes
    /// turned out damaged.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn finish_thumbnail(&self, arrival: i64, made: Option<(&[u8], u32)>, damaged: bool) -> Result<()> {
        self.with_timeout(async {
            let mut tx = self.begin("begin keeping a thumbnail").await?;
            sqlx::query("DELETE FROM thumbnail WHERE arrival = ?")
                .bind(arrival)
                .execute(&mut *tx)
                .await
                .context("replace a thumbnail")?;
            if let Some((bytes, _)) = made {
                sqlx::query("INSERT INTO thumbnail (arrival, bytes) VALUES (?, ?)")
                    .bind(arrival)
                    .bind(bytes)
                    .execute(&mut *tx)
                    .await
                    .context("keep a thumbnail")?;
            }
            sqlx::query("UPDATE picture SET thumbnail = ?, damaged = ?, color = ? WHERE arrival = ?")
                .bind(if made.is_some() { READY } else { NONE })
                .bind(i64::from(damaged))
                .bind(made.map(|(_, color)| i64::from(color)))
                .bind(arrival)
                .execute(&mut *tx)
                .await
                .context("note a thumbnail")?;
            tx.commit().await.context("commit a thumbnail")
        })
        .await
    }
}

/// Spools of a camera that are searched for its latest picture, the most recent ones.
const LATEST_SPOOLS_MAX: usize = 8;

/// Returns the numbers of conflicting and of damaged pictures of a camera, and its latest picture by capture time.
///
/// `spools`: the spools of the camera, most recent first.
pub(crate) async fn summary(
    connection: &mut AnyConnection,
    device: &DeviceId,
    spools: &[SpoolId],
) -> Result<(u64, u64, Option<Picture>)> {
    let counted = async |connection: &mut AnyConnection, column: &str| {
        let statement = format!("SELECT COUNT(*) FROM picture WHERE device = ? AND {column} = 1");
        sqlx::query_scalar::<_, i64>(AssertSqlSafe(statement))
            .bind(device.as_str())
            .fetch_one(connection)
            .await
            .context("count the pictures of a camera")
    };
    let conflicts = counted(&mut *connection, "conflict").await?;
    let damaged = counted(&mut *connection, "damaged").await?;
    // Within a spool the sequence is the order of capture; between spools it is the time of capture. The picture that
    // arrived last counts too: its spool can belong to another camera by now.
    let mut candidates: Vec<AnyRow> = sqlx::query(select!("WHERE device = ? ORDER BY arrival DESC LIMIT 1"))
        .bind(device.as_str())
        .fetch_all(&mut *connection)
        .await
        .context("read the picture of a camera that arrived last")?;
    for spool in spools.iter().take(LATEST_SPOOLS_MAX) {
        let last = sqlx::query(select!("WHERE spool = ? AND device = ? ORDER BY sequence DESC LIMIT 1"))
            .bind(spool.0.as_slice())
            .bind(device.as_str())
            .fetch_optional(&mut *connection)
            .await
            .context("read the last picture of a spool")?;
        candidates.extend(last);
    }
    let newest = read_all(connection, &candidates)
        .await?
        .into_iter()
        .max_by_key(|picture| (picture.taken.best_us, picture.capture.sequence, picture.arrival));
    Ok((from_bigint(conflicts), from_bigint(damaged), newest))
}

/// Reads whole rows, and what is known by now of the time of their boots.
async fn read_all(connection: &mut AnyConnection, rows: &[AnyRow]) -> Result<Vec<Picture>> {
    let mut pictures = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
    boot_clock::correct(connection, &mut pictures).await?;
    Ok(pictures)
}

async fn read_one(connection: &mut AnyConnection, row: Option<&AnyRow>) -> Result<Option<Picture>> {
    let mut picture = row.map(read).transpose()?;
    boot_clock::correct(connection, picture.as_mut_slice()).await?;
    Ok(picture)
}

fn read(row: &AnyRow) -> Result<Picture> {
    let corrupt = |what: &str| StoreError::Corrupt(format!("a picture with {what}"));
    let named = |at: usize| -> serde_json::Value { row.get::<String, _>(at).into() };
    let pixels = |at: usize| u32::try_from(row.get::<i64, _>(at)).unwrap_or(0);
    let optional = |at: usize| row.get::<Option<i64>, _>(at).map(from_bigint);
    let mut picture = Picture {
        arrival: row.get(0),
        capture: CaptureId {
            spool: id(row.get::<&[u8], _>(1), "an install")?,
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
        thumbnail: match row.get::<i64, _>(24) {
            PENDING => Thumbnail::Pending,
            READY => Thumbnail::Ready,
            _ => Thumbnail::None,
        },
        color: row.get::<Option<i64>, _>(25).and_then(|color| u32::try_from(color).ok()),
        not_before_us: row.get(26),
        taken: capture_time::upload_time(row.get(21)),
    };
    picture.set_capture_time(&[]);
    Ok(picture)
}
