//! The write path: everything that runs inside the ingest transaction.

pub(crate) mod batch;
pub(crate) mod boot;
pub(crate) mod event;
pub(crate) mod fate;
pub(crate) mod install;
pub(crate) mod part;
pub(crate) mod picture;
pub(crate) mod quarantine;
pub(crate) mod recent;
pub(crate) mod report;
pub(crate) mod tombstone;
