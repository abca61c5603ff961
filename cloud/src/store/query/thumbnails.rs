//! Table `thumbnail`: the queue of pictures that need one, and the results.

use crate::store::error::{ErrorContext, Result};
use crate::store::open::Store;
use crate::store::picture::{Picture, Thumbnail};
use crate::store::query::pictures::{read, select};

impl Store {
    /// Returns the picture that arrived last of those without a thumbnail, and counts the attempt: if decoding it kills
    /// the program, it is not tried for ever. Pictures that were tried `attempts_max` times get no thumbnail; they are
    /// not marked as damaged, because the program may have ended for any reason.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin_thumbnail(&self, attempts_max: u32) -> Result<Option<Picture>> {
        self.with_timeout(async {
            let mut tx = self.begin("begin a thumbnail").await?;
            sqlx::query("UPDATE picture SET thumbnail = ? WHERE thumbnail = ? AND thumbnail_attempts >= ?")
                .bind(Thumbnail::None.column())
                .bind(Thumbnail::Pending.column())
                .bind(i64::from(attempts_max))
                .execute(&mut *tx)
                .await
                .context("give up on thumbnails")?;
            let row = select("WHERE thumbnail = ? ORDER BY arrival DESC LIMIT 1")
                .bind(Thumbnail::Pending.column())
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

    /// Stores the thumbnail of a picture with its average colour, or that there is none, and whether the bytes are
    /// damaged.
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
                .bind(
                    if made.is_some() {
                        Thumbnail::Ready
                    } else {
                        Thumbnail::None
                    }
                    .column(),
                )
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
