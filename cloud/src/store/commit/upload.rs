//! Pictures that arrive without a number, and the number that the cloud gives them.

use std::collections::BTreeMap;

use bytes::Bytes;
use keepsake_protocol::capture::{CaptureMetadata, ContentType, FrameHeader};
use keepsake_protocol::{DeviceId, Hash, Sequence, SpoolId};

use crate::objects::NewObject;
use crate::store::commit::picture_batch::{Dedup, NewPicture, Number};
use crate::store::commit::totals::BatchTotals;
use crate::store::commit::{capture_order, device, picture_batch};
use crate::store::error::{Result, StoreError};
use crate::store::open::Store;
use crate::store::picture::Picture;

/// A picture that came without a number, by HTTP or from a camera that knows nothing of Keepsake.
#[derive(Debug)]
pub struct Upload {
    pub content_type: ContentType,
    /// Pixels.
    pub width: u32,
    pub height: u32,
    /// Right bytes that do not decode.
    pub damaged: bool,
}

impl Upload {
    pub(in crate::store) fn header(
        &self,
        spool: SpoolId,
        sequence: Sequence,
        hash: Hash,
        total: u64,
        now_us: i64,
    ) -> FrameHeader {
        FrameHeader {
            capture: CaptureMetadata {
                spool,
                sequence,
                hash,
                total,
                content_type: self.content_type,
                width: self.width,
                height: self.height,
                cause: keepsake_protocol::capture::Cause::Upload,
                command: None,
                pressed: keepsake_protocol::clock::ClockReading {
                    boot: capture_order::NO_BOOT,
                    boottime_us: 0,
                    wall_us: now_us,
                    synchronised: true,
                    error_us: 0,
                },
                captured_after_us: 0,
                settings_version: 0,
            },
            offset: 0,
            len: total,
            attempt: 0,
            saved_after_us: None,
            sent_after_us: None,
            not_before_us: None,
        }
    }
}

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
