//! Stores a picture that came by `POST /upload`.

use std::collections::BTreeMap;

use bytes::Bytes;
use keepsake_protocol::{DeviceId, Hash};

use crate::objects::NewObject;
use crate::store::commit::picture_batch::{Dedup, NewPicture, Number};
use crate::store::commit::totals::BatchTotals;
use crate::store::commit::upload::Upload;
use crate::store::commit::{device, picture_batch};
use crate::store::error::{Result, StoreError};
use crate::store::open::Store;
use crate::store::picture::Picture;

impl Store {
    /// Stores a picture that came by `POST /upload`: the cloud makes its CaptureId.
    pub async fn upload(&self, device: &DeviceId, bytes: Bytes, upload: Upload, now_us: i64) -> Result<Picture> {
        let hash = Hash::of(&bytes);
        let object = self
            .store_object(NewObject::of_picture(device, None, hash, upload.content_type, bytes.clone()))
            .await?;
        self.with_timeout(async {
            let mut tx = self.begin("begin an upload").await?;
            let speakers = BTreeMap::from([(device, false)]);
            if !device::touch_devices(&mut tx, &speakers, now_us, self.limits.devices_max)
                .await?
                .is_empty()
            {
                tx.rollback().await;
                return Err(StoreError::TooManyDevices(self.limits.devices_max));
            }
            let mut totals = BatchTotals::default();
            let new = NewPicture {
                device,
                hash,
                bytes: &bytes,
                object: object.as_ref(),
                number: Number::OfCloud { upload, dedup: Dedup::Never },
            };
            let stored = picture_batch::insert(&mut tx, &mut totals, &[new], now_us).await?.pop().flatten();
            let picture = stored.ok_or_else(|| StoreError::Corrupt("an upload number twice".to_owned()))?;
            totals.finish(&mut tx).await?;
            tx.commit("commit an upload").await?;
            // Not read back: it is stored now, and a client that got an error would send it again.
            Ok(picture)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use keepsake_protocol::capture::ContentType;

    use super::*;
    use crate::store::limits::Limits;

    #[tokio::test]
    async fn an_upload_that_is_stored_is_told_even_if_nothing_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Limits::default()).await.unwrap();
        store.readers.close().await;
        let upload = Upload {
            content_type: ContentType::Jpeg,
            width: 1,
            height: 1,
            damaged: false,
        };
        let device = "camera".parse().unwrap();
        let picture = store.upload(&device, Bytes::from_static(b"one"), upload, 1).await.unwrap();
        assert_eq!(picture.arrival, 1);
    }
}
