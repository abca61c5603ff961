//! The cloud's word: these are committed, these I want, these I cannot take.

use serde::{Deserialize, Serialize};

use crate::id::{HashPrefix, Sequence, SpoolId, StoreId};

/// At most this many entries of each kind stand in one receipt; the cloud sends several rather than a longer one.
pub const RECEIPT_ENTRIES_MAX: usize = 2000;

/// A capture the cloud asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResendRequest {
    pub sequence: Sequence,
    /// The bytes that are missing, as `[start, end)`; empty = all of it.
    #[serde(default)]
    pub ranges: Vec<(u64, u64)>,
}

/// A capture the cloud cannot take, for a reason of its own. The camera parks it and never deletes it for that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    pub sequence: Sequence,
    /// The hash of the bytes refused, so that no other capture of this number is parked by mistake.
    pub hash: HashPrefix,
    /// A plain sentence.
    pub reason: String,
    /// Seconds until it may be tried again.
    pub retry_after: u64,
}

/// Which page of which question this answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryAck {
    pub id: u32,
    pub page: u32,
}

/// `down/receipt`. It exists only after the commit it speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub store: StoreId,
    #[serde(rename = "install")]
    pub spool: SpoolId,
    /// Committed: a camera lets go of a capture only if number and hash both match.
    #[serde(default)]
    pub stored: Vec<(Sequence, HashPrefix)>,
    #[serde(default)]
    pub want: Vec<ResendRequest>,
    #[serde(rename = "refused", default)]
    pub rejected: Vec<Rejection>,
    /// Set when this answers a page of `up/have`.
    #[serde(rename = "answers", default, skip_serializing_if = "Option::is_none")]
    pub inventory_ack: Option<InventoryAck>,
    /// One more than the highest sequence of this install the cloud knows a fate of. A camera whose own next number is
    /// lower has been restored from an older copy, and starts a new install.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Sequence>,
    /// Faults and boot lines that are committed, by the hash of their JSON exactly as sent: they need not be sent again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<HashPrefix>,
    /// The cloud's clock when this was said, microseconds UTC: when it arrives, it is not earlier than this.
    #[serde(rename = "said_us", default, skip_serializing_if = "Option::is_none")]
    pub sent_us: Option<i64>,
}

impl Receipt {
    pub fn new(store: StoreId, install: SpoolId) -> Self {
        Self {
            store,
            spool: install,
            stored: Vec::new(),
            want: Vec::new(),
            rejected: Vec::new(),
            inventory_ack: None,
            next: None,
            events: Vec::new(),
            sent_us: None,
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
