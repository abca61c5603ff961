//! Button and LED on the pins of a Raspberry Pi, by rppal. The only file that names it.
//!
//! rppal needs `/dev/gpiomem` (`/dev/gpiomem0` on a Pi 5) for levels and `/dev/gpiochipN` for edges. It puts a pin back
//! as it was when dropped, so both parts keep theirs for as long as they live, and the LED does not stay lit.

use std::path::Path;
use std::time::Duration;

use rppal::gpio::{Error, InputPin, Level, OutputPin, Trigger};

use super::{Button, ButtonEdge, HardwareError, Led, LedState, Pins};
use crate::settings::{self, Active, Pull};
use crate::time::clock;

/// Too fast for an eye to see it flicker, slow enough for rppal's software PWM.
const PWM_HZ: f64 = 200.0;

/// The paths of the registers: up to the Pi 4, and from the Pi 5 on.
const REGISTERS: [&str; 2] = ["/dev/gpiomem", "/dev/gpiomem0"];

/// Returns true if rppal could work on this computer.
pub(super) fn has_registers() -> bool {
    REGISTERS.iter().any(|path| Path::new(path).exists())
}

/// The pins of this board.
pub(crate) struct Gpio(rppal::gpio::Gpio);

impl Gpio {
    /// Fails on a board that rppal does not know, and without permission.
    pub(crate) fn open() -> Result<Self, HardwareError> {
        rppal::gpio::Gpio::new()
            .map(Self)
            .map_err(|e| hardware_error("open the GPIO pins".to_owned(), e))
    }
}

impl Pins for Gpio {
    fn button(&self, settings: &settings::ButtonSettings) -> Result<Box<dyn Button>, HardwareError> {
        let doing = || format!("use pin {} for the button (button.pin)", settings.pin);
        let pin = self.0.get(settings.pin).map_err(|e| hardware_error(doing(), e))?;
        let pin = match settings.pull {
            Pull::Up => pin.into_input_pullup(),
            Pull::Down => pin.into_input_pulldown(),
            Pull::None => pin.into_input(),
        };
        let mut button = RppalButton {
            pin,
            pressed_by: match settings.active {
                Active::Low => Trigger::FallingEdge,
                Active::High => Trigger::RisingEdge,
            },
            debounce: settings.debounce(),
            listening: false,
        };
        button.listen_for_edges()?;
        Ok(Box::new(button))
    }

    fn led(&self, settings: &settings::LightSettings) -> Result<Box<dyn Led>, HardwareError> {
        let (off, on) = match settings.active {
            Active::High => (Level::Low, Level::High),
            Active::Low => (Level::High, Level::Low),
        };
        let take = |number: u8| {
            let doing = || format!("use pin {number} for the light (light.pin, light.rgb_pins)");
            let pin = self.0.get(number).map_err(|e| hardware_error(doing(), e))?;
            let pin = match off {
                Level::Low => pin.into_output_low(),
                Level::High => pin.into_output_high(),
            };
            Ok(Channel { pin, dimmed: false })
        };
        let channels = settings.pins().into_iter().map(take);
        Ok(Box::new(RppalLed { channels: channels.collect::<Result<_, _>>()?, off, on }))
    }

    fn describe(&self) -> String {
        format!("by rppal, because {} is there", REGISTERS.join(" or "))
    }
}

/// A button between a pin and ground, or between a pin and 3.3 V.
pub(crate) struct RppalButton {
    pin: InputPin,
    /// The edge that is a press; the other is its end.
    pressed_by: Trigger,
    debounce: Duration,
    listening: bool,
}

impl RppalButton {
    /// The kernel debounces: an edge is reported once the level has been stable for this time.
    fn listen_for_edges(&mut self) -> Result<(), HardwareError> {
        let debounce = (!self.debounce.is_zero()).then_some(self.debounce);
        self.pin
            .set_interrupt(Trigger::Both, debounce)
            .map_err(|e| hardware_error(format!("listen to pin {}", self.pin.pin()), e))?;
        self.listening = true;
        Ok(())
    }
}

impl Button for RppalButton {
    fn wait(&mut self, timeout: Duration) -> Result<Option<ButtonEdge>, HardwareError> {
        if !self.listening {
            self.listen_for_edges()?;
        }
        // Not reset: an edge that came while the last press was handled is a press too.
        let event = self.pin.poll_interrupt(false, Some(timeout)).map_err(|e| {
            self.listening = false;
            hardware_error(format!("wait for the button on pin {}", self.pin.pin()), e)
        })?;
        Ok(event.map(|event| {
            let at_monotonic_us = u64::try_from(event.timestamp.as_micros()).unwrap_or(u64::MAX);
            ButtonEdge {
                down: event.trigger == self.pressed_by,
                at_boottime_us: clock::boottime_of_monotonic_us(at_monotonic_us),
            }
        }))
    }
}

/// An LED of one colour, or of three, between pins and ground, or between pins and 3.3 V.
pub(crate) struct RppalLed {
    channels: Vec<Channel>,
    off: Level,
    on: Level,
}

struct Channel {
    pin: OutputPin,
    dimmed: bool,
}

impl Led for RppalLed {
    fn show(&mut self, state: LedState) {
        let shares = state.duty_cycles(self.channels.len());
        for (channel, share) in self.channels.iter_mut().zip(shares) {
            channel.set_duty_cycle(share, self.off, self.on);
        }
    }
}

impl Channel {
    fn set_duty_cycle(&mut self, share: f64, off: Level, on: Level) {
        if self.dimmed {
            // It only fails when the thread behind it is gone, and then there is nothing to clear.
            let _ = self.pin.clear_pwm();
            self.dimmed = false;
        }
        if share <= 0.0 {
            return self.pin.write(off);
        }
        if share < 1.0 {
            let high = match on {
                Level::High => share,
                Level::Low => 1.0 - share,
            };
            self.dimmed = self.pin.set_pwm_frequency(PWM_HZ, high).is_ok();
        }
        if !self.dimmed {
            self.pin.write(on);
        }
    }
}

impl Drop for RppalLed {
    fn drop(&mut self) {
        self.show(LedState::Off);
    }
}

/// rppal's errors with what to do about them.
fn hardware_error(doing: String, error: Error) -> HardwareError {
    let fix = match &error {
        Error::UnknownModel => "this is no Raspberry Pi that is known here; --simulated needs none",
        Error::PinUsed(_) => "button.pin and the pins of the light must differ",
        Error::PinNotAvailable(_) => "use the BCM number of a pin on the header, 0 to 27",
        Error::PermissionDenied(_) => "put the user into the group gpio, and install the udev rules",
        Error::Io(_) | Error::ThreadPanic => {
            "check that no other program uses the pin, and that /dev/gpiomem and /dev/gpiochip0 exist"
        }
    };
    HardwareError::new(doing, fix).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_names_the_fix() {
        for (error, fix) in [
            (Error::UnknownModel, "--simulated"),
            (Error::PermissionDenied("/dev/gpiomem".to_owned()), "group gpio"),
            (Error::PinUsed(17), "must differ"),
            (Error::PinNotAvailable(99), "BCM"),
            (Error::ThreadPanic, "/dev/gpiochip0"),
        ] {
            let error = hardware_error("open the GPIO pins".to_owned(), error);
            assert!(error.to_string().contains(fix), "{error}");
        }
    }
}
