//! Makes a picture fit: the owner's size budget and width, and the most the cloud takes.
//!
//! Happens before the picture is saved, once: what is on the card is what is sent. A picture that fits already is
//! passed on byte for byte. Blocks for a decode and a few encodes, so it belongs on the camera's thread.

use fast_image_resize::images::Image;
use fast_image_resize::{PixelType, Resizer};
use image::RgbImage;
use keepsake_protocol::capture::ContentType;

use super::codec::{ImagingError, decode, encode, metadata_segments};
use super::jpeg::insert_segments;
use crate::imaging::frame::Frame;

/// Tried in turn before pixels are given up: below the last one a smaller picture looks better.
const QUALITIES: [u8; 3] = [85, 72, 58];

/// So often is a picture made smaller before it counts as impossible.
const SCALES_MAX: u32 = 10;
/// A picture of fewer pixels a side shows nothing.
const SIDE_MIN: u32 = 16;

/// The frame itself if it fits, else a JPEG of it that does.
///
/// `bytes_max`: the most bytes. `width_max`: the most pixels across, 0 = any number. `quality`: JPEG quality at the most,
/// 1 to 100; a picture that fits is re-encoded where that saves bytes; 0 = only if it does not fit. Exif and short
/// comments are carried over, so that its origin survives; a re-encoded picture is upright.
pub(crate) fn fit_to_budget(frame: Frame, bytes_max: u64, width_max: u32, quality: u8) -> Result<Frame, ImagingError> {
    if fits(&frame, bytes_max, width_max) {
        return Ok(match quality {
            0 => frame,
            1.. => recompress(frame, quality),
        });
    }
    let mut qualities = QUALITIES.map(|tried| match quality {
        0 => tried,
        most => tried.min(most),
    });
    qualities.sort_unstable_by(|a, b| b.cmp(a));
    let pixels = decode(&frame)?;
    let kept = metadata_segments(&frame, bytes_max / 8);
    let room = bytes_max.saturating_sub(kept.len() as u64);
    let full = (pixels.width(), pixels.height());
    let mut scale = 1.0;
    if width_max > 0 {
        scale = (f64::from(width_max) / f64::from(full.0)).min(1.0);
    }
    for _ in 0..SCALES_MAX {
        let (width, height) = (scaled(full.0, scale), scaled(full.1, scale));
        let smaller = resize(&pixels, width, height)?;
        let mut smallest = u64::MAX;
        for (at, quality) in qualities.into_iter().enumerate() {
            if at > 0 && quality == qualities[at - 1] {
                continue;
            }
            let jpeg = encode(&smaller, quality)?;
            smallest = smallest.min(jpeg.len() as u64);
            if smallest <= room {
                return Ok(Frame {
                    bytes: insert_segments(&jpeg, &kept),
                    content_type: ContentType::Jpeg,
                    width,
                    height,
                });
            }
        }
        if width.max(height) <= SIDE_MIN {
            break;
        }
        // Bytes go with the area; a little less, or the next try would fail by a hair. Never a tiny step, never a leap.
        #[expect(clippy::cast_precision_loss, reason = "a ratio needs no more than 53 bits")]
        let share = (room as f64 / smallest as f64).sqrt();
        scale *= (share * 0.95).clamp(0.25, 0.9);
    }
    Err(ImagingError::TooLarge { bytes_max })
}

/// A picture that fits is never lost to the wish for a smaller one.
fn recompress(frame: Frame, quality: u8) -> Frame {
    let kept = metadata_segments(&frame, u64::MAX);
    let smaller = decode(&frame).and_then(|pixels| encode(&pixels, quality));
    match smaller {
        Ok(jpeg) if jpeg.len() + kept.len() < frame.bytes.len() => Frame {
            bytes: insert_segments(&jpeg, &kept),
            content_type: ContentType::Jpeg,
            ..frame
        },
        Ok(_) => frame,
        Err(error) => {
            tracing::warn!(%error, "a frame keeps the quality it has");
            frame
        }
    }
}

fn fits(frame: &Frame, bytes_max: u64, width_max: u32) -> bool {
    frame.bytes.len() as u64 <= bytes_max && (width_max == 0 || frame.width <= width_max)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a side of at most 8192 pixels times at most 1"
)]
fn scaled(side: u32, scale: f64) -> u32 {
    ((f64::from(side) * scale).round() as u32).max(1)
}

fn resize(pixels: &RgbImage, width: u32, height: u32) -> Result<RgbImage, ImagingError> {
    if (width, height) == pixels.dimensions() {
        return Ok(pixels.clone());
    }
    let mut smaller = Image::new(width, height, PixelType::U8x3);
    let from =
        fast_image_resize::images::ImageRef::new(pixels.width(), pixels.height(), pixels.as_raw(), PixelType::U8x3)
            .expect("an RgbImage holds three bytes a pixel");
    Resizer::new().resize(&from, &mut smaller, None).map_err(ImagingError::Resize)?;
    Ok(RgbImage::from_raw(width, height, smaller.into_vec()).expect("the resized image holds three bytes a pixel"))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::ImageFormat;

    use super::*;
    use crate::imaging::jpeg::{check_jpeg, segments};

    /// A picture that compresses badly, with an Exif block and a comment.
    fn frame(width: u32, height: u32) -> Frame {
        let mut noise = 1u32;
        let pixels = RgbImage::from_fn(width, height, |x, y| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [grain, ..] = (noise >> 24).to_le_bytes();
            image::Rgb([grain, x.to_le_bytes()[0], y.to_le_bytes()[0]])
        });
        let exif = b"\xff\xe1\x00\x0aExif\0\0MM";
        let comment = b"\xff\xfe\x00\x07hello";
        let bytes = insert_segments(&encode(&pixels, 95).unwrap(), &[&exif[..], comment].concat());
        Frame { bytes, content_type: ContentType::Jpeg, width, height }
    }

    #[test]
    fn a_picture_that_fits_is_not_touched() {
        let frame = frame(320, 240);
        let len = frame.bytes.len() as u64;
        assert_eq!(fit_to_budget(frame.clone(), len, 320, 0).unwrap(), frame);
        assert_eq!(fit_to_budget(frame.clone(), u64::MAX, 0, 0).unwrap(), frame);
    }

    #[test]
    fn a_picture_that_does_not_fit_becomes_one_that_does() {
        let large = frame(800, 600);
        for (bytes_max, width_max) in [(200_000, 0), (60_000, 0), (9_000, 0), (1 << 30, 320)] {
            assert!(!fits(&large, bytes_max, width_max));
            let small = fit_to_budget(large.clone(), bytes_max, width_max, 0).unwrap();
            assert!(small.bytes.len() as u64 <= bytes_max, "{bytes_max}");
            let size = check_jpeg(&small.bytes).unwrap();
            assert_eq!(size, (small.width, small.height));
            assert!((size.0 * 3).abs_diff(size.1 * 4) <= 4, "the shape stays: {size:?}");
            if width_max > 0 {
                assert_eq!(size, (320, 240));
            }
            decode(&small).unwrap();
        }
    }

    #[test]
    fn exif_and_comments_survive() {
        let small = fit_to_budget(frame(400, 300), 20_000, 0, 0).unwrap();
        let found: Vec<u8> = segments(&small.bytes).flatten().map(|s| s.marker).collect();
        assert!(found.starts_with(&[0xe1, 0xfe]), "{found:x?}");
    }

    #[test]
    fn a_png_becomes_a_jpeg_that_fits() {
        let mut png = Cursor::new(Vec::new());
        RgbImage::from_fn(300, 200, |x, y| image::Rgb([x.to_le_bytes()[0], y.to_le_bytes()[0], 7]))
            .write_to(&mut png, ImageFormat::Png)
            .unwrap();
        let png = Frame {
            bytes: png.into_inner(),
            content_type: ContentType::Png,
            width: 300,
            height: 200,
        };
        let small = fit_to_budget(png, 1 << 30, 100, 0).unwrap();
        assert_eq!(small.content_type, ContentType::Jpeg);
        assert_eq!((small.width, small.height), (100, 67));
    }

    #[test]
    fn what_cannot_fit_is_an_error_and_not_a_loop() {
        let large = frame(400, 300);
        let error = fit_to_budget(large.clone(), 100, 0, 0).unwrap_err();
        assert!(matches!(error, ImagingError::TooLarge { .. }), "{error}");
        let noise = Frame { bytes: vec![0xff; 50_000], ..large };
        let error = fit_to_budget(noise, 10_000, 0, 0).unwrap_err();
        assert!(matches!(error, ImagingError::Decode { .. }), "{error}");
    }

    #[test]
    fn a_decompression_bomb_is_not_unpacked() {
        let mut bomb = frame(64, 64);
        // The size in the frame header: 65,535 x 65,535.
        let at = bomb.bytes.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        bomb.bytes[at + 5..at + 9].fill(0xff);
        let error = fit_to_budget(bomb, 100, 0, 0).unwrap_err();
        assert!(matches!(error, ImagingError::Decode { .. }), "{error}");
    }

    #[test]
    fn a_lower_quality_saves_bytes_and_nothing_else_changes() {
        let full = fit_to_budget(frame(400, 300), u64::MAX, 0, 0).unwrap();
        let high = fit_to_budget(full.clone(), u64::MAX, 0, 80).unwrap();
        let low = fit_to_budget(full.clone(), u64::MAX, 0, 30).unwrap();
        assert!(high.bytes.len() < full.bytes.len());
        assert!(low.bytes.len() < high.bytes.len());
        assert_eq!((low.width, low.height), (400, 300));
        assert_eq!(check_jpeg(&low.bytes).unwrap(), (400, 300));
        // What would not become smaller stays byte for byte, and so does what is no picture.
        assert_eq!(fit_to_budget(low.clone(), u64::MAX, 0, 95).unwrap(), low);
        let broken = Frame { bytes: full.bytes[..200].to_vec(), ..full.clone() };
        assert_eq!(fit_to_budget(broken.clone(), u64::MAX, 0, 30).unwrap(), broken);
        // A picture that has to be made smaller anyway does not come out better than was wished for.
        let narrow = |quality| fit_to_budget(full.clone(), u64::MAX, 200, quality).unwrap();
        assert!(narrow(30).bytes.len() < narrow(0).bytes.len());
    }
}
