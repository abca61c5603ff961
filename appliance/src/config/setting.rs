//! The table of all settings with their bounds, and the check of one value against it.

use std::path::Path;

use toml::Value;

use super::value::{CloudUrl, Night};

/// One setting as `camera.toml` knows it.
#[derive(Debug)]
pub(super) struct Setting {
    /// Section and name: `cloud.url`; settings of no section are just a name.
    pub(super) key: &'static str,
    pub(super) kind: Kind,
    /// Never printed.
    pub(super) secret: bool,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// A whole number from `min` to `max`; `unit` may be empty.
    Whole {
        min: u64,
        max: u64,
        unit: &'static str,
    },
    /// Zero, which means "none" or "off", or a whole number from `min` to `max`.
    ZeroOr {
        min: u64,
        max: u64,
        unit: &'static str,
    },
    Switch,
    Choice(&'static [&'static str]),
    /// Text that `check` accepts; its error goes on after "must be"-less words, such as "is too long".
    Text(fn(&str) -> Result<(), String>),
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;
const DAY_S: u64 = 86_400;
/// GPIO lines on the header of a Raspberry Pi.
const PIN_MAX: u64 = 27;

/// Every setting, in the order of `camera.toml`.
pub(super) const SETTINGS: &[Setting] = &[
    text("device", device),
    zero_or("interval_s", 1, 7 * DAY_S, "seconds"),
    text("cloud.url", |url| url.parse::<CloudUrl>().map(drop)),
    text("cloud.user", short),
    Setting {
        key: "cloud.password",
        kind: Kind::Text(short),
        secret: true,
    },
    whole("cloud.keep_alive_s", 5, 1200, "seconds"),
    whole("cloud.connect_timeout_s", 1, 120, "seconds"),
    whole("cloud.part_bytes_max", 16 * KIB, 4 * MIB, "bytes"),
    whole("cloud.window_bytes", 64 * KIB, 64 * MIB, "bytes"),
    zero_or("picture.bytes_max", 8 * KIB, 64 * MIB, "bytes"),
    zero_or("picture.max_width", 64, 8192, "pixels"),
    text("spool.folder", folder),
    whole("spool.bytes_max", MIB, 16 * TIB, "bytes"),
    whole("spool.reserve_bytes", MIB, TIB, "bytes"),
    whole("spool.keep_for_days", 0, 3650, "days"),
    whole("spool.keep_fraction_percent", 0, 90, "percent"),
    choice("spool.when_full", &["refuse", "drop-oldest"]),
    choice("camera.kind", &["auto", "v4l", "simulated", "none"]),
    text("camera.device", path),
    whole("camera.width", 64, 8192, "pixels"),
    whole("camera.height", 64, 8192, "pixels"),
    whole("camera.deadline_s", 1, 30, "seconds"),
    whole("camera.warm_up_frames", 0, 120, "frames"),
    whole("camera.warm_up_s", 0, 30, "seconds"),
    whole("camera.frame_bytes_max", 64 * KIB, 64 * MIB, "bytes"),
    whole("button.pin", 0, PIN_MAX, ""),
    choice("button.pull", &["up", "down", "none"]),
    choice("button.active", &["low", "high"]),
    // Above 45 ms the light cannot be on within 50 ms of the press any more.
    whole("button.debounce_ms", 0, 45, "milliseconds"),
    whole("button.min_gap_ms", 0, 10_000, "milliseconds"),
    whole("light.pin", 0, PIN_MAX, ""),
    choice("light.active", &["low", "high"]),
    whole("light.brightness_percent", 1, 100, "percent"),
    whole("light.ready_brightness_percent", 1, 100, "percent"),
    choice("light.mode", &["steady", "quiet", "off"]),
    text("light.night", |night| {
        if night.is_empty() {
            Ok(())
        } else {
            night.parse::<Night>().map(drop)
        }
    }),
    whole("backoff.first_s", 1, DAY_S, "seconds"),
    whole("backoff.max_s", 1, DAY_S, "seconds"),
    whole("backoff.reconnect_first_s", 1, 3600, "seconds"),
    whole("backoff.reconnect_max_s", 1, 3600, "seconds"),
    Setting {
        key: "simulated.on",
        kind: Kind::Switch,
        secret: false,
    },
    text("simulated.photos", path),
    text("simulated.fingerprint", short),
    whole("simulated.camera_missing_presses", 0, 1_000_000, "presses"),
    zero_or("simulated.frame_bytes", KIB, 64 * MIB, "bytes"),
    whole("simulated.frame_ms", 0, 60_000, "milliseconds"),
];

const fn whole(key: &'static str, min: u64, max: u64, unit: &'static str) -> Setting {
    Setting {
        key,
        kind: Kind::Whole { min, max, unit },
        secret: false,
    }
}

const fn zero_or(key: &'static str, min: u64, max: u64, unit: &'static str) -> Setting {
    Setting {
        key,
        kind: Kind::ZeroOr { min, max, unit },
        secret: false,
    }
}

const fn choice(key: &'static str, of: &'static [&'static str]) -> Setting {
    Setting {
        key,
        kind: Kind::Choice(of),
        secret: false,
    }
}

const fn text(key: &'static str, check: fn(&str) -> Result<(), String>) -> Setting {
    Setting {
        key,
        kind: Kind::Text(check),
        secret: false,
    }
}

fn device(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Ok(());
    }
    name.parse::<shared::DeviceId>()
        .map(drop)
        .map_err(|e| format!("is no device name: {e}"))
}

/// As long as MQTT brokers take.
fn short(text: &str) -> Result<(), String> {
    if text.len() > 256 {
        return Err("is longer than 256 bytes".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("holds a control character".to_owned());
    }
    Ok(())
}

fn path(text: &str) -> Result<(), String> {
    if text.len() > 1024 || text.chars().any(char::is_control) {
        return Err("is no path of at most 1024 bytes".to_owned());
    }
    Ok(())
}

fn folder(text: &str) -> Result<(), String> {
    if Path::new(text).as_os_str().is_empty() {
        return Err("must name a folder".to_owned());
    }
    path(text)
}

impl Setting {
    pub(super) fn find(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// The environment variable that sets it.
    pub(super) fn variable(&self) -> String {
        format!(
            "KEEPSAKE_{}",
            self.key.to_ascii_uppercase().replace('.', "_")
        )
    }

    /// Text from the environment or the command line as a value of the right type; what does not parse stays text, for
    /// [`Self::check`] to complain about.
    pub(super) fn value_of(&self, text: &str) -> Value {
        match self.kind {
            Kind::Whole { .. } | Kind::ZeroOr { .. } => text
                .trim()
                .replace('_', "")
                .parse()
                .map_or_else(|_| Value::String(text.to_owned()), Value::Integer),
            Kind::Switch => text
                .trim()
                .parse()
                .map_or_else(|_| Value::String(text.to_owned()), Value::Boolean),
            Kind::Choice(_) => Value::String(text.trim().to_owned()),
            Kind::Text(_) => Value::String(text.to_owned()),
        }
    }

    /// # Errors
    /// What is wrong with the value, as the end of a sentence that begins with it.
    pub(super) fn check(&self, value: &Value) -> Result<(), String> {
        let within = |min: u64, max: u64| {
            value
                .as_integer()
                .and_then(|n| u64::try_from(n).ok())
                .is_some_and(|n| (min..=max).contains(&n))
        };
        match self.kind {
            Kind::Whole { min, max, .. } if within(min, max) => Ok(()),
            Kind::ZeroOr { min, max, .. } if within(min, max) || within(0, 0) => Ok(()),
            Kind::Switch if value.is_bool() => Ok(()),
            Kind::Choice(of) if value.as_str().is_some_and(|word| of.contains(&word)) => Ok(()),
            Kind::Text(check) => match value.as_str() {
                Some(text) => check(text),
                None => Err(format!("{} (write it in quotes)", self.bound())),
            },
            Kind::Whole { .. } | Kind::ZeroOr { .. } | Kind::Switch | Kind::Choice(_) => {
                Err(self.bound())
            }
        }
    }

    /// What a value must be.
    pub(super) fn bound(&self) -> String {
        match self.kind {
            Kind::Whole { min, max, unit } => {
                format!("must be a whole number, {min} to {max} {unit}")
                    .trim_end()
                    .to_owned()
            }
            Kind::ZeroOr { min, max, unit } => {
                format!("must be 0 or a whole number, {min} to {max} {unit}")
            }
            Kind::Switch => "must be true or false".to_owned(),
            Kind::Choice(of) => format!("must be one of {}", of.join(", ")),
            Kind::Text(_) => "must be text".to_owned(),
        }
    }
}

/// The sections, and the settings that belong to none.
pub(super) fn is_section(name: &str) -> bool {
    SETTINGS
        .iter()
        .any(|setting| setting.key.split_once('.').is_some_and(|(s, _)| s == name))
}

/// The setting that someone meant who wrote `key`, if one is near enough.
pub(super) fn nearest(key: &str) -> Option<&'static str> {
    let last = |key: &'static str| key.rsplit('.').next().unwrap_or(key);
    let written = key.rsplit('.').next().unwrap_or(key);
    SETTINGS
        .iter()
        .map(|setting| {
            let whole = strsim::normalized_damerau_levenshtein(key, setting.key);
            // The right name in the wrong section, or in none.
            let name = strsim::normalized_damerau_levenshtein(written, last(setting.key)) - 0.05;
            (whole.max(name), setting.key)
        })
        .filter(|(likeness, _)| *likeness >= 0.65)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, key)| key)
}
