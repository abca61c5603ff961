//! Button and LED on the character device of the kernel, by gpiocdev. The only folder that names it.
//!
//! It works on any kernel and any board, and needs only the group of `/dev/gpiochipN`.

mod debounced_button;
mod led;

use std::fmt;
use std::path::{Path, PathBuf};

use gpiocdev::Request;
use gpiocdev::chip::{Chip, Info};
use gpiocdev::line::Value;

use self::debounced_button::{CONSUMER, GpiochipButton};
use self::led::GpiochipLed;
use super::rppal_gpio::has_registers;
use super::{Button, HardwareError, Led, Pins};
use crate::settings::{self, Active};

/// The names that the kernel's drivers give the chip of the header: on the Pi 5, on the Pi 4, and before.
const HEADERS: [&str; 3] = ["pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835"];
const ABSENT: &str = "this computer has no GPIO pins that the kernel knows; --simulated needs none";
const FORBIDDEN: &str = "put the user into the group gpio, and install the udev rules";
const NO_CHIP: &str = "name a /dev/gpiochipN in gpio.device";

/// The chip whose lines are the pins of the header.
pub(crate) struct Gpiochip {
    path: PathBuf,
    label: String,
}

impl fmt::Display for Gpiochip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path.display(), self.label)
    }
}

impl Gpiochip {
    /// Opens the chip at `path`, or finds that of the header when it is empty.
    pub(crate) fn open(path: &Path) -> Result<Self, HardwareError> {
        if !path.as_os_str().is_empty() {
            let doing = format!("open the GPIO chip {} (gpio.device)", path.display());
            let label = label_of(path).map_err(|why| HardwareError::new(doing, why))?;
            return Ok(Self { path: path.to_owned(), label });
        }
        let doing = "find the GPIO chip of the header";
        let paths = gpiocdev::chip::chips().unwrap_or_default();
        let found: Vec<_> = paths.into_iter().map(|path| (label_of(&path), path)).collect();
        let labels = found.iter().filter_map(|(label, path)| Some((label.as_ref().ok()?.as_str(), path)));
        if let Some((label, path)) = header(&labels.collect::<Vec<_>>()) {
            return Ok(Self { path: path.clone(), label: label.to_owned() });
        }
        let names: Vec<String> = found
            .iter()
            .map(|(label, path)| match label {
                Ok(label) => format!("{} is {label}", path.display()),
                Err(_) => format!("{} cannot be opened", path.display()),
            })
            .collect();
        let why = found.iter().find_map(|(label, _)| label.as_ref().err());
        let why = match (why, names.is_empty()) {
            (Some(why), _) => *why,
            (None, true) => ABSENT,
            (None, false) => "name the right one in gpio.device",
        };
        let doing = if names.is_empty() {
            doing.to_owned()
        } else {
            format!("{doing}: {}", names.join(", "))
        };
        Err(HardwareError::new(doing, why))
    }

    /// Checks the line before requesting it: the kernel's error would not name the program that uses it.
    fn check_free(&self, pin: u8, setting: &str) -> Result<(), HardwareError> {
        let doing = || format!("use line {pin} of {self} ({setting})");
        let info = Chip::from_path(&self.path)
            .and_then(|chip| chip.line_info(u32::from(pin)))
            .map_err(|e| HardwareError::of_pin(doing(), e))?;
        if info.used {
            let doing = format!("{}: \"{}\" has it", doing(), info.consumer);
            return Err(HardwareError::new(
                doing,
                "the pins of button and light must differ, and no other program may use them",
            ));
        }
        Ok(())
    }
}

impl Pins for Gpiochip {
    fn button(&self, settings: &settings::ButtonSettings) -> Result<Box<dyn Button>, HardwareError> {
        self.check_free(settings.pin, "button.pin")?;
        Ok(Box::new(GpiochipButton::open(&self.path, settings)?))
    }

    fn led(&self, settings: &settings::LightSettings) -> Result<Box<dyn Led>, HardwareError> {
        let pins = settings.pins();
        for &pin in &pins {
            self.check_free(pin, "light.pin, light.rgb_pins")?;
        }
        let lines: Vec<u32> = pins.iter().map(|pin| u32::from(*pin)).collect();
        let mut request = Request::builder();
        request.on_chip(&self.path).with_consumer(CONSUMER);
        request.with_lines(&lines).as_output(Value::Inactive);
        match settings.active {
            Active::High => request.as_active_high(),
            Active::Low => request.as_active_low(),
        };
        let doing = || format!("use the lines {lines:?} of {self} for the light");
        let request = request.request().map_err(|e| HardwareError::of_pin(doing(), e))?;
        let led = GpiochipLed::start(request, lines.clone())
            .map_err(|e| HardwareError::new("start the light's thread", "free some memory").caused_by(e))?;
        Ok(Box::new(led))
    }

    fn describe(&self) -> String {
        if has_registers() {
            format!("by {self}, because rppal cannot use /dev/gpiomem or was not asked for")
        } else {
            format!("by {self}, because there is no /dev/gpiomem")
        }
    }
}

/// The first of those that drive a header, in the order of [`HEADERS`].
fn header<'a, P: Clone>(chips: &[(&'a str, P)]) -> Option<(&'a str, P)> {
    HEADERS.iter().find_map(|header| chips.iter().find(|(label, _)| label == header)).cloned()
}

/// Returns the label of a chip. The error is how to make it usable.
fn label_of(path: &Path) -> Result<String, &'static str> {
    // Opened as gpiocdev will, because its own errors do not tell these apart.
    let opened = std::fs::File::options().read(true).write(true).open(path);
    opened.map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => FORBIDDEN,
        std::io::ErrorKind::NotFound => ABSENT,
        _ => NO_CHIP,
    })?;
    let info = Chip::from_path(path).and_then(|chip| chip.info());
    info.map(|Info { label, .. }| label).map_err(|_| NO_CHIP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_known_by_its_driver_whatever_its_number() {
        let pi_5 = [("gpio-brcmstb@107d508500", 10), ("pinctrl-rp1", 0)];
        assert_eq!(header(&pi_5), Some(("pinctrl-rp1", 0)));
        let pi_4 = [("raspberrypi-exp-gpio", 1), ("pinctrl-bcm2711", 0)];
        assert_eq!(header(&pi_4), Some(("pinctrl-bcm2711", 0)));
        assert_eq!(header(&[("INT34C6:00", 0)]), None);
    }

    #[test]
    fn a_chip_that_is_not_there_or_none_names_the_fix() {
        let error = |path: &str| Gpiochip::open(Path::new(path)).err().unwrap().to_string();
        let absent = error("/dev/gpiochip-that-is-not-there");
        assert!(absent.contains("--simulated"), "{absent}");
        let other = error("/dev/null");
        assert!(other.contains("gpio.device") && other.contains("/dev/gpiochipN"), "{other}");
        assert!(FORBIDDEN.contains("group gpio"));
    }
}
