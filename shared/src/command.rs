//! What the cloud asks a camera to do, and how far it got.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::CaptureId;

/// The longest result of a command, bytes of JSON.
pub const RESULT_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

/// `down/command`. The id is durable on the card before anything is done; a known id is only answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// 1 to 64 characters, chosen by the cloud.
    pub id: String,
    pub command: CommandKind,
    /// The cloud's clock when it sent this, microseconds UTC.
    pub sent_us: i64,
    /// By the cloud's clock; the camera counts the difference from the moment the message came.
    pub expires_us: i64,
}

impl Command {
    /// How long after its arrival the command may still begin, microseconds.
    pub fn lifetime_us(&self) -> u64 {
        u64::try_from(self.expires_us.saturating_sub(self.sent_us)).unwrap_or(0)
    }
}

/// How far a command got; each is said once, in this order, with gaps where a stage has no meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandStage {
    /// The camera has it, and has noted its id.
    Accepted,
    Captured,
    /// Safe on the card.
    Saved,
    Done,
    Failed,
    /// It came too late, and nothing was done.
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
pub struct CommandReply {
    pub id: String,
    pub stage: CommandStage,
    /// From the command's arrival at the camera, microseconds.
    pub after_us: u64,
    /// The capture that came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<CaptureId>,
    /// A plain sentence, where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// With `done` of `diagnostics`: what it says about itself, at most [`RESULT_BYTES_MAX`] as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Map<String, Value>>,
}
