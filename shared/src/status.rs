//! The `up/status` message: presence, spool contents, health and LED of a camera. It is retained.

use serde::{Deserialize, Serialize};

use crate::clock::ClockReading;
use crate::id::{Sequence, SpoolId};
use crate::ranges::Ranges;
use crate::settings;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    Online,
    /// Published by the camera before it stops, or by the broker as the last will.
    #[default]
    Offline,
}

/// The captures of one spool on the card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct SpoolInventory {
    #[serde(rename = "install")]
    pub spool: SpoolId,
    /// The next sequence that the camera would assign; all below it are assigned.
    pub next: Sequence,
    /// On the card, without a receipt.
    pub waiting: Ranges,
    /// On the card, with a receipt: the cloud can still ask for them.
    pub kept: Ranges,
    /// The ranges were joined to fit and may include captures that are not on the card.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub coarse: bool,
}

/// Totals of the upload queue over all spools.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Queue {
    pub waiting: u64,
    pub waiting_bytes: u64,
    /// Time of the press of the oldest waiting capture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<ClockReading>,
    /// Captures that the cloud has rejected; they stay on the card.
    #[serde(default)]
    pub parked: u64,
    /// Captures in the index whose files were missing, since the spool was created.
    #[serde(default)]
    pub lost: u64,
    /// Measured upload rate, bytes per second; absent before the first acknowledged part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_s: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Health {
    /// Free space of the spool's file system, bytes.
    #[serde(default)]
    pub card_free: u64,
    #[serde(default)]
    pub card_total: u64,
    /// Millidegrees Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_mc: Option<i64>,
}

/// The pattern that the LED shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct LedStatus {
    /// The name of the pattern, such as `ready`, `uploading`, `offline`, `fault-5`.
    pub pattern: String,
    /// The appearance for people: "steady", "even blink, twice a second".
    #[serde(rename = "looks")]
    pub appearance: String,
    /// The meaning, and what to do.
    #[serde(rename = "means")]
    pub meaning: String,
}

/// `up/status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Status {
    pub presence: Presence,
    /// The current spool first, then older ones that still have files. Empty in a last will.
    #[serde(rename = "installs", default)]
    #[cfg_attr(test, proptest(strategy = "crate::properties::few()"))]
    pub spools: Vec<SpoolInventory>,
    #[serde(default)]
    pub queue: Queue,
    #[serde(default)]
    pub health: Health,
    #[serde(rename = "light", default)]
    pub led: LedStatus,
    /// Active faults by their number on the LED, 1 to 7.
    #[serde(default)]
    pub faults: Vec<u8>,
    /// The version of `down/settings` that was applied last.
    #[serde(default)]
    pub settings_version: u64,
    /// The result of applying it; absent in a last will, and from a camera that accepts no settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Box<settings::SettingsReport>>,
    /// Software version of the appliance.
    #[serde(default)]
    pub version: String,
    /// Time of this report; absent in a last will.
    #[serde(rename = "said", default, skip_serializing_if = "Option::is_none")]
    pub reported_at: Option<ClockReading>,
}

impl Status {
    /// Returns the status that the broker publishes when the camera disappears.
    pub fn last_will() -> Self {
        Self { presence: Presence::Offline, ..Self::default() }
    }
}
