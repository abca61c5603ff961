//! Facts and images derived from a stored picture: its thumbnail, its orientation and its capture time.

pub(crate) mod orientation;
pub mod taken;
pub mod thumbnail;
