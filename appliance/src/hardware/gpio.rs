//! Button and lamp on the pins of a Raspberry Pi, by rppal. The only file that names it.
//!
//! rppal needs `/dev/gpiomem` (`/dev/gpiomem0` on a Pi 5) for levels and `/dev/gpiochipN` for edges. It puts a pin back
//! as it was when dropped, so both parts keep theirs for as long as they live, and the lamp does not stay lit.

use std::time::{Duration, Instant};

use rppal::gpio::{Error, InputPin, Level, OutputPin, Trigger};

use super::{HardwareError, Lamp, Press};
use crate::clock;
use crate::config::{self, Active, Pull};

/// Too fast for an eye to see it flicker, slow enough for rppal's software PWM.
const PWM_HZ: f64 = 200.0;

/// The pins of this board.
pub struct Gpio(rppal::gpio::Gpio);

impl Gpio {
    /// # Errors
    /// No Raspberry Pi that rppal knows, or no permission.
    pub fn open() -> Result<Self, HardwareError> {
        rppal::gpio::Gpio::new()
            .map(Self)
            .map_err(|e| explained("open the GPIO pins".to_owned(), e))
    }

    /// # Errors
    /// The pin is taken, does not exist, or gives no edges.
    pub fn button(&self, settings: &config::Button) -> Result<Button, HardwareError> {
        let doing = || format!("use pin {} for the button (button.pin)", settings.pin);
        let pin = self
            .0
            .get(settings.pin)
            .map_err(|e| explained(doing(), e))?;
        let pin = match settings.pull {
            Pull::Up => pin.into_input_pullup(),
            Pull::Down => pin.into_input_pulldown(),
            Pull::None => pin.into_input(),
        };
        let mut button = Button {
            pin,
            trigger: match settings.active {
                Active::Low => Trigger::FallingEdge,
                Active::High => Trigger::RisingEdge,
            },
            debounce: settings.debounce(),
            min_gap: settings.min_gap(),
            last_press_us: None,
            listening: false,
        };
        button.listen()?;
        Ok(button)
    }

    /// # Errors
    /// The pin is taken or does not exist.
    pub fn light(&self, settings: &config::Light) -> Result<Light, HardwareError> {
        let doing = || format!("use pin {} for the light (light.pin)", settings.pin);
        let pin = self
            .0
            .get(settings.pin)
            .map_err(|e| explained(doing(), e))?;
        let (off, on) = match settings.active {
            Active::High => (Level::Low, Level::High),
            Active::Low => (Level::High, Level::Low),
        };
        let pin = match off {
            Level::Low => pin.into_output_low(),
            Level::High => pin.into_output_high(),
        };
        Ok(Light {
            pin,
            off,
            on,
            dimmed: false,
        })
    }
}

/// A button between a pin and ground, or between a pin and 3.3 V.
pub struct Button {
    pin: InputPin,
    trigger: Trigger,
    debounce: Duration,
    min_gap: Duration,
    last_press_us: Option<u64>,
    listening: bool,
}

impl Button {
    /// The kernel debounces: an edge is told once the level has been steady for so long.
    fn listen(&mut self) -> Result<(), HardwareError> {
        let debounce = (!self.debounce.is_zero()).then_some(self.debounce);
        self.pin
            .set_interrupt(self.trigger, debounce)
            .map_err(|e| explained(format!("listen to pin {}", self.pin.pin()), e))?;
        self.listening = true;
        Ok(())
    }
}

impl super::Button for Button {
    fn wait(&mut self, timeout: Duration) -> Result<Option<Press>, HardwareError> {
        let until = Instant::now() + timeout;
        if !self.listening {
            self.listen()?;
        }
        loop {
            let left = until.saturating_duration_since(Instant::now());
            // Not reset: an edge that came while the last press was handled is a press too.
            let event = self.pin.poll_interrupt(false, Some(left)).map_err(|e| {
                self.listening = false;
                explained(format!("wait for the button on pin {}", self.pin.pin()), e)
            })?;
            let Some(event) = event else {
                return Ok(None);
            };
            let at_monotonic_us = u64::try_from(event.timestamp.as_micros()).unwrap_or(u64::MAX);
            let at_boottime_us = clock::boottime_of_monotonic_us(at_monotonic_us);
            if is_new_press(self.last_press_us, at_boottime_us, self.min_gap) {
                self.last_press_us = Some(at_boottime_us);
                return Ok(Some(Press { at_boottime_us }));
            }
        }
    }
}

/// Nobody presses twice within `min_gap`: that is a worn contact.
fn is_new_press(last_us: Option<u64>, at_us: u64, min_gap: Duration) -> bool {
    last_us.is_none_or(|last| u128::from(at_us.saturating_sub(last)) >= min_gap.as_micros())
}

/// A lamp of one colour between a pin and ground, or between a pin and 3.3 V.
pub struct Light {
    pin: OutputPin,
    off: Level,
    on: Level,
    dimmed: bool,
}

impl super::Light for Light {
    fn show(&mut self, lamp: Lamp) {
        if self.dimmed {
            // It only fails when the thread behind it is gone, and then there is nothing to clear.
            let _ = self.pin.clear_pwm();
            self.dimmed = false;
        }
        match lamp {
            Lamp::Off => self.pin.write(self.off),
            Lamp::On { brightness, .. } if brightness < 100 => {
                let share = f64::from(brightness) / 100.0;
                let high = match self.on {
                    Level::High => share,
                    Level::Low => 1.0 - share,
                };
                self.dimmed = self.pin.set_pwm_frequency(PWM_HZ, high).is_ok();
                if !self.dimmed {
                    self.pin.write(self.on);
                }
            }
            Lamp::On { .. } => self.pin.write(self.on),
        }
    }
}

impl Drop for Light {
    fn drop(&mut self) {
        super::Light::show(self, Lamp::Off);
    }
}

/// rppal's errors with what to do about them.
fn explained(doing: String, error: Error) -> HardwareError {
    let fix = match &error {
        Error::UnknownModel => "this is no Raspberry Pi that is known here; --simulated needs none",
        Error::PinUsed(_) => "button.pin and light.pin must differ",
        Error::PinNotAvailable(_) => "use the BCM number of a pin on the header, 0 to 27",
        Error::PermissionDenied(_) => {
            "put the user into the group gpio, and install the udev rules"
        }
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
    fn a_worn_contact_is_one_press() {
        let gap = Duration::from_millis(300);
        for (last, at, new) in [
            (None, 0, true),
            (Some(1_000_000), 1_299_999, false),
            (Some(1_000_000), 1_300_000, true),
            (Some(1_000_000), 999_000, false),
        ] {
            assert_eq!(is_new_press(last, at, gap), new, "{last:?} {at}");
        }
        assert!(is_new_press(Some(5), 5, Duration::ZERO));
    }

    #[test]
    fn every_error_names_the_fix() {
        for (error, fix) in [
            (Error::UnknownModel, "--simulated"),
            (
                Error::PermissionDenied("/dev/gpiomem".to_owned()),
                "group gpio",
            ),
            (Error::PinUsed(17), "must differ"),
            (Error::PinNotAvailable(99), "BCM"),
            (Error::ThreadPanic, "/dev/gpiochip0"),
        ] {
            let error = explained("open the GPIO pins".to_owned(), error);
            assert!(error.to_string().contains(fix), "{error}");
        }
    }
}
