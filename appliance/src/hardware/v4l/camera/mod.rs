//! A camera over any driver: finds it, negotiates a format, waits for its exposure, takes one fresh frame, and survives
//! its faults, which are listed [in a table](super).

mod freshness;
mod negotiate;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use keepsake_protocol::capture::ContentType;

use self::freshness::{Freshness, TimestampSkew};
use self::negotiate::{FoundDevice, Pixels};
use super::convert::from_mjpeg;
use super::driver::{DequeuedFrame, Device, DeviceInfo, Driver, NegotiatedFormat, Size, Stream, is_gone};
#[cfg(feature = "v4l")]
use super::kernel::Kernel;
use crate::hardware::streaming_camera::{self, FrameRequest, StreamingCamera};
use crate::hardware::{CameraError, HardwareError};
use crate::imaging::brightness::brightness;
use crate::imaging::frame::Frame;
use crate::settings;
use crate::time::clock;

/// We hold one, and with two more the driver never waits for us. Each takes four megabytes at 1080p.
const BUFFERS: u32 = 3;
/// The number of damaged frames that ends a press: one second of a usual camera.
const DAMAGED_MAX: usize = 30;
/// A JPEG of another size than negotiated may be left over from the previous stream. The third is believed.
const OTHER_SIZES_MAX: usize = 2;

/// A camera by V4L2.
pub(crate) struct V4lCamera {
    driver: Box<dyn Driver>,
    settings: settings::CameraSettings,
    running: Option<RunningStream>,
    /// Brightness was set by us, and is restored when the setting is 0 again.
    brightened: bool,
}

pub(in crate::hardware) struct RunningStream {
    stream: Box<dyn Stream>,
    pixels: Pixels,
    path: PathBuf,
    about: DeviceInfo,
    agreed: NegotiatedFormat,
    ahead: TimestampSkew,
}

impl V4lCamera {
    /// Keeps the settings; the device is opened by the first frame, because it may be plugged in later.
    #[cfg(feature = "v4l")]
    pub(crate) fn open(settings: &settings::CameraSettings) -> Result<Self, HardwareError> {
        Ok(Self::new(Box::new(Kernel), settings))
    }

    #[cfg(not(feature = "v4l"))]
    pub(crate) fn open(_: &settings::CameraSettings) -> Result<Self, HardwareError> {
        Err(HardwareError::new(
            "open a V4L2 camera: this program was built without it",
            "build it with --features v4l, or set camera.backend",
        ))
    }

    #[cfg(any(test, feature = "v4l"))]
    fn new(driver: Box<dyn Driver>, settings: &settings::CameraSettings) -> Self {
        Self {
            driver,
            settings: settings.clone(),
            running: None,
            brightened: false,
        }
    }

    /// Returns true if a stream runs or a device is present.
    pub(crate) fn is_there(&self) -> bool {
        self.running.is_some() || negotiate::find(self.driver.as_ref(), &self.settings.device).is_ok()
    }

    fn requested_size(&self) -> Size {
        Size { width: self.settings.width, height: self.settings.height }
    }

    /// A press waits for a frame that began after it, so a camera that gives few of them is asked for more. One that gives
    /// enough is left alone: it knows best how long it must expose.
    fn raise_frame_rate(&self, device: &dyn Device) -> io::Result<()> {
        let wanted = self.settings.frames_per_s_min;
        let slow = |interval_us: u64| u64::from(wanted) * interval_us > 1_000_000;
        if device.interval_us()?.is_some_and(slow) {
            device.set_frame_rate(wanted)?;
        }
        Ok(())
    }

    fn apply_brightness(&mut self, device: &dyn Device) -> io::Result<()> {
        let percent = self.settings.brightness_percent;
        if percent == 0 && !self.brightened {
            return Ok(());
        }
        let Some(range) = device.brightness()? else {
            return Err(io::Error::other("it has no such control"));
        };
        let value = match percent {
            0 => range.default,
            1.. => range.value_at(percent),
        };
        device.set_brightness(value)?;
        self.brightened = percent > 0;
        Ok(())
    }
}

impl StreamingCamera for V4lCamera {
    type Source = RunningStream;
    type Failure = CameraError;

    fn source(&mut self) -> &mut Option<RunningStream> {
        &mut self.running
    }

    fn settings(&self) -> &settings::CameraSettings {
        &self.settings
    }

    fn start(&mut self) -> Result<RunningStream, CameraError> {
        let asked = Instant::now();
        let FoundDevice { path, device, about, offers } = negotiate::find(self.driver.as_ref(), &self.settings.device)?;
        let suitable: Vec<_> = offers
            .iter()
            .filter(|offer| negotiate::matches_format(offer, &self.settings.format))
            .cloned()
            .collect();
        let failed = |doing: &str, error| camera_error(&path, doing, asked, error);
        let (agreed, pixels) = negotiate::select_format(device.as_ref(), &suitable, self.requested_size())
            .map_err(|e| failed("set its format", e))?
            .ok_or_else(|| {
                let what = negotiate::no_format_message(&offers, &self.settings.format);
                CameraError::failed(path.display().to_string(), what)
            })?;
        if let Err(error) = self.apply_brightness(device.as_ref()) {
            // A picture of another brightness is a picture.
            tracing::warn!(camera = %path.display(), %error, "its brightness stays as it is");
        }
        if let Err(error) = self.raise_frame_rate(device.as_ref()) {
            // A picture that came late is a picture.
            tracing::warn!(camera = %path.display(), %error, "its frame rate stays as it is");
        }
        let stream = device.stream(BUFFERS).map_err(|e| failed("map its buffers", e))?;
        tracing::info!(
            camera = %path.display(), card = about.card, format = %agreed.fourcc, size = %agreed.size,
            "the camera starts"
        );
        Ok(RunningStream {
            stream,
            pixels,
            path,
            about,
            agreed,
            ahead: TimestampSkew::default(),
        })
    }

    fn next_brightness(&self, running: &mut RunningStream, until: Instant) -> Result<Option<u8>, CameraError> {
        let asked = Instant::now();
        let given = running
            .stream
            .next(remaining(until))
            .map_err(|e| camera_error(&running.path, "wait for it to warm up", asked, e))?;
        if let Some(stamp) = given.stamp {
            running.ahead.learn(stamp, clock::monotonic_us());
        }
        if given.broken {
            return Ok(None);
        }
        Ok(match &running.pixels {
            Pixels::Jpeg(_) => from_mjpeg(given.bytes).ok().and_then(|(jpeg, ..)| brightness(&jpeg, ContentType::Jpeg)),
            Pixels::Raw(raw) => raw.brightness(given.bytes),
        })
    }

    fn fresh_frame(&self, running: &mut RunningStream, request: FrameRequest) -> Result<Frame, CameraError> {
        let asked = Instant::now();
        let camera = running.path.display().to_string();
        let mut freshness = Freshness::new(request.pressed_us, &mut running.ahead);
        let mut damaged: Vec<Damage> = Vec::new();
        while Instant::now() < request.until && damaged.len() < DAMAGED_MAX {
            let given = running
                .stream
                .next(remaining(request.until))
                .map_err(|error| camera_error(&running.path, "take a frame", asked, error))?;
            if !freshness.is_fresh(given.stamp, clock::monotonic_us()) {
                continue;
            }
            let bytes = given.bytes.len() as u64;
            if bytes > self.settings.frame_bytes_max {
                let what = format!("a frame of {bytes} bytes is above camera.frame_bytes_max");
                return Err(CameraError::failed(camera, what));
            }
            let other_sizes = damaged.iter().filter(|damage| matches!(damage, Damage::OtherSize { .. })).count();
            match picture_of(&given, &running.pixels, other_sizes) {
                Ok(frame) => return Ok(frame),
                Err(damage) => damaged.push(damage),
            }
        }
        Err(match damaged.last() {
            Some(what) => {
                CameraError::failed(camera, format!("{} damaged frames, the last one: {what}", damaged.len()))
            }
            None => CameraError::TimedOut { camera, after_ms: asked.elapsed().as_millis() },
        })
    }

    fn end(&self, _stream: RunningStream, error: CameraError, _asked: Instant) -> CameraError {
        error
    }

    fn is_transient(error: &CameraError) -> bool {
        match error {
            // A transient fault of the driver is a system error; anything else would only happen again.
            CameraError::Failed { source: Some(source), .. } => {
                !matches!(source.raw_os_error(), Some(libc::EBUSY | libc::ENOSPC))
            }
            CameraError::Failed { source: None, .. } | CameraError::NotFound { .. } | CameraError::TimedOut { .. } => {
                false
            }
        }
    }
}

impl crate::hardware::Camera for V4lCamera {
    fn prepare(&mut self, within: Duration) {
        streaming_camera::prepare(self, within);
    }

    fn configure(&mut self, settings: &settings::CameraSettings) {
        let what_runs = |of: &settings::CameraSettings| {
            let size = (of.width, of.height);
            (size, of.frames_per_s_min, of.brightness_percent, of.device.clone(), of.format.clone())
        };
        // The next frame negotiates everything again.
        if what_runs(&self.settings) != what_runs(settings) {
            self.running = None;
        }
        self.settings = settings.clone();
    }

    fn frame(&mut self, deadline: Duration) -> Result<Frame, CameraError> {
        streaming_camera::take_frame(self, deadline)
    }

    fn describe(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(RunningStream { path, about, agreed, .. }) = &self.running {
            let DeviceInfo { driver, card, bus, .. } = about;
            lines.push(format!("{card} ({driver}, {bus}) at {}", path.display()));
            lines.push(format!("agreed on {} {}", agreed.fourcc, agreed.size));
            let offers = self.driver.open(path).and_then(|device| device.format_options());
            lines.extend(offers.iter().flatten().map(negotiate::describe_option));
        }
        lines
    }
}

/// Why a frame is no picture. The next one may be.
#[derive(Debug, thiserror::Error)]
enum Damage {
    #[error("the driver says that it is damaged")]
    Marked,
    #[error("it is empty")]
    Empty,
    #[error("{got} bytes are too few for it")]
    Short { got: usize },
    #[error("{0}")]
    Jpeg(crate::imaging::jpeg::JpegError),
    #[error("it is {got} and {agreed} was agreed on")]
    OtherSize { got: Size, agreed: Size },
    #[error("{0}")]
    Encoding(jpeg_encoder::EncodingError),
}

fn picture_of(given: &DequeuedFrame<'_>, pixels: &Pixels, other_sizes: usize) -> Result<Frame, Damage> {
    if given.broken {
        return Err(Damage::Marked);
    }
    if given.bytes.is_empty() {
        return Err(Damage::Empty);
    }
    let (bytes, size) = match pixels {
        Pixels::Jpeg(agreed) => {
            let (jpeg, width, height) = from_mjpeg(given.bytes).map_err(Damage::Jpeg)?;
            let got = Size { width, height };
            if got != *agreed && other_sizes < OTHER_SIZES_MAX {
                let agreed = *agreed;
                return Err(Damage::OtherSize { got, agreed });
            }
            (jpeg, got)
        }
        Pixels::Raw(raw) => {
            let jpeg = raw.to_jpeg(given.bytes).map_err(Damage::Encoding)?;
            let got = given.bytes.len();
            let size = Size { width: raw.width.into(), height: raw.height.into() };
            (jpeg.ok_or(Damage::Short { got })?, size)
        }
    };
    let Size { width, height } = size;
    Ok(Frame { bytes, content_type: ContentType::Jpeg, width, height })
}

/// The driver's word in ours.
fn camera_error(path: &Path, doing: &str, asked: Instant, error: io::Error) -> CameraError {
    let camera = path.display().to_string();
    if error.kind() == io::ErrorKind::TimedOut {
        return CameraError::TimedOut { camera, after_ms: asked.elapsed().as_millis() };
    }
    if is_gone(&error) {
        return CameraError::NotFound { camera, fix: negotiate::FIX.into(), source: Some(error) };
    }
    let advice = match error.raw_os_error() {
        Some(libc::EBUSY) => " (another program uses it: stop that one)",
        Some(libc::ENOSPC) => {
            " (its USB has no room for so much: set a smaller camera.width and camera.height, or camera.frames_per_s_min = 0, or use another port)"
        }
        Some(libc::EIO | libc::EPROTO | libc::EPIPE | libc::EILSEQ) => " (check its cable and the power supply)",
        Some(_) | None => "",
    };
    CameraError::Failed {
        camera,
        what: format!("{doing}{advice}"),
        source: Some(error),
    }
}

fn remaining(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}
