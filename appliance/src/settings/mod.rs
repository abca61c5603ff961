//! The settings of the camera: their types, the layers they are merged from, and what the cloud changes of them.

mod advice;
mod card;
mod config;
mod file;
mod given;
mod load;
mod optional;
pub mod wishes;

pub use card::{CardSettings, NETWORKS_MAX, Network};
pub use config::*;
pub(crate) use file::{read_bounded, replace as replace_privately};
pub use keepsake_protocol::settings::value::{CloudUrl, QuietHours, RgbPins, Scheme};
pub(crate) use load::value_in;
pub use load::{Level, Loaded, Origin, Problem, check_config, load, read_card_settings};
