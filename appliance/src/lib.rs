//! The camera's program. One press goes through these modules in this order:
//!
//! [`hardware`] feels the button and takes the frame, [`gesture`] tells what a touch means, [`press`] makes a capture of it, [`spool`] keeps it on the card
//! so that no power cut loses it (P1), [`drain`] decides what to publish next, [`mqtt`] or [`http`] carries it
//! ([`link`] is what both have in common), and [`indicator`]
//! decides what the light says, which [`light`] plays. The [`engine`] turns what happens into what is done, and [`run`]
//! builds the parts, joins them and stops them in order.
//!
//! `gesture`, `drain`, `throttle`, `indicator`, `backoff`, `history` and the deciding half of `clock` are pure: events and the time go in, actions come
//! out. `hardware` and `spool` do what they are told and decide nothing. docs/architecture.md has the map.

pub mod backoff;
pub mod card;
pub mod clock;
pub mod command;
pub mod config;
pub mod diagnostics;
pub mod drain;
pub mod engine;
pub mod gesture;
pub mod hardware;
pub mod history;
pub mod http;
pub mod indicator;
pub mod lamp;
pub mod light;
pub mod link;
pub mod mqtt;
pub mod network;
pub mod notes;
pub mod press;
pub mod report;
pub mod run;
pub mod self_test;
pub mod shrink;
pub mod spool;
pub mod status_file;
pub mod stopped;
pub mod throttle;
pub mod wishes;
