//! Whose spool this is: the spool ids whose files it holds, and the hardware it was made on.
//!
//! Never part of an image: it is made at the first start. A card that wakes up in other hardware, or whose numbers
//! cannot be trusted, gets a new spool id; captures that wait keep the one they were taken under.

use std::io;
use std::path::Path;

use keepsake_protocol::{SpoolId, StoreId};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::durable_file;

const FILE: &str = "identity.json";

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Oldest first; the last one is current.
    #[serde(rename = "installs")]
    pub spools: Vec<SpoolId>,
    /// The identity of the hardware, and the device name the captures were taken under.
    pub fingerprint: String,
    /// The cloud this camera belongs to: the first it met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreId>,
    /// Rows of the index whose file was gone, since this spool was made.
    #[serde(default)]
    pub lost: u64,
}

impl Identity {
    /// `Ok(None)` where there is none yet.
    pub(super) fn read(root: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(root.join(FILE)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn write(&self, root: &Path) -> io::Result<()> {
        durable_file::replace(&root.join(FILE), &serde_json::to_vec_pretty(self)?)
    }

    pub(super) fn current(&self) -> Option<SpoolId> {
        self.spools.last().copied()
    }
}

pub(super) fn new_spool_id() -> SpoolId {
    let mut bytes = [0; 16];
    rand::rng().fill_bytes(&mut bytes);
    SpoolId(bytes)
}
