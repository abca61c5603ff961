//! Opens the parts of the camera that the settings name.

use std::time::Duration;

use super::identity::Identity;
use super::{
    Button, Camera, CameraError, HardwareError, Led, auto_camera, gpiochip, rotated, rpicam, rppal_gpio, simulated, v4l,
};
use crate::imaging::frame::Frame;
use crate::settings::{self, CameraBackend, Config, GpioBackend};

/// The opened parts.
pub struct Hardware {
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
    pub fn open(config: &Config) -> Result<Self, HardwareError> {
        if !config.simulated.enabled {
            let way = Pins::open(&config.gpio)?.describe();
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
    Ok(match Pins::open(&config.gpio)? {
        Pins::Rppal(pins) => Box::new(pins.button(&config.button)?),
        Pins::Gpiochip(chip) => Box::new(chip.button(&config.button)?),
    })
}

/// Opens only the LED.
pub fn open_led(config: &Config) -> Result<Box<dyn Led>, HardwareError> {
    if config.simulated.enabled {
        return Ok(Box::new(simulated::SimulatedLed::on_stderr()));
    }
    let pins = Pins::open(&config.gpio)?;
    Ok(match &pins {
        Pins::Rppal(pins) => Box::new(pins.led(&config.light)?),
        Pins::Gpiochip(chip) => Box::new(chip.led(&config.light)?),
    })
}

/// The pins of this board, through rppal or the character device.
pub(crate) enum Pins {
    Rppal(rppal_gpio::Gpio),
    Gpiochip(gpiochip::Gpiochip),
}

impl Pins {
    /// Opens the pins. The kernel of Raspberry Pi OS has `/dev/gpiomem` for rppal; others have only the character device,
    /// which is also used where rppal does not know the board.
    pub(crate) fn open(settings: &settings::GpioSettings) -> Result<Self, HardwareError> {
        match settings.backend {
            GpioBackend::Rppal => Ok(Self::Rppal(rppal_gpio::Gpio::open()?)),
            GpioBackend::Gpiochip => Ok(Self::Gpiochip(gpiochip::Gpiochip::open(&settings.device)?)),
            GpioBackend::Auto if rppal_gpio::has_registers() => match rppal_gpio::Gpio::open() {
                Ok(pins) => Ok(Self::Rppal(pins)),
                Err(first) => match gpiochip::Gpiochip::open(&settings.device) {
                    Ok(chip) => Ok(Self::Gpiochip(chip)),
                    // The device exists, so the reason why rppal cannot use it is what a person must fix.
                    Err(_) => Err(first),
                },
            },
            GpioBackend::Auto => Ok(Self::Gpiochip(gpiochip::Gpiochip::open(&settings.device)?)),
        }
    }

    /// Describes the access for the log and for `appliance self-test`.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Rppal(_) => {
                format!("by rppal, because {} is there", rppal_gpio::REGISTERS.join(" or "))
            }
            Self::Gpiochip(chip) if rppal_gpio::has_registers() => {
                format!("by {chip}, because rppal cannot use /dev/gpiomem or was not asked for")
            }
            Self::Gpiochip(chip) => format!("by {chip}, because there is no /dev/gpiomem"),
        }
    }
}

/// `camera.backend = "none"`: a box that has only a button, or a trial without a camera.
struct NoCamera;

impl Camera for NoCamera {
    fn frame(&mut self, _deadline: Duration) -> Result<Frame, CameraError> {
        Err(CameraError::not_found("none", "set camera.backend to auto"))
    }
}
