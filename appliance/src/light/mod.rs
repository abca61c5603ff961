//! The LED: decides which pattern it shows, and plays it.

pub mod indicator;
pub mod lamp;
pub mod player;
pub mod stopped;
