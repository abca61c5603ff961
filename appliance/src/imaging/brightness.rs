//! The mean brightness of a picture.

use std::io::Cursor;

use keepsake_protocol::capture::ContentType;

/// Mean brightness of a picture, 0 to 255; `None` = it does not decode.
pub(crate) fn brightness(bytes: &[u8], content_type: ContentType) -> Option<u8> {
    let format = match content_type {
        ContentType::Jpeg => image::ImageFormat::Jpeg,
        ContentType::Png => image::ImageFormat::Png,
    };
    // Bounded by the library: what would need more than half a gigabyte is refused.
    let picture = image::ImageReader::with_format(Cursor::new(bytes), format).decode().ok()?.into_rgb8();
    // One byte in 97 is enough, and as a prime it meets every colour and every column.
    let (sum, count) = picture
        .as_raw()
        .iter()
        .step_by(97)
        .fold((0u64, 0u64), |(sum, count), &level| (sum + u64::from(level), count + 1));
    u8::try_from(sum.checked_div(count)?).ok()
}
