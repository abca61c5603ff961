//! The real drivers, by the crate v4l: the only file that names it.
//!
//! The crate takes what drivers say for right and panics where it is not: text that is no UTF-8, a colour space of a
//! newer kernel, a stream that does not stop. A camera must not end with that, so every call of it is guarded.

use std::io;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use v4l::buffer::{Flags, Type};
use v4l::capability::Flags as Capability;
use v4l::control::{Control, Value};
use v4l::format::{Colorspace, FourCC, Quantization};
use v4l::framesize::FrameSizeEnum;
use v4l::io::mmap;
use v4l::io::traits::{CaptureStream, Stream as _};
use v4l::video::Capture;
use v4l::video::capture::Parameters;

use super::discovery::device_paths_below;
use super::driver::{
    BufferTimestamp, ControlRange, DequeuedFrame, Device, DeviceInfo, Driver, FormatOption, Fourcc, NegotiatedFormat,
    Size, Sizes, Stream, is_gone,
};

/// The kernel.
pub(super) struct Kernel;

impl Driver for Kernel {
    fn device_paths(&self) -> Vec<PathBuf> {
        device_paths_below(Path::new("/dev"))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Device>> {
        let device = catch_panic(|| v4l::Device::with_path(path))?;
        close_on_exec(&device)?;
        Ok(Box::new(OpenDevice(device)))
    }
}

/// The crate forgets it. A program that re-executes itself would find the camera busy.
fn close_on_exec(device: &v4l::Device) -> io::Result<()> {
    let handle = device.handle();
    // SAFETY: the handle keeps it open for as long as it is borrowed.
    let fd = unsafe { BorrowedFd::borrow_raw(handle.fd()) };
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(())
}

/// A panic of the crate as the error it should have been.
fn catch_panic<T>(call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(io::Error::other("the driver says what nobody understands")))
}

struct OpenDevice(v4l::Device);

impl Device for OpenDevice {
    fn info(&self) -> io::Result<DeviceInfo> {
        let found = catch_panic(|| self.0.query_caps())?;
        let can = |flag| found.capabilities.contains(flag);
        Ok(DeviceInfo {
            capture: can(Capability::VIDEO_CAPTURE),
            multi_planar: can(Capability::VIDEO_CAPTURE_MPLANE) || can(Capability::VIDEO_M2M_MPLANE),
            streaming: can(Capability::STREAMING),
            driver: found.driver,
            card: found.card,
            bus: found.bus,
        })
    }

    fn format_options(&self) -> io::Result<Vec<FormatOption>> {
        let formats = catch_panic(|| self.0.enum_formats())?;
        let offers = formats.into_iter().map(|format| FormatOption {
            fourcc: Fourcc(format.fourcc.repr),
            // A driver need not say its sizes.
            sizes: catch_panic(|| self.0.enum_framesizes(format.fourcc))
                .unwrap_or_default()
                .into_iter()
                .map(|size| sizes(&size.size))
                .collect(),
        });
        Ok(offers.collect())
    }

    fn negotiate(&self, fourcc: Fourcc, size: Size) -> io::Result<NegotiatedFormat> {
        let requested = v4l::Format::new(size.width, size.height, FourCC::new(&fourcc.0));
        let given = catch_panic(|| self.0.set_format(&requested))?;
        let full_range = match given.quantization {
            Quantization::FullRange => true,
            Quantization::LimitedRange => false,
            Quantization::Default => matches!(given.colorspace, Colorspace::JPEG),
        };
        Ok(NegotiatedFormat {
            fourcc: Fourcc(given.fourcc.repr),
            size: Size { width: given.width, height: given.height },
            stride: given.stride,
            full_range,
            rec709: matches!(given.colorspace, Colorspace::Rec709),
        })
    }

    fn interval_us(&self) -> io::Result<Option<u64>> {
        let interval = match catch_panic(|| self.0.params()) {
            Ok(parameters) => parameters.interval,
            // A driver need not have it.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::EINVAL)) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let us = u64::from(interval.numerator) * 1_000_000;
        Ok(us.checked_div(interval.denominator.into()).filter(|&us| us > 0))
    }

    fn set_frame_rate(&self, frames_per_s: u32) -> io::Result<()> {
        catch_panic(|| self.0.set_params(&Parameters::with_fps(frames_per_s)))?;
        Ok(())
    }

    fn brightness(&self) -> io::Result<Option<ControlRange>> {
        let mut control = v4l::v4l_sys::v4l2_queryctrl {
            id: v4l::v4l_sys::V4L2_CID_BRIGHTNESS,
            // SAFETY: it is a struct of numbers.
            ..unsafe { std::mem::zeroed() }
        };
        // The crate can ask for all controls at once only, and does not survive those of newer kernels.
        // SAFETY: the descriptor is open as long as the device, and this request takes such a struct.
        let asked = unsafe {
            v4l::v4l2::ioctl(self.0.handle().fd(), v4l::v4l2::vidioc::VIDIOC_QUERYCTRL, (&raw mut control).cast())
        };
        match asked {
            Ok(()) if control.flags & v4l::v4l_sys::V4L2_CTRL_FLAG_DISABLED != 0 => Ok(None),
            Ok(()) => Ok(Some(ControlRange {
                min: control.minimum,
                max: control.maximum,
                step: control.step,
                default: control.default_value,
            })),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(None),
            Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn set_brightness(&self, value: i32) -> io::Result<()> {
        catch_panic(|| {
            self.0.set_control(Control {
                id: v4l::v4l_sys::V4L2_CID_BRIGHTNESS,
                value: Value::Integer(value.into()),
            })
        })
    }

    fn stream(&self, buffers: u32) -> io::Result<Box<dyn Stream>> {
        let stream = catch_panic(|| mmap::Stream::with_buffers(&self.0, Type::VideoCapture, buffers))?;
        Ok(Box::new(MappedStream { stream: Some(stream), runs: false }))
    }
}

fn sizes(size: &FrameSizeEnum) -> Sizes {
    match size {
        FrameSizeEnum::Discrete(one) => Sizes::One(Size { width: one.width, height: one.height }),
        FrameSizeEnum::Stepwise(steps) => Sizes::Steps {
            min: Size { width: steps.min_width, height: steps.min_height },
            max: Size { width: steps.max_width, height: steps.max_height },
            step: Size { width: steps.step_width, height: steps.step_height },
        },
    }
}

struct MappedStream {
    /// Until it is dropped.
    stream: Option<mmap::Stream<'static>>,
    runs: bool,
}

impl MappedStream {
    /// Waits here for as long as signals interrupt the waiting; the crate would count that, or a time-out, as a buffer
    /// given and never taken back.
    fn wait(&self, stream: &mmap::Stream<'static>, timeout: Duration) -> io::Result<()> {
        let until = Instant::now() + timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let left_ms = i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
            match stream.handle().poll(libc::POLLIN, left_ms) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Stream for MappedStream {
    fn next(&mut self, timeout: Duration) -> io::Result<DequeuedFrame<'_>> {
        if let Some(stream) = &self.stream
            && self.runs
        {
            self.wait(stream, timeout)?;
        }
        let stream = self.stream.as_mut().expect("it is taken out in drop only");
        // Never zero, which the crate would take for "do not wait", and never more than a poll takes.
        stream.set_timeout(timeout.clamp(Duration::from_millis(1), Duration::from_secs(3600)));
        let (buffer, meta) = CaptureStream::next(stream)?;
        self.runs = true;
        let used = usize::try_from(meta.bytesused).unwrap_or(usize::MAX);
        let us = meta.timestamp.sec.saturating_mul(1_000_000).saturating_add(meta.timestamp.usec);
        let monotonic = meta.flags & Flags::TIMESTAMP_MASK == Flags::TIMESTAMP_MONOTONIC;
        let began = meta.flags & Flags::TSTAMP_SRC_MASK == Flags::TSTAMP_SRC_SOE;
        let stamp = u64::try_from(us).ok().filter(|_| monotonic);
        Ok(DequeuedFrame {
            bytes: buffer.get(..used).unwrap_or(buffer),
            stamp: stamp.map(if began {
                BufferTimestamp::Began
            } else {
                BufferTimestamp::Ended
            }),
            broken: meta.flags.contains(Flags::ERROR),
        })
    }
}

impl Drop for MappedStream {
    /// Ends the stream without ending the program: the crate panics in its `drop` where the driver refuses to stop, and
    /// a second panic on the way out would abort.
    fn drop(&mut self) {
        let Some(mut stream) = self.stream.take() else {
            return;
        };
        match stream.stop() {
            Err(error) if !is_gone(&error) => {
                // Its buffers and its descriptor are lost until the program ends. That is the smaller evil.
                tracing::warn!(%error, "the camera refuses to stop");
                std::mem::forget(stream);
            }
            Ok(()) | Err(_) => {
                let _ = catch_unwind(AssertUnwindSafe(move || drop(stream)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_is_not_handed_to_the_program_that_comes_after() {
        let device = v4l::Device::with_path("/dev/null").unwrap();
        let handle = device.handle();
        // SAFETY: it is open until the end of this test.
        let fd = unsafe { BorrowedFd::borrow_raw(handle.fd()) };
        let flags = || FdFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFD).unwrap());
        assert!(!flags().contains(FdFlag::FD_CLOEXEC), "the crate has learned it");
        close_on_exec(&device).unwrap();
        assert!(flags().contains(FdFlag::FD_CLOEXEC));
    }

    #[test]
    fn a_device_that_is_no_camera_is_an_error_and_no_panic() {
        let device = Kernel.open(Path::new("/dev/null")).unwrap();
        assert!(device.info().is_err());
        assert_eq!(device.format_options().unwrap(), []);
        assert!(device.brightness().is_ok_and(|range| range.is_none()));
        assert!(device.stream(3).is_err());
        assert!(Kernel.open(Path::new("/dev/video-none")).is_err());
    }
}
