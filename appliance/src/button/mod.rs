//! The push button: from edges on a pin to presses and holds.

pub(crate) mod gesture;
pub(crate) mod thread;
