//! The camera's program. One press goes through these modules in this order:
//!
//! [`button`] reports the press, [`capture`] takes a frame with the camera in [`hardware`] and fits it to its budget with
//! [`imaging`], [`spool`] stores it on the card so that no power cut loses it (P1), [`upload`] decides what to publish
//! next, and [`transport`] carries it to the cloud by MQTT or HTTP. [`light`] shows how far it is. The [`engine`] turns
//! events into actions, and [`app`] builds the parts, joins them and stops them in order.
//!
//! `button::gesture`, `light::indicator`, `upload`, `time::boot_history` and the deciding half of `time::clock` are pure: events
//! and the time go in, actions come out. `hardware` and `spool` carry out actions and decide nothing.
//! docs/architecture.md has the map.

mod app;
mod button;
mod capture;
pub mod commands;
mod durable_file;
mod engine;
mod error;
mod hardware;
mod imaging;
mod light;
mod net;
pub mod sd_card;
pub mod settings;
pub mod spool;
pub mod status;
mod time;
mod transport;
pub mod upload;
