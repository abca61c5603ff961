//! The real `appliance` and `cloud`, started, killed and watched from outside: what the end-to-end tests are made of.
//!
//! Nothing here looks inside the programs. The witnesses are the lines a program prints, its HTTP API, the messages on
//! the broker and the rows in the database, each read over a connection of its own:
//! [`observer`] sees every receipt and looks whether what it speaks of is committed (P2), [`proxy`] sits between the
//! cloud and its broker and looks at every acknowledgement before it passes it on, [`web`] stands
//! between a cloud and a camera that comes by HTTP, and [`audit`] counts at the end.
//! Whatever is waited for has a deadline, and whatever is random comes from a [`seed`] that is printed.
//!
//! The programs are those beside the test itself (`target/debug/cloud`, `target/debug/appliance`): `cargo verify`
//! builds them first.

pub mod api;
pub mod appliance;
pub mod audit;
pub mod authority;
pub mod clock;
pub mod cloud;
pub mod engines;
pub mod folder;
pub mod mqtt;
pub mod not_run;
pub mod observer;
pub mod photo;
pub mod program;
pub mod proxy;
pub mod rig;
pub mod seed;
pub mod store;
pub mod stranger;
pub mod torture;
pub mod web;
