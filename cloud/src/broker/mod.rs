//! The embedded MQTT broker, and nothing that knows of messages or cameras.

pub(crate) mod embedded;
