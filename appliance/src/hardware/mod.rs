//! The three things a camera is made of, [`Button`], [`Light`] and [`Camera`], and the [`Frame`] they pass on.
//!
//! Everything above works with these traits, so that the whole camera runs on a laptop: [`gpio`], [`gpiochip`] and
//! [`v4l`] are the real ones and the only files that name rppal, gpiocdev and v4l, [`rpicam`] speaks to a program,
//! [`simulated`] needs none of them. Hardware does what it is told
//! and decides nothing; when it cannot, its error says what to do about it.

mod auto;
mod exposure;
pub mod gpio;
pub mod gpiochip;
pub mod rpicam;
pub mod simulated;
mod turned;
pub mod v4l;

use std::borrow::Cow;
use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use keepsake_protocol::capture::ContentType;
use keepsake_protocol::event::TombstoneReason;

use crate::settings::{self, CameraKind, Config, GpioKind};

/// The button was pressed down or let go, debounced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    pub down: bool,
    /// CLOCK_BOOTTIME of it, microseconds.
    pub at_boottime_us: u64,
}

/// The button. It has a thread of its own, which does nothing but wait.
pub trait Button: Send {
    /// Waits at most `timeout` until it is pressed down or let go; `None` = it was not.
    ///
    /// # Errors
    /// The button cannot be read any more. Waiting again later is allowed: it tries to begin anew.
    fn wait(&mut self, timeout: Duration) -> Result<Option<Touch>, HardwareError>;
}

/// What the lamp does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lamp {
    Off,
    On {
        /// 1 to 100 % of full brightness; a lamp without dimming is simply on.
        brightness: u8,
        /// Red, green, blue, 0 to 255; a lamp of one colour ignores it.
        colour: [u8; 3],
    },
}

impl Lamp {
    /// How much of the time each of `N` channels is lit, 0 to 1: one for a lamp of one colour, or red, green and blue.
    fn shares(self, channels: usize) -> Vec<f64> {
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

/// The lamp beside the button.
pub trait Light: Send {
    /// Switches the lamp. Quick, never fails: a lamp that is broken must not stop a camera.
    fn show(&mut self, lamp: Lamp);

    /// Tells in words what the lamp says from now on, for a lamp that can also write.
    fn caption(&mut self, _looks: &str, _means: &str) {}
}

/// One image as the camera gave it.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// A whole JPEG or PNG.
    pub bytes: Vec<u8>,
    pub content_type: ContentType,
    /// Pixels.
    pub width: u32,
    pub height: u32,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Image bytes never go into a log.
        write!(
            f,
            "Frame({}, {}x{}, {} bytes)",
            self.content_type.as_str(),
            self.width,
            self.height,
            self.bytes.len()
        )
    }
}

/// The camera. It has a thread of its own, because a driver may block for as long as it likes.
pub trait Camera: Send {
    /// Takes a frame that began after this call, or gives up after about `deadline`.
    ///
    /// # Errors
    /// [`CameraError`] says what to tell the person; the next call tries again from the beginning.
    fn frame(&mut self, deadline: Duration) -> Result<Frame, CameraError>;

    /// Does beforehand what takes long at the first frame, in about `within`, so that no press waits for it. What fails
    /// is said in the log, and again by the first frame.
    fn prepare(&mut self, _within: Duration) {}

    /// Other settings from the next frame on. A camera that has nothing to set ignores them.
    fn adjust(&mut self, _settings: &settings::Camera) {}

    /// After a frame: what the camera is, what was agreed on with it and what it could do instead, a line each.
    fn about(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// Mean brightness of a picture, 0 to 255; `None` = it does not decode.
pub(crate) fn brightness(bytes: &[u8], content_type: ContentType) -> Option<u8> {
    let format = match content_type {
        ContentType::Jpeg => image::ImageFormat::Jpeg,
        ContentType::Png => image::ImageFormat::Png,
    };
    // Bounded by the library: what would need more than half a gigabyte is refused.
    let picture = image::ImageReader::with_format(Cursor::new(bytes), format)
        .decode()
        .ok()?
        .into_rgb8();
    // One byte in 97 is enough, and as a prime it meets every colour and every column.
    let (sum, count) = picture
        .as_raw()
        .iter()
        .step_by(97)
        .fold((0u64, 0u64), |(sum, count), &level| {
            (sum + u64::from(level), count + 1)
        });
    u8::try_from(sum.checked_div(count)?).ok()
}

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
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
    /// What the tombstone says.
    pub fn reason(&self) -> TombstoneReason {
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
pub struct HardwareError {
    pub doing: String,
    pub fix: &'static str,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl HardwareError {
    pub(crate) fn new(doing: impl Into<String>, fix: &'static str) -> Self {
        Self {
            doing: doing.into(),
            fix,
            source: None,
        }
    }

    pub(crate) fn caused_by(
        mut self,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(cause.into());
        self
    }
}

/// A camera put together.
pub struct Hardware {
    pub button: Box<dyn Button>,
    pub light: Box<dyn Light>,
    pub camera: Box<dyn Camera>,
    /// Tells one board with one card from another (see [`Identity`]).
    pub fingerprint: String,
}

impl Hardware {
    /// Opens what the settings name: real parts, or simulated ones with `simulated.on`.
    ///
    /// A camera that is merely not plugged in is no error here: every press then becomes a tombstone that says so, and
    /// works again once it is back.
    ///
    /// # Errors
    /// A part that cannot work until someone changes something; the text says what.
    pub fn open(config: &Config) -> Result<Self, HardwareError> {
        if !config.simulated.on {
            let way = Pins::open(&config.gpio)?.describe();
            tracing::info!("the pins are reached {way}");
        }
        Ok(Self {
            camera: open_camera(config)?,
            button: open_button(config)?,
            light: open_light(config)?,
            fingerprint: Identity::of(config).fingerprint,
        })
    }
}

pub(crate) fn open_camera(config: &Config) -> Result<Box<dyn Camera>, HardwareError> {
    let settings = &config.camera;
    let camera: Box<dyn Camera> = match settings.kind {
        CameraKind::Auto if config.simulated.on => Box::new(simulated::Camera::open(config)?),
        CameraKind::Simulated => Box::new(simulated::Camera::open(config)?),
        CameraKind::Auto => Box::new(auto::Camera::open(settings)?),
        CameraKind::V4l => Box::new(v4l::Camera::open(settings)?),
        CameraKind::Rpicam => Box::new(rpicam::Camera::open(settings)),
        CameraKind::None => Box::new(NoCamera),
    };
    Ok(Box::new(turned::Camera::new(camera, settings)))
}

pub(crate) fn open_button(config: &Config) -> Result<Box<dyn Button>, HardwareError> {
    if config.simulated.on {
        return Ok(Box::new(simulated::Button::on_stdin()?));
    }
    Ok(match Pins::open(&config.gpio)? {
        Pins::Rppal(pins) => Box::new(pins.button(&config.button)?),
        Pins::Gpiochip(chip) => Box::new(chip.button(&config.button)?),
    })
}

/// Opens the lamp alone.
///
/// # Errors
/// As [`Hardware::open`].
pub fn open_light(config: &Config) -> Result<Box<dyn Light>, HardwareError> {
    if config.simulated.on {
        return Ok(Box::new(simulated::Light::on_stderr()));
    }
    let pins = Pins::open(&config.gpio)?;
    Ok(match &pins {
        Pins::Rppal(pins) => Box::new(pins.light(&config.light)?),
        Pins::Gpiochip(chip) => Box::new(chip.light(&config.light)?),
    })
}

/// The pins of this board, one way or the other.
pub(crate) enum Pins {
    Rppal(gpio::Gpio),
    Gpiochip(gpiochip::Gpiochip),
}

impl Pins {
    /// Finds the way to the pins. On the kernel of Raspberry Pi rppal has `/dev/gpiomem`; any other has the character
    /// device alone, which is also taken where rppal does not know the board.
    ///
    /// # Errors
    /// Neither way works, or not the one that was asked for.
    pub(crate) fn open(settings: &settings::Gpio) -> Result<Self, HardwareError> {
        match settings.kind {
            GpioKind::Rppal => Ok(Self::Rppal(gpio::Gpio::open()?)),
            GpioKind::Gpiochip => Ok(Self::Gpiochip(gpiochip::Gpiochip::open(&settings.chip)?)),
            GpioKind::Auto if gpio::has_registers() => match gpio::Gpio::open() {
                Ok(pins) => Ok(Self::Rppal(pins)),
                Err(first) => match gpiochip::Gpiochip::open(&settings.chip) {
                    Ok(chip) => Ok(Self::Gpiochip(chip)),
                    // What keeps rppal from a device that is there is what somebody has to mend.
                    Err(_) => Err(first),
                },
            },
            GpioKind::Auto => Ok(Self::Gpiochip(gpiochip::Gpiochip::open(&settings.chip)?)),
        }
    }

    /// In words, for the log and for `appliance self-test`.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Rppal(_) => {
                format!(
                    "by rppal, because {} is there",
                    gpio::REGISTERS.join(" or ")
                )
            }
            Self::Gpiochip(chip) if gpio::has_registers() => {
                format!("by {chip}, because rppal cannot use /dev/gpiomem or was not asked for")
            }
            Self::Gpiochip(chip) => format!("by {chip}, because there is no /dev/gpiomem"),
        }
    }
}

/// `camera.kind = "none"`: for a box that has only a button, and for trying out what that looks like.
struct NoCamera;

impl Camera for NoCamera {
    fn frame(&mut self, _deadline: Duration) -> Result<Frame, CameraError> {
        Err(CameraError::NotFound {
            camera: "none".to_owned(),
            fix: "set camera.kind to auto".into(),
            source: None,
        })
    }
}

/// Who this computer is, as far as it can tell.
///
/// A spool that wakes up beside another identity is a moved card or a copy of one, and begins a new install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Of the board; the default device name ends in its last six characters. Lower-case letters and digits.
    pub serial: String,
    /// Serial and, where the card can be read, its CID.
    pub fingerprint: String,
}

impl Identity {
    /// Reads the board's serial and the card's CID, on a laptop the machine id; `simulated.fingerprint` overrides both.
    pub fn of(config: &Config) -> Self {
        if !config.simulated.fingerprint.is_empty() {
            return Self::simulated(&config.simulated.fingerprint);
        }
        Self::read(Path::new("/"))
    }

    fn simulated(fingerprint: &str) -> Self {
        Self {
            serial: letters_and_digits(fingerprint),
            fingerprint: fingerprint.to_owned(),
        }
    }

    /// `root`: where `/proc`, `/sys` and `/etc` are found.
    fn read(root: &Path) -> Self {
        let text = |path: &str| {
            let text = fs::read_to_string(root.join(path)).ok()?;
            // Device tree strings end in a NUL.
            let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
            (!text.is_empty()).then(|| text.to_owned())
        };
        let serial = text("proc/cpuinfo")
            .and_then(|cpuinfo| cpu_serial(&cpuinfo))
            .or_else(|| text("sys/firmware/devicetree/base/serial-number"));
        let Some(serial) = serial else {
            // Not a Pi. The card of a laptop is no part of it, so the machine id speaks for all.
            let machine = text("etc/machine-id")
                .or_else(|| text("proc/sys/kernel/hostname"))
                .unwrap_or_else(|| "unknown".to_owned());
            return Self {
                serial: letters_and_digits(&machine),
                fingerprint: format!("machine {machine}"),
            };
        };
        let serial = letters_and_digits(&serial);
        let fingerprint = match text("sys/block/mmcblk0/device/cid") {
            Some(cid) => format!("cpu {serial} card {cid}"),
            None => format!("cpu {serial}"),
        };
        Self {
            serial,
            fingerprint,
        }
    }
}

/// The `Serial` line of `/proc/cpuinfo` as a Raspberry Pi writes it; all zeros means that the firmware did not know.
fn cpu_serial(cpuinfo: &str) -> Option<String> {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == "Serial")
        .map(|(_, serial)| serial.trim().to_owned())
        .filter(|serial| serial.bytes().any(|c| c != b'0'))
}

fn letters_and_digits(text: &str) -> String {
    text.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Identity {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Identity::read(root.path())
    }

    #[test]
    fn another_card_or_another_board_is_another_fingerprint() {
        let cpuinfo = "processor\t: 0\nSerial\t\t: 100000001A2B3C4D\nModel\t\t: Raspberry Pi 4\n";
        let pi = machine(&[
            ("proc/cpuinfo", cpuinfo),
            ("sys/block/mmcblk0/device/cid", "035344\n"),
        ]);
        assert_eq!(pi.serial, "100000001a2b3c4d");
        assert_eq!(pi.fingerprint, "cpu 100000001a2b3c4d card 035344");
        let other_card = machine(&[
            ("proc/cpuinfo", cpuinfo),
            ("sys/block/mmcblk0/device/cid", "1b534d\n"),
        ]);
        assert_ne!(pi.fingerprint, other_card.fingerprint);
        assert_eq!(pi.serial, other_card.serial);
    }

    #[test]
    fn a_lamp_of_one_colour_ignores_it_and_one_of_three_mixes_it() {
        let amber = Lamp::On {
            brightness: 50,
            colour: [255, 140, 0],
        };
        assert_eq!(amber.shares(1), [0.5]);
        let mixed = amber.shares(3);
        assert!(
            (mixed[0] - 0.5).abs() < 1e-9 && mixed[2] == 0.0,
            "{mixed:?}"
        );
        assert!((mixed[1] - 0.274).abs() < 0.001, "{mixed:?}");
        assert_eq!(Lamp::Off.shares(3), [0.0; 3]);
    }

    #[test]
    fn a_pi_whose_firmware_hides_the_serial_is_known_by_its_device_tree() {
        let pi = machine(&[
            ("proc/cpuinfo", "Serial : 0000000000000000\n"),
            (
                "sys/firmware/devicetree/base/serial-number",
                "10000000abcdef\0",
            ),
        ]);
        assert_eq!(pi.serial, "10000000abcdef");
    }

    #[test]
    fn a_laptop_is_known_by_its_machine_id() {
        let laptop = machine(&[
            ("proc/cpuinfo", "model name : something\n"),
            ("etc/machine-id", "0123456789abcdef\n"),
            ("sys/block/mmcblk0/device/cid", "035344\n"),
        ]);
        assert_eq!(laptop.fingerprint, "machine 0123456789abcdef");
        assert_eq!(laptop.serial, "0123456789abcdef");
        // Nothing to read at all is still an identity, and the same one every time.
        assert_eq!(machine(&[]), machine(&[]));
    }
}
