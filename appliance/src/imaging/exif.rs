//! How a picture wants to be held: the orientation in its Exif, read and written without touching a pixel.

use image::DynamicImage;
use image::metadata::Orientation;
use keepsake_protocol::capture::ContentType;

use super::jpeg::{Segment, segments};
use super::resize::{ShrinkError, decode, encode, kept_segments, with_segments};
use crate::hardware::Frame;

/// Of a JPEG made from one that was turned in its pixels; as good as cameras make them.
const QUALITY: u8 = 92;
const EXIF: &[u8] = b"Exif\0\0";
const EXIF_MARKER: u8 = 0xe1;
/// Marker and length stand before the content of a segment.
const HEAD: usize = 4;

/// The frame, held another way: `turn` is told how it is to be held now and says how it shall be. Its width and height
/// become those that a viewer sees.
///
/// A JPEG keeps its coded pixels. A PNG, and a JPEG whose Exif has no place for it, is made a JPEG that is upright. What
/// does not decode stays as it is: a picture that lies on its side is better than none.
pub(crate) fn oriented(mut frame: Frame, turn: impl FnOnce(Orientation) -> Orientation) -> Frame {
    let before = of(&frame);
    let wanted = turn(before);
    if wanted == before || write(&mut frame, wanted) {
        if lies(wanted) {
            (frame.width, frame.height) = (frame.height, frame.width);
        }
        return frame;
    }
    upright(&frame, wanted).unwrap_or_else(|error| {
        tracing::warn!(%error, "a frame stays as the camera holds it");
        frame
    })
}

/// As its Exif says.
pub(super) fn of(frame: &Frame) -> Orientation {
    exif(frame)
        .and_then(|segment| {
            let (at, order) = place_in(segment.bytes)?;
            let value = [segment.bytes[at], segment.bytes[at + 1]];
            let value = order.read(value);
            Orientation::from_exif(u8::try_from(value).ok()?)
        })
        .unwrap_or(Orientation::NoTransforms)
}

/// Makes a segment say that the picture is upright, if it says anything about it.
pub(super) fn set_upright(segment: &mut [u8]) {
    if let Some((at, order)) = place_in(segment) {
        let upright = order.write(Orientation::NoTransforms.to_exif().into());
        segment[at..at + 2].copy_from_slice(&upright);
    }
}

fn exif(frame: &Frame) -> Option<Segment<'_>> {
    if frame.content_type != ContentType::Jpeg {
        return None;
    }
    segments(&frame.bytes)
        .flatten()
        .find(|segment| segment.marker == EXIF_MARKER && segment.bytes[HEAD..].starts_with(EXIF))
}

/// Whether it could be written.
fn write(frame: &mut Frame, orientation: Orientation) -> bool {
    if frame.content_type != ContentType::Jpeg {
        return false;
    }
    let value = orientation.to_exif();
    let Some(segment) = exif(frame) else {
        if !frame.bytes.starts_with(&[0xff, 0xd8]) {
            return false;
        }
        frame.bytes = with_segments(&frame.bytes, &of_orientation_alone(value));
        return true;
    };
    let Some((at, order)) = place_in(segment.bytes) else {
        return false;
    };
    let at = segment.at + at;
    frame.bytes[at..at + 2].copy_from_slice(&order.write(value.into()));
    true
}

fn upright(frame: &Frame, orientation: Orientation) -> Result<Frame, ShrinkError> {
    let held = decode(frame)?;
    // Decoding has turned it as its Exif says, which is "not at all" or else there would be a place to write to.
    let mut image = DynamicImage::ImageRgb8(held);
    image.apply_orientation(orientation);
    let pixels = image.into_rgb8();
    let kept = kept_segments(frame, u64::MAX);
    Ok(Frame {
        bytes: with_segments(&encode(&pixels, QUALITY)?, &kept),
        content_type: ContentType::Jpeg,
        width: pixels.width(),
        height: pixels.height(),
    })
}

/// A quarter of a turn is part of it.
fn lies(orientation: Orientation) -> bool {
    match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => true,
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => false,
    }
}

/// Which end of a number comes first.
#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn read(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    fn write(self, value: u16) -> [u8; 2] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }
}

/// Where in a whole segment the two bytes of the orientation stand: the value of tag 0x0112 in the first directory.
fn place_in(segment: &[u8]) -> Option<(usize, Order)> {
    const TAG: u16 = 0x0112;
    const SHORT: u16 = 3;
    const ENTRY_BYTES: usize = 12;
    let tiff_at = HEAD + EXIF.len();
    let tiff = segment.get(tiff_at..)?;
    if !segment[HEAD..].starts_with(EXIF) {
        return None;
    }
    let order = match tiff.get(..4)? {
        b"II*\0" => Order::Little,
        b"MM\0*" => Order::Big,
        _ => return None,
    };
    let two = |at: usize| Some(order.read(tiff.get(at..at + 2)?.try_into().ok()?));
    let four: [u8; 4] = tiff.get(4..8)?.try_into().ok()?;
    let directory = match order {
        Order::Little => u32::from_le_bytes(four),
        Order::Big => u32::from_be_bytes(four),
    };
    // A segment has at most 64 KiB.
    let directory = usize::from(u16::try_from(directory).ok()?);
    let entries = usize::from(two(directory)?);
    (0..entries)
        .map(|n| directory + 2 + n * ENTRY_BYTES)
        .find(|&at| two(at) == Some(TAG) && two(at + 2) == Some(SHORT))
        .filter(|&at| tiff.len() >= at + ENTRY_BYTES)
        .map(|at| (tiff_at + at + 8, order))
}

/// A segment that says nothing else.
fn of_orientation_alone(value: u8) -> Vec<u8> {
    let tiff = [
        &b"MM\0*\0\0\0\x08"[..],
        // One entry: the orientation, one short number. No other directory.
        &[0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, value, 0, 0],
        &[0; 4],
    ]
    .concat();
    let length = u16::try_from(2 + EXIF.len() + tiff.len()).expect("it has 34 bytes");
    [&[0xff, EXIF_MARKER][..], &length.to_be_bytes(), EXIF, &tiff].concat()
}

#[cfg(test)]
mod tests {
    use image::ImageDecoder as _;
    use proptest::prelude::*;

    use super::*;
    use crate::imaging::jpeg::check_jpeg;
    use crate::imaging::resize::to_budget;

    /// 48 x 32 with whatever stands before its tables.
    fn frame(segment: &[u8]) -> Frame {
        let pixels = image::RgbImage::from_fn(48, 32, |x, y| {
            image::Rgb([x.to_le_bytes()[0] * 4, y.to_le_bytes()[0] * 6, 9])
        });
        Frame {
            bytes: with_segments(&encode(&pixels, 90).unwrap(), segment),
            content_type: ContentType::Jpeg,
            width: 48,
            height: 32,
        }
    }

    fn read_by_another(frame: &Frame) -> Orientation {
        let reader = image::ImageReader::new(std::io::Cursor::new(&frame.bytes));
        let mut decoder = reader
            .with_guessed_format()
            .unwrap()
            .into_decoder()
            .unwrap();
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
        [&[0xff, 0xe1][..], &length, EXIF, &tiff].concat()
    }

    #[test]
    fn what_is_written_is_what_others_read() {
        for value in 1..=8 {
            let wanted = Orientation::from_exif(value).unwrap();
            for before in [vec![], of_orientation_alone(6), little_endian(8)] {
                let turned = oriented(frame(&before), |_| wanted);
                assert_eq!(read_by_another(&turned), wanted);
                assert_eq!(of(&turned), wanted);
                assert_eq!(check_jpeg(&turned.bytes), Ok((48, 32)));
                let seen = if lies(wanted) { (32, 48) } else { (48, 32) };
                assert_eq!((turned.width, turned.height), seen);
            }
        }
    }

    #[test]
    fn an_exif_without_a_place_for_it_makes_the_pixels_turn() {
        let other = b"\xff\xe1\x00\x16Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0";
        let turned = oriented(frame(other), |_| Orientation::Rotate90);
        assert_eq!(check_jpeg(&turned.bytes), Ok((32, 48)));
        assert_eq!((turned.width, turned.height), (32, 48));
        assert_eq!(read_by_another(&turned), Orientation::NoTransforms);
    }

    #[test]
    fn what_does_not_decode_is_kept_as_it_is() {
        let noise = Frame {
            bytes: vec![7; 100],
            ..frame(&[])
        };
        assert_eq!(oriented(noise.clone(), |_| Orientation::Rotate90), noise);
    }

    #[test]
    fn a_turned_picture_that_is_made_smaller_is_upright() {
        let turned = frame(&little_endian(6));
        let turned = oriented(turned, |before| before);
        let small = to_budget(turned, u64::MAX, 16, 0).unwrap();
        assert_eq!((small.width, small.height), (16, 24));
        assert_eq!(check_jpeg(&small.bytes), Ok((16, 24)));
        assert_eq!(read_by_another(&small), Orientation::NoTransforms);
        // The rest of its Exif is still there.
        assert!(exif(&small).is_some());
    }

    proptest! {
        #[test]
        fn no_exif_makes_the_search_panic(tiff in proptest::collection::vec(any::<u8>(), 0..80), head in 0..3usize) {
            let head: &[u8] = [&b""[..], b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"][head];
            let mut segment = [&[0xff, 0xe1, 0, 0][..], EXIF, head, &tiff].concat();
            set_upright(&mut segment);
            let _ = place_in(&segment[..segment.len().min(HEAD)]);
        }
    }
}
