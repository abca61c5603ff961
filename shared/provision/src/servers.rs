//! Brokers and databases that are not ours, run as their own makers built them.
//!
//! Each runs as a child of the test, on loopback and a port below the kernel's own range, with its files in the folder of
//! the test: it is found on the system, or fetched by [`debian`] into a cache below `target/`. Nothing is installed and no
//! service of the system is touched. What cannot be had on a machine is said loudly by [`crate::not_run`].

pub mod database;
pub mod debian;
pub mod deployed;
pub mod mariadb;
pub mod mosquitto;
pub mod mysql;
pub mod python;
pub mod qemu;
