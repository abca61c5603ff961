//! The LED: decides which pattern it shows, and plays it.

pub(crate) mod handle;
pub(crate) mod indicator;
pub(crate) mod player;
pub(crate) mod stopped;
