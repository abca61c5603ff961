//! The settings of the camera: their types, the layers they are merged from, and changes by the cloud.

mod config;
pub mod effective;
mod empty_as_none;
mod lenient_toml;
mod load;
mod suggest;
mod system;
mod value;

pub use config::*;
pub use keepsake_protocol::settings::value::{CloudUrl, QuietHours, RgbPins, Scheme};
pub(crate) use lenient_toml::{read_bounded, replace_privately};
pub(crate) use load::value_in;
pub use load::{Level, Loaded, Origin, Problem, check_config, load, read_system_settings};
pub use system::{NETWORKS_MAX, Network, SystemSettings};
