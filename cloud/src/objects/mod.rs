//! The bytes of pictures outside the database: one object for each picture, a file in a folder or an object in S3.
//!
//! An object is durable before a row names it, and its row is gone before it is deleted. Each attempt to store a picture
//! uses a new key, so an object without a row can never get one once its writer has given up (docs/decisions/0021-objects.md).

mod error;
mod folder;
mod key;
mod location;
mod name;
pub mod verify;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

use keepsake_protocol::StoreId;

use crate::objects::folder::Folder;

pub use crate::objects::error::ObjectError;
pub use crate::objects::key::ObjectKey;
pub use crate::objects::location::BytesSetting;
pub use crate::objects::name::NewObject;

/// A row may be committed until this long after its object was begun. An object older than [`ORPHAN_AGE_MIN`] without a
/// row can therefore never get one.
pub const COMMIT_WITHIN: Duration = Duration::from_secs(600);
/// The age at which an object without a row is deleted. A week leaves time to notice that a wrong backup was restored.
pub const ORPHAN_AGE_MIN: Duration = Duration::from_secs(7 * 24 * 3600);
/// Bytes that are read at a time.
const CHUNK_BYTES: u64 = 256 * 1024;

pub(in crate::objects) type Result<T> = std::result::Result<T, ObjectError>;

/// The location of a picture's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BytesLocation {
    /// Table `picture_bytes`.
    Database,
    /// An object; `place` is its row in table `bytes_place`.
    Object { place: i64, key: ObjectKey },
}

/// A stream of bytes.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// An object as a place lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    pub key: ObjectKey,
    pub len: u64,
    /// By the clock of the place.
    pub modified: SystemTime,
}

/// The object that says which store a place belongs to, and as which row of `bytes_place`. It distinguishes a place that
/// has moved from an empty folder in which a disk is not mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceMarker {
    pub store: StoreId,
    pub place: i64,
}

impl PlaceMarker {
    /// The name of the object, which is no [`ObjectKey`].
    const NAME: &str = "keepsake.json";
    /// Larger ones were not written by this program.
    const BYTES_MAX: u64 = 4096;
}

/// A place for objects. Clones are cheap and share everything.
#[derive(Debug, Clone)]
pub enum ObjectStore {
    Folder(Arc<Folder>),
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
        }
    }

    /// Stores a batch. Each object whose result is `Ok` is durable; a failure of one does not affect the others where
    /// the place can tell them apart.
    pub async fn put_batch(&self, objects: Vec<(ObjectKey, Bytes)>) -> Vec<Result<()>> {
        match self {
            Self::Folder(folder) => folder.put_batch(objects).await,
        }
    }

    /// Returns this range of an object, in chunks.
    ///
    /// # Errors
    /// [`ObjectError::Missing`] if there is no such object, or it is shorter than the range.
    pub async fn get(&self, key: &ObjectKey, range: Range<u64>) -> Result<ByteStream> {
        match self {
            Self::Folder(folder) => folder.get(key, range).await,
        }
    }

    /// Returns the length of an object; nothing if there is no such object.
    ///
    /// # Errors
    /// The place cannot be used.
    pub async fn length(&self, key: &ObjectKey) -> Result<Option<u64>> {
        match self {
            Self::Folder(folder) => folder.length(key).await,
        }
    }

    /// Deletes objects; those that do not exist are no error.
    ///
    /// # Errors
    /// At least one of them may still exist.
    pub async fn delete(&self, keys: &[ObjectKey]) -> Result<()> {
        match self {
            Self::Folder(folder) => folder.delete(keys).await,
        }
    }

    /// Lists all objects in no particular order.
    pub fn list(&self) -> BoxStream<'static, Result<ListedObject>> {
        match self {
            Self::Folder(folder) => folder.list(),
        }
    }

    /// Returns the marker of the place; nothing if it has none yet.
    ///
    /// # Errors
    /// The place cannot be read, or the marker was not written by this program.
    pub async fn marker(&self) -> Result<Option<PlaceMarker>> {
        let bytes = match self {
            Self::Folder(folder) => folder.read_marker().await?,
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
        }
    }

    /// Stores, reads and deletes a small object, and compares what comes back.
    ///
    /// # Errors
    /// The place cannot be used now.
    pub async fn probe(&self) -> Result<()> {
        const TEXT: &[u8] = b"keepsake: a probe of this place; it may be deleted";
        let key = ObjectKey::new("txt", crate::now_us());
        let results = self.put_batch(vec![(key.clone(), Bytes::from_static(TEXT))]).await;
        results.into_iter().collect::<Result<()>>()?;
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
        }
    }
}

impl std::fmt::Display for ObjectStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => write!(formatter, "folder:{}", folder.root().display()),
        }
    }
}

/// Collects a stream.
///
/// # Errors
/// The place failed while it was read.
pub async fn read_all(mut stream: ByteStream) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.next().await {
        all.extend_from_slice(&chunk?);
    }
    Ok(all)
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
        let objects: Vec<_> = objects
            .into_iter()
            .map(|object| (ObjectKey::new("jpg", crate::now_us()), object.bytes))
            .collect();
        let keys: Vec<ObjectKey> = objects.iter().map(|(key, _)| key.clone()).collect();
        let results = self.objects.put_batch(objects).await.into_iter();
        let durable =
            |(result, key): (Result<()>, ObjectKey)| result.map(|()| DurableObject { place: self.id, key, begun });
        results.zip(keys).map(durable).collect()
    }
}

/// An object that is durable and that no row names yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurableObject {
    pub place: i64,
    pub key: ObjectKey,
    begun: Instant,
}

impl DurableObject {
    /// Returns true while a row may be committed that names this object. Later it may already be taken for an orphan.
    pub fn is_recent(&self) -> bool {
        self.begun.elapsed() < COMMIT_WITHIN
    }

    pub fn location(&self) -> BytesLocation {
        BytesLocation::Object { place: self.place, key: self.key.clone() }
    }
}
