//! Turns and mirrors a picture, in its Exif where that is possible and in its pixels where it is not.

use image::DynamicImage;
use image::metadata::Orientation;
use keepsake_protocol::capture::ContentType;

use super::codec::{ImagingError, decode, encode, metadata_segments};
use super::exif;
use super::frame::Frame;
use super::jpeg::insert_segments;

/// The quality of a JPEG whose pixels were turned; as good as cameras make them.
const QUALITY: u8 = 92;

/// The frame, held another way: `turn` is told how it is to be held now and says how it shall be. Its width and height
/// become those that a viewer sees.
///
/// A JPEG keeps its coded pixels. A PNG, and a JPEG whose Exif has no place for it, is made a JPEG that is upright. What
/// does not decode stays as it is: a picture that lies on its side is better than none.
pub(crate) fn reorient(mut frame: Frame, turn: impl FnOnce(Orientation) -> Orientation) -> Frame {
    let before = exif::orientation(&frame);
    let wanted = turn(before);
    if wanted == before || exif::write_orientation(&mut frame, wanted) {
        if exif::swaps_axes(wanted) {
            (frame.width, frame.height) = (frame.height, frame.width);
        }
        return frame;
    }
    upright(&frame, wanted).unwrap_or_else(|error| {
        tracing::warn!(%error, "a frame stays as the camera holds it");
        frame
    })
}

fn upright(frame: &Frame, orientation: Orientation) -> Result<Frame, ImagingError> {
    let held = decode(frame)?;
    // Decoding has turned it as its Exif says, which is "not at all" or else there would be a place to write to.
    let mut image = DynamicImage::ImageRgb8(held);
    image.apply_orientation(orientation);
    let pixels = image.into_rgb8();
    let kept = metadata_segments(frame, u64::MAX);
    Ok(Frame {
        bytes: insert_segments(&encode(&pixels, QUALITY)?, &kept),
        content_type: ContentType::Jpeg,
        width: pixels.width(),
        height: pixels.height(),
    })
}

#[cfg(test)]
mod tests {
    use image::ImageDecoder as _;

    use super::*;
    use crate::imaging::jpeg::check_jpeg;
    use crate::imaging::resize::fit_to_budget;

    /// 48 x 32 with whatever stands before its tables.
    fn frame(segment: &[u8]) -> Frame {
        let pixels =
            image::RgbImage::from_fn(48, 32, |x, y| image::Rgb([x.to_le_bytes()[0] * 4, y.to_le_bytes()[0] * 6, 9]));
        Frame {
            bytes: insert_segments(&encode(&pixels, 90).unwrap(), segment),
            content_type: ContentType::Jpeg,
            width: 48,
            height: 32,
        }
    }

    fn read_by_another(frame: &Frame) -> Orientation {
        let reader = image::ImageReader::new(std::io::Cursor::new(&frame.bytes));
        let mut decoder = reader.with_guessed_format().unwrap().into_decoder().unwrap();
        decoder.orientation().unwrap()
    }

    /// An Exif of little-endian numbers, with a tag before ours.
    fn little_endian(value: u8) -> Vec<u8> {
        let tiff = [
            &b"II*\0\x08\0\0\0\x02\0"[..],
            &[0x0f, 0x01, 2, 0, 4, 0, 0, 0, b'P', b'i', 0, 0],
            &[0x12, 0x01, 3, 0, 1, 0, 0, 0, value, 0, 0, 0],
            &[0; 4],
        ]
        .concat();
        let length = u16::try_from(8 + tiff.len()).unwrap().to_be_bytes();
        [&[0xff, 0xe1][..], &length, exif::EXIF, &tiff].concat()
    }

    #[test]
    fn what_is_written_is_what_others_read() {
        for value in 1..=8 {
            let wanted = Orientation::from_exif(value).unwrap();
            for before in [vec![], exif::orientation_segment(6), little_endian(8)] {
                let turned = reorient(frame(&before), |_| wanted);
                assert_eq!(read_by_another(&turned), wanted);
                assert_eq!(exif::orientation(&turned), wanted);
                assert_eq!(check_jpeg(&turned.bytes), Ok((48, 32)));
                let seen = if exif::swaps_axes(wanted) { (32, 48) } else { (48, 32) };
                assert_eq!((turned.width, turned.height), seen);
            }
        }
    }

    #[test]
    fn an_exif_without_a_place_for_it_makes_the_pixels_turn() {
        let other = b"\xff\xe1\x00\x16Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0";
        let turned = reorient(frame(other), |_| Orientation::Rotate90);
        assert_eq!(check_jpeg(&turned.bytes), Ok((32, 48)));
        assert_eq!((turned.width, turned.height), (32, 48));
        assert_eq!(read_by_another(&turned), Orientation::NoTransforms);
    }

    #[test]
    fn what_does_not_decode_is_kept_as_it_is() {
        let noise = Frame { bytes: vec![7; 100], ..frame(&[]) };
        assert_eq!(reorient(noise.clone(), |_| Orientation::Rotate90), noise);
    }

    #[test]
    fn a_turned_picture_that_is_made_smaller_is_upright() {
        let turned = frame(&little_endian(6));
        let turned = reorient(turned, |before| before);
        let small = fit_to_budget(turned, u64::MAX, 16, 0).unwrap();
        assert_eq!((small.width, small.height), (16, 24));
        assert_eq!(check_jpeg(&small.bytes), Ok((16, 24)));
        assert_eq!(read_by_another(&small), Orientation::NoTransforms);
        // The rest of its Exif is still there.
        assert!(exif::find_exif(&small).is_some());
    }
}
