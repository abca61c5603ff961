//! CSI cameras on Raspberry Pi OS: the program `rpicam-vid` as a child that is kept running.
//!
//! These cameras have no driver that delivers pictures; libcamera makes them, and its programs come with the system. The
//! child writes one JPEG after the other, and a press takes the first that began after it: the picture shows the moment
//! of the press, exposure is already right, and between presses only the arriving frame is kept.
//! docs/decisions/0015-cameras.md gives the reasons.
//!
//! | the child | reaction | the press becomes |
//! |---|---|---|
//! | is not installed | error with the package | tombstone: camera not found |
//! | reports no cameras | error with what to check | tombstone: camera not found |
//! | reports that another program uses the camera | error | tombstone: camera failed |
//! | died or was killed between presses | restarted during the press | a picture |
//! | dies repeatedly | given up after the second time; error with its last message | tombstone: camera failed |
//! | writes nothing for half of the deadline, having run before | killed, restarted | a picture |
//! | writes nothing, being new | killed at the deadline | tombstone: camera timed out |
//! | writes half a picture, or other bytes | skipped up to the next one | a picture |
//! | writes no picture in a mebibyte | killed | tombstone: camera failed |
//! | writes a picture above `camera.frame_bytes_max` | killed; error with the setting | tombstone: camera failed |

mod mjpeg;
mod process;
#[cfg(test)]
mod tests;

use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use self::process::{Process, StreamEnd};
use super::CameraError;
use super::streaming_camera::{self, FrameRequest, StreamingCamera};
use crate::imaging::brightness::brightness;
use crate::imaging::frame::Frame;
use crate::settings;

/// The program's name, and its name until Raspberry Pi OS 12.
const PROGRAMS: [&str; 2] = ["rpicam-vid", "libcamera-vid"];
/// Frames a second: a press waits for a few of them, and each costs the processor something around the clock.
const FRAME_RATE: u32 = 15;
/// Frames that are in the pipeline (exposure, readout, processing, encoding) when a press comes, and began before it.
const UNDER_WAY: u64 = 4;
/// JPEG quality, percent.
const QUALITY: u32 = 90;

const NOT_INSTALLED: &str = "install it: sudo apt install rpicam-apps; a USB camera needs camera.backend v4l, or auto";
const NO_CAMERA: &str =
    "check the flat cable, power off, both ends; `rpicam-hello --list-cameras` must show the camera";

/// A CSI camera.
pub(crate) struct RpicamCamera {
    /// `None`: look for it in `PATH`.
    program: Option<PathBuf>,
    settings: settings::CameraSettings,
    process: Option<Process>,
}

impl RpicamCamera {
    /// Keeps the settings; the program is started by the first frame.
    pub(crate) fn open(settings: &settings::CameraSettings) -> Self {
        Self { program: None, settings: settings.clone(), process: None }
    }

    /// Returns true if the program is installed; whether there is a camera shows when it runs.
    pub(crate) fn is_there(&self) -> bool {
        self.program().is_some()
    }

    /// Returns true if it has delivered a frame and not failed since.
    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    fn program(&self) -> Option<PathBuf> {
        if self.program.is_some() {
            return self.program.clone();
        }
        let folders = env::var_os("PATH")?;
        PROGRAMS
            .iter()
            .flat_map(|name| env::split_paths(&folders).map(move |folder| folder.join(name)))
            .find(|path| is_program(path))
    }

    fn name(&self) -> String {
        match self.settings.device.as_str() {
            "" => "by rpicam-vid".to_owned(),
            number => format!("{number} by rpicam-vid"),
        }
    }

    fn failed(&self, what: impl Into<String>) -> CameraError {
        CameraError::failed(self.name(), what)
    }

    fn arguments(&self) -> Result<Vec<String>, CameraError> {
        let settings = &self.settings;
        let mut arguments: Vec<String> =
            ["--nopreview", "--timeout", "0", "--codec", "mjpeg", "--flush", "--output", "-"]
                .map(str::to_owned)
                .into();
        let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        add("--quality", QUALITY.to_string());
        add("--framerate", FRAME_RATE.to_string());
        add("--width", settings.width.to_string());
        add("--height", settings.height.to_string());
        if settings.brightness_percent > 0 {
            // From -1 to 1.
            let brightness = (f32::from(settings.brightness_percent) - 50.0) / 50.0;
            add("--brightness", format!("{brightness:.2}"));
        }
        if !settings.device.is_empty() {
            let number: u8 = settings
                .device
                .parse()
                .map_err(|_| self.failed("camera.device must be its number, such as 0, or empty for the first"))?;
            add("--camera", number.to_string());
        }
        Ok(arguments)
    }
}

impl StreamingCamera for RpicamCamera {
    type Source = Process;
    type Failure = StreamEnd;

    fn source(&mut self) -> &mut Option<Process> {
        &mut self.process
    }

    fn settings(&self) -> &settings::CameraSettings {
        &self.settings
    }

    fn start(&mut self) -> Result<Process, CameraError> {
        let not_installed = |source| CameraError::NotFound { camera: self.name(), fix: NOT_INSTALLED.into(), source };
        let program = self.program().ok_or_else(|| not_installed(None))?;
        let arguments = self.arguments()?;
        tracing::info!(program = %program.display(), ?arguments, "the camera starts");
        Process::start(&program, &arguments, self.settings.frame_bytes_max).map_err(|error| not_installed(Some(error)))
    }

    fn next_brightness(&self, process: &mut Process, until: Instant) -> Result<Option<u8>, StreamEnd> {
        let picture = process.picture_after(0, until)?;
        Ok(brightness(&picture.bytes, picture.content_type))
    }

    fn fresh_frame(&self, process: &mut Process, request: FrameRequest) -> Result<Frame, StreamEnd> {
        // All frames of a new child are from after the press.
        let under_way = if request.source_is_new { 0 } else { UNDER_WAY };
        process.picture_after(under_way, request.until)
    }

    fn end(&self, process: Process, ended: StreamEnd, asked: Instant) -> CameraError {
        let (status, output) = process.end();
        let contains_any = |words: &[&str]| words.iter().any(|words| output.contains(words));
        match ended {
            StreamEnd::TimedOut => CameraError::TimedOut { camera: self.name(), after_ms: asked.elapsed().as_millis() },
            StreamEnd::NoPictures => self.failed("what rpicam-vid writes are no JPEGs"),
            StreamEnd::TooLarge(bytes) => {
                self.failed(format!("a frame of {bytes} bytes and more is above camera.frame_bytes_max"))
            }
            StreamEnd::Closed if contains_any(&["no cameras available", "selected camera is not"]) => {
                CameraError::not_found(self.name(), NO_CAMERA)
            }
            StreamEnd::Closed
                if contains_any(&[
                    "in use by another process",
                    "failed to acquire camera",
                    "Device or resource busy",
                ]) =>
            {
                self.failed("another program uses it: stop that one")
            }
            StreamEnd::Closed => {
                let last = output.lines().next_back().unwrap_or("it said nothing");
                self.failed(format!("rpicam-vid ended ({status}): {last}"))
            }
        }
    }

    fn is_transient(error: &CameraError) -> bool {
        matches!(error, CameraError::Failed { .. })
    }
}

impl super::Camera for RpicamCamera {
    fn prepare(&mut self, within: Duration) {
        streaming_camera::prepare(self, within);
    }

    fn configure(&mut self, settings: &settings::CameraSettings) {
        let before = self.arguments().ok();
        let bytes_max = self.settings.frame_bytes_max;
        self.settings = settings.clone();
        if self.arguments().ok() != before || settings.frame_bytes_max != bytes_max {
            // The next frame starts it again.
            self.process = None;
        }
    }

    fn frame(&mut self, deadline: Duration) -> Result<Frame, CameraError> {
        streaming_camera::take_frame(self, deadline)
    }

    fn describe(&mut self) -> Vec<String> {
        let Some(process) = &self.process else {
            return Vec::new();
        };
        let program = self.program().unwrap_or_default();
        let mut lines = vec![format!("a CSI camera by {}", program.display())];
        let output = process.recent_output();
        lines.extend(
            output
                .lines()
                .filter(|line| line.contains("camera /base") || line.contains("Selected sensor"))
                .map(str::to_owned),
        );
        let settings::CameraSettings { width, height, .. } = self.settings;
        lines.push(format!("asked for MJPEG {width}x{height} at {FRAME_RATE} a second"));
        lines
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
