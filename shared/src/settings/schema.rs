//! The table of all camera settings: names, types, bounds, defaults and descriptions. The camera checks values against
//! it, and so does the cloud before it sends them.
//!
//! A newer cloud may know more settings than an older camera. Each side uses its own table, and a camera reports the
//! names that it rejects.

use std::str::FromStr;

use serde_json::Value;

use super::value::{CloudUrl, QuietHours, RgbPins};

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Section and name as in `camera.toml`: `cloud.url`. Top-level settings have no section.
    pub key: &'static str,
    pub kind: ValueKind,
    pub default: RawValue<'static>,
    pub scope: Scope,
    /// The description for people; empty for settings that only the camera's own file can change.
    pub description: &'static str,
    /// The value is never printed.
    pub secret: bool,
}

/// The effect of changing a setting from the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Applied with the next picture or message.
    Live,
    /// Connection settings: applied on trial, and rolled back unless a receipt confirms them in time.
    Connection,
    /// Only the camera's own file can change it: wiring, attached devices and the camera's name.
    Local,
}

#[derive(Debug)]
pub enum ValueKind {
    /// A whole number from `min` to `max`; `unit` may be empty.
    Integer {
        min: u64,
        max: u64,
        unit: &'static str,
    },
    /// Zero, meaning "none" or "off", or a whole number from `min` to `max`.
    OptionalInteger {
        min: u64,
        max: u64,
        unit: &'static str,
    },
    /// One of these whole numbers, written in digits.
    IntegerEnum {
        of: &'static [&'static str],
        unit: &'static str,
    },
    Bool,
    Choice(&'static [&'static str]),
    /// Text that the function accepts; its error is the end of a sentence, such as "is too long".
    Text(fn(&str) -> Result<(), String>),
}

/// A value from TOML, JSON, the environment or the command line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RawValue<'a> {
    Integer(u64),
    Bool(bool),
    Text(&'a str),
    /// A fraction, a negative number, a list: never valid.
    Other,
}

impl<'a> From<&'a Value> for RawValue<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Number(number) => number.as_u64().map_or(Self::Other, Self::Integer),
            Value::Bool(on) => Self::Bool(*on),
            Value::String(text) => Self::Text(text),
            Value::Null | Value::Array(_) | Value::Object(_) => Self::Other,
        }
    }
}

impl From<RawValue<'_>> for Value {
    fn from(given: RawValue<'_>) -> Self {
        match given {
            RawValue::Integer(number) => number.into(),
            RawValue::Bool(on) => on.into(),
            RawValue::Text(text) => text.into(),
            RawValue::Other => Self::Null,
        }
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const DAY_S: u64 = 86_400;
/// GPIO lines on the header of a Raspberry Pi.
const PIN_MAX: u64 = super::value::PIN_MAX as u64;

/// Every setting, in the order of `camera.toml`.
pub const SETTINGS: &[Setting] = &[
    text("device", device, ""),
    optional_integer("capture_interval_s", 1, 7 * DAY_S, "seconds", 0)
        .live("Takes a picture automatically at this interval. 0: only when requested."),
    text("status_file", path, ""),
    text("cloud.url", |url| url.parse::<CloudUrl>().map(drop), "mqtt://127.0.0.1:1883")
        .connection("The address of the cloud."),
    text("cloud.user", credential, "").connection("User name for the broker. Empty: none."),
    text("cloud.password", credential, "")
        .connection("Password for the broker. Empty: none.")
        .secret(),
    text("cloud.password_file", path, ""),
    text("cloud.token", credential, "")
        .connection("The token that the cloud issued for this camera, for http and https. Empty: none.")
        .secret(),
    text("cloud.ca_file", path, ""),
    text("cloud.cert_file", path, ""),
    text("cloud.key_file", path, ""),
    integer("cloud.keep_alive_s", 5, 1200, "seconds", 30)
        .connection("MQTT keep-alive: the camera pings the broker after this much silence."),
    integer("cloud.connect_timeout_s", 1, 120, "seconds", 10).connection("Maximum time to wait for a connection."),
    integer("cloud.trial_timeout_s", 5, 3600, "seconds", 300),
    integer("cloud.part_bytes_max", 16 * KIB, 4 * MIB, "bytes", 4 * MIB)
        .live("A larger picture is sent in parts of at most this size."),
    integer("cloud.window_bytes", 64 * KIB, 64 * MIB, "bytes", 4 * MIB)
        .live("Maximum number of bytes in flight that the cloud has not confirmed yet. The cloud may grant fewer."),
    optional_integer("cloud.rate_bytes_per_s", KIB, 1024 * MIB, "bytes per second", 0)
        .live("Upload rate limit for pictures. 0: no limit."),
    optional_integer("picture.bytes_max", 8 * KIB, 64 * MIB, "bytes", 0)
        .live("Larger pictures are reduced to this size before they are saved. 0: as the camera delivers them."),
    optional_integer("picture.width_max", 64, 8192, "pixels", 0)
        .live("Wider pictures are scaled down to this width. 0: as the camera delivers them."),
    optional_integer("picture.quality", 30, 95, "percent", 0)
        .live("Maximum JPEG quality. 0: as the camera delivers it."),
    text("spool.dir", directory, "keepsake-spool"),
    integer("spool.bytes_max", MIB, 16 * TIB, "bytes", 8 * GIB).live("Total space for pictures on the card."),
    integer("spool.reserve_bytes", MIB, TIB, "bytes", 16 * MIB).live("Space on the card that always stays free."),
    integer("spool.retain_days", 0, 3650, "days", 7).live("How long uploaded pictures stay on the card."),
    integer("spool.retain_percent", 0, 90, "percent", 25)
        .live("Maximum share of the space for pictures that uploaded pictures may use."),
    choice("spool.when_full", &["refuse", "drop-oldest"], "refuse").live(
        "When the card is full of pictures that are not uploaded yet: refuse presses, or delete the oldest picture.",
    ),
    choice("camera.backend", &["auto", "v4l", "rpicam", "simulated", "none"], "auto"),
    text("camera.device", path, ""),
    integer("camera.width", 64, 8192, "pixels", 1920)
        .live("Requested width. The camera uses the nearest size it supports."),
    integer("camera.height", 64, 8192, "pixels", 1080).live("Requested height."),
    choice("camera.format", CAMERA_FORMATS, "auto")
        .live("Pixel format to request from a USB camera. Change it if the default gives poor results."),
    optional_integer("camera.frames_per_s_min", 1, 60, "frames per second", 10)
        .live("Minimum frame rate of a USB camera: a press waits for the next frame. 0: the camera's own rate."),
    optional_integer("camera.brightness_percent", 1, 100, "percent", 0)
        .live("Brightness of the pictures. 0: the camera's own setting."),
    integer_enum("camera.rotation_degrees", &["0", "90", "180", "270"], "degrees", 0)
        .live("Rotates pictures clockwise."),
    choice("camera.flip", &["none", "horizontal", "vertical", "both"], "none")
        .live("Mirrors pictures after the rotation: left and right, top and bottom, or both."),
    integer("camera.timeout_s", 1, 30, "seconds", 8)
        .live("A press fails if the camera delivers no frame within this time."),
    integer("camera.warm_up_frames", 0, 120, "frames", 30)
        .live("Maximum number of frames to discard after the camera starts, until the exposure is stable."),
    integer("camera.warm_up_s", 0, 30, "seconds", 2).live("Maximum time to discard frames after the camera starts."),
    integer("camera.frame_bytes_max", 64 * KIB, 64 * MIB, "bytes", 32 * MIB)
        .live("A larger frame is rejected as a camera error."),
    choice("gpio.backend", &["auto", "rppal", "gpiochip"], "auto"),
    text("gpio.device", path, ""),
    integer("button.pin", 0, PIN_MAX, "", 17),
    choice("button.pull", &["up", "down", "none"], "up"),
    choice("button.active", &["low", "high"], "low"),
    // Above 45 ms the LED could not be on within 50 ms of the press.
    integer("button.debounce_ms", 0, 45, "milliseconds", 30),
    integer("button.repeat_ms_min", 0, 10_000, "milliseconds", 300),
    integer("light.pin", 0, PIN_MAX, "", 27),
    text("light.rgb_pins", optional::<RgbPins>, ""),
    choice("light.active", &["low", "high"], "high"),
    integer("light.brightness_percent", 1, 100, "percent", 100).live("Brightness of the LED."),
    integer("light.ready_brightness_percent", 1, 100, "percent", 10).live("Brightness of the LED while all is well."),
    choice("light.mode", &["steady", "heartbeat", "off"], "steady")
        .live("The LED while all is well: steady, a flash every five seconds, or off. Presses are always answered."),
    text("light.quiet_hours", optional::<QuietHours>, "")
        .live("Hours in which only presses are answered, such as 22:00-06:30. Empty: none."),
    integer("backoff.initial_s", 1, DAY_S, "seconds", 10)
        .live("Delay before an unconfirmed picture is sent again. It doubles with every attempt."),
    integer("backoff.max_s", 1, DAY_S, "seconds", 6 * 3600)
        .live("Maximum delay before an unconfirmed picture is sent again."),
    integer("backoff.reconnect_initial_s", 1, 3600, "seconds", 1)
        .connection("Delay before the first attempt to reconnect. It doubles with every attempt."),
    integer("backoff.reconnect_max_s", 1, 3600, "seconds", 60)
        .connection("Maximum delay between attempts to reconnect."),
    Setting {
        key: "simulated.enabled",
        kind: ValueKind::Bool,
        default: RawValue::Bool(false),
        ..text("", credential, "")
    },
    text("simulated.photos", path, ""),
    text("simulated.fingerprint", credential, ""),
    integer("simulated.camera_missing_presses", 0, 1_000_000, "presses", 0),
    optional_integer("simulated.frame_bytes", KIB, 64 * MIB, "bytes", 0),
    integer("simulated.frame_ms", 0, 60_000, "milliseconds", 0),
];

/// V4L2 names of the pixel formats that can be converted to JPEG.
const CAMERA_FORMATS: &[&str] = &[
    "auto", "MJPG", "JPEG", "YUYV", "UYVY", "YVYU", "VYUY", "NV12", "NV21", "YU12", "YV12", "RGB3", "BGR3", "GREY",
];

const fn integer(key: &'static str, min: u64, max: u64, unit: &'static str, default: u64) -> Setting {
    setting(key, ValueKind::Integer { min, max, unit }, RawValue::Integer(default))
}

const fn optional_integer(key: &'static str, min: u64, max: u64, unit: &'static str, default: u64) -> Setting {
    setting(key, ValueKind::OptionalInteger { min, max, unit }, RawValue::Integer(default))
}

const fn integer_enum(key: &'static str, of: &'static [&'static str], unit: &'static str, default: u64) -> Setting {
    setting(key, ValueKind::IntegerEnum { of, unit }, RawValue::Integer(default))
}

const fn choice(key: &'static str, of: &'static [&'static str], default: &'static str) -> Setting {
    setting(key, ValueKind::Choice(of), RawValue::Text(default))
}

const fn text(key: &'static str, check: fn(&str) -> Result<(), String>, default: &'static str) -> Setting {
    setting(key, ValueKind::Text(check), RawValue::Text(default))
}

const fn setting(key: &'static str, kind: ValueKind, default: RawValue<'static>) -> Setting {
    Setting {
        key,
        kind,
        default,
        scope: Scope::Local,
        description: "",
        secret: false,
    }
}

fn device(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Ok(());
    }
    name.parse::<crate::DeviceId>()
        .map(drop)
        .map_err(|e| format!("is not a device name: {e}"))
}

/// Checks the length that MQTT brokers accept.
fn credential(text: &str) -> Result<(), String> {
    if text.len() > 256 {
        return Err("is longer than 256 bytes".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("contains a control character".to_owned());
    }
    Ok(())
}

fn path(text: &str) -> Result<(), String> {
    if text.len() > 1024 || text.chars().any(char::is_control) {
        return Err("is not a path of at most 1024 bytes".to_owned());
    }
    Ok(())
}

fn directory(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("must name a directory".to_owned());
    }
    path(text)
}

/// Accepts an empty text, and each text that `T` parses.
fn optional<T: FromStr<Err = String>>(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    text.parse::<T>().map(drop)
}

impl Setting {
    pub fn find(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// Checks a value against the bounds.
    ///
    /// # Errors
    /// The end of a sentence that begins with the value, such as "must be true or false".
    pub fn check(&self, given: RawValue<'_>) -> Result<(), String> {
        let good = match (&self.kind, given) {
            (ValueKind::Integer { min, max, .. }, RawValue::Integer(n)) => (*min..=*max).contains(&n),
            (ValueKind::OptionalInteger { min, max, .. }, RawValue::Integer(n)) => n == 0 || (*min..=*max).contains(&n),
            (ValueKind::IntegerEnum { of, .. }, RawValue::Integer(n)) => of.contains(&n.to_string().as_str()),
            (ValueKind::Bool, RawValue::Bool(_)) => true,
            (ValueKind::Choice(of), RawValue::Text(word)) => of.contains(&word),
            (ValueKind::Text(check), RawValue::Text(text)) => return check(text),
            (ValueKind::Text(_), RawValue::Integer(_) | RawValue::Bool(_) | RawValue::Other) => {
                return Err(format!("{} (write it in quotes)", self.constraint()));
            }
            (
                ValueKind::Integer { .. }
                | ValueKind::OptionalInteger { .. }
                | ValueKind::IntegerEnum { .. }
                | ValueKind::Bool
                | ValueKind::Choice(_),
                RawValue::Integer(_) | RawValue::Bool(_) | RawValue::Text(_) | RawValue::Other,
            ) => false,
        };
        if good { Ok(()) } else { Err(self.constraint()) }
    }

    /// Returns the end of a sentence that begins with the name and says which values are valid.
    pub fn constraint(&self) -> String {
        match self.kind {
            ValueKind::Integer { min, max, unit } => {
                format!("must be a whole number, {min} to {max} {unit}").trim_end().to_owned()
            }
            ValueKind::OptionalInteger { min, max, unit } => {
                format!("must be 0 or a whole number, {min} to {max} {unit}")
            }
            ValueKind::IntegerEnum { of, unit } => {
                format!("must be one of {} {unit}", of.join(", "))
            }
            ValueKind::Bool => "must be true or false".to_owned(),
            ValueKind::Choice(of) => format!("must be one of {}", of.join(", ")),
            ValueKind::Text(_) => "must be text".to_owned(),
        }
    }

    const fn live(self, description: &'static str) -> Self {
        Self { scope: Scope::Live, description, ..self }
    }

    const fn connection(self, description: &'static str) -> Self {
        Self { scope: Scope::Connection, description, ..self }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
}
