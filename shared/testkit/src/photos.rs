//! Photographs: the real ones of `photos/`, larger ones made from them, and a comparison with stored pictures.

use std::fs;
use std::path::{Path, PathBuf};

use keepsake_protocol::{Hash, SpoolId};
use serde_json::{Value, json};

use crate::seed::Seed;

/// Returns the directory of the real photographs.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("photos")
}

/// Returns every photograph of a directory.
pub fn all(folder: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("read {}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "jpg"))
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Returns the real photograph with this name.
pub fn named(name: &str) -> Vec<u8> {
    fs::read(folder().join(format!("{name}.jpg"))).unwrap()
}

/// Writes photographs into a new directory, from which a camera takes them in this order.
pub fn album<T: AsRef<[u8]>>(folder: &Path, photos: &[T]) -> PathBuf {
    fs::create_dir(folder).unwrap();
    for (number, photo) in photos.iter().enumerate() {
        fs::write(folder.join(format!("{number}.jpg")), photo).unwrap();
    }
    folder.to_owned()
}

/// Returns the photograph with noise in application segments so that it is `bytes` long: decoders show the same
/// picture, and it does not compress.
pub fn enlarge(photo: &[u8], bytes: usize, seed: &mut Seed) -> Vec<u8> {
    let (start, rest) = photo.split_at(2);
    assert_eq!(start, b"\xff\xd8", "a JPEG starts with SOI");
    let mut large = start.to_vec();
    while large.len() + rest.len() < bytes {
        let noise = seed.bytes((bytes - large.len() - rest.len()).clamp(16, 65_000));
        let length = u16::try_from(noise.len() + 2).expect("at most 65,002");
        large.extend_from_slice(b"\xff\xeb");
        large.extend_from_slice(&length.to_be_bytes());
        large.extend_from_slice(&noise);
    }
    large.extend_from_slice(rest);
    large
}

/// Returns the photograph without its comments: a simulated camera writes a number into one, which makes every frame
/// unique.
pub fn without_comments(jpeg: &[u8]) -> Vec<u8> {
    let mut rest = jpeg;
    let mut kept = Vec::with_capacity(jpeg.len());
    // SOI has no length; segments of a marker and a length follow until the scan starts.
    let Some((start, after)) = rest.split_at_checked(2).filter(|(s, _)| *s == b"\xff\xd8") else {
        return jpeg.to_vec();
    };
    kept.extend_from_slice(start);
    rest = after;
    while let [0xff, marker, high, low, ..] = *rest {
        if marker == 0xda {
            break;
        }
        let length = 2 + usize::from(u16::from_be_bytes([high, low]));
        let Some((segment, after)) = rest.split_at_checked(length) else {
            break;
        };
        if marker != 0xfe {
            kept.extend_from_slice(segment);
        }
        rest = after;
    }
    kept.extend_from_slice(rest);
    kept
}

/// Returns the header of a frame with the whole picture, as JSON that a test can change.
pub fn frame_header(spool: SpoolId, sequence: u64, picture: &[u8]) -> Value {
    json!({
        "install": spool, "sequence": sequence, "hash": Hash::of(picture), "total": picture.len(),
        "content_type": "image/jpeg", "width": 1, "height": 1, "cause": "button",
        "pressed": {"boot": "b0".repeat(16), "boottime_us": 1, "wall_us": 2, "synchronised": false},
        "captured_after_us": 0, "offset": 0, "len": picture.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_comment_is_taken_out() {
        for photo in all(&folder()) {
            let commented = [&photo[..2], b"\xff\xfe\x00\x0512 ", &photo[2..]].concat();
            assert_eq!(without_comments(&commented), without_comments(&photo));
            let mut other = commented;
            *other.last_mut().unwrap() ^= 1;
            assert_ne!(without_comments(&other), without_comments(&photo));
        }
        for odd in [&b""[..], b"\xff", b"\xff\xd8", b"\xff\xd8\xff\xfe\xff\xff"] {
            without_comments(odd);
        }
    }

    #[test]
    fn a_photograph_is_as_large_as_asked_for() {
        let photo = &all(&folder())[0];
        let mut seed = Seed::from_env_or_random("enlarged");
        let large = enlarge(photo, 8_000_000, &mut seed);
        assert!((8_000_000..8_070_000).contains(&large.len()));
    }
}
