//! Builds and parses MQTT topics.

use std::fmt;
use std::str::FromStr;

use crate::id::{DeviceId, StoreId};

/// The root of every topic, including the protocol version.
pub const ROOT: &str = "keepsake/v1";

/// The kind of a message, with its direction. All messages are QoS 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    Frame,
    Have,
    Status,
    Event,
    Reply,
    Receipt,
    Command,
    Settings,
    Cloud,
}

impl MessageKind {
    pub const ALL: [Self; 9] = [
        Self::Frame,
        Self::Have,
        Self::Status,
        Self::Event,
        Self::Reply,
        Self::Receipt,
        Self::Command,
        Self::Settings,
        Self::Cloud,
    ];

    /// Returns the last two levels of the topic: `up/…` from the camera, `down/…` to it.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Frame => "up/frame",
            Self::Have => "up/have",
            Self::Status => "up/status",
            Self::Event => "up/event",
            Self::Reply => "up/reply",
            Self::Receipt => "down/receipt",
            Self::Command => "down/command",
            Self::Settings => "down/settings",
            Self::Cloud => "down/cloud",
        }
    }

    /// Returns the last level of the topic: `frame`, `receipt`.
    pub fn name(self) -> &'static str {
        let path = self.path();
        path.split_once('/').map_or(path, |(_, name)| name)
    }

    /// Returns true if the broker retains the last message for later subscribers.
    pub const fn retained(self) -> bool {
        matches!(self, Self::Status | Self::Settings | Self::Cloud)
    }

    /// Returns the topic filter with which the cloud subscribes to this kind from all cameras.
    pub fn subscription_for_all_devices(self) -> String {
        format!("{ROOT}/+/{}", self.path())
    }
}

/// Returns the topic filter with which a camera subscribes to its downlink.
pub fn downlink_subscription(device: &DeviceId) -> String {
    format!("{ROOT}/{device}/down/#")
}

/// Returns the topic on which a cloud tests the limits of its broker. No camera can be called `cloud`.
pub fn self_test_topic(store: StoreId) -> String {
    format!("{ROOT}/cloud/check/{store}")
}

/// Returns true if the camera may publish on this topic.
pub fn may_publish(device: &DeviceId, topic: &str) -> bool {
    topic.starts_with(&format!("{ROOT}/{device}/up/"))
}

/// A Keepsake topic: the device, and the kind of message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub device: DeviceId,
    pub kind: MessageKind,
}

impl Topic {
    pub fn new(device: &DeviceId, kind: MessageKind) -> Self {
        Self { device: device.clone(), kind }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ROOT}/{}/{}", self.device, self.kind.path())
    }
}

/// The error for a topic that is not a Keepsake topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a Keepsake topic: expected {ROOT}/{{device}}/up/… or …/down/…")]
pub struct ParseTopicError;

impl FromStr for Topic {
    type Err = ParseTopicError;

    fn from_str(text: &str) -> Result<Self, ParseTopicError> {
        let rest = text.strip_prefix(ROOT).and_then(|rest| rest.strip_prefix('/')).ok_or(ParseTopicError)?;
        let (device, path) = rest.split_once('/').ok_or(ParseTopicError)?;
        let kind = MessageKind::ALL.into_iter().find(|kind| kind.path() == path).ok_or(ParseTopicError)?;
        let device = device.parse().map_err(|_| ParseTopicError)?;
        Ok(Self { device, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_may_only_publish_below_its_own_name() {
        let device: DeviceId = "porch".parse().unwrap();
        assert!(may_publish(&device, "keepsake/v1/porch/up/frame"));
        for other in [
            "keepsake/v1/porch2/up/frame",
            "keepsake/v1/porch/down/receipt",
            "keepsake/v1/porch/up",
            "keepsake/v1/x/up/porch",
            "camera/image",
        ] {
            assert!(!may_publish(&device, other), "{other}");
        }
    }

    #[test]
    fn foreign_topics_are_rejected() {
        for bad in [
            "",
            "keepsake/v1",
            "keepsake/v1/porch",
            "keepsake/v1/porch/up/frame/x",
            "keepsake/v2/porch/up/frame",
            "keepsake/v1/cloud/up/frame",
            "keepsake/v1//up/frame",
            "keepsake/v1/a/b/up/frame",
            "keepsake/v1/#/up/frame",
            "keepsake/v1/../up/frame",
        ] {
            assert_eq!(bad.parse::<Topic>(), Err(ParseTopicError), "{bad}");
        }
    }
}
