//! `appliance sd-card`: prepares and watches the card. The SD card image starts it as root.
//!
//! `prepare` runs before the network: it extends the data partition to the end of the card, finds the settings on the
//! `KEEPSAKE` partition, and applies them to the system and the camera. `watch` runs next to the camera: it remembers
//! the Wi-Fi that works and writes `CAMERA-STATUS.txt`. No settings file prevents the camera from starting: invalid
//! settings are reported, and the last good settings are used instead.
//!
//! The decisions are in `find_settings_file`, `wifi`, `status` and [`crate::settings::load()`], which are pure; the
//! other modules carry them out.

mod apply_settings_file;
mod find_settings_file;
mod grow;
mod keep_log;
mod paths;
mod prepare;
mod report;
mod status;
mod watch;
mod wifi;
mod wifi_fallback;

pub(crate) use keep_log::keep_log;
pub use paths::Paths;
pub use prepare::prepare;
pub(crate) use prepare::prepare_card;
pub use watch::Watch;
pub(crate) use watch::watch;
