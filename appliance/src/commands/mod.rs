//! The commands of the command line, one per file.

pub mod self_test;
