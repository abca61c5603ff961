//! USB cameras, and all others whose driver hands out pictures by V4L2.
//!
//! The stream runs on between presses, so that exposure is right when the button is pressed, and a press takes the first
//! frame that began after it. What can go wrong, and what becomes of it (`camera.rs` does it, `camera/tests.rs` plays
//! every row on a scripted driver):
//!
//! | the driver | what is done | the press becomes |
//! |---|---|---|
//! | has no camera at all | said at once, with what was found instead | tombstone: camera not found |
//! | lacks the device that the settings name | the same, and the names of the cameras that are there | tombstone: camera not found |
//! | offers no format that becomes a picture, or not the one that the settings name, or buffers of several planes | said, with what it offers | tombstone: camera failed |
//! | agrees to another format than it offered | the next best offer | a picture |
//! | gives fewer frames a second than `camera.frames_per_s_min` | is asked for more; if it refuses, said | a picture |
//! | is used by another program (EBUSY), or forbidden (EACCES) | said, with the fix | tombstone: camera failed, not found |
//! | gives no frame, the stream being fresh | given up at the deadline | tombstone: camera timed out |
//! | gives no frame, the stream being kept from before | rebuilt after half of the deadline | a picture |
//! | fails once with EIO, EPROTO or the like | the stream is rebuilt, at most twice | a picture |
//! | fails so again and again | given up after the second time | tombstone: camera failed |
//! | is gone (ENODEV) while it waits for a press, and back | rebuilt within the press | a picture |
//! | is gone, and stays away | said at once | tombstone: camera not found, until it is back |
//! | marks a frame as damaged, or gives an empty one | the next frame | a picture |
//! | gives a raw frame that is short | the next frame | a picture |
//! | gives half a JPEG, or one with no end, no size or another size | the next frame | a picture |
//! | gives no Huffman tables (DHT) | the standard ones are put in | a picture |
//! | gives damaged frames only | given up after 30 of them, or at the deadline | tombstone: camera failed |
//! | gives a frame above `camera.frame_bytes_max` | said, with the setting | tombstone: camera failed |
//! | hands out frames from before the press | passed over by their stamps, or by number | a picture |
//! | stamps frames ahead of time, by less than a second | the lead is measured and taken off | a picture |
//! | stamps frames by a clock of its own, or by none | passed over by number | a picture |
//!
//! After any error the stream is taken down and the next press rebuilds it, so no state of a fault remains.
//!
//! The crate v4l needs libclang at build time, so it comes with the feature `v4l`, and is named in `v4l/kernel.rs` only.
//! A binary without it says so when such a camera is asked for, and names the flag.

#[cfg(any(test, feature = "v4l"))]
mod camera;
pub mod convert;
#[cfg(any(test, feature = "v4l"))]
mod discovery;
#[cfg(any(test, feature = "v4l"))]
mod driver;
#[cfg(feature = "v4l")]
mod kernel;

#[cfg(feature = "v4l")]
pub(crate) use camera::V4lCamera;
#[cfg(not(feature = "v4l"))]
pub(crate) use without::V4lCamera;

#[cfg(not(feature = "v4l"))]
mod without {
    use std::convert::Infallible;
    use std::time::Duration;

    use super::super::{CameraError, HardwareError};
    use crate::imaging::frame::Frame;
    use crate::settings;

    /// A camera that cannot exist in this binary.
    pub(crate) struct V4lCamera(Infallible);

    impl V4lCamera {
        /// # Errors
        /// Always: this binary was built without it.
        pub(crate) fn open(_settings: &settings::CameraSettings) -> Result<Self, HardwareError> {
            Err(HardwareError::new(
                "open a V4L2 camera: this program was built without it",
                "build it with --features v4l, or set camera.backend",
            ))
        }

        pub(crate) fn is_there(&self) -> bool {
            match self.0 {}
        }
    }

    impl super::super::Camera for V4lCamera {
        fn frame(&mut self, _deadline: Duration) -> Result<Frame, CameraError> {
            match self.0 {}
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_binary_without_it_names_the_flag() {
            let error = V4lCamera::open(&settings::Config::default().camera).err().unwrap();
            assert!(error.to_string().contains("--features v4l"), "{error}");
        }
    }
}
