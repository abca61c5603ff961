//! The driver's side: find the camera, stream, take one fresh frame, and survive its being unplugged.
//!
//! The stream runs on between presses, so that exposure is right when the button is pressed. After any error it is
//! taken down and the next press builds it anew: the crate may not be asked again after a time-out, it would queue a
//! buffer that it never got back.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use shared::capture::ContentType;
use v4l::buffer::{Flags, Type};
use v4l::capability::Flags as Capability;
use v4l::format::{FourCC, Quantization};
use v4l::io::mmap::Stream;
use v4l::io::traits::{CaptureStream, Stream as _};
use v4l::video::Capture;
use v4l::{Device, Format};

use super::picture::{Yuyv, from_mjpeg, from_yuyv, is_fresh};
use crate::clock;
use crate::config;
use crate::hardware::{CameraError, Frame, HardwareError};

const BUFFERS: u32 = 4;
const FIX: &str = "check its cable and `ls /dev/v4l/by-id`; a CSI camera needs another kind";

/// A camera that speaks V4L2 and gives MJPEG or YUYV.
pub struct Camera {
    settings: config::Camera,
    running: Option<Running>,
}

struct Running {
    stream: Stream<'static>,
    pixels: Pixels,
    path: PathBuf,
}

/// What the driver agreed to.
enum Pixels {
    Mjpeg,
    Yuyv(Yuyv),
}

impl Camera {
    /// Keeps the settings; the device is opened by the first frame, because it may be plugged in later.
    ///
    /// # Errors
    /// None now; a binary without V4L2 has an error here.
    pub fn open(settings: &config::Camera) -> Result<Self, HardwareError> {
        Ok(Self {
            settings: settings.clone(),
            running: None,
        })
    }

    fn name(&self) -> String {
        match &self.running {
            Some(running) => running.path.display().to_string(),
            None if self.settings.device.is_empty() => "on any /dev/video*".to_owned(),
            None => self.settings.device.clone(),
        }
    }

    fn failed(&self, what: impl Into<String>, source: Option<io::Error>) -> CameraError {
        CameraError::Failed {
            camera: self.name(),
            what: what.into(),
            source,
        }
    }

    /// The driver's word in ours.
    fn explained(&self, what: &str, asked: Instant, error: io::Error) -> CameraError {
        if error.kind() == io::ErrorKind::TimedOut {
            return CameraError::TimedOut {
                camera: self.name(),
                after_ms: asked.elapsed().as_millis(),
            };
        }
        if is_gone(&error) {
            return CameraError::NotFound {
                camera: self.name(),
                fix: FIX,
                source: Some(error),
            };
        }
        self.failed(what, Some(error))
    }

    fn start(&self) -> Result<Running, CameraError> {
        let asked = Instant::now();
        let explained = |what: &'static str| move |error| self.explained(what, asked, error);
        let path = if self.settings.device.is_empty() {
            first_camera().ok_or_else(|| CameraError::NotFound {
                camera: self.name(),
                fix: FIX,
                source: None,
            })?
        } else {
            PathBuf::from(&self.settings.device)
        };
        let device = Device::with_path(&path).map_err(explained("open it"))?;
        let pixels = self.agree(&device).map_err(explained("set its format"))?;
        let Some(pixels) = pixels else {
            return Err(self.failed("it gives neither MJPEG nor YUYV", None));
        };
        let stream = Stream::with_buffers(&device, Type::VideoCapture, BUFFERS)
            .map_err(explained("map its buffers"))?;
        Ok(Running {
            stream,
            pixels,
            path,
        })
    }

    /// MJPEG first: the camera has done the work already.
    fn agree(&self, device: &Device) -> io::Result<Option<Pixels>> {
        for fourcc in [b"MJPG", b"YUYV"] {
            let fourcc = FourCC::new(fourcc);
            let wish = Format::new(self.settings.width, self.settings.height, fourcc);
            let format = match device.set_format(&wish) {
                Ok(format) if format.fourcc == fourcc => format,
                // The driver has another format for us, or no such one.
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => continue,
                Err(error) => return Err(error),
            };
            if fourcc == FourCC::new(b"MJPG") {
                return Ok(Some(Pixels::Mjpeg));
            }
            let side = |n: u32| u16::try_from(n).map_err(|_| io::ErrorKind::InvalidData);
            return Ok(Some(Pixels::Yuyv(Yuyv {
                width: side(format.width)? & !1,
                height: side(format.height)?,
                stride: usize::try_from(format.stride).unwrap_or(usize::MAX),
                full_range: matches!(format.quantization, Quantization::FullRange),
            })));
        }
        Ok(None)
    }

    fn warm_up(&self, running: &mut Running, until: Instant) -> Result<(), CameraError> {
        let asked = Instant::now();
        let ends = until.min(asked + self.settings.warm_up());
        for _ in 0..self.settings.warm_up_frames {
            if Instant::now() >= ends {
                break;
            }
            running.stream.set_timeout(left(until));
            CaptureStream::next(&mut running.stream)
                .map_err(|e| self.explained("wait for it to warm up", asked, e))?;
        }
        Ok(())
    }

    /// The first frame that began after `asked_us` and is whole.
    fn fresh_frame(
        &self,
        running: &mut Running,
        asked_us: u64,
        until: Instant,
    ) -> Result<Frame, CameraError> {
        let asked = Instant::now();
        let mut passed_over = 0;
        let mut broken = None;
        while Instant::now() < until {
            running.stream.set_timeout(left(until));
            let (buffer, meta) = CaptureStream::next(&mut running.stream)
                .map_err(|e| self.explained("take a frame", asked, e))?;
            let used = usize::try_from(meta.bytesused).unwrap_or(usize::MAX);
            let bytes = buffer.get(..used).unwrap_or(buffer);
            let monotonic = meta.flags & Flags::TIMESTAMP_MASK == Flags::TIMESTAMP_MONOTONIC;
            let stamp = &meta.timestamp;
            let stamped_us = u64::try_from(stamp.sec.saturating_mul(1_000_000) + stamp.usec).ok();
            let fresh = is_fresh(
                stamped_us.filter(|_| monotonic),
                asked_us,
                passed_over,
                BUFFERS,
            );
            passed_over += 1;
            if !fresh {
                continue;
            }
            if meta.flags.contains(Flags::ERROR) || bytes.is_empty() {
                broken = Some("the driver says that the frame is broken".to_owned());
                continue;
            }
            if bytes.len() as u64 > self.settings.frame_bytes_max {
                return Err(self.failed(
                    format!(
                        "a frame of {} bytes is above camera.frame_bytes_max",
                        bytes.len()
                    ),
                    None,
                ));
            }
            match encoded(bytes, &running.pixels) {
                Ok((bytes, width, height)) => {
                    return Ok(Frame {
                        bytes,
                        content_type: ContentType::Jpeg,
                        width,
                        height,
                    });
                }
                Err(what) => broken = Some(what),
            }
        }
        Err(match broken {
            Some(what) => self.failed(what, None),
            None => CameraError::TimedOut {
                camera: self.name(),
                after_ms: asked.elapsed().as_millis(),
            },
        })
    }
}

impl crate::hardware::Camera for Camera {
    fn adjust(&mut self, settings: &config::Camera) {
        let starts_anew = (self.settings.width, self.settings.height)
            != (settings.width, settings.height)
            || self.settings.device != settings.device;
        self.settings = settings.clone();
        // The next frame agrees on the size anew.
        if starts_anew && let Some(running) = self.running.take() {
            take_down(running);
        }
    }

    fn frame(&mut self, deadline: Duration) -> Result<Frame, CameraError> {
        let until = Instant::now() + deadline;
        let mut running = match self.running.take() {
            Some(running) => running,
            None => {
                let mut running = self.start()?;
                if let Err(error) = self.warm_up(&mut running, until) {
                    take_down(running);
                    return Err(error);
                }
                running
            }
        };
        match self.fresh_frame(&mut running, clock::monotonic_us(), until) {
            Ok(frame) => {
                self.running = Some(running);
                Ok(frame)
            }
            Err(error) => {
                take_down(running);
                Err(error)
            }
        }
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            take_down(running);
        }
    }
}

/// Ends a stream without ending the program: the crate panics in `drop` where the driver refuses to stop, and a second
/// panic on the way out would abort.
fn take_down(mut running: Running) {
    match running.stream.stop() {
        Err(error) if !is_gone(&error) => {
            // Its buffers and its descriptor are lost until the program ends. That is the smaller evil.
            tracing::warn!(camera = %running.path.display(), %error, "the camera refuses to stop");
            std::mem::forget(running.stream);
        }
        Ok(()) | Err(_) => {
            let _ = catch_unwind(AssertUnwindSafe(move || drop(running)));
        }
    }
}

fn encoded(bytes: &[u8], pixels: &Pixels) -> Result<(Vec<u8>, u32, u32), String> {
    match pixels {
        Pixels::Mjpeg => from_mjpeg(bytes).map_err(|e| e.to_string()),
        Pixels::Yuyv(shape) => match from_yuyv(bytes, *shape) {
            Ok(Some(jpeg)) => Ok((jpeg, shape.width.into(), shape.height.into())),
            Ok(None) => Err("a YUYV frame is too short".to_owned()),
            Err(error) => Err(error.to_string()),
        },
    }
}

/// Never zero, which the crate would take for "do not wait", and never negative, which is "for ever".
fn left(until: Instant) -> Duration {
    until
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1))
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENODEV | libc::ENXIO | libc::ENOENT)
    )
}

/// Names under `by-id` stay when a camera moves to another port, so they come first. A USB camera has a second device
/// for metadata, which takes no pictures.
fn first_camera() -> Option<PathBuf> {
    let listed = |folder: &str, wanted: fn(&str) -> bool| {
        let mut paths: Vec<PathBuf> = fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_str().is_some_and(wanted))
            .map(|entry| entry.path())
            .collect();
        paths.sort();
        paths
    };
    listed("/dev/v4l/by-id", |name| name.ends_with("-video-index0"))
        .into_iter()
        .chain(listed("/dev", |name| name.starts_with("video")))
        .find(|path| takes_pictures(path))
}

fn takes_pictures(path: &Path) -> bool {
    let Ok(device) = Device::with_path(path) else {
        return false;
    };
    let streams = device.query_caps().is_ok_and(|found| {
        found
            .capabilities
            .contains(Capability::VIDEO_CAPTURE | Capability::STREAMING)
    });
    streams
        && device.enum_formats().is_ok_and(|formats| {
            formats
                .iter()
                .any(|format| [*b"MJPG", *b"YUYV"].contains(&format.fourcc.repr))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::Camera as _;

    #[test]
    fn a_camera_that_is_not_there_says_how_to_look_for_it() {
        let mut settings = config::Config::default().camera;
        settings.device = "/dev/video-that-is-not-there".to_owned();
        let mut camera = Camera::open(&settings).unwrap();
        for _ in 0..2 {
            let error = camera.frame(Duration::from_millis(200)).unwrap_err();
            assert!(matches!(error, CameraError::NotFound { .. }), "{error}");
            assert!(error.to_string().contains("by-id"));
        }
    }
}
