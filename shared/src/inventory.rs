//! What a camera still has to bring, said before it sends anything, so that only the rest is sent.

use serde::{Deserialize, Serialize};

use crate::id::{HashPrefix, Sequence, SpoolId};

/// At most this many captures stand on one page.
pub const INVENTORY_PAGE_MAX: usize = 1000;

/// One page of the waiting captures of one install, in the order of their sequence.
///
/// Every page is answered by a [`Receipt`](crate::receipt::Receipt) that repeats `id` and `page`; the camera waits 10 s
/// for the answers, then sends anyway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    #[serde(rename = "install")]
    pub spool: SpoolId,
    /// The next sequence the camera would give out here.
    pub next: Sequence,
    /// Chosen by the camera, the same on all pages of one question.
    pub id: u32,
    /// 0-based, below `pages`.
    pub page: u32,
    pub pages: u32,
    /// At most [`HAVE_PAGE_MAX`].
    pub captures: Vec<(Sequence, HashPrefix)>,
}
