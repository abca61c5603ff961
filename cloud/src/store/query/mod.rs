//! Reads for pages and the API, and the small transactions of users, sessions, tokens, commands and settings.

pub(crate) mod boot_clocks;
pub(crate) mod commands;
pub(crate) mod devices;
pub(crate) mod images;
pub(crate) mod pictures;
pub(crate) mod sessions;
pub(crate) mod settings;
mod space;
pub(crate) mod spools;
pub(crate) mod thumbnails;
pub(crate) mod tokens;
pub(crate) mod users;
