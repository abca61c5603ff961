//! From what a driver hands out to a picture anybody can open. Pure.

use jpeg_encoder::{ColorType, Encoder, EncodingError, SamplingFactor};

use crate::shrink::{JpegError, check_jpeg, segments};

const QUALITY: u8 = 90;
const TABLES: u8 = 0xc4;
const SCAN: u8 = 0xda;

/// Whether a frame began after it was asked for. Up to four frames wait in the driver, older than the press.
///
/// `stamped_us`: by the driver, CLOCK_MONOTONIC; `None` = it uses another clock, then the first frames are passed over.
pub(super) fn is_fresh(
    stamped_us: Option<u64>,
    asked_us: u64,
    passed_over: u32,
    buffers: u32,
) -> bool {
    match stamped_us {
        Some(stamped) => stamped >= asked_us,
        None => passed_over >= buffers,
    }
}

/// A whole JPEG with its size from one frame of an MJPEG stream.
///
/// # Errors
/// The frame is cut or broken, as happens on a busy bus: take the next one.
pub(super) fn from_mjpeg(frame: &[u8]) -> Result<(Vec<u8>, u32, u32), JpegError> {
    let (width, height) = check_jpeg(frame)?;
    Ok((with_tables(frame)?, width, height))
}

/// Many USB cameras leave out the Huffman tables that everybody knows. Decoders and browsers do not know them.
fn with_tables(frame: &[u8]) -> Result<Vec<u8>, JpegError> {
    let mut scan_at = None;
    for segment in segments(frame) {
        let segment = segment?;
        match segment.marker {
            TABLES => return Ok(frame.to_vec()),
            SCAN => scan_at = Some(segment.at),
            _ => {}
        }
    }
    let (before, from_scan) = frame.split_at(scan_at.ok_or(JpegError::Broken)?);
    Ok([before, &standard_tables(), from_scan].concat())
}

/// The tables of ITU-T T.81 Annex K, taken from where they are written anyway: our own encoder uses them.
fn standard_tables() -> Vec<u8> {
    let mut jpeg = Vec::new();
    Encoder::new(&mut jpeg, QUALITY)
        .encode(&[0; 8 * 8 * 3], 8, 8, ColorType::Ycbcr)
        .expect("memory takes every byte of eight by eight pixels");
    segments(&jpeg)
        .flatten()
        .filter(|segment| segment.marker == TABLES)
        .flat_map(|segment| segment.bytes.to_vec())
        .collect()
}

/// How the bytes of a YUYV frame lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Yuyv {
    /// Pixels, even.
    pub(super) width: u16,
    pub(super) height: u16,
    /// Bytes from one line to the next, at least two a pixel.
    pub(super) stride: usize,
    /// 0 to 255 instead of the 16 to 235 of television.
    pub(super) full_range: bool,
}

/// # Errors
/// The encoder refuses the size. A frame that is too short gives `None`.
pub(super) fn from_yuyv(frame: &[u8], shape: Yuyv) -> Result<Option<Vec<u8>>, EncodingError> {
    let (width, height) = (usize::from(shape.width), usize::from(shape.height));
    let line_bytes = width * 2;
    if line_bytes == 0 || height == 0 || shape.stride < line_bytes {
        return Ok(None);
    }
    if frame.len() < shape.stride * (height - 1) + line_bytes {
        return Ok(None);
    }
    let luma = |y: u8| {
        if shape.full_range {
            y
        } else {
            stretched(y, 16, 219)
        }
    };
    let chroma = |c: u8| {
        if shape.full_range {
            c
        } else {
            stretched(c, 128, 224)
        }
    };
    let mut pixels = Vec::with_capacity(width * height * 3);
    for line in frame.chunks(shape.stride).take(height) {
        for pair in line[..line_bytes].chunks_exact(4) {
            let (u, v) = (chroma(pair[1]), chroma(pair[3]));
            pixels.extend_from_slice(&[luma(pair[0]), u, v, luma(pair[2]), u, v]);
        }
    }
    let mut jpeg = Vec::new();
    let mut encoder = Encoder::new(&mut jpeg, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::F_2_1);
    encoder.encode(&pixels, shape.width, shape.height, ColorType::Ycbcr)?;
    Ok(Some(jpeg))
}

/// Television levels to computer levels: luma from 16, chroma around 128, which stays in the middle.
fn stretched(level: u8, zero: i32, span: i32) -> u8 {
    let offset = if zero == 128 { 128 } else { 0 };
    let full = (i32::from(level) - zero) * 255 / span + offset;
    u8::try_from(full.clamp(0, 255)).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(jpeg: &[u8]) -> image::RgbImage {
        image::load_from_memory_with_format(jpeg, image::ImageFormat::Jpeg)
            .unwrap()
            .into_rgb8()
    }

    #[test]
    fn a_frame_from_before_the_press_is_passed_over() {
        assert!(!is_fresh(Some(999), 1000, 9, 4));
        assert!(is_fresh(Some(1000), 1000, 0, 4));
        assert!(!is_fresh(None, 1000, 3, 4));
        assert!(is_fresh(None, 1000, 4, 4));
    }

    #[test]
    fn a_frame_without_huffman_tables_can_be_opened() {
        let pixels: Vec<u8> = (0..32 * 16 * 3u32)
            .map(|n| (n * 7).to_le_bytes()[0])
            .collect();
        let mut whole = Vec::new();
        Encoder::new(&mut whole, 80)
            .encode(&pixels, 32, 16, ColorType::Rgb)
            .unwrap();
        let mut bare = vec![0xff, 0xd8];
        let mut scan_at = 0;
        for segment in segments(&whole).flatten() {
            match segment.marker {
                SCAN => scan_at = segment.at,
                TABLES => {}
                _ => bare.extend_from_slice(segment.bytes),
            }
        }
        bare.extend_from_slice(&whole[scan_at..]);
        assert!(image::load_from_memory_with_format(&bare, image::ImageFormat::Jpeg).is_err());
        let (mended, width, height) = from_mjpeg(&bare).unwrap();
        assert_eq!((width, height), (32, 16));
        assert_eq!(decoded(&mended), decoded(&whole));
        // One that has its tables is passed on byte for byte.
        assert_eq!(from_mjpeg(&whole).unwrap().0, whole);
        assert_eq!(from_mjpeg(&whole[..whole.len() / 2]), Err(JpegError::Cut));
    }

    #[test]
    fn yuyv_keeps_black_white_and_colour() {
        // Two lines of four pixels, with two bytes of padding: black, white; red, grey.
        let frame = [
            [16, 128, 16, 128, 235, 128, 235, 128, 7, 7],
            [81, 90, 81, 240, 126, 128, 126, 128, 7, 7],
        ];
        let line = |y: usize| frame[y].to_vec();
        // Eight lines of each, so that no block of the JPEG mixes them.
        let bytes: Vec<u8> = (0..16).flat_map(|y| line(y / 8)).collect();
        let shape = Yuyv {
            width: 4,
            height: 16,
            stride: 10,
            full_range: false,
        };
        let picture = decoded(&from_yuyv(&bytes, shape).unwrap().unwrap());
        for ((x, y), [r, g, b]) in [
            ((0, 2), [0u8, 0, 0]),
            ((3, 2), [255, 255, 255]),
            ((0, 13), [254, 0, 0]),
            ((3, 13), [128, 128, 128]),
        ] {
            let found = picture.get_pixel(x, y).0;
            for (found, wanted) in found.into_iter().zip([r, g, b]) {
                assert!(found.abs_diff(wanted) < 50, "{x},{y}: {found} for {wanted}");
            }
        }
        assert_eq!(from_yuyv(&bytes[..100], shape).unwrap(), None);
        let narrow = Yuyv { stride: 2, ..shape };
        assert_eq!(from_yuyv(&bytes, narrow).unwrap(), None);
    }
}
