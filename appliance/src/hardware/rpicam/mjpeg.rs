//! A stream of bytes into pictures, however they are cut. Pure.

use crate::imaging::jpeg::JpegScanner;

/// More bytes without a picture are no stream of pictures.
const NOISE_BYTES_MAX: usize = 1 << 20;

/// Bounded by the largest picture and one read.
pub(super) struct MjpegSplitter {
    bytes: Vec<u8>,
    /// The size of the picture at the beginning of `bytes`.
    walk: Option<JpegScanner>,
    /// Since the last whole picture.
    noise: usize,
    picture_bytes_max: usize,
}

/// The next part of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A picture begins.
    Begun,
    /// It is whole: `len` bytes at the beginning, which [`MjpegSplitter::take`] or [`MjpegSplitter::skip`] removes.
    Whole { len: usize, size: (u32, u32) },
    /// It is none. The next may be.
    Broken,
    /// It is not whole yet, and above the bound already.
    TooLarge { bytes: usize },
    /// There were no pictures for too long.
    Noise,
}

impl MjpegSplitter {
    pub(super) fn new(picture_bytes_max: usize) -> Self {
        Self { bytes: Vec::new(), walk: None, noise: 0, picture_bytes_max }
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// `None`: more bytes are needed.
    pub(super) fn step(&mut self) -> Option<Step> {
        let Some(walk) = &mut self.walk else {
            return self.find_start();
        };
        match walk.feed(&self.bytes) {
            Ok(Some(whole)) => {
                self.walk = None;
                self.noise = 0;
                Some(Step::Whole { len: whole.len, size: whole.size })
            }
            Ok(None) if self.bytes.len() > self.picture_bytes_max => Some(Step::TooLarge { bytes: self.bytes.len() }),
            Ok(None) => None,
            Err(_) => {
                // Not to be found again.
                let broken = walk.scanned().max(2);
                self.walk = None;
                self.drop_noise(broken);
                Some(Step::Broken)
            }
        }
    }

    fn find_start(&mut self) -> Option<Step> {
        const START: [u8; 3] = [0xff, 0xd8, 0xff];
        if self.noise > NOISE_BYTES_MAX {
            return Some(Step::Noise);
        }
        let found = self.bytes.windows(START.len()).position(|w| w == START);
        // The last two bytes may be the first two of a start.
        let at = found.unwrap_or(self.bytes.len().saturating_sub(START.len() - 1));
        self.drop_noise(at);
        found.map(|_| {
            self.walk = Some(JpegScanner::default());
            Step::Begun
        })
    }

    fn drop_noise(&mut self, len: usize) {
        let len = len.min(self.bytes.len());
        self.noise += len;
        self.bytes.drain(..len);
    }

    pub(super) fn take(&mut self, len: usize) -> Vec<u8> {
        let rest = self.bytes.split_off(len.min(self.bytes.len()));
        std::mem::replace(&mut self.bytes, rest)
    }

    pub(super) fn skip(&mut self, len: usize) {
        self.bytes.drain(..len.min(self.bytes.len()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn jpeg(side: u16) -> Vec<u8> {
        let mut jpeg = Vec::new();
        let side = side.max(8);
        let pixels: Vec<u8> = (0..u32::from(side) * u32::from(side) * 3).map(|n| (n * n).to_le_bytes()[0]).collect();
        jpeg_encoder::Encoder::new(&mut jpeg, 80)
            .encode(&pixels, side, side, jpeg_encoder::ColorType::Rgb)
            .unwrap();
        jpeg
    }

    /// Every whole picture of a stream that comes in pieces, and how many were broken.
    fn split(stream: &[u8], piece: usize, bytes_max: usize) -> (Vec<Vec<u8>>, usize) {
        let mut splitter = MjpegSplitter::new(bytes_max);
        let (mut pictures, mut broken) = (Vec::new(), 0);
        for piece in stream.chunks(piece) {
            splitter.add(piece);
            while let Some(step) = splitter.step() {
                match step {
                    Step::Begun => {}
                    Step::Whole { len, .. } => pictures.push(splitter.take(len)),
                    Step::Broken => broken += 1,
                    Step::TooLarge { .. } | Step::Noise => return (pictures, broken),
                }
            }
        }
        (pictures, broken)
    }

    #[test]
    fn pictures_are_found_whatever_stands_between_them() {
        let (a, b) = (jpeg(16), jpeg(40));
        let half = &b[..b.len() / 2];
        for piece in [1, 13, 4096, usize::MAX] {
            let piece = piece.min(1 << 20);
            let stream = [&a[..], &b, b"noise \xff\xd8", &a].concat();
            let wanted = [a.clone(), b.clone(), a.clone()];
            let (found, broken) = split(&stream, piece, 1 << 20);
            assert!(found == wanted, "{} pictures", found.len());
            assert_eq!(broken, 1, "the start in the noise is one of no picture");
            // Half a picture does not swallow the one after it.
            let stream = [&a[..], half, &b, &a].concat();
            let (found, broken) = split(&stream, piece, 1 << 20);
            assert!(found == wanted, "{} pictures", found.len());
            assert_eq!(broken, 1);
        }
    }

    #[test]
    fn what_is_no_stream_of_pictures_ends_and_is_not_kept() {
        let mut splitter = MjpegSplitter::new(1 << 16);
        let noise = vec![b'x'; 1 << 16];
        let ended = (0..100).find_map(|_| {
            splitter.add(&noise);
            assert!(splitter.bytes.len() <= noise.len() + 2);
            splitter.step()
        });
        assert_eq!(ended, Some(Step::Noise));

        let mut splitter = MjpegSplitter::new(1000);
        splitter.add(&jpeg(16)[..300]);
        assert_eq!(splitter.step(), Some(Step::Begun));
        assert_eq!(splitter.step(), None);
        splitter.add(&[0; 1000]);
        assert!(matches!(splitter.step(), Some(Step::TooLarge { .. } | Step::Broken)));
    }

    proptest! {
        #[test]
        fn a_whole_picture_after_any_noise_is_found(
            noise in proptest::collection::vec(0..0xffu8, 0..300), piece in 1..500usize,
        ) {
            let picture = jpeg(16);
            let (found, _) = split(&[&noise[..], &picture].concat(), piece, 1 << 20);
            prop_assert!(found == [picture]);
        }

        #[test]
        fn no_stream_makes_it_panic_or_turn_in_circles(
            stream in proptest::collection::vec(prop_oneof![Just(0xffu8), Just(0xd8), Just(0xda), any::<u8>()], 0..600),
            piece in 1..100usize,
        ) {
            split(&stream, piece, 200);
        }
    }
}
