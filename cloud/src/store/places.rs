//! The places outside the database that this store has opened.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::objects::{BytesPlace, ObjectStore};

/// The places that are open. Clones share them.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Places {
    pub(in crate::store) open: Arc<Mutex<OpenPlaces>>,
}

#[derive(Debug, Default)]
pub(in crate::store) struct OpenPlaces {
    pub(in crate::store) known: HashMap<i64, ObjectStore>,
    /// For new pictures.
    pub(in crate::store) current: Option<BytesPlace>,
}
