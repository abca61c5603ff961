//! Errors of places.

use std::path::PathBuf;
use std::sync::Arc;

use crate::objects::key::ObjectKey;

/// The reason why a place did not do something.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    #[error("{what} {path}")]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{what} the bucket of S3")]
    S3 {
        what: &'static str,
        #[source]
        source: Arc<object_store::Error>,
    },
    #[error("no more bytes of object {key} have arrived for a long time")]
    TimedOut { key: ObjectKey },
    /// There is no such object, or it is shorter than its row says.
    #[error("object {key} is missing")]
    Missing { key: ObjectKey },
    #[error("object {key} does not have the bytes that were stored")]
    Changed { key: ObjectKey },
    #[error("read keepsake.json in {place}: it was not written by this program")]
    Marker {
        place: String,
        #[source]
        source: serde_json::Error,
    },
    /// The program is stopping.
    #[error("the work with a file was interrupted")]
    Interrupted,
}

impl ObjectError {
    /// Returns the same error for another object of a batch.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::File { what, path, source } => Self::File {
                what,
                path: path.clone(),
                source: std::io::Error::new(source.kind(), source.to_string()),
            },
            Self::S3 { what, source } => Self::S3 { what, source: source.clone() },
            Self::TimedOut { key } => Self::TimedOut { key: key.clone() },
            Self::Missing { key } => Self::Missing { key: key.clone() },
            Self::Changed { key } => Self::Changed { key: key.clone() },
            Self::Marker { .. } | Self::Interrupted => Self::Interrupted,
        }
    }

    /// Returns true if the bytes are lost: missing, or not those that were stored.
    pub fn is_loss(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Changed { .. })
    }

    /// Returns true if the disk is full.
    pub fn is_full(&self) -> bool {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match self {
            Self::File { source, .. } => matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge),
            Self::S3 { .. }
            | Self::TimedOut { .. }
            | Self::Missing { .. }
            | Self::Changed { .. }
            | Self::Marker { .. }
            | Self::Interrupted => false,
        }
    }
}
