//! Rotation and mirroring, once, above every kind of camera.
//!
//! A JPEG stays what the camera made: its Exif says how to hold it, which browsers, phones and image libraries keep to,
//! and no pixel is decoded, let alone encoded twice (docs/decisions/0015-cameras.md). Width and height of the frame are
//! those that a viewer sees.

use std::time::Duration;

use image::metadata::Orientation;

use super::CameraError;
use crate::imaging::frame::Frame;
use crate::imaging::reorient;
use crate::settings::{self, Flip};

/// A camera whose frames are turned as the settings say.
pub(super) struct RotatedCamera {
    camera: Box<dyn super::Camera>,
    turn: Rotation,
}

impl RotatedCamera {
    pub(super) fn new(camera: Box<dyn super::Camera>, settings: &settings::CameraSettings) -> Self {
        Self { camera, turn: Rotation::from_settings(settings) }
    }
}

impl super::Camera for RotatedCamera {
    fn frame(&mut self, deadline: Duration) -> Result<Frame, CameraError> {
        let frame = self.camera.frame(deadline)?;
        Ok(reorient::reorient(frame, |before| self.turn.applied_to(before)))
    }

    fn prepare(&mut self, within: Duration) {
        self.camera.prepare(within);
    }

    fn configure(&mut self, settings: &settings::CameraSettings) {
        self.turn = Rotation::from_settings(settings);
        self.camera.configure(settings);
    }

    fn describe(&mut self) -> Vec<String> {
        self.camera.describe()
    }
}

/// A rotation with a mirror behind it: every way to lay a picture down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rotation {
    /// Quarters of a turn, clockwise, 0 to 3.
    quarters: u8,
    /// Left and right change places afterwards.
    mirrored: bool,
}

impl Rotation {
    fn from_settings(settings: &settings::CameraSettings) -> Self {
        let quarters = (settings.rotation_degrees / 90 % 4).to_le_bytes()[0];
        // Top and bottom change places by half a turn and a mirror.
        let (half_turns, mirrored) = match settings.flip {
            Flip::None => (0, false),
            Flip::Horizontal => (0, true),
            Flip::Vertical => (1, true),
            Flip::Both => (1, false),
        };
        Self { quarters: (quarters + 2 * half_turns) % 4, mirrored }
    }

    /// Returns the orientation for a viewer of a picture that asked for `before` already.
    fn applied_to(self, before: Orientation) -> Orientation {
        let before = Self::from_orientation(before);
        // Turning right before a mirror is turning left behind it.
        let quarters = if before.mirrored {
            before.quarters + 4 - self.quarters
        } else {
            before.quarters + self.quarters
        };
        Self {
            quarters: quarters % 4,
            mirrored: before.mirrored != self.mirrored,
        }
        .to_orientation()
    }

    fn from_orientation(orientation: Orientation) -> Self {
        let found = ORIENTATIONS.into_iter().find(|(of, ..)| *of == orientation);
        found
            .map(|(_, quarters, mirrored)| Self { quarters, mirrored })
            .expect("every orientation is listed")
    }

    fn to_orientation(self) -> Orientation {
        let found = ORIENTATIONS
            .into_iter()
            .find(|(_, quarters, mirrored)| (*quarters, *mirrored) == (self.quarters, self.mirrored));
        found.map(|(orientation, ..)| orientation).expect("there are four quarters")
    }
}

/// Every orientation as quarters of a turn, clockwise, and a mirror behind them.
const ORIENTATIONS: [(Orientation, u8, bool); 8] = [
    (Orientation::NoTransforms, 0, false),
    (Orientation::Rotate90, 1, false),
    (Orientation::Rotate180, 2, false),
    (Orientation::Rotate270, 3, false),
    (Orientation::FlipHorizontal, 0, true),
    (Orientation::Rotate90FlipH, 1, true),
    (Orientation::FlipVertical, 2, true),
    (Orientation::Rotate270FlipH, 3, true),
];

#[cfg(test)]
mod tests {
    use image::{DynamicImage, GrayImage, ImageFormat};
    use keepsake_protocol::capture::ContentType;

    use super::*;
    use crate::hardware::Camera;

    /// Gives one frame again and again.
    struct Still(Frame);

    impl Camera for Still {
        fn frame(&mut self, _deadline: Duration) -> Result<Frame, CameraError> {
            Ok(self.0.clone())
        }
    }

    /// 48 x 32, brighter from left to right and from top to bottom by different amounts.
    fn picture() -> GrayImage {
        GrayImage::from_fn(48, 32, |x, y| image::Luma([(x * 2 + y * 5).to_le_bytes()[0]]))
    }

    fn settings(rotation_degrees: u16, flip: Flip) -> settings::CameraSettings {
        settings::CameraSettings { rotation_degrees, flip, ..settings::Config::default().camera }
    }

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn frame(bytes: &[u8], content_type: ContentType) -> Frame {
        Frame { bytes: bytes.to_owned(), content_type, width: 48, height: 32 }
    }

    /// Returns the picture as a viewer shows it.
    fn seen(frame: &Frame) -> GrayImage {
        use image::ImageDecoder as _;
        let mut decoder = image::ImageReader::new(std::io::Cursor::new(&frame.bytes))
            .with_guessed_format()
            .unwrap()
            .into_decoder()
            .unwrap();
        let orientation = decoder.orientation().unwrap();
        let mut image = DynamicImage::from_decoder(decoder).unwrap();
        image.apply_orientation(orientation);
        image.into_luma8()
    }

    fn check(bytes: &[u8], content_type: ContentType, tolerance: u8) {
        for rotation in [0, 90, 180, 270] {
            for flip in [Flip::None, Flip::Horizontal, Flip::Vertical, Flip::Both] {
                let frame = frame(bytes, content_type);
                let mut camera = RotatedCamera::new(Box::new(Still(frame.clone())), &settings(rotation, flip));
                let turned = camera.frame(Duration::ZERO).unwrap();
                let mut wanted = DynamicImage::ImageLuma8(seen(&frame));
                wanted = match rotation {
                    0 => wanted,
                    90 => wanted.rotate90(),
                    180 => wanted.rotate180(),
                    _ => wanted.rotate270(),
                };
                wanted = match flip {
                    Flip::None => wanted,
                    Flip::Horizontal => wanted.fliph(),
                    Flip::Vertical => wanted.flipv(),
                    Flip::Both => wanted.fliph().flipv(),
                };
                let wanted = wanted.into_luma8();
                let seen = seen(&turned);
                let case = format!("{content_type:?} {rotation} {flip:?}");
                assert_eq!((turned.width, turned.height), wanted.dimensions(), "{case}");
                assert_eq!(seen.dimensions(), wanted.dimensions(), "{case}");
                for (seen, wanted) in seen.iter().zip(wanted.iter()) {
                    assert!(seen.abs_diff(*wanted) <= tolerance, "{case}");
                }
            }
        }
    }

    #[test]
    fn a_viewer_sees_every_turn_and_mirror_as_the_settings_say() {
        check(&encoded(ImageFormat::Jpeg), ContentType::Jpeg, 0);
        check(&encoded(ImageFormat::Png), ContentType::Png, 12);
    }

    #[test]
    fn a_picture_that_was_turned_already_is_turned_on() {
        for orientation in 1..=8 {
            let before = Orientation::from_exif(orientation).unwrap();
            let turned = reorient::reorient(frame(&encoded(ImageFormat::Jpeg), ContentType::Jpeg), |_| before);
            check(&turned.bytes, ContentType::Jpeg, 0);
        }
    }

    #[test]
    fn a_picture_that_is_not_turned_stays_byte_for_byte() {
        let bytes = encoded(ImageFormat::Jpeg);
        let still = Still(frame(&bytes, ContentType::Jpeg));
        let mut camera = RotatedCamera::new(Box::new(still), &settings(0, Flip::None));
        let same = camera.frame(Duration::ZERO).unwrap();
        assert_eq!(same.bytes, bytes);
        // Other settings hold from the next frame on.
        camera.configure(&settings(90, Flip::None));
        let turned = camera.frame(Duration::ZERO).unwrap();
        assert_eq!((turned.width, turned.height), (32, 48));
        // The coded pixels are the same ones.
        assert!(turned.bytes.ends_with(&bytes[2..]));
    }
}
