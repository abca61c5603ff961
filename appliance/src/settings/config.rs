//! The types of all settings. Their defaults and bounds are in `keepsake_protocol::settings::schema`.
//!
//! Later layers override earlier ones: defaults, `camera.toml`, settings from the cloud ([`crate::settings::effective`]), the environment
//! (`KEEPSAKE_CLOUD_URL` is `cloud.url`), `--set name=value`.
//! Bad settings never stop a camera, because nobody may be near it: `load` always returns a usable
//! [`Config`] and a list of problems. A file with an error is replaced by the last good one, a copy of
//! which is kept in the spool directory; without such a copy, the valid settings of the file apply and the invalid
//! ones keep their defaults. The shipped `camera.toml` explains every setting; a test keeps it equal to the defaults.

use std::path::PathBuf;
use std::time::Duration;

use keepsake_protocol::DeviceId;
use keepsake_protocol::settings::schema::Setting;
use serde::{Deserialize, Serialize};
use toml::Table;

use super::empty_as_none;
use super::value::default_table;
use super::{CloudUrl, QuietHours, RgbPins};

/// The name of the copy of the last good file, in the spool directory.
pub const LAST_GOOD: &str = "camera.last-good.toml";

/// All settings, each within its bounds. Field names are the keys in `camera.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The camera's name; empty in the file: `camera-` and the last six characters of the board's serial number.
    #[serde(with = "empty_as_none")]
    pub device: Option<DeviceId>,
    /// The interval between automatic pictures; 0: only on a press or a command.
    pub capture_interval_s: u64,
    /// The status file in plain text; empty: none.
    pub status_file: PathBuf,
    pub cloud: CloudSettings,
    pub picture: PictureSettings,
    pub spool: SpoolSettings,
    pub camera: CameraSettings,
    pub gpio: GpioSettings,
    pub button: ButtonSettings,
    pub light: LightSettings,
    pub backoff: BackoffSettings,
    pub simulated: SimulatedSettings,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct CloudSettings {
    pub url: CloudUrl,
    pub user: String,
    pub password: String,
    /// A file whose first line is the password; empty: `password` is used. Read for every connection.
    pub password_file: PathBuf,
    /// The camera's token for the cloud's HTTP API; empty: none.
    pub token: String,
    /// A PEM file with trusted CA certificates; empty: the system's CA store.
    pub ca_file: PathBuf,
    /// The camera's own certificate (PEM), for servers that require one; empty: none.
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    pub keep_alive_s: u64,
    /// Longest wait for a connection.
    pub connect_timeout_s: u64,
    /// Connection settings from the cloud that are not confirmed in this time are rolled back.
    pub trial_timeout_s: u64,
    /// Largest part of a picture in one message.
    pub part_bytes_max: u64,
    /// Most bytes in flight without a receipt.
    pub window_bytes: u64,
    /// Upload limit for pictures; 0: none.
    pub rate_bytes_per_s: u64,
}

impl std::fmt::Debug for CloudSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Secrets never appear in a log.
        let mut table = Table::try_from(self).unwrap_or_default();
        table.retain(|name, _| Setting::find(&format!("cloud.{name}")).is_some_and(|setting| !setting.secret));
        f.debug_map().entries(table).finish()
    }
}

impl CloudSettings {
    /// Returns the files for TLS; `None` if the URL does not use TLS.
    pub fn tls(&self) -> Option<keepsake_tls::TlsFiles> {
        let file = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
        let identity = file(&self.cert_file).zip(file(&self.key_file));
        self.url.scheme.tls().then(|| keepsake_tls::TlsFiles {
            ca: file(&self.ca_file),
            identity: identity.map(|(certificate, key)| keepsake_tls::Identity { certificate, key }),
        })
    }

    pub fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_timeout_s)
    }

    pub fn trial_timeout(&self) -> Duration {
        Duration::from_secs(self.trial_timeout_s)
    }
}

/// The limits of a picture that is saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PictureSettings {
    /// Largest size in bytes; 0: as the camera delivers it.
    pub bytes_max: u64,
    /// Largest width in pixels; 0: as the camera delivers it.
    pub width_max: u32,
    /// Highest JPEG quality in percent; 0: as the camera delivers it.
    pub quality: u8,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpoolSettings {
    pub dir: PathBuf,
    pub bytes_max: u64,
    /// Space on the card that always stays free.
    pub reserve_bytes: u64,
    pub retain_days: u64,
    pub retain_percent: u64,
    pub when_full: WhenFull,
}

/// The reaction to a press when the card is full of pictures that the cloud does not have yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// The press is refused, and the LED shows it.
    Refuse,
    /// The oldest waiting picture is deleted, and a tombstone reports it to the cloud.
    DropOldest,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CameraSettings {
    pub backend: CameraBackend,
    /// The path of the V4L2 device, or the number of the CSI camera; empty: the first one that works.
    pub device: String,
    pub width: u32,
    pub height: u32,
    /// The V4L2 pixel format, or `auto`.
    pub format: String,
    /// Lowest frame rate; 0: the camera's own.
    pub frames_per_s_min: u32,
    /// Percent of the camera's range; 0: the camera's own setting.
    pub brightness_percent: u8,
    /// Clockwise, before [`Self::flip`].
    pub rotation_degrees: u16,
    pub flip: Flip,
    pub timeout_s: u64,
    /// Most frames to discard after the camera starts, until its exposure is stable.
    pub warm_up_frames: u64,
    /// The warm-up ends after this time at the latest.
    pub warm_up_s: u64,
    /// A larger frame is rejected as a camera error.
    pub frame_bytes_max: u64,
}

impl CameraSettings {
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }

    pub fn warm_up(&self) -> Duration {
        Duration::from_secs(self.warm_up_s)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CameraBackend {
    /// V4L2, or a CSI camera if there is none; the simulated camera with `--simulated`.
    Auto,
    V4l,
    /// A CSI camera, through the rpicam programs of Raspberry Pi OS.
    Rpicam,
    Simulated,
    None,
}

/// Mirroring of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flip {
    None,
    /// Left and right.
    Horizontal,
    /// Top and bottom.
    Vertical,
    Both,
}

/// Access to the pins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GpioSettings {
    pub backend: GpioBackend,
    /// The path of the character device; empty: the one of the header, found by its driver.
    pub device: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GpioBackend {
    /// rppal if `/dev/gpiomem` works, otherwise the character device.
    Auto,
    /// The registers, through `/dev/gpiomem`.
    Rppal,
    /// The character device, through any kernel.
    Gpiochip,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ButtonSettings {
    /// BCM number.
    pub pin: u8,
    pub pull: Pull,
    pub active: Active,
    pub debounce_ms: u64,
    /// Presses closer together than this are one.
    pub repeat_ms_min: u64,
}

impl ButtonSettings {
    pub fn debounce(&self) -> Duration {
        Duration::from_millis(self.debounce_ms)
    }

    pub fn repeat_min(&self) -> Duration {
        Duration::from_millis(self.repeat_ms_min)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pull {
    Up,
    Down,
    None,
}

/// The level at which the button is pressed, or the LED lit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Active {
    Low,
    High,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LightSettings {
    /// BCM number of a one-colour LED.
    pub pin: u8,
    /// The pins of a three-colour LED, used instead of `pin`; empty in the file: a one-colour LED.
    #[serde(with = "empty_as_none")]
    pub rgb_pins: Option<RgbPins>,
    pub active: Active,
    /// Brightness of everything except the steady "ready" light.
    pub brightness_percent: u8,
    /// Brightness of the steady "ready" light, which is on all day.
    pub ready_brightness_percent: u8,
    pub mode: LightMode,
    /// Hours in which only presses are answered; empty in the file: none.
    #[serde(with = "empty_as_none")]
    pub quiet_hours: Option<QuietHours>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LightMode {
    /// A steady light while all is well.
    Steady,
    /// A short flash every five seconds while all is well.
    Heartbeat,
    /// Only presses and the `locate` command are answered.
    Off,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackoffSettings {
    pub initial_s: u64,
    pub max_s: u64,
    pub reconnect_initial_s: u64,
    pub reconnect_max_s: u64,
}

impl LightSettings {
    /// Returns one pin, or three for red, green and blue.
    pub fn pins(&self) -> Vec<u8> {
        self.rgb_pins.map_or_else(|| vec![self.pin], |pins| vec![pins.red, pins.green, pins.blue])
    }
}

/// A camera without a Pi.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SimulatedSettings {
    /// Button, light and camera are simulated.
    pub enabled: bool,
    /// A directory of JPEG photographs; empty: a drawn scene.
    pub photos: PathBuf,
    /// Replaces the identity of the board and its card; empty: this computer's own.
    pub fingerprint: String,
    /// The camera is missing for the first presses.
    pub camera_missing_presses: u64,
    /// Frames are padded to this size in bytes; 0: no padding.
    pub frame_bytes: u64,
    /// The time a frame takes.
    pub frame_ms: u64,
}

impl Config {
    /// Returns the camera's name: as set, or derived from the board's serial number (see [`crate::hardware::identity::Identity`]).
    pub fn device_name(&self, serial: &str) -> DeviceId {
        if let Some(device) = &self.device {
            return device.clone();
        }
        let serial = letters_and_digits(serial);
        let name = match &serial[serial.len().saturating_sub(6)..] {
            "" => "camera".to_owned(),
            last_six => format!("camera-{last_six}"),
        };
        name.parse().expect("camera, a dash and up to six letters and digits is a device name")
    }

    /// Returns the path of the copy of the last good file.
    pub fn last_good_path(&self) -> PathBuf {
        self.spool.dir.join(LAST_GOOD)
    }
}

/// Returns the ASCII letters and digits of a text, in lower case.
pub(crate) fn letters_and_digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

impl Default for Config {
    /// Returns the defaults of the table of settings.
    fn default() -> Self {
        Table::try_into(default_table()).expect("a test checks that the table has a valid default for every setting")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_without_a_name_is_called_after_its_board() {
        let config = Config::default();
        for (serial, name) in [
            ("100000001A2B3C4D", "camera-2b3c4d"),
            ("ab", "camera-ab"),
            ("../#+", "camera"),
            ("", "camera"),
            ("åäö12", "camera-12"),
        ] {
            assert_eq!(config.device_name(serial).as_str(), name);
        }
        let named = Config { device: Some("porch".parse().unwrap()), ..Config::default() };
        assert_eq!(named.device_name("1a2b3c").as_str(), "porch");
    }

    #[test]
    fn a_password_is_in_no_log() {
        let mut config = Config::default();
        config.cloud.password = "open sesame".to_owned();
        config.cloud.token = "open sesame".to_owned();
        assert!(!format!("{config:?}").contains("sesame"));
    }
}
