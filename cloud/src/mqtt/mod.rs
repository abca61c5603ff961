//! The cloud's sessions with an MQTT broker.

pub mod ack;
pub mod broker_probe;
pub mod session;
