//! A place for objects: a folder or a bucket, behind one interface.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::objects::durable::DurableObject;
use crate::objects::error::ObjectError;
use crate::objects::folder::Folder;
use crate::objects::key::ObjectKey;
use crate::objects::location::BytesSetting;
use crate::objects::name::NewObject;
use crate::objects::object::{ByteStream, ListedObject, PlaceMarker, Result, read_all};
use crate::objects::s3::S3;

/// The age at which an object without a row is deleted. A week leaves time to notice that a wrong backup was restored.
pub const ORPHAN_AGE_MIN: Duration = Duration::from_secs(7 * 24 * 3600);

/// A place for objects. Clones are cheap and share everything.
#[derive(Debug, Clone)]
pub enum ObjectStore {
    Folder(Arc<Folder>),
    S3(Arc<S3>),
}

impl ObjectStore {
    /// Opens a place without touching it; nothing for the database itself.
    ///
    /// # Errors
    /// The setting cannot be used.
    pub fn open(setting: &BytesSetting) -> Result<Option<Self>> {
        match setting {
            BytesSetting::Database => Ok(None),
            BytesSetting::Folder(root) => Ok(Some(Self::Folder(Arc::new(Folder::new(root.clone()))))),
            BytesSetting::S3(location) => Ok(Some(Self::S3(Arc::new(S3::new(location)?)))),
        }
    }

    /// Stores a batch under new keys. Each object whose result is `Ok` is durable; a failure of one does not affect the
    /// others where the place can tell them apart.
    pub async fn put_batch(&self, objects: Vec<NewObject>) -> Vec<Result<ObjectKey>> {
        match self {
            Self::Folder(folder) => folder.put_batch(objects).await,
            Self::S3(s3) => s3.put_batch(objects).await,
        }
    }

    /// Returns this range of an object, in chunks.
    ///
    /// # Errors
    /// [`ObjectError::Missing`] if there is no such object, or it is shorter than the range.
    pub async fn get(&self, key: &ObjectKey, range: Range<u64>) -> Result<ByteStream> {
        match self {
            Self::Folder(folder) => folder.get(key, range).await,
            Self::S3(s3) => s3.get(key, range).await,
        }
    }

    /// Returns the length of an object; nothing if there is no such object.
    ///
    /// # Errors
    /// The place cannot be used.
    pub async fn length(&self, key: &ObjectKey) -> Result<Option<u64>> {
        match self {
            Self::Folder(folder) => folder.length(key).await,
            Self::S3(s3) => s3.length(key).await,
        }
    }

    /// Deletes objects; those that do not exist are no error.
    ///
    /// # Errors
    /// At least one of them may still exist.
    pub async fn delete(&self, keys: &[ObjectKey]) -> Result<()> {
        match self {
            Self::Folder(folder) => folder.delete(keys).await,
            Self::S3(s3) => s3.delete(keys).await,
        }
    }

    /// Lists all objects in no particular order.
    pub fn list(&self) -> BoxStream<'static, Result<ListedObject>> {
        match self {
            Self::Folder(folder) => folder.list(),
            Self::S3(s3) => s3.list(),
        }
    }

    /// Returns the marker of the place; nothing if it has none yet.
    ///
    /// # Errors
    /// The place cannot be read, or the marker was not written by this program.
    pub async fn marker(&self) -> Result<Option<PlaceMarker>> {
        let bytes = match self {
            Self::Folder(folder) => folder.read_marker().await?,
            Self::S3(s3) => s3.read_marker().await?,
        };
        let parse = |bytes: Vec<u8>| {
            serde_json::from_slice(&bytes).map_err(|source| ObjectError::Marker { place: self.to_string(), source })
        };
        bytes.map(parse).transpose()
    }

    /// Writes the marker of the place; it is durable afterwards.
    ///
    /// # Errors
    /// The place cannot be written to.
    pub async fn set_marker(&self, marker: &PlaceMarker) -> Result<()> {
        let bytes = serde_json::to_vec(marker).expect("ids are JSON");
        match self {
            Self::Folder(folder) => folder.write_marker(bytes).await,
            Self::S3(s3) => s3.write_marker(bytes).await,
        }
    }

    /// Stores, reads and deletes a small object, and compares what comes back.
    ///
    /// # Errors
    /// The place cannot be used now.
    pub async fn probe(&self) -> Result<()> {
        const TEXT: &[u8] = b"keepsake: a probe of this place; it may be deleted";
        let object = NewObject {
            name: "probe.txt".to_owned(),
            bytes: Bytes::from_static(TEXT),
        };
        let Some(stored) = self.put_batch(vec![object]).await.pop() else {
            return Err(ObjectError::Interrupted);
        };
        let key = stored?;
        let found = read_all(self.get(&key, 0..TEXT.len() as u64).await?).await;
        self.delete(std::slice::from_ref(&key)).await?;
        if found? == TEXT {
            Ok(())
        } else {
            Err(ObjectError::Changed { key })
        }
    }

    /// Returns the folder whose disk holds the objects.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(folder.root()),
            Self::S3(_) => None,
        }
    }
}

impl std::fmt::Display for ObjectStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => write!(formatter, "folder:{}", folder.root().display()),
            Self::S3(s3) => s3.location().fmt(formatter),
        }
    }
}

/// A place that rows refer to by its number.
#[derive(Debug, Clone)]
pub struct BytesPlace {
    pub id: i64,
    pub objects: ObjectStore,
}

impl BytesPlace {
    /// Stores a batch under new keys. Only what this returns may be named by a row, and only while it is
    /// [`DurableObject::is_recent`].
    pub async fn put_batch(&self, objects: Vec<NewObject>) -> Vec<Result<DurableObject>> {
        let begun = Instant::now();
        let stored = self.objects.put_batch(objects).await.into_iter();
        stored.map(|key| Ok(DurableObject::new(self.id, key?, begun))).collect()
    }
}
