//! Commands from the cloud, and the camera's replies.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::CaptureId;

/// The longest result of a command, bytes of JSON.
pub const RESULT_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
#[serde(rename_all = "lowercase")]
pub enum CommandKind {
    Snap,
    Identify,
    Restart,
    Diagnostics,
}

impl CommandKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Snap => "snap",
            Self::Identify => "identify",
            Self::Restart => "restart",
            Self::Diagnostics => "diagnostics",
        }
    }
}

/// `down/command`. The camera stores the id durably before it executes the command; a known id is only answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Command {
    /// 1 to 64 characters, chosen by the cloud.
    pub id: String,
    pub command: CommandKind,
    /// Time of sending by the cloud's clock, microseconds UTC.
    pub sent_us: i64,
    /// Deadline by the cloud's clock, microseconds UTC. The camera counts `expires_us - sent_us` from the arrival.
    pub expires_us: i64,
}

impl Command {
    /// Returns how long after its arrival the command may still begin, microseconds.
    pub fn lifetime_us(&self) -> u64 {
        u64::try_from(self.expires_us.saturating_sub(self.sent_us)).unwrap_or(0)
    }
}

/// The progress of a command. Stages are reported once and in this order; some commands skip some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
#[serde(rename_all = "lowercase")]
pub enum CommandStage {
    /// The camera has received the command and stored its id.
    Accepted,
    Captured,
    /// The capture is durable on the card.
    Saved,
    Done,
    Failed,
    /// The command arrived after its deadline and was not executed.
    Expired,
}

impl CommandStage {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Captured => "captured",
            Self::Saved => "saved",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }
}

/// `up/reply`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct CommandReply {
    pub id: String,
    pub stage: CommandStage,
    /// Time since the command arrived at the camera, microseconds.
    pub after_us: u64,
    /// The capture that the command produced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<CaptureId>,
    /// An explanation for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The result of `diagnostics`, with stage `done`; at most [`RESULT_BYTES_MAX`] as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, proptest(strategy = "proptest::option::of(crate::properties::values())"))]
    pub result: Option<Map<String, Value>>,
}
