//! Brokers, databases and Python from other makers, run as private children on loopback.
//!
//! Each listens on a port below the kernel's own range and keeps its files in the directory of the test. It is found on
//! the system or fetched by [`crate::prefix`]. Nothing is installed and no service of the system is touched. A test
//! that needs a server this machine cannot have is reported by [`crate::skip`].

pub mod database;
mod database_program;
mod installation;
pub mod mosquitto;
pub mod python;
