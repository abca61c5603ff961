//! Button and LED on the character device of the kernel, by gpiocdev. The only file that names it.
//!
//! It works on any kernel and any board, and needs only the group of `/dev/gpiochipN`. The kernel debounces the button.
//! It cannot dim, so a thread switches a dimmed LED on and off, as rppal does.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use gpiocdev::Request;
use gpiocdev::chip::{Chip, Info};
use gpiocdev::line::{Bias, EdgeDetection, EdgeKind, Value, Values};

use super::{ButtonEdge, HardwareError, LedState};
use crate::settings::{self, Active, Pull};
use crate::time::clock;

/// The names that the kernel's drivers give the chip of the header: on the Pi 5, on the Pi 4, and before.
const HEADERS: [&str; 3] = ["pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835"];
/// Edges that may wait while a press is handled. The kernel's own default is 16, a few presses.
const EDGES_MAX: u32 = 64;
/// One pass of a dimmed LED: too fast for an eye to see it flicker.
const PWM_PERIOD: Duration = Duration::from_millis(5);
/// States of the LED that may wait. The thread takes them at once, unless the kernel is slow.
const STATES_MAX: usize = 16;
const CONSUMER: &str = "keepsake";

/// The chip whose lines are the pins of the header.
pub struct Gpiochip {
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
    ///
    /// # Errors
    /// There is none, none that is known as the header's, or no permission.
    pub fn open(path: &Path) -> Result<Self, HardwareError> {
        if !path.as_os_str().is_empty() {
            let doing = format!("open the GPIO chip {} (gpio.device)", path.display());
            let label = label_of(path).map_err(|why| HardwareError::new(doing, why.fix()))?;
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
            (Some(why), _) => why.fix(),
            (None, true) => Unusable::Absent.fix(),
            (None, false) => "name the right one in gpio.device",
        };
        let doing = if names.is_empty() {
            doing.to_owned()
        } else {
            format!("{doing}: {}", names.join(", "))
        };
        Err(HardwareError::new(doing, why))
    }

    /// # Errors
    /// The pin is taken, does not exist, or gives no edges.
    pub fn button(&self, settings: &settings::ButtonSettings) -> Result<GpiochipButton, HardwareError> {
        self.check_free(settings.pin, "button.pin")?;
        let mut button = GpiochipButton {
            chip: self.path.clone(),
            settings: settings.clone(),
            line: None,
        };
        button.listen_for_edges()?;
        Ok(button)
    }

    /// # Errors
    /// A pin is taken or does not exist.
    pub fn led(&self, settings: &settings::LightSettings) -> Result<GpiochipLed, HardwareError> {
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
        let request = request.request().map_err(|e| hardware_error(doing(), e))?;
        GpiochipLed::start(request, lines.clone())
            .map_err(|e| HardwareError::new("start the light's thread", "free some memory").caused_by(e))
    }

    /// Checks the line before requesting it: the kernel's error would not name the program that uses it.
    fn check_free(&self, pin: u8, setting: &str) -> Result<(), HardwareError> {
        let doing = || format!("use line {pin} of {self} ({setting})");
        let info = Chip::from_path(&self.path)
            .and_then(|chip| chip.line_info(u32::from(pin)))
            .map_err(|e| hardware_error(doing(), e))?;
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

/// The first of those that drive a header, in the order of [`HEADERS`].
fn header<'a, P: Clone>(chips: &[(&'a str, P)]) -> Option<(&'a str, P)> {
    HEADERS.iter().find_map(|header| chips.iter().find(|(label, _)| label == header)).cloned()
}

/// Why a chip cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unusable {
    Absent,
    Forbidden,
    NoChip,
}

impl Unusable {
    fn fix(self) -> &'static str {
        match self {
            Self::Absent => "this computer has no GPIO pins that the kernel knows; --simulated needs none",
            Self::Forbidden => "put the user into the group gpio, and install the udev rules",
            Self::NoChip => "name a /dev/gpiochipN in gpio.device",
        }
    }
}

fn label_of(path: &Path) -> Result<String, Unusable> {
    // Opened as gpiocdev will, because its own errors do not tell these apart.
    let opened = std::fs::File::options().read(true).write(true).open(path);
    opened.map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => Unusable::Forbidden,
        std::io::ErrorKind::NotFound => Unusable::Absent,
        _ => Unusable::NoChip,
    })?;
    let info = Chip::from_path(path).and_then(|chip| chip.info());
    info.map(|Info { label, .. }| label).map_err(|_| Unusable::NoChip)
}

fn hardware_error(doing: String, error: gpiocdev::Error) -> HardwareError {
    let fix = "check that the pin is on this board, and that no other program uses it";
    HardwareError::new(doing, fix).caused_by(error)
}

/// A button between a line and ground, or between a line and 3.3 V.
pub struct GpiochipButton {
    chip: PathBuf,
    settings: settings::ButtonSettings,
    /// `None` after an error, until it is opened again.
    line: Option<Request>,
}

impl GpiochipButton {
    fn listen_for_edges(&mut self) -> Result<&Request, HardwareError> {
        let Self { chip, settings, line } = self;
        if let Some(line) = line {
            return Ok(line);
        }
        let mut request = Request::builder();
        request
            .on_chip(&*chip)
            .with_consumer(CONSUMER)
            .with_kernel_event_buffer_size(EDGES_MAX)
            .with_line(u32::from(settings.pin))
            .with_edge_detection(EdgeDetection::BothEdges);
        match settings.pull {
            Pull::Up => request.with_bias(Bias::PullUp),
            Pull::Down => request.with_bias(Bias::PullDown),
            Pull::None => request.with_bias(None),
        };
        // Active is pressed, whichever level that is, and so a rising edge is a press.
        match settings.active {
            Active::Low => request.as_active_low(),
            Active::High => request.as_active_high(),
        };
        if !settings.debounce().is_zero() {
            request.with_debounce_period(settings.debounce());
        }
        let requested = request.request().map_err(|e| {
            let pin = settings.pin;
            hardware_error(format!("listen to line {pin} of {}", chip.display()), e)
        })?;
        Ok(line.insert(requested))
    }
}

impl super::Button for GpiochipButton {
    fn wait(&mut self, timeout: Duration) -> Result<Option<ButtonEdge>, HardwareError> {
        let line = self.listen_for_edges()?;
        let event = match line.wait_edge_event(timeout) {
            Ok(false) => return Ok(None),
            Ok(true) => line.read_edge_event(),
            Err(error) => Err(error),
        };
        match event {
            Ok(event) => Ok(Some(ButtonEdge {
                down: event.kind == EdgeKind::Rising,
                at_boottime_us: clock::boottime_of_monotonic_us(event.timestamp_ns / 1000),
            })),
            Err(error) => {
                self.line = None;
                let doing = format!("wait for the button on line {}", self.settings.pin);
                Err(hardware_error(doing, error))
            }
        }
    }
}

/// An LED of one colour, or of three. Dropping it turns it off.
pub struct GpiochipLed {
    /// `None` only while it is dropped, which ends the thread.
    duty_cycles: Option<SyncSender<Vec<f64>>>,
    channels: usize,
    thread: Option<JoinHandle<()>>,
}

impl GpiochipLed {
    fn start(request: Request, lines: Vec<u32>) -> std::io::Result<Self> {
        let channels = lines.len();
        let (duty_cycles, to_play) = sync_channel(STATES_MAX);
        let drive = move |lit: &[bool]| {
            let mut values = Values::default();
            for (&line, &lit) in lines.iter().zip(lit) {
                values.set(line, if lit { Value::Active } else { Value::Inactive });
            }
            // An LED that is broken must not stop a camera.
            let _ = request.set_values(&values);
        };
        let thread = thread::Builder::new()
            .name("lines".to_owned())
            .spawn(move || run_pwm(drive, channels, &to_play))?;
        Ok(Self {
            duty_cycles: Some(duty_cycles),
            channels,
            thread: Some(thread),
        })
    }
}

impl super::Led for GpiochipLed {
    fn show(&mut self, state: LedState) {
        if let Some(duty_cycles) = &self.duty_cycles {
            let _ = duty_cycles.send(state.duty_cycles(self.channels));
        }
    }
}

impl Drop for GpiochipLed {
    fn drop(&mut self) {
        self.duty_cycles = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Plays the latest duty cycles of the channels, 0 to 1 each, until their sender is dropped.
fn run_pwm(mut drive: impl FnMut(&[bool]), channels: usize, duty_cycles: &Receiver<Vec<f64>>) {
    let mut shares = vec![0.0; channels];
    loop {
        match play_pass(&mut drive, &shares, duty_cycles) {
            Ok(next) => shares = next,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    drive(&vec![false; channels]);
}

/// Plays one pass, or less if other duty cycles arrive, which are returned.
fn play_pass(
    drive: &mut impl FnMut(&[bool]),
    shares: &[f64],
    duty_cycles: &Receiver<Vec<f64>>,
) -> Result<Vec<f64>, RecvTimeoutError> {
    let steps = pwm_steps(shares);
    if let [(_, lit)] = steps.as_slice() {
        drive(lit);
        return duty_cycles.recv().map_err(|_| RecvTimeoutError::Disconnected);
    }
    let began = Instant::now();
    let ends = steps.iter().skip(1).map(|(from, _)| *from).chain([1.0]);
    for ((_, lit), end) in steps.iter().zip(ends) {
        drive(lit);
        let step_left = (began + PWM_PERIOD.mul_f64(end)).saturating_duration_since(Instant::now());
        match duty_cycles.recv_timeout(step_left) {
            Err(RecvTimeoutError::Timeout) => {}
            changed => return changed,
        }
    }
    Err(RecvTimeoutError::Timeout)
}

/// One pass as steps: from which part of it on which channels are lit. A single step is no dimming.
fn pwm_steps(shares: &[f64]) -> Vec<(f64, Vec<bool>)> {
    let mut ends: Vec<f64> = shares.iter().copied().filter(|share| *share < 1.0).collect();
    ends.push(0.0);
    ends.sort_by(f64::total_cmp);
    ends.dedup();
    ends.into_iter()
        .map(|from| (from, shares.iter().map(|share| *share > from).collect()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_ends_each_channel_at_its_share() {
        for (shares, steps) in [
            (&[1.0][..], vec![(0.0, vec![true])]),
            (&[0.0], vec![(0.0, vec![false])]),
            (&[0.1], vec![(0.0, vec![true]), (0.1, vec![false])]),
            (&[1.0, 0.0, 1.0], vec![(0.0, vec![true, false, true])]),
            (
                &[1.0, 0.5, 0.25],
                vec![
                    (0.0, vec![true, true, true]),
                    (0.25, vec![true, true, false]),
                    (0.5, vec![true, false, false]),
                ],
            ),
        ] {
            assert_eq!(pwm_steps(shares), steps, "{shares:?}");
        }
    }

    #[test]
    fn a_dimmed_led_is_switched_on_and_off_until_it_is_dropped() {
        let (driven, seen) = std::sync::mpsc::channel();
        let (duty_cycles, to_play) = sync_channel(STATES_MAX);
        let thread = thread::spawn(move || run_pwm(move |lit| driven.send(lit.to_vec()).unwrap(), 2, &to_play));
        let next = || seen.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(next(), [false, false]);
        duty_cycles.send(vec![1.0, 0.5]).unwrap();
        for lit in [true, false].repeat(3) {
            assert_eq!(next(), [true, lit]);
        }
        drop(duty_cycles);
        thread.join().unwrap();
        assert_eq!(seen.iter().last().unwrap(), [false, false]);
    }

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
        assert!(Unusable::Forbidden.fix().contains("group gpio"));
    }
}
