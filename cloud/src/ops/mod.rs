//! The state of the running service: metrics, camera presence, change events and back-pressure.

pub(crate) mod backpressure;
pub(crate) mod event_bus;
pub(crate) mod health_watch;
pub(crate) mod metrics;
pub mod orphan_sweep;
pub(crate) mod presence;
pub(crate) mod systemd;
