//! Deletes a picture on request of a user.

use std::collections::BTreeMap;

use crate::store::bind::Key;
use crate::store::commit::{device, fate, picture};
use crate::store::error::Result;
use crate::store::open::Store;
use crate::store::picture::Picture;

impl Store {
    /// Deletes a picture as its owner asked: row and bytes go, its fate stays, so that it is never taken again. Returns
    /// whether it was there.
    pub async fn delete(&self, picture: &Picture) -> Result<bool> {
        self.with_timeout(async {
            let mut tx = self.begin("begin deleting").await?;
            let key = Key {
                spool: picture.capture.spool,
                sequence: picture.capture.sequence,
                hash: picture.hash,
            };
            let deleted = fate::mark_deleted(&mut tx, key).await?;
            if deleted {
                picture::remove(&mut tx, picture.arrival).await?;
                device::count_pictures(&mut tx, &BTreeMap::from([(&picture.device, -1)])).await?;
            }
            tx.commit("commit deleting").await?;
            Ok(deleted)
        })
        .await
    }
}
