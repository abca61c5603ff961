//! What the cloud says to a camera, as HTTP carries it: nobody can call a camera, so it asks and is told a list.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::topic::MessageKind;

/// The header that names the camera: its token may be for several.
pub const DEVICE_HEADER: &str = "x-keepsake-device";
/// The longest answer of the cloud, bytes: all that one mailbox holds, and what stands around it.
pub const DOWNLINK_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The longest time that a question for news is left open, seconds.
pub const POLL_WAIT_S_MAX: u64 = 30;

/// One message, which over MQTT would have come on `down/{about}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DownlinkBatch {
    /// `receipt`, `cloud`, `command` or `settings`; others are ignored.
    #[serde(rename = "about")]
    pub kind: String,
    /// The payload as the topic would carry it.
    pub message: Box<RawValue>,
}

impl DownlinkBatch {
    /// The topic it would have come on; nothing for a word of a later version.
    pub fn parsed_kind(&self) -> Option<MessageKind> {
        [
            MessageKind::Receipt,
            MessageKind::Cloud,
            MessageKind::Command,
            MessageKind::Settings,
        ]
        .into_iter()
        .find(|leaf| leaf.name() == self.kind)
    }
}

/// The answer to everything a camera says or asks, except to a frame, which is answered with the receipt itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Down {
    /// No default: an answer without it is not from a cloud of ours.
    #[serde(rename = "down")]
    pub messages: Vec<DownlinkBatch>,
    /// What to say in `after` next time. Whatever came up to here is then forgotten by the cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_goes_down_is_told() {
        for (about, leaf) in [
            ("receipt", Some(MessageKind::Receipt)),
            ("cloud", Some(MessageKind::Cloud)),
            ("command", Some(MessageKind::Command)),
            ("settings", Some(MessageKind::Settings)),
            ("frame", None),
            ("weather", None),
            ("", None),
        ] {
            let message = DownlinkBatch {
                kind: about.to_owned(),
                message: RawValue::from_string("{}".to_owned()).unwrap(),
            };
            assert_eq!(message.parsed_kind(), leaf, "{about}");
        }
    }

    #[test]
    fn an_answer_without_a_list_is_no_answer() {
        for bad in ["{}", "[]", r#"{"next":"a-1"}"#, "<html></html>", ""] {
            assert!(serde_json::from_str::<Down>(bad).is_err(), "{bad}");
        }
        let good = r#"{"down":[{"about":"cloud","message":{"x":1},"more":2}],"new":true}"#;
        let good: Down = serde_json::from_str(good).unwrap();
        assert_eq!(good.messages[0].message.get(), r#"{"x":1}"#);
        assert_eq!(good.next, None);
    }
}
