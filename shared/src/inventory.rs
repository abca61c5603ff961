//! The `up/have` message: the captures waiting on a camera, so that only what the cloud lacks is sent.

use serde::{Deserialize, Serialize};

use crate::id::{HashPrefix, Sequence, SpoolId};

/// The largest number of captures on a page.
pub const INVENTORY_PAGE_MAX: usize = 1000;

/// One page of the waiting captures of a spool, ordered by sequence.
///
/// A [`Receipt`](crate::receipt::Receipt) with the same `id` and `page` answers each page. The camera waits 10 s for the
/// answers, then sends anyway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Inventory {
    #[serde(rename = "install")]
    pub spool: SpoolId,
    /// The next sequence that the camera would assign.
    pub next: Sequence,
    /// Chosen by the camera; the same on all pages of one inventory.
    pub id: u32,
    /// 0-based, below `pages`.
    pub page: u32,
    pub pages: u32,
    /// At most [`INVENTORY_PAGE_MAX`].
    pub captures: Vec<(Sequence, HashPrefix)>,
}
