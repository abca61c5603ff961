//! The `down/receipt` message: captures that are committed, requested again, or rejected.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{HashPrefix, Sequence, SpoolId, StoreId};

/// The largest number of entries of each kind in a receipt; the cloud splits longer ones.
pub const RECEIPT_ENTRIES_MAX: usize = 2000;

/// The time for which the window of a receipt is valid; after that, the window of `down/cloud` applies.
pub const WINDOW_FOR: Duration = Duration::from_secs(30);

/// A capture that the cloud requests again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct ResendRequest {
    pub sequence: Sequence,
    /// The missing bytes as `[start, end)`; empty = the whole picture.
    #[serde(default)]
    #[cfg_attr(test, proptest(strategy = "crate::properties::few()"))]
    pub ranges: Vec<(u64, u64)>,
}

/// A capture that the cloud cannot accept now. The camera defers it and never deletes it for this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Rejection {
    pub sequence: Sequence,
    /// The hash of the rejected bytes, so that no other capture with this number is deferred by mistake.
    pub hash: HashPrefix,
    /// An explanation for people.
    pub reason: String,
    /// Seconds until the next attempt.
    pub retry_after: u64,
}

/// Identifies the inventory page that a receipt answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct InventoryAck {
    pub id: u32,
    pub page: u32,
}

/// `down/receipt`. It is created only after the commit that it confirms (P2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Receipt {
    pub store: StoreId,
    #[serde(rename = "install")]
    pub spool: SpoolId,
    /// Committed captures. A camera removes one only if sequence and hash both match.
    #[serde(default)]
    pub stored: Vec<(Sequence, HashPrefix)>,
    #[serde(default)]
    #[cfg_attr(test, proptest(strategy = "crate::properties::few()"))]
    pub want: Vec<ResendRequest>,
    #[serde(rename = "refused", default)]
    #[cfg_attr(test, proptest(strategy = "crate::properties::few()"))]
    pub rejected: Vec<Rejection>,
    /// Set if this answers a page of `up/have`.
    #[serde(rename = "answers", default, skip_serializing_if = "Option::is_none")]
    pub inventory_ack: Option<InventoryAck>,
    /// One more than the highest sequence of this spool whose fate the cloud knows. A camera whose own next number is
    /// lower was restored from an older copy, and starts a new spool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Sequence>,
    /// Committed faults and clock offsets, by the hash of their JSON exactly as sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<HashPrefix>,
    /// Time of sending by the cloud's clock, microseconds UTC: a lower bound of the time of arrival.
    #[serde(rename = "said_us", default, skip_serializing_if = "Option::is_none")]
    pub sent_us: Option<i64>,
    /// Bytes that the camera may have in flight without a receipt for the next [`WINDOW_FOR`]. One message may always be
    /// in flight, even with 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u64>,
}

impl Receipt {
    pub fn new(store: StoreId, spool: SpoolId) -> Self {
        Self {
            store,
            spool,
            stored: Vec::new(),
            want: Vec::new(),
            rejected: Vec::new(),
            inventory_ack: None,
            next: None,
            events: Vec::new(),
            sent_us: None,
            window: None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.stored.is_empty()
            && self.want.is_empty()
            && self.rejected.is_empty()
            && self.inventory_ack.is_none()
            && self.events.is_empty()
    }
}
