//! The state of the running service: metrics, camera presence, change events and back-pressure.

pub mod backpressure;
pub mod event_bus;
pub mod metrics;
pub mod presence;
