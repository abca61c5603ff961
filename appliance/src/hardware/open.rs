//! Opens the parts of the camera that the settings name.

use std::time::Duration;

use super::identity::Identity;
use super::{
    Button, Camera, CameraError, HardwareError, Led, Pins, auto_camera, gpiochip, rotated, rpicam, rppal_gpio,
    simulated, v4l,
};
use crate::imaging::frame::Frame;
use crate::settings::{self, CameraBackend, Config, GpioBackend};

/// The opened parts.
pub(crate) struct Hardware {
    pub button: Box<dyn Button>,
    pub led: Box<dyn Led>,
    pub camera: Box<dyn Camera>,
    /// Tells one board with one card from another (see [`Identity`]).
    pub fingerprint: String,
}

impl Hardware {
    /// Opens the parts that the settings name: real parts, or simulated ones with `simulated.enabled`.
    ///
    /// A camera that is not plugged in is no error: every press becomes a tombstone until it is back.
    ///
    /// # Errors
    /// A part cannot work until a person changes something; the text names it.
    pub(crate) fn open(config: &Config) -> Result<Self, HardwareError> {
        if !config.simulated.enabled {
            let way = open_pins(&config.gpio)?.describe();
            tracing::info!("the pins are reached {way}");
        }
        Ok(Self {
            camera: open_camera(config)?,
            button: open_button(config)?,
            led: open_led(config)?,
            fingerprint: Identity::of(config).fingerprint,
        })
    }
}

pub(crate) fn open_camera(config: &Config) -> Result<Box<dyn Camera>, HardwareError> {
    let settings = &config.camera;
    let camera: Box<dyn Camera> = match settings.backend {
        CameraBackend::Auto if config.simulated.enabled => Box::new(simulated::SimulatedCamera::open(config)?),
        CameraBackend::Simulated => Box::new(simulated::SimulatedCamera::open(config)?),
        CameraBackend::Auto => Box::new(auto_camera::AutoCamera::open(settings)?),
        CameraBackend::V4l => Box::new(v4l::V4lCamera::open(settings)?),
        CameraBackend::Rpicam => Box::new(rpicam::RpicamCamera::open(settings)),
        CameraBackend::None => Box::new(NoCamera),
    };
    Ok(Box::new(rotated::RotatedCamera::new(camera, settings)))
}

pub(crate) fn open_button(config: &Config) -> Result<Box<dyn Button>, HardwareError> {
    if config.simulated.enabled {
        return Ok(Box::new(simulated::SimulatedButton::on_stdin()?));
    }
    open_pins(&config.gpio)?.button(&config.button)
}

/// Opens only the LED.
pub(crate) fn open_led(config: &Config) -> Result<Box<dyn Led>, HardwareError> {
    if config.simulated.enabled {
        return Ok(Box::new(simulated::SimulatedLed::on_stderr()));
    }
    open_pins(&config.gpio)?.led(&config.light)
}

/// Opens the pins. The kernel of Raspberry Pi OS has `/dev/gpiomem` for rppal; others have only the character device,
/// which is also used where rppal does not know the board.
pub(crate) fn open_pins(settings: &settings::GpioSettings) -> Result<Box<dyn Pins>, HardwareError> {
    let gpiochip = || -> Result<Box<dyn Pins>, _> { Ok(Box::new(gpiochip::Gpiochip::open(&settings.device)?)) };
    match settings.backend {
        GpioBackend::Rppal => Ok(Box::new(rppal_gpio::Gpio::open()?)),
        GpioBackend::Auto if rppal_gpio::has_registers() => match rppal_gpio::Gpio::open() {
            Ok(pins) => Ok(Box::new(pins)),
            // The device exists, so the reason why rppal cannot use it is what a person must fix.
            Err(first) => gpiochip().map_err(|_| first),
        },
        GpioBackend::Gpiochip | GpioBackend::Auto => gpiochip(),
    }
}

/// `camera.backend = "none"`: a box that has only a button, or a trial without a camera.
struct NoCamera;

impl Camera for NoCamera {
    fn frame(&mut self, _deadline: Duration) -> Result<Frame, CameraError> {
        Err(CameraError::not_found("none", "set camera.backend to auto"))
    }
}
