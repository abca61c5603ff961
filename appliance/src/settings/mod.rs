//! The settings of the camera: their types, the layers they are merged from, and changes by the cloud.

mod check;
mod config;
pub mod effective;
mod empty_as_none;
mod layer;
mod lenient_toml;
mod load;
mod merge;
mod problem;
mod suggest;
mod system;
mod value;

pub use check::check_config;
pub use config::*;
pub use keepsake_protocol::settings::value::{CloudUrl, QuietHours, RgbPins, Scheme};
pub(crate) use lenient_toml::read_bounded;
pub use load::{Loaded, load, read_system_settings};
pub(crate) use merge::value_in;
pub use problem::{Level, Origin, Problem};
pub use system::{NETWORKS_MAX, Network, SystemSettings};
