//! Values as columns: binding keys and numbers, and reading them back.

use keepsake_protocol::capture::CaptureMetadata;
use keepsake_protocol::{CaptureId, Hash, Sequence, SpoolId};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::auth::Role;
use crate::store::error::{Result, StoreError};

/// Which picture or tombstone exactly: its number and its hash (P3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Key {
    pub(in crate::store) spool: SpoolId,
    pub(in crate::store) sequence: Sequence,
    pub(in crate::store) hash: Hash,
}

impl Key {
    pub(in crate::store) fn of(record: &CaptureMetadata) -> Self {
        Self {
            spool: record.spool,
            sequence: record.sequence,
            hash: record.hash,
        }
    }

    pub(in crate::store) fn capture(&self) -> CaptureId {
        CaptureId { spool: self.spool, sequence: self.sequence }
    }

    /// From the first three columns.
    pub(in crate::store) fn read(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            spool: id(row.get::<&[u8], _>(0), "a spool")?,
            sequence: sequence(row.get(1))?,
            hash: id(row.get::<&[u8], _>(2), "a hash")?,
        })
    }
}

/// Numbers from outside that are larger than a BIGINT say no more than "very large".
pub(in crate::store) fn to_bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number of the store's own that cannot be negative.
pub(in crate::store) fn from_bigint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// An id read back from its column.
pub(in crate::store) fn id<T>(bytes: &[u8], what: &'static str) -> Result<T>
where
    T: for<'a> TryFrom<&'a [u8]>,
{
    T::try_from(bytes).map_err(|_| StoreError::Corrupt(format!("{what} of {} bytes", bytes.len())))
}

pub(in crate::store) fn sequence(number: i64) -> Result<Sequence> {
    u64::try_from(number)
        .ok()
        .and_then(|number| Sequence::try_from(number).ok())
        .ok_or_else(|| StoreError::Corrupt(format!("sequence {number}")))
}

/// A role read back from its column.
pub(in crate::store) fn role(text: &str) -> Result<Role> {
    text.parse().map_err(|_| StoreError::Corrupt(format!("the role {text}")))
}
