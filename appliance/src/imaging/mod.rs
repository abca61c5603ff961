//! Pictures in memory: JPEG structure, Exif orientation and resizing.

pub mod exif;
pub mod jpeg;
pub mod resize;
