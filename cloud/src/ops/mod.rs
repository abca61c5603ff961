//! The state of the running service: metrics, camera presence, change events and back-pressure.

pub mod backpressure;
pub mod event_bus;
pub(crate) mod health_watch;
pub mod metrics;
pub mod presence;
pub(crate) mod systemd;
