//! The cloud's sessions with an MQTT broker.

pub(crate) mod ack;
pub(crate) mod broker_probe;
pub(crate) mod session;
