//! The structure of a JPEG file: enough to see that it is whole and how large it is, without decoding it.
//!
//! A decoder accepts a file that was cut in half and paints the rest grey. A camera that hands out such a frame should
//! be asked again, so the markers are followed from the first to the last.

/// Why the bytes are no whole JPEG.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JpegError {
    #[error("read a JPEG: it does not begin as one")]
    NoStart,
    #[error("read a JPEG: a segment is broken")]
    Broken,
    #[error("read a JPEG: it says no size")]
    NoSize,
    #[error("read a JPEG: it was cut off")]
    Cut,
}

/// A marker with its length and content, before the picture's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment<'a> {
    pub(crate) marker: u8,
    /// Its offset in the file.
    pub(crate) at: usize,
    /// All of it: two bytes of marker, two of length, content.
    pub(crate) bytes: &'a [u8],
}

const START: u8 = 0xd8;
const END: u8 = 0xd9;
const SCAN: u8 = 0xda;

/// The segments from the start to the first scan, which is the last one given.
pub(crate) fn segments(jpeg: &[u8]) -> impl Iterator<Item = Result<Segment<'_>, JpegError>> {
    let mut at = Some(2);
    if !jpeg.starts_with(&[0xff, 0xd8]) {
        at = None;
    }
    std::iter::from_fn(move || {
        let segment = segment_at(jpeg, at?);
        at = match &segment {
            Ok(segment) if segment.marker == SCAN => None,
            Ok(segment) => Some(segment.at + segment.bytes.len()),
            Err(_) => None,
        };
        Some(segment)
    })
}

fn segment_at(jpeg: &[u8], at: usize) -> Result<Segment<'_>, JpegError> {
    let rest = jpeg.get(at..).ok_or(JpegError::Cut)?;
    // Any number of fill bytes may stand before a marker.
    let fill = rest.iter().take_while(|&&c| c == 0xff).count();
    let marker = *rest.get(fill).ok_or(JpegError::Cut)?;
    if fill == 0 {
        return Err(JpegError::Broken);
    }
    let at = at + fill - 1;
    let rest = &jpeg[at..];
    let has_length = !matches!(marker, 0x01 | 0xd0..=END);
    let length = if has_length {
        let length = rest.get(2..4).ok_or(JpegError::Cut)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        if length < 2 {
            return Err(JpegError::Broken);
        }
        2 + length
    } else {
        2
    };
    Ok(Segment { marker, at, bytes: rest.get(..length).ok_or(JpegError::Cut)? })
}

/// Width and height in pixels of a JPEG that is whole: every segment, and the end after the last scan. What follows
/// the end (padding of a driver, a second picture of a phone) does not matter.
///
/// # Errors
/// [`JpegError`]: ask the camera again.
pub(crate) fn check_jpeg(jpeg: &[u8]) -> Result<(u32, u32), JpegError> {
    match JpegScanner::default().feed(jpeg)? {
        Some(whole) => Ok(whole.size),
        None if jpeg.is_empty() => Err(JpegError::NoStart),
        None => Err(JpegError::Cut),
    }
}

/// Follows the markers of a JPEG that is still arriving, and takes up again where the bytes ended.
#[derive(Debug, Default)]
pub(crate) struct JpegScanner {
    /// The next marker, or the coded data, begins here.
    at: usize,
    in_scan: bool,
    size: Option<(u32, u32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Complete {
    /// Width and height, pixels.
    pub(crate) size: (u32, u32),
    /// Bytes from the start to the end marker, which is one of them.
    pub(crate) len: usize,
}

impl JpegScanner {
    /// Bytes that were followed: after an error, nothing before this can be the start of another picture.
    pub(crate) fn scanned(&self) -> usize {
        self.at
    }

    /// `jpeg`: all that is there so far, with what was given before at its beginning. `None` = the rest is still to come.
    ///
    /// # Errors
    /// No more bytes can make this a whole picture.
    pub(crate) fn feed(&mut self, jpeg: &[u8]) -> Result<Option<Complete>, JpegError> {
        if self.at == 0 {
            match jpeg {
                [0xff, 0xd8, ..] => self.at = 2,
                [] | [0xff] => return Ok(None),
                _ => return Err(JpegError::NoStart),
            }
        }
        loop {
            if self.in_scan {
                match end_of_scan(jpeg, self.at) {
                    Ok(marker_at) => (self.at, self.in_scan) = (marker_at, false),
                    Err(looked_until) => {
                        self.at = looked_until;
                        return Ok(None);
                    }
                }
            }
            let segment = match segment_at(jpeg, self.at) {
                Ok(segment) => segment,
                Err(JpegError::Cut) => return Ok(None),
                Err(error) => return Err(error),
            };
            self.at = segment.at + segment.bytes.len();
            match segment.marker {
                END => {
                    let size = self.size.ok_or(JpegError::NoSize)?;
                    return Ok(Some(Complete { size, len: self.at }));
                }
                // Another picture begins before this one has ended.
                START => {
                    self.at = segment.at;
                    return Err(JpegError::Cut);
                }
                SCAN => self.in_scan = true,
                // The frame headers; the three left out are tables and a reserved marker.
                0xc0..=0xcf if !matches!(segment.marker, 0xc4 | 0xc8 | 0xcc) => {
                    let Some(&[h1, h0, w1, w0]) = segment.bytes.get(5..9) else {
                        return Err(JpegError::Broken);
                    };
                    let (height, width) = (u16::from_be_bytes([h1, h0]), u16::from_be_bytes([w1, w0]));
                    if width == 0 || height == 0 {
                        return Err(JpegError::NoSize);
                    }
                    self.size = Some((u32::from(width), u32::from(height)));
                }
                _ => {}
            }
        }
    }
}

/// Returns the offset of the next marker after the coded data at `at`, or the offset to continue from once there is more.
fn end_of_scan(jpeg: &[u8], mut at: usize) -> Result<usize, usize> {
    loop {
        let rest = jpeg.get(at..).unwrap_or_default();
        at += rest.iter().position(|&c| c == 0xff).ok_or(jpeg.len())?;
        match jpeg.get(at + 1).ok_or(at)? {
            // A stuffed 0xff of the data, or a restart.
            0x00 | 0xd0..=0xd7 => at += 2,
            // A fill byte.
            0xff => at += 1,
            _ => return Ok(at),
        }
    }
}

pub(super) fn insert_segments(jpeg: &[u8], kept: &[u8]) -> Vec<u8> {
    let (start, rest) = jpeg.split_at(2);
    [start, kept, rest].concat()
}

#[cfg(test)]
mod tests {
    use jpeg_encoder::{ColorType, Encoder};
    use proptest::prelude::*;

    use super::*;

    fn jpeg(progressive: bool) -> Vec<u8> {
        let mut jpeg = Vec::new();
        let mut encoder = Encoder::new(&mut jpeg, 80);
        encoder.set_progressive(progressive);
        encoder.set_restart_interval(2);
        let pixels: Vec<u8> = (0..64 * 48 * 3u32).map(|n| (n * n).to_le_bytes()[0]).collect();
        encoder.encode(&pixels, 64, 48, ColorType::Rgb).unwrap();
        jpeg
    }

    #[test]
    fn a_whole_picture_says_its_size() {
        for progressive in [false, true] {
            let whole = jpeg(progressive);
            assert_eq!(check_jpeg(&whole), Ok((64, 48)));
            // Drivers hand out the whole buffer, with zeros behind the picture.
            assert_eq!(check_jpeg(&[&whole[..], &[0; 1000]].concat()), Ok((64, 48)));
        }
    }

    #[test]
    fn a_cut_picture_is_not_taken_for_a_whole_one() {
        for progressive in [false, true] {
            let whole = jpeg(progressive);
            for length in 0..whole.len() {
                assert!(check_jpeg(&whole[..length]).is_err(), "{length}");
            }
            let half = [&whole[..whole.len() / 2], &vec![0; whole.len()][..]].concat();
            assert!(check_jpeg(&half).is_err());
        }
    }

    #[test]
    fn a_picture_that_another_one_cuts_short_is_not_whole() {
        for progressive in [false, true] {
            let whole = jpeg(progressive);
            let half = &whole[..whole.len() / 2];
            assert_eq!(check_jpeg(&[half, &whole].concat()), Err(JpegError::Cut));
        }
    }

    #[test]
    fn a_picture_that_arrives_in_pieces_ends_where_it_ends() {
        for progressive in [false, true] {
            let whole = jpeg(progressive);
            let two = [&whole[..], &whole].concat();
            for piece in [1, 7, 100] {
                let mut walk = JpegScanner::default();
                let ends = (0..=two.len()).step_by(piece).find_map(|until| walk.feed(&two[..until]).unwrap());
                let len = whole.len();
                assert_eq!(ends, Some(Complete { size: (64, 48), len }), "{piece}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_walk_panic_or_loop(
            noise in proptest::collection::vec(any::<u8>(), 0..400), flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        ) {
            let _ = check_jpeg(&[&[0xff, 0xd8], &noise[..]].concat());
            let mut spoiled = jpeg(false);
            for (at, byte) in flips {
                let at = at.index(spoiled.len());
                spoiled[at] = byte;
            }
            let _ = check_jpeg(&spoiled);
            let _ = segments(&spoiled).count();
        }
    }
}
