//! Pictures of the sizes that cameras send: real JPEGs, each different from all others.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use keepsake_testkit::photos;
use keepsake_testkit::seed::Seed;

/// A size of pictures: its name, dimensions in pixels, and length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub name: &'static str,
    pub width: u32,
    pub height: u32,
    pub bytes: usize,
}

/// The small pictures of a camera with little bandwidth.
pub const SMALL: Size = Size { name: "23 KB", width: 640, height: 480, bytes: 23_000 };
/// The usual size.
pub const MEDIUM: Size = Size { name: "150 KB", width: 1280, height: 720, bytes: 150_000 };
/// The largest of the camera module 2.
pub const LARGE: Size = Size { name: "2 MB", width: 3280, height: 2464, bytes: 2_000_000 };

/// The start of a JPEG with a comment of eight bytes, which numbers the picture.
const NUMBERED_START: [u8; 6] = [0xff, 0xd8, 0xff, 0xfe, 0, 10];

/// The length of that comment: marker, length, number.
const COMMENT_BYTES: usize = 12;

/// A JPEG of which any number of different copies can be made quickly.
#[derive(Debug, Clone)]
pub struct Original(Vec<u8>);

impl Original {
    /// Makes one from a photograph: the best quality that is not longer than `size.bytes`, and noise up to there.
    pub fn new(size: Size) -> Self {
        let photo = image::load_from_memory(&photos::named("coffee")).expect("a photograph of the test kit");
        let photo = photo.resize_exact(size.width, size.height, FilterType::Triangle).into_rgb8();
        let encode = |quality: u8| {
            let mut jpeg = Cursor::new(Vec::new());
            let encoder = JpegEncoder::new_with_quality(&mut jpeg, quality);
            photo.write_with_encoder(encoder).expect("a picture in memory can be encoded");
            jpeg.into_inner()
        };
        let room = size.bytes - COMMENT_BYTES;
        let jpeg = (1..=19).rev().map(|step| encode(step * 5)).find(|jpeg| jpeg.len() <= room);
        let jpeg = photos::enlarge(&jpeg.expect("the lowest quality is small"), room, &mut Seed::new(1));
        Self([&NUMBERED_START[..], &[0; 8], &jpeg[2..]].concat())
    }

    /// Returns the copy with this number.
    pub fn copy(&self, number: u64) -> Vec<u8> {
        let mut copy = self.0.clone();
        copy[NUMBERED_START.len()..][..8].copy_from_slice(&number.to_be_bytes());
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_differ_and_are_decodable_pictures_of_their_size() {
        for size in [SMALL, MEDIUM] {
            let original = Original::new(size);
            let copies = [1, 2].map(|number| original.copy(number));
            assert_ne!(copies[0], copies[1]);
            for copy in copies {
                assert!(copy.len().abs_diff(size.bytes) < 100, "{} is {} bytes long", size.name, copy.len());
                let decoded = image::load_from_memory(&copy).unwrap();
                assert_eq!((decoded.width(), decoded.height()), (size.width, size.height));
            }
        }
    }
}
