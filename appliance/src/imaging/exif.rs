//! The orientation in the Exif of a picture, read and written without touching a pixel.

use image::metadata::Orientation;
use keepsake_protocol::capture::ContentType;

use super::jpeg::{Segment, insert_segments, segments};
use crate::imaging::frame::Frame;

pub(super) const EXIF: &[u8] = b"Exif\0\0";
const EXIF_MARKER: u8 = 0xe1;
/// Marker and length stand before the content of a segment.
const HEAD: usize = 4;

/// Returns the orientation that its Exif states.
pub(super) fn orientation(frame: &Frame) -> Orientation {
    find_exif(frame)
        .and_then(|segment| Orientation::from_exif_chunk(&segment.bytes[HEAD + EXIF.len()..]))
        .unwrap_or(Orientation::NoTransforms)
}

/// Makes a segment say that the picture is upright, if it says anything about it.
pub(super) fn set_upright(segment: &mut [u8]) {
    if let Some(exif) = segment.get_mut(HEAD + EXIF.len()..) {
        let _ = Orientation::remove_from_exif_chunk(exif);
    }
}

pub(super) fn find_exif(frame: &Frame) -> Option<Segment<'_>> {
    if frame.content_type != ContentType::Jpeg {
        return None;
    }
    segments(&frame.bytes)
        .flatten()
        .find(|segment| segment.marker == EXIF_MARKER && segment.bytes[HEAD..].starts_with(EXIF))
}

/// Returns true if it could be written.
pub(super) fn write_orientation(frame: &mut Frame, orientation: Orientation) -> bool {
    if frame.content_type != ContentType::Jpeg {
        return false;
    }
    let value = orientation.to_exif();
    let Some(segment) = find_exif(frame) else {
        if !frame.bytes.starts_with(&[0xff, 0xd8]) {
            return false;
        }
        frame.bytes = insert_segments(&frame.bytes, &orientation_segment(value));
        return true;
    };
    let Some((at, little)) = orientation_offset(segment.bytes) else {
        return false;
    };
    let at = segment.at + at;
    frame.bytes[at..at + 2].copy_from_slice(&if little { [value, 0] } else { [0, value] });
    true
}

/// A quarter of a turn is part of it.
pub(super) fn swaps_axes(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// Returns the offset of the two bytes of the orientation in a whole segment, the value of tag 0x0112 in the first
/// directory, and true if numbers are little-endian.
fn orientation_offset(segment: &[u8]) -> Option<(usize, bool)> {
    const TAG: u32 = 0x0112;
    const SHORT: u32 = 3;
    const ENTRY_BYTES: usize = 12;
    let tiff_at = HEAD + EXIF.len();
    let tiff = segment.get(tiff_at..)?;
    if !segment[HEAD..].starts_with(EXIF) {
        return None;
    }
    let little = match tiff.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let number = |at: usize, bytes: usize| {
        let bytes = tiff.get(at..at + bytes)?.iter();
        let add = |sum: u32, byte: &u8| sum << 8 | u32::from(*byte);
        Some(if little {
            bytes.rev().fold(0, add)
        } else {
            bytes.fold(0, add)
        })
    };
    // A segment has at most 64 KiB.
    let directory = usize::from(u16::try_from(number(4, 4)?).ok()?);
    let entries = usize::try_from(number(directory, 2)?).ok()?;
    (0..entries)
        .map(|n| directory + 2 + n * ENTRY_BYTES)
        .find(|&at| number(at, 2) == Some(TAG) && number(at + 2, 2) == Some(SHORT))
        .filter(|&at| tiff.len() >= at + ENTRY_BYTES)
        .map(|at| (tiff_at + at + 8, little))
}

/// A segment that says nothing else.
pub(super) fn orientation_segment(value: u8) -> Vec<u8> {
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
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_exif_makes_the_search_panic(tiff in proptest::collection::vec(any::<u8>(), 0..80), head in 0..3usize) {
            let head: &[u8] = [&b""[..], b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"][head];
            let mut segment = [&[0xff, 0xe1, 0, 0][..], EXIF, head, &tiff].concat();
            set_upright(&mut segment);
            let _ = orientation_offset(&segment[..segment.len().min(HEAD)]);
        }
    }
}
