//! Table `thumbnail`: the queue of pictures that need one, and the results.

use crate::store::error::Result;
use crate::store::open::Store;
use crate::store::picture::{Picture, Thumbnail};
use crate::store::query::pictures::{read, select};
use crate::store::statement::sql;

impl Store {
    /// Returns the picture that arrived last of those without a thumbnail, and counts the attempt: if decoding it kills
    /// the program, it is not tried for ever. Pictures that were tried `attempts_max` times get no thumbnail; they are
    /// not marked as damaged, because the program may have ended for any reason.
    pub async fn begin_thumbnail(&self, attempts_max: u32) -> Result<Option<Picture>> {
        self.with_timeout(async {
            let mut tx = self.begin("begin a thumbnail").await?;
            sql("UPDATE picture SET thumbnail = ? WHERE thumbnail = ? AND thumbnail_attempts >= ?")
                .bind((Thumbnail::None.column(), Thumbnail::Pending.column(), attempts_max))
                .execute(&mut *tx, "give up on thumbnails")
                .await?;
            let row = select("WHERE thumbnail = ? ORDER BY arrival DESC LIMIT 1")
                .bind(Thumbnail::Pending.column())
                .fetch_optional(&mut *tx, "find a picture without a thumbnail")
                .await?;
            let picture = row.as_ref().map(read).transpose()?;
            if let Some(picture) = &picture {
                sql("UPDATE picture SET thumbnail_attempts = thumbnail_attempts + 1 WHERE arrival = ?")
                    .bind(picture.arrival)
                    .execute(&mut *tx, "note an attempt at a thumbnail")
                    .await?;
            }
            tx.commit("commit the attempt at a thumbnail").await?;
            Ok(picture)
        })
        .await
    }

    /// Stores the thumbnail of a picture with its average colour, or that there is none, and whether the bytes are
    /// damaged.
    pub async fn finish_thumbnail(&self, arrival: i64, made: Option<(&[u8], u32)>, damaged: bool) -> Result<()> {
        self.with_timeout(async {
            let mut tx = self.begin("begin keeping a thumbnail").await?;
            sql("DELETE FROM thumbnail WHERE arrival = ?")
                .bind(arrival)
                .execute(&mut *tx, "replace a thumbnail")
                .await?;
            if let Some((bytes, _)) = made {
                sql("INSERT INTO thumbnail (arrival, bytes) VALUES (?, ?)")
                    .bind((arrival, bytes))
                    .execute(&mut *tx, "keep a thumbnail")
                    .await?;
            }
            sql("UPDATE picture SET thumbnail = ?, damaged = ?, color = ? WHERE arrival = ?")
                .bind((
                    if made.is_some() {
                        Thumbnail::Ready
                    } else {
                        Thumbnail::None
                    }
                    .column(),
                    damaged,
                    made.map(|(_, color)| i64::from(color)),
                    arrival,
                ))
                .execute(&mut *tx, "note a thumbnail")
                .await?;
            tx.commit("commit a thumbnail").await
        })
        .await
    }
}
