//! The cloud of Keepsake: receives pictures from cameras, commits them, answers with receipts, and shows them.
//!
//! A picture arrives over [`mqtt`] or [`http`] and waits in the queue of [`ingest`], which decodes it and has [`store`] commit a
//! batch of messages at a time. Only after the commit is the message acknowledged and a receipt sent (P2). [`downlink`] sends
//! messages to cameras, [`broker`] is the embedded MQTT broker, [`pictures`] derives facts from a picture, [`auth`] knows users
//! and API tokens, and [`ops`] watches the running service. [`app`] builds and connects the parts.

pub mod app;
pub mod args;
pub mod auth;
mod broker;
pub mod commands;
pub mod config;
mod data_dir;
mod downlink;
pub mod http;
pub mod ingest;
mod mqtt;
pub mod objects;
pub mod ops;
pub mod pictures;
pub mod store;

/// Returns the wall clock, microseconds since 1970-01-01 UTC.
pub fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
