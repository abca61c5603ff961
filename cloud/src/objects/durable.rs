//! An object between its storing and the commit of the row that names it.

use std::time::{Duration, Instant};

use crate::objects::key::ObjectKey;
use crate::objects::object::BytesLocation;

/// A row may be committed until this long after its object was begun. An object older than [`ORPHAN_AGE_MIN`](crate::objects::ORPHAN_AGE_MIN) without a
/// row can therefore never get one.
pub const COMMIT_WITHIN: Duration = Duration::from_secs(600);

/// An object that is durable and that no row names yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurableObject {
    pub place: i64,
    pub key: ObjectKey,
    begun: Instant,
}

impl DurableObject {
    pub(super) fn new(place: i64, key: ObjectKey, begun: Instant) -> Self {
        Self { place, key, begun }
    }

    /// Returns true while a row may be committed that names this object. Later it may already be taken for an orphan.
    pub fn is_recent(&self) -> bool {
        self.begun.elapsed() < COMMIT_WITHIN
    }

    pub fn location(&self) -> BytesLocation {
        BytesLocation::Object { place: self.place, key: self.key.clone() }
    }
}

#[cfg(test)]
impl DurableObject {
    /// Returns the object as if it was begun earlier.
    pub(crate) fn begun_before(mut self, by: Duration) -> Self {
        self.begun = Instant::now().checked_sub(by).expect("the computer runs for longer");
        self
    }
}
