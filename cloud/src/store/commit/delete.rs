//! Deletes a picture on request of a user.

use std::collections::BTreeMap;

use sqlx::{AnyConnection, Row};

use crate::now_us;
use crate::objects::BytesLocation;
use crate::store::bind::Key;
use crate::store::commit::{device, fate, picture};
use crate::store::error::Result;
use crate::store::garbage;
use crate::store::open::Store;
use crate::store::picture::Picture;
use crate::store::query::images;
use crate::store::statement::sql;

impl Store {
    /// Deletes a picture as its owner asked: row and bytes go, its fate stays, so that it is never taken again. Returns
    /// whether it was there.
    pub async fn delete(&self, picture: &Picture) -> Result<bool> {
        let deleted = self.with_timeout(self.delete_row(picture)).await?;
        if deleted.is_none() {
            return Ok(false);
        }
        if let Some(BytesLocation::Object { .. }) = deleted
            && let Err(error) = self.collect_garbage(now_us()).await
        {
            // The picture is deleted; its object is tried again.
            tracing::warn!("delete the object of a picture: {:#}", anyhow::Error::from(error));
        }
        Ok(true)
    }

    /// Deletes the row, and notes its object as garbage. Returns where the bytes were.
    async fn delete_row(&self, picture: &Picture) -> Result<Option<BytesLocation>> {
        let mut tx = self.begin("begin deleting").await?;
        let key = Key {
            spool: picture.capture.spool,
            sequence: picture.capture.sequence,
            hash: picture.hash,
        };
        let mut deleted = None;
        if fate::mark_deleted(&mut tx, key).await? {
            let location = location(&mut tx, picture.arrival).await?;
            garbage::add(&mut tx, &location, now_us()).await?;
            picture::remove(&mut tx, picture.arrival).await?;
            device::count_pictures(&mut tx, &BTreeMap::from([(&picture.device, -1)])).await?;
            deleted = Some(location);
        }
        tx.commit("commit deleting").await?;
        Ok(deleted)
    }
}

async fn location(tx: &mut AnyConnection, arrival: i64) -> Result<BytesLocation> {
    let row = sql("SELECT place, object FROM picture WHERE arrival = ?")
        .bind(arrival)
        .fetch_optional(tx, "look for the bytes of a picture")
        .await?;
    row.map_or(Ok(BytesLocation::Database), |row| images::location(row.get(0), row.get(1)))
}
