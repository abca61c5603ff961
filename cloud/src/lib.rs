//! The cloud of Keepsake: takes what cameras bring, commits it, answers with receipts, and shows it.
//!
//! The way of a picture: [`mqtt`] reads it and never waits for anything else, [`ingest`] decides what it is ([`way_in`] if the
//! camera knows nothing of Keepsake), [`intake`]
//! has a batch of them committed by [`store`], and only then acknowledges and sends receipts (P2). [`http`] shows what
//! is in the store, and is the other way in: a camera that comes by HTTP goes through the same [`intake`]. [`downlink`] speaks to
//! cameras either way, [`mailbox`] keeps what waits for those that have to ask. [`broker`] is the embedded broker, [`announce`] tells cameras about the cloud and hands them commands, [`presence`] decides who is there, [`mod@taken`] when a picture was taken, [`hold`]
//! watches whether anything may be taken at all, [`thumbnail`] works after the commit. [`run`] builds and joins them.

pub mod announce;
pub mod broker;
pub mod cli;
pub mod config;
pub mod deposit;
pub mod downlink;
pub mod hold;
pub mod http;
pub mod ingest;
pub mod intake;
pub mod live;
pub mod mailbox;
pub mod metrics;
pub mod mqtt;
mod orientation;
pub mod people;
pub mod presence;
pub mod run;
pub mod secret;
pub mod store;
pub mod taken;
pub mod thumbnail;
pub mod way_in;

/// The wall clock, microseconds since 1970-01-01 UTC.
pub fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
