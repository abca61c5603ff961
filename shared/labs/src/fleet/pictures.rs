//! The pictures of a fleet: one photograph of the wanted size, made unique for each camera and number.

use std::io::Cursor;

use image::ImageFormat;
use keepsake_testkit::photos;
use keepsake_testkit::seed::Seed;

/// The bytes in the noise of the first segment that make a picture unique: after SOI, a marker and a length.
const STAMP_AT: usize = 8;

pub(super) struct Pictures {
    photograph: Vec<u8>,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Pictures {
    pub(super) fn new(bytes: usize, seed: &mut Seed) -> Self {
        let mut photograph = photos::named("cat");
        let mut decoded = image::load_from_memory(&photograph).expect("a photograph can be decoded");
        // With room for a segment of noise.
        while photograph.len() + 64 > bytes && decoded.width() > 64 {
            decoded = decoded.thumbnail(decoded.width() / 4 * 3, decoded.height() / 4 * 3);
            photograph.clear();
            decoded
                .write_to(&mut Cursor::new(&mut photograph), ImageFormat::Jpeg)
                .expect("a photograph can be encoded");
        }
        Self {
            photograph: photos::enlarge(&photograph, bytes, seed),
            width: decoded.width(),
            height: decoded.height(),
        }
    }

    /// Returns the picture of a camera with this number.
    pub(super) fn picture(&self, camera: u32, number: u32) -> Vec<u8> {
        let mut picture = self.photograph.clone();
        picture[STAMP_AT..STAMP_AT + 4].copy_from_slice(&camera.to_be_bytes());
        picture[STAMP_AT + 4..STAMP_AT + 8].copy_from_slice(&number.to_be_bytes());
        picture
    }
}
