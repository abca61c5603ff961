//! The LED: decides which pattern it shows, and plays it.

pub mod handle;
pub mod indicator;
pub mod player;
pub mod stopped;
