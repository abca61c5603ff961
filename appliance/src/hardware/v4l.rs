//! USB cameras through V4L2, by the crate v4l, which is named only below this file.
//!
//! That crate needs libclang at build time, so it comes with the feature `v4l`. A binary without it says so when such
//! a camera is asked for, and names the flag.

#[cfg(feature = "v4l")]
mod device;
#[cfg(any(test, feature = "v4l"))]
mod picture;

#[cfg(feature = "v4l")]
pub use device::Camera;
#[cfg(not(feature = "v4l"))]
pub use without::Camera;

#[cfg(not(feature = "v4l"))]
mod without {
    use std::convert::Infallible;
    use std::time::Duration;

    use super::super::{CameraError, Frame, HardwareError};
    use crate::config;

    /// There is none.
    pub struct Camera(Infallible);

    impl Camera {
        /// # Errors
        /// Always: this binary was built without it.
        pub fn open(_settings: &config::Camera) -> Result<Self, HardwareError> {
            Err(HardwareError::new(
                "open a V4L2 camera: this program was built without it",
                "build it with --features v4l, or set camera.kind",
            ))
        }
    }

    impl super::super::Camera for Camera {
        fn frame(&mut self, _deadline: Duration) -> Result<Frame, CameraError> {
            match self.0 {}
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_binary_without_it_names_the_flag() {
            let error = Camera::open(&config::Config::default().camera)
                .err()
                .unwrap();
            assert!(error.to_string().contains("--features v4l"), "{error}");
        }
    }
}
