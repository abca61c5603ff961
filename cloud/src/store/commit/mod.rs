//! The write path: everything that runs inside the ingest transaction.

mod apply;
pub(crate) mod boot_clock;
pub(crate) mod capture_order;
mod delete;
pub(crate) mod device;
pub(crate) mod event;
pub(crate) mod fate;
mod http_upload;
pub(crate) mod inventory;
pub(crate) mod picture;
pub(crate) mod picture_batch;
pub(crate) mod quarantine;
pub(crate) mod relocate;
pub(crate) mod spool;
pub(crate) mod tombstone;
pub(crate) mod totals;
pub(crate) mod upload;
pub(crate) mod upload_dedup;
