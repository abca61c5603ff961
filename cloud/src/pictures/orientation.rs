//! The orientation of a picture: a camera that is mounted on its side, or a phone, says so in its Exif, and every
//! browser keeps to that. Pure.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{ImageDecoder, ImageFormat, ImageReader};
use keepsake_protocol::capture::ContentType;

/// Returns the orientation in the Exif data, upright if there is none.
pub(crate) fn of(decoder: &mut impl ImageDecoder) -> Orientation {
    decoder.orientation().unwrap_or(Orientation::NoTransforms)
}

/// Width and height that a viewer sees, from the beginning of the bytes; `None` = they do not say.
pub(crate) fn dimensions(bytes: &[u8], content_type: ContentType) -> Option<(u32, u32)> {
    let format = match content_type {
        ContentType::Jpeg => ImageFormat::Jpeg,
        ContentType::Png => ImageFormat::Png,
    };
    let mut decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder().ok()?;
    let orientation = of(&mut decoder);
    Some(oriented_size(orientation, decoder.dimensions()))
}

/// Width and height that a viewer sees: a picture may ask to be held on its side.
pub(crate) fn oriented_size(orientation: Orientation, (width, height): (u32, u32)) -> (u32, u32) {
    match orientation {
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => (width, height),
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => {
            (height, width)
        }
    }
}
