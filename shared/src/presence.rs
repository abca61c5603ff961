//! How a camera is: there or not, what it holds, what its light shows. Retained, so that whoever comes later knows too.

use serde::{Deserialize, Serialize};

use crate::clock::ClockReading;
use crate::id::{Sequence, SpoolId};
use crate::ranges::Ranges;
use crate::settings;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    Online,
    /// Said by the camera before it stops, or by the broker as its last will.
    Offline,
}

/// The pictures of one install on the card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolInventory {
    #[serde(rename = "install")]
    pub spool: SpoolId,
    /// The next sequence the camera would give out here: all below it have been given out.
    pub next: Sequence,
    /// On the card, no receipt yet.
    pub waiting: Ranges,
    /// On the card, with a receipt: the cloud may still ask for them.
    pub kept: Ranges,
    /// The ranges were joined to fit, so they may claim too much.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub coarse: bool,
}

/// The queue in numbers, over all installs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    pub waiting: u64,
    pub waiting_bytes: u64,
    /// When the oldest waiting capture was pressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<ClockReading>,
    /// Captures the cloud refuses for a reason of their own; they stay on the card.
    #[serde(default)]
    pub parked: u64,
    /// Rows of the index whose file was gone: found missing on this card since the spool was made.
    #[serde(default)]
    pub lost: u64,
    /// Measured upload rate, bytes per second; absent before the first acknowledged part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_s: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Of the file system that holds the spool, bytes.
    #[serde(default)]
    pub card_free: u64,
    #[serde(default)]
    pub card_total: u64,
    /// Thousandths of a degree Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_mc: Option<i64>,
}

/// What the light shows, as the person beside the camera sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedStatus {
    /// The name of the pattern, such as `ready`, `uploading`, `offline`, `fault-5`.
    pub pattern: String,
    /// What a person would call it: "steady", "even blink, twice a second".
    #[serde(rename = "looks")]
    pub appearance: String,
    /// What it means, and what there is to do.
    #[serde(rename = "means")]
    pub meaning: String,
}

/// `up/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub presence: Presence,
    /// The current install first; others only while they still have files. Empty in a last will.
    #[serde(rename = "installs", default)]
    pub spools: Vec<SpoolInventory>,
    #[serde(default)]
    pub queue: Queue,
    #[serde(default)]
    pub health: Health,
    #[serde(rename = "light", default)]
    pub led: LedStatus,
    /// Faults that hold now, by their number on the light, 1 to 7.
    #[serde(default)]
    pub faults: Vec<u8>,
    /// The version of `down/settings` that was taken last.
    #[serde(default)]
    pub settings_version: u64,
    /// What became of it; absent in a last will, and from a camera that takes no settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Box<settings::SettingsReport>>,
    /// Version of the appliance's program.
    #[serde(default)]
    pub version: String,
    /// When this was said; absent in a last will.
    #[serde(rename = "said", default, skip_serializing_if = "Option::is_none")]
    pub reported_at: Option<ClockReading>,
}

impl Status {
    /// What the broker says for a camera that went away without a word.
    pub fn last_will() -> Self {
        Self {
            presence: Presence::Offline,
            spools: Vec::new(),
            queue: Queue::default(),
            health: Health::default(),
            led: LedStatus::default(),
            faults: Vec::new(),
            settings_version: 0,
            settings: None,
            version: String::new(),
            reported_at: None,
        }
    }
}
