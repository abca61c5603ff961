//! The types that all places share: location, listing and stream of an object, and the marker of a place.

use std::time::SystemTime;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use keepsake_protocol::StoreId;
use serde::{Deserialize, Serialize};

use crate::objects::error::ObjectError;
use crate::objects::key::ObjectKey;

/// Bytes that are read at a time.
pub(super) const CHUNK_BYTES: u64 = 256 * 1024;

pub(super) type Result<T> = std::result::Result<T, ObjectError>;

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
    pub(super) const NAME: &str = "keepsake.json";
    /// Larger ones were not written by this program.
    pub(super) const BYTES_MAX: u64 = 4096;
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
