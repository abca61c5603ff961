//! The cloud's sessions with an MQTT broker.

pub mod check;
pub mod session;
