//! The harness of the end-to-end tests: the real `appliance` and `cloud`, started, killed and watched from outside.
//!
//! Nothing here looks inside the programs. The witnesses are the lines a program prints, its HTTP API, the messages on
//! the broker and the rows in the database, each read over a connection of its own: [`receipt_observer`] sees every
//! receipt and checks that the captures it confirms are committed (P2), [`mqtt_proxy`] is between the cloud and its
//! broker and checks every acknowledgement before it forwards it, [`http_proxy`] does the same between an HTTP camera
//! and the cloud, and [`ledger`] counts at the end. Every wait has a deadline, and every random choice comes from a
//! [`seed`] that is printed.
//!
//! The programs are built on first use ([`programs`]). Most tests need no more than the types re-exported here.

use std::time::Duration;

pub use keepsake_provision::process::eventually;
pub use keepsake_provision::skip::not_run;
pub use keepsake_provision::temp_dir::TempDir;
pub use keepsake_provision::{process, servers, skip, temp_dir};

pub use appliance::{Appliance, CaptureKey, capture_keys};
pub use cloud::Cloud;
pub use ledger::{Audit, audit};
pub use mqtt_client::{Client, Outcome};
pub use program_runs::count;
pub use seed::Seed;

/// The longest wait of most tests: on a busy machine, in a debug build.
pub const SOON: Duration = Duration::from_secs(60);

pub mod api;
pub mod appliance;
pub mod browser;
pub mod clock;
pub mod cloud;
mod commit_checker;
pub mod demo;
pub mod http_proxy;
pub mod ledger;
pub mod mqtt_client;
pub mod mqtt_proxy;
pub mod photos;
pub mod program_runs;
pub mod programs;
pub mod python_client;
pub mod receipt_observer;
pub mod seed;
pub mod shipped_mosquitto_config;
pub mod store_probe;
pub mod tcp_proxy;
pub mod test_ca;
pub mod witnesses;
