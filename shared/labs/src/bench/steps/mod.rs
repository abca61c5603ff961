//! The steps of the benchmark, one file each.

pub mod backlog;
pub mod fleets;
pub mod growth;
pub mod images;
pub mod ingest;
pub mod latency;
