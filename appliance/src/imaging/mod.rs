//! Pictures in memory: their structure as JPEG, their Exif orientation, their size.

pub(crate) mod brightness;
mod codec;
mod exif;
pub(crate) mod frame;
pub(crate) mod jpeg;
pub(crate) mod reorient;
pub(crate) mod resize;
