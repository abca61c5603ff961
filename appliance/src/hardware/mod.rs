//! The parts of a camera, [`Button`], [`Led`] and [`Camera`], and the drivers for them.
//!
//! Everything above works with these traits, so that the whole camera runs on a laptop: [`rppal_gpio`], [`gpiochip`] and
//! [`v4l`] are the only files that name rppal, gpiocdev and v4l, [`rpicam`] runs a program, [`simulated`] needs no
//! hardware. Hardware carries out actions and decides nothing; its errors say what to do about them.

mod auto_camera;
mod exposure;
pub(crate) mod gpiochip;
pub(crate) mod identity;
pub(crate) mod open;
mod rotated;
pub(crate) mod rpicam;
pub(crate) mod rppal_gpio;
pub(crate) mod simulated;
mod streaming_camera;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod v4l;

use std::borrow::Cow;
use std::time::Duration;

use keepsake_protocol::event::TombstoneReason;

use crate::imaging::frame::Frame;
use crate::settings;

/// The button was pressed or released, debounced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ButtonEdge {
    pub down: bool,
    /// CLOCK_BOOTTIME of it, microseconds.
    pub at_boottime_us: u64,
}

/// The button. Its own thread waits for it.
pub(crate) trait Button: Send {
    /// Waits at most `timeout` until it is pressed or released; `None` = it was not.
    ///
    /// # Errors
    /// The button cannot be read any more. Waiting again later is allowed: it opens the pin again.
    fn wait(&mut self, timeout: Duration) -> Result<Option<ButtonEdge>, HardwareError>;
}

/// The state of the LED.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LedState {
    Off,
    On {
        /// 1 to 100 % of full brightness; an LED without dimming is simply on.
        brightness: u8,
        /// Red, green, blue, 0 to 255; an LED of one colour ignores it.
        colour: [u8; 3],
    },
}

impl LedState {
    /// Returns the share of the time for which each of `N` channels is lit, 0 to 1: one for an LED of one colour, or red, green and blue.
    fn duty_cycles(self, channels: usize) -> Vec<f64> {
        let Self::On { brightness, colour } = self else {
            return vec![0.0; channels];
        };
        let bright = f64::from(brightness) / 100.0;
        if channels == 1 {
            return vec![bright];
        }
        let colour = colour.iter().map(|part| bright * f64::from(*part) / 255.0);
        colour.take(channels).collect()
    }
}

/// The LED beside the button.
pub(crate) trait Led: Send {
    /// Switches the LED. It returns at once and never fails: a broken LED must not stop a camera.
    fn show(&mut self, state: LedState);

    /// Describes the pattern that is shown from now on, for an LED that is drawn.
    fn caption(&mut self, _appearance: &str, _meaning: &str) {}
}

/// The pins of this board, through rppal or the character device.
pub(crate) trait Pins {
    fn button(&self, settings: &settings::ButtonSettings) -> Result<Box<dyn Button>, HardwareError>;

    fn led(&self, settings: &settings::LightSettings) -> Result<Box<dyn Led>, HardwareError>;

    /// Describes the access for the log and for `appliance self-test`.
    fn describe(&self) -> String;
}

/// The camera. It has its own thread, because a driver may block for any time.
pub(crate) trait Camera: Send {
    /// Takes a frame that began after this call, or gives up after about `deadline`.
    ///
    /// # Errors
    /// [`CameraError`] explains the failure to a person; the next call tries again from the beginning.
    fn frame(&mut self, deadline: Duration) -> Result<Frame, CameraError>;

    /// Does the slow part of the first frame in advance, in about `within`, so that no press waits for it. Errors are
    /// logged, and returned again by the first frame.
    fn prepare(&mut self, _within: Duration) {}

    /// Applies settings from the next frame on. A camera without such settings ignores them.
    fn configure(&mut self, _settings: &settings::CameraSettings) {}

    /// Describes, after a frame, the camera, its negotiated format and its other formats, one per line.
    fn describe(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CameraError {
    #[error("find the camera {camera} ({fix})")]
    NotFound {
        camera: String,
        fix: Cow<'static, str>,
        #[source]
        source: Option<std::io::Error>,
    },
    #[error("wait for a frame of the camera {camera} ({after_ms} ms)")]
    TimedOut { camera: String, after_ms: u128 },
    #[error("take a frame with the camera {camera}: {what}")]
    Failed {
        camera: String,
        what: String,
        #[source]
        source: Option<std::io::Error>,
    },
}

impl CameraError {
    pub(crate) fn failed(camera: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Failed { camera: camera.into(), what: what.into(), source: None }
    }

    pub(crate) fn not_found(camera: impl Into<String>, fix: &'static str) -> Self {
        Self::NotFound { camera: camera.into(), fix: fix.into(), source: None }
    }

    /// Returns the reason for the tombstone.
    pub(crate) fn reason(&self) -> TombstoneReason {
        match self {
            Self::NotFound { .. } => TombstoneReason::CameraNotFound,
            Self::TimedOut { .. } => TombstoneReason::CameraTimedOut,
            Self::Failed { .. } => TombstoneReason::CameraFailed,
        }
    }
}

/// A part of the camera that cannot be used. The text names the fix.
#[derive(Debug, thiserror::Error)]
#[error("{doing} ({fix})")]
pub(crate) struct HardwareError {
    pub doing: String,
    pub fix: &'static str,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl HardwareError {
    pub(crate) fn new(doing: impl Into<String>, fix: &'static str) -> Self {
        Self { doing: doing.into(), fix, source: None }
    }

    /// Returns the error of a pin that the kernel does not give.
    fn of_pin(doing: String, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let fix = "check that the pin is on this board, and that no other program uses it";
        Self::new(doing, fix).caused_by(cause)
    }

    pub(crate) fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(cause.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_led_of_one_colour_ignores_the_colour_and_one_of_three_mixes_it() {
        let amber = LedState::On { brightness: 50, colour: [255, 140, 0] };
        assert_eq!(amber.duty_cycles(1), [0.5]);
        let mixed = amber.duty_cycles(3);
        assert!((mixed[0] - 0.5).abs() < 1e-9 && mixed[2] == 0.0, "{mixed:?}");
        assert!((mixed[1] - 0.274).abs() < 0.001, "{mixed:?}");
        assert_eq!(LedState::Off.duty_cycles(3), [0.0; 3]);
    }
}
