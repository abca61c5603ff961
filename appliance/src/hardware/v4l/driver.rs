//! The operations of a V4L2 driver in plain types: the seam between the camera and the kernel.
//!
//! It is as thin as the system calls behind it, so that every fault a driver can have can be played in a test. The
//! real one is in `kernel.rs`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// All the cameras of a computer.
pub(super) trait Driver: Send {
    /// Returns the paths of possible cameras, the most lasting names first. Each device once.
    fn device_paths(&self) -> Vec<PathBuf>;

    /// Opens one. Every error is the system's.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Device>>;
}

/// One open device.
pub(super) trait Device: Send {
    fn info(&self) -> io::Result<DeviceInfo>;

    /// Every format with its sizes, in the driver's order. Empty = it takes no pictures.
    fn format_options(&self) -> io::Result<Vec<FormatOption>>;

    /// Requests a format and returns the driver's choice, which may be any other.
    fn negotiate(&self, fourcc: Fourcc, size: Size) -> io::Result<NegotiatedFormat>;

    /// Microseconds from one frame to the next; `None` = the driver does not say.
    fn interval_us(&self) -> io::Result<Option<u64>>;

    /// Requests a frame rate. The driver selects the nearest it has.
    fn set_frame_rate(&self, frames_per_s: u32) -> io::Result<()>;

    /// `None` = it has no such control.
    fn brightness(&self) -> io::Result<Option<ControlRange>>;

    fn set_brightness(&self, value: i32) -> io::Result<()>;

    /// Maps at least one buffer and at best `buffers` of them; the stream begins with its first frame.
    fn stream(&self, buffers: u32) -> io::Result<Box<dyn Stream>>;
}

/// Frames, one after the other, for as long as it lives.
pub(super) trait Stream: Send {
    /// The next frame. After an error it must not be asked again.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`]: there was none for so long. All others are the system's.
    fn next(&mut self, timeout: Duration) -> io::Result<DequeuedFrame<'_>>;
}

/// One buffer, which belongs to the driver again when the next one is asked for.
pub(super) struct DequeuedFrame<'a> {
    /// The bytes that are used, according to the driver.
    pub(super) bytes: &'a [u8],
    pub(super) stamp: Option<BufferTimestamp>,
    /// The driver marked the picture as damaged.
    pub(super) broken: bool,
}

/// By the driver, CLOCK_MONOTONIC, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BufferTimestamp {
    /// When the frame began.
    Began(u64),
    /// When its last byte was there.
    Ended(u64),
}

impl BufferTimestamp {
    pub(super) fn us(self) -> u64 {
        match self {
            Self::Began(us) | Self::Ended(us) => us,
        }
    }
}

/// The description of a device by its driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeviceInfo {
    pub(super) driver: String,
    pub(super) card: String,
    pub(super) bus: String,
    pub(super) capture: bool,
    /// Planes in buffers of their own, as the camera interfaces of boards have it.
    pub(super) multi_planar: bool,
    pub(super) streaming: bool,
}

/// Four letters that name a format.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Fourcc(pub(super) [u8; 4]);

impl fmt::Display for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.trim_ascii_end().escape_ascii())
    }
}

impl fmt::Debug for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: u32,
    pub(super) height: u32,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// A format with the sizes it comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FormatOption {
    pub(super) fourcc: Fourcc,
    /// Empty = the driver does not say.
    pub(super) sizes: Vec<Sizes>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sizes {
    One(Size),
    /// From one to the other in steps, which may be zero for "the one size there is".
    Steps {
        min: Size,
        max: Size,
        step: Size,
    },
}

impl Sizes {
    /// Returns the size that is nearest to the requested one.
    pub(super) fn nearest(self, requested: Size) -> Size {
        match self {
            Self::One(size) => size,
            Self::Steps { min, max, step } => {
                let side = |min: u32, max: u32, step: u32, requested: u32| {
                    let above = requested.clamp(min, max.max(min)) - min;
                    let steps = (above + step / 2).checked_div(step).unwrap_or(0);
                    // Half a step up may lie behind the last one.
                    let last = (max.max(min) - min).checked_div(step).unwrap_or(0);
                    min + steps.min(last) * step
                };
                Size {
                    width: side(min.width, max.width, step.width, requested.width),
                    height: side(min.height, max.height, step.height, requested.height),
                }
            }
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(size) => write!(f, "{size}"),
            Self::Steps { min, max, .. } => write!(f, "{min} to {max}"),
        }
    }
}

/// The format that the driver delivers from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NegotiatedFormat {
    pub(super) fourcc: Fourcc,
    pub(super) size: Size,
    /// Bytes a line; 0 where that means nothing.
    pub(super) stride: u32,
    /// 0 to 255 instead of the levels of television.
    pub(super) full_range: bool,
    /// The matrix of BT.709.
    pub(super) rec709: bool,
}

/// The range of a control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ControlRange {
    pub(super) min: i32,
    pub(super) max: i32,
    pub(super) step: i32,
    pub(super) default: i32,
}

impl ControlRange {
    /// `percent`: 0 is the lowest value, 100 the highest.
    pub(super) fn value_at(self, percent: u8) -> i32 {
        let (min, max) = (i64::from(self.min), i64::from(self.max.max(self.min)));
        let step = i64::from(self.step.max(1));
        let above = (max - min) * i64::from(percent.min(100)) / 100;
        let value = min + (above + step / 2) / step * step;
        i32::try_from(value.min(max)).unwrap_or(self.max)
    }
}

/// Returns true if the error means that the device has been removed.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO | libc::ENOENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn size(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    #[test]
    fn the_nearest_size_of_steps_is_one_of_them() {
        let steps = Sizes::Steps { min: size(16, 16), max: size(1920, 1088), step: size(8, 16) };
        for (requested, nearest) in [
            (size(1920, 1080), size(1920, 1088)),
            (size(4096, 4096), size(1920, 1088)),
            (size(1, 1), size(16, 16)),
            (size(641, 481), size(640, 480)),
            (size(645, 489), size(648, 496)),
        ] {
            assert_eq!(steps.nearest(requested), nearest, "{requested}");
        }
        // Drivers that say nonsense are no reason to panic.
        let nonsense = Sizes::Steps { min: size(640, 480), max: size(320, 240), step: size(0, 0) };
        assert_eq!(nonsense.nearest(size(1920, 1080)), size(640, 480));
    }

    #[test]
    fn percents_of_a_range_are_values_it_has() {
        let range = |min, max, step| ControlRange { min, max, step, default: 0 };
        for (range, percent, value) in [
            (range(0, 255, 1), 0, 0),
            (range(0, 255, 1), 50, 127),
            (range(0, 255, 1), 100, 255),
            (range(-64, 64, 1), 50, 0),
            (range(-64, 64, 1), 100, 64),
            (range(0, 10, 4), 50, 4),
            (range(0, 10, 4), 100, 10),
            (range(i32::MIN, i32::MAX, 1), 100, i32::MAX),
            (range(5, -5, 0), 50, 5),
        ] {
            assert_eq!(range.value_at(percent), value, "{range:?} {percent}");
        }
    }
}
