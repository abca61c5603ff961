//! stub
use super::{CameraError, Frame, HardwareError};
use crate::config;
use std::time::Duration;
pub struct Camera;
impl Camera {
    pub fn open(_settings: &config::Camera) -> Result<Self, HardwareError> {
        Err(HardwareError::new(
            "open a V4L2 camera: this binary was built without it",
            "build it with --features v4l",
        ))
    }
}
impl super::Camera for Camera {
    fn frame(&mut self, _d: Duration) -> Result<Frame, CameraError> {
        unreachable!()
    }
}
