//! Facts and images derived from a stored picture: its thumbnail, its orientation and its capture time.

pub mod capture_time;
pub(crate) mod drawing;
pub(crate) mod orientation;
pub mod thumbnail;
