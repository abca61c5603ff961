//! The push button: from edges on a pin to presses and holds.

pub(crate) mod press_or_hold;
pub(crate) mod thread;
