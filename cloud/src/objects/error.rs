//! Errors of places.

use std::path::PathBuf;

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
    pub(in crate::objects) fn again(&self) -> Self {
        match self {
            Self::File { what, path, source } => Self::File {
                what,
                path: path.clone(),
                source: std::io::Error::new(source.kind(), source.to_string()),
            },
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
            Self::Missing { .. } | Self::Changed { .. } | Self::Marker { .. } | Self::Interrupted => false,
        }
    }
}
