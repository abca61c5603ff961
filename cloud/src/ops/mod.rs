//! The state of the running service: metrics, camera presence, change events and back-pressure.

pub mod hold;
pub mod live;
pub mod metrics;
pub mod presence;
