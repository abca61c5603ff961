//! The order and pace of uploads: what to publish next, how fast, and how long to wait after a failure.

pub mod backoff;
pub mod drain;
pub mod rate_limiter;
mod receipt_timer;
mod upload_rate;
