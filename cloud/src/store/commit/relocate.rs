//! Makes pictures name other bytes, which are the same as before in another place.

use bytes::Bytes;
use sqlx::AnyConnection;

use crate::now_us;
use crate::objects::{BytesLocation, DurableObject};
use crate::store::error::{Result, StoreError};
use crate::store::garbage;
use crate::store::open::Store;
use crate::store::query::images::StoredImage;
use crate::store::statement::sql;

/// The bytes that a picture is to name.
#[derive(Debug, Clone)]
pub enum NewBytes {
    /// For table `picture_bytes`.
    Database(Bytes),
    Object(DurableObject),
}

impl NewBytes {
    fn location(&self) -> BytesLocation {
        match self {
            Self::Database(_) => BytesLocation::Database,
            Self::Object(object) => object.location(),
        }
    }

    fn is_recent(&self) -> bool {
        match self {
            Self::Database(_) => true,
            Self::Object(object) => object.is_recent(),
        }
    }
}

impl Store {
    /// Makes pictures name their new bytes, in one transaction. The old objects become garbage at `due_us`; so does, at
    /// once, the new object of a picture that was deleted or moved by another command meanwhile. Returns the number of
    /// pictures that name their new bytes.
    ///
    /// # Errors
    /// [`StoreError::LateObject`] if a new object was begun too long ago. Nothing is changed.
    pub async fn relocate(&self, moves: &[(StoredImage, NewBytes)], due_us: i64) -> Result<u64> {
        self.with_timeout(async {
            let mut tx = self.begin("begin moving bytes").await?;
            let mut moved = 0;
            for (image, new) in moves {
                if rename(&mut tx, image, &new.location()).await? {
                    moved += 1;
                    replace(&mut tx, image, new, due_us).await?;
                } else {
                    garbage::add(&mut tx, &new.location(), now_us()).await?;
                }
            }
            if !moves.iter().all(|(_, new)| new.is_recent()) {
                tx.rollback().await;
                return Err(StoreError::LateObject);
            }
            tx.commit("commit moving bytes").await?;
            Ok(moved)
        })
        .await
    }
}

/// Makes a picture name `new` if it still names what it named. Returns whether it did.
async fn rename(tx: &mut AnyConnection, image: &StoredImage, new: &BytesLocation) -> Result<bool> {
    let columns = |location: &BytesLocation| match location {
        BytesLocation::Database => (0, String::new()),
        BytesLocation::Object { place, key } => (*place, key.to_string()),
    };
    let ((old_place, old_object), (place, object)) = (columns(&image.location), columns(new));
    let object = Some(object).filter(|object| !object.is_empty());
    let renamed =
        sql("UPDATE picture SET place = ?, object = ? WHERE arrival = ? AND place = ? AND COALESCE(object, '') = ?")
            .bind((place, object, image.arrival, old_place, old_object))
            .execute(tx, "move the bytes of a picture")
            .await?;
    Ok(renamed == 1)
}

async fn replace(tx: &mut AnyConnection, image: &StoredImage, new: &NewBytes, due_us: i64) -> Result<()> {
    match &image.location {
        BytesLocation::Database => {
            sql("DELETE FROM picture_bytes WHERE arrival = ?")
                .bind(image.arrival)
                .execute(&mut *tx, "delete bytes that were moved")
                .await?;
        }
        BytesLocation::Object { .. } => garbage::add(tx, &image.location, due_us).await?,
    }
    if let NewBytes::Database(bytes) = new {
        sql("INSERT INTO picture_bytes (arrival, bytes) VALUES (?, ?)")
            .bind((image.arrival, bytes.to_vec()))
            .execute(tx, "insert bytes that were moved")
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use keepsake_protocol::capture::ContentType;

    use super::*;
    use crate::objects::{BytesSetting, COMMIT_WITHIN, NewObject};
    use crate::store::commit::upload::Upload;
    use crate::store::limits::Limits;

    #[tokio::test]
    async fn an_object_that_was_begun_too_long_ago_is_never_named() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path(), Limits::default()).await.unwrap();
        let place = store.open_place(&BytesSetting::Folder(root.path().join("a"))).await.unwrap().unwrap();
        let upload = Upload {
            content_type: ContentType::Jpeg,
            width: 1,
            height: 1,
            damaged: false,
        };
        store
            .upload(&"camera".parse().unwrap(), Bytes::from_static(b"one"), upload, 1)
            .await
            .unwrap();
        let image = store.stored_images_after(0, 1).await.unwrap().remove(0);
        let objects = vec![NewObject {
            name: "one.jpg".to_owned(),
            bytes: Bytes::from_static(b"one"),
        }];
        let object = place.put_batch(objects).await.remove(0).unwrap();
        let late = NewBytes::Object(object.clone().begun_before(COMMIT_WITHIN));
        let refused = store.relocate(&[(image.clone(), late)], 1).await;
        assert!(matches!(refused, Err(StoreError::LateObject)), "{refused:?}");
        assert_eq!(store.stored_images_after(0, 1).await.unwrap(), std::slice::from_ref(&image));
        let recent = NewBytes::Object(object.begun_before(COMMIT_WITHIN - Duration::from_secs(60)));
        assert_eq!(store.relocate(&[(image, recent)], 1).await.unwrap(), 1);
    }
}
