//! The downlink over HTTP: a camera polls, and the cloud answers with a list of messages.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::topic::MessageKind;

/// The HTTP header that names the camera; one API token can be valid for several cameras.
pub const DEVICE_HEADER: &str = "x-keepsake-device";
/// The largest response of the cloud, bytes: a full outbox and its envelope.
pub const DOWNLINK_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The longest time that a poll stays open, seconds.
pub const POLL_WAIT_S_MAX: u64 = 30;

/// One message that MQTT would deliver on `down/{kind}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DownlinkBatch {
    /// `receipt`, `cloud`, `command` or `settings`; others are ignored.
    #[serde(rename = "about")]
    pub kind: String,
    /// The MQTT payload.
    pub message: Box<RawValue>,
}

impl DownlinkBatch {
    /// Returns the kind of the message, or `None` for one that a later version has added.
    pub fn parsed_kind(&self) -> Option<MessageKind> {
        MessageKind::ALL
            .into_iter()
            .find(|kind| kind.path().strip_prefix("down/") == Some(&self.kind))
    }
}

/// The response to every request of a camera except a frame, which is answered with its receipt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Down {
    /// Required: a response without it does not come from a Keepsake cloud.
    #[serde(rename = "down")]
    pub messages: Vec<DownlinkBatch>,
    /// The cursor for `after` in the next poll. The cloud then drops the messages up to here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_downlink_kinds_are_known() {
        for (kind, expected) in [
            ("receipt", Some(MessageKind::Receipt)),
            ("cloud", Some(MessageKind::Cloud)),
            ("command", Some(MessageKind::Command)),
            ("settings", Some(MessageKind::Settings)),
            ("frame", None),
            ("weather", None),
            ("", None),
        ] {
            let message = DownlinkBatch {
                kind: kind.to_owned(),
                message: RawValue::from_string("{}".to_owned()).unwrap(),
            };
            assert_eq!(message.parsed_kind(), expected, "{kind}");
        }
    }

    #[test]
    fn a_response_without_a_list_is_rejected() {
        for bad in ["{}", "[]", r#"{"next":"a-1"}"#, "<html></html>", ""] {
            assert!(serde_json::from_str::<Down>(bad).is_err(), "{bad}");
        }
        let good = r#"{"down":[{"about":"cloud","message":{"x":1},"more":2}],"new":true}"#;
        let good: Down = serde_json::from_str(good).unwrap();
        assert_eq!(good.messages[0].message.get(), r#"{"x":1}"#);
        assert_eq!(good.next, None);
    }
}
