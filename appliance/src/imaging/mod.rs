//! Pictures in memory: their structure as JPEG, their Exif orientation, their size.

pub(crate) mod brightness;
mod codec;
mod exif;
pub mod frame;
pub mod jpeg;
pub(crate) mod reorient;
pub mod resize;
