//! `camera.backend = "auto"`: a camera by V4L2 if there is one, else a CSI camera if its program is there.
//!
//! Every press that finds no running camera detects again, so one that is plugged in later is found. A running one is
//! kept.

use std::time::Duration;

use super::{CameraError, HardwareError, rpicam, v4l};
use crate::imaging::frame::Frame;
use crate::settings;

pub(super) struct AutoCamera {
    /// `None`: this binary was built without V4L2.
    v4l: Option<v4l::V4lCamera>,
    rpicam: rpicam::RpicamCamera,
    /// The last frame came from `rpicam`.
    on_rpicam: bool,
}

impl AutoCamera {
    /// Fails if this binary was built without V4L2, and there is no program for CSI cameras either.
    pub(super) fn open(settings: &settings::CameraSettings) -> Result<Self, HardwareError> {
        let rpicam = rpicam::RpicamCamera::open(settings);
        let v4l = match v4l::V4lCamera::open(settings) {
            Ok(v4l) => Some(v4l),
            Err(_) if rpicam.is_there() => None,
            Err(error) => return Err(error),
        };
        Ok(Self { v4l, rpicam, on_rpicam: false })
    }

    /// Returns the camera to use now.
    fn chosen(&mut self) -> &mut dyn super::Camera {
        let by_v4l = match &self.v4l {
            None => false,
            Some(v4l) => {
                let rpicam_runs = self.on_rpicam && self.rpicam.is_running();
                // With neither, the error of V4L2 is the more helpful one.
                !rpicam_runs && (v4l.is_there() || !self.rpicam.is_there())
            }
        };
        self.on_rpicam = !by_v4l;
        match &mut self.v4l {
            Some(v4l) if by_v4l => v4l,
            Some(_) | None => &mut self.rpicam,
        }
    }
}

impl super::Camera for AutoCamera {
    fn frame(&mut self, deadline: Duration) -> Result<Frame, CameraError> {
        self.chosen().frame(deadline)
    }

    fn prepare(&mut self, within: Duration) {
        self.chosen().prepare(within);
    }

    fn configure(&mut self, settings: &settings::CameraSettings) {
        if let Some(v4l) = &mut self.v4l {
            v4l.configure(settings);
        }
        self.rpicam.configure(settings);
    }

    fn describe(&mut self) -> Vec<String> {
        match &mut self.v4l {
            Some(v4l) if !self.on_rpicam => v4l.describe(),
            Some(_) | None => self.rpicam.describe(),
        }
    }
}
