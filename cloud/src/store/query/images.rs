//! The bytes of pictures, wherever they are.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use keepsake_protocol::Hash;
use keepsake_protocol::capture::ContentType;
use keepsake_protocol::id::PictureId;
use sqlx::Row;
use sqlx::any::AnyRow;

use std::ops::Range;

use crate::objects::{ByteStream, BytesLocation, ObjectError, read_all, verify};
use crate::store::bind::{from_bigint, id};
use crate::store::error::{Result, StoreError};
use crate::store::garbage;
use crate::store::open::Store;
use crate::store::statement::sql;

/// The location of a picture's bytes, and what is needed to send them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    pub arrival: i64,
    pub hash: Hash,
    /// Bytes.
    pub len: u64,
    pub content_type: ContentType,
    pub location: BytesLocation,
}

/// The columns of a [`StoredImage`].
const COLUMNS: &str = "arrival, hash, bytes, content_type, place, object";

impl StoredImage {
    fn read(row: &AnyRow) -> Result<Self> {
        let content_type: serde_json::Value = row.get::<String, _>(3).into();
        Ok(Self {
            arrival: row.get(0),
            hash: id(row.get::<&[u8], _>(1), "a hash")?,
            len: from_bigint(row.get(2)),
            content_type: serde_json::from_value(content_type)
                .map_err(|_| StoreError::Corrupt("a picture with an odd type".to_owned()))?,
            location: location(row.get(4), row.get(5))?,
        })
    }
}

/// Reads columns `place` and `object`.
pub(in crate::store) fn location(place: i64, object: Option<String>) -> Result<BytesLocation> {
    match object {
        Some(object) => Ok(BytesLocation::Object { place, key: garbage::key(&object)? }),
        None => Ok(BytesLocation::Database),
    }
}

impl Store {
    /// Returns where the bytes of a picture are.
    pub async fn stored_image(&self, wanted: &PictureId) -> Result<Option<StoredImage>> {
        let rows = sql(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM picture WHERE spool = ? AND sequence = ? ORDER BY arrival LIMIT 100"
        )))
        .bind((wanted.capture.spool, wanted.capture.sequence))
        .rows(self, "look for the bytes of a picture")
        .await?;
        let images = rows.iter().map(StoredImage::read).collect::<Result<Vec<_>>>()?;
        Ok(images.into_iter().find(|image| image.hash.prefix() == wanted.hash))
    }

    /// Returns at most `limit` pictures after this arrival, with the location of their bytes.
    pub async fn stored_images_after(&self, arrival: i64, limit: u32) -> Result<Vec<StoredImage>> {
        let rows = sql(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM picture WHERE arrival > ? ORDER BY arrival LIMIT ?"
        )))
        .bind((arrival, limit))
        .rows(self, "list the bytes of pictures")
        .await?;
        rows.iter().map(StoredImage::read).collect()
    }

    async fn stored_image_at(&self, arrival: i64) -> Result<Option<StoredImage>> {
        let row = sql(sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM picture WHERE arrival = ?")))
            .bind(arrival)
            .row(self, "look for the bytes of a picture")
            .await?;
        row.as_ref().map(StoredImage::read).transpose()
    }

    /// Returns this range of a picture's bytes, which is within its length. Those of a whole picture are compared with
    /// its hash before the last of them is passed on.
    ///
    /// # Errors
    /// [`StoreError::Objects`] if the object is missing, has other bytes, or its place cannot be used;
    /// [`StoreError::LostBytes`] if the database has no bytes of the picture, or others.
    pub async fn open_image(&self, image: &StoredImage, range: Range<u64>) -> Result<ByteStream> {
        match self.open_image_at(image, range.clone()).await {
            Err(StoreError::Objects(error)) if matches!(*error, ObjectError::Missing { .. }) => {
                match self.stored_image_at(image.arrival).await? {
                    // It was moved since.
                    Some(now) if now.location != image.location => self.open_image_at(&now, range).await,
                    Some(_) | None => Err(StoreError::Objects(error)),
                }
            }
            opened => opened,
        }
    }

    async fn open_image_at(&self, image: &StoredImage, range: Range<u64>) -> Result<ByteStream> {
        match &image.location {
            BytesLocation::Database => {
                let bytes: Option<Vec<u8>> = sql("SELECT SUBSTR(bytes, ?, ?) FROM picture_bytes WHERE arrival = ?")
                    .bind((range.start + 1, range.end - range.start, image.arrival))
                    .value(self, "read the bytes of a picture")
                    .await?;
                let bytes = bytes.filter(|bytes| match range == (0..image.len) {
                    true => Hash::of(bytes) == image.hash,
                    false => bytes.len() as u64 == range.end - range.start,
                });
                let bytes = bytes.ok_or(StoreError::LostBytes(image.arrival))?;
                Ok(stream::iter([Ok(Bytes::from(bytes))]).boxed())
            }
            BytesLocation::Object { place, key } => {
                let whole = range == (0..image.len);
                let stream = self.place(*place).await?.get(key, range).await?;
                Ok(match whole {
                    true => verify::verified(stream, key.clone(), image.hash).await?,
                    false => verify::started(stream).await?,
                })
            }
        }
    }

    /// Returns the bytes of a picture exactly as the camera made them.
    ///
    /// # Errors
    /// The errors of [`Store::open_image`].
    pub async fn image(&self, arrival: i64) -> Result<Option<Vec<u8>>> {
        match self.stored_image_at(arrival).await? {
            Some(image) => Ok(Some(read_all(self.open_image(&image, 0..image.len).await?).await?)),
            None => Ok(None),
        }
    }
}
