//! Decodes and encodes pictures within bounds, and carries Exif and comments over.

use std::io::Cursor;

use image::{ImageFormat, ImageReader, Limits, RgbImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use keepsake_protocol::capture::ContentType;

use super::exif;
use super::frame::Frame;
use super::jpeg::{Segment, segments};

/// Larger pictures are not decoded; no camera for a Pi makes them, and they would not fit into its memory.
const SIDE_MAX: u32 = 8192;

const DECODED_BYTES_MAX: u64 = 224 << 20;

/// Why a picture does not become small enough. The frame is lost to `keepsake_protocol::event::Reason::FrameTooLarge`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImagingError {
    #[error("decode a frame of {bytes} bytes to make it smaller")]
    Decode {
        bytes: usize,
        #[source]
        source: image::ImageError,
    },
    #[error("resize a frame")]
    Resize(#[source] fast_image_resize::ResizeError),
    #[error("encode a frame")]
    Encode(#[source] jpeg_encoder::EncodingError),
    #[error("make a frame smaller than {bytes_max} bytes")]
    TooLarge { bytes_max: u64 },
}

/// Upright, whichever way it is to be held.
pub(super) fn decode(frame: &Frame) -> Result<RgbImage, ImagingError> {
    let format = match frame.content_type {
        ContentType::Jpeg => ImageFormat::Jpeg,
        ContentType::Png => ImageFormat::Png,
    };
    let mut reader = ImageReader::with_format(Cursor::new(&frame.bytes), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(DECODED_BYTES_MAX);
    reader.limits(limits);
    reader
        .decode()
        .map(|mut image| {
            image.apply_orientation(exif::orientation(frame));
            image.into_rgb8()
        })
        .map_err(|source| ImagingError::Decode { bytes: frame.bytes.len(), source })
}

pub(super) fn encode(pixels: &RgbImage, quality: u8) -> Result<Vec<u8>, ImagingError> {
    let side = |n: u32| u16::try_from(n).expect("decoding is limited to 8192 pixels a side");
    let mut jpeg = Vec::new();
    let mut encoder = Encoder::new(&mut jpeg, quality);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder
        .encode(pixels.as_raw(), side(pixels.width()), side(pixels.height()), ColorType::Rgb)
        .map_err(ImagingError::Encode)?;
    Ok(jpeg)
}

/// Exif and comments of at most 1 KiB, whole segments, as long as they stay within `bytes_max`. For pixels that are
/// upright.
pub(super) fn metadata_segments(frame: &Frame, bytes_max: u64) -> Vec<u8> {
    const COMMENT_BYTES_MAX: usize = 1 << 10;
    let mut kept = Vec::new();
    if frame.content_type != ContentType::Jpeg {
        return kept;
    }
    for Segment { marker, bytes, .. } in segments(&frame.bytes).flatten() {
        let exif = marker == 0xe1 && bytes.get(4..).is_some_and(|b| b.starts_with(b"Exif\0"));
        let comment = marker == 0xfe && bytes.len() <= COMMENT_BYTES_MAX;
        if (exif || comment) && (kept.len() + bytes.len()) as u64 <= bytes_max {
            let from = kept.len();
            kept.extend_from_slice(bytes);
            if exif {
                exif::set_upright(&mut kept[from..]);
            }
        }
    }
    kept
}
