//! The embedded MQTT broker, and nothing that knows of messages or cameras.

pub mod embedded;
