//! The pages: handlers read the store, templates draw HTML.

pub(crate) mod assets;
pub(crate) mod badge;
pub(crate) mod capture_time;
pub(crate) mod choose_language;
pub(crate) mod components;
pub(crate) mod format;
pub(crate) mod handlers;
pub mod language;
pub(crate) mod messages;
pub mod templates;
pub(crate) mod text;
pub(crate) mod timeline;
pub(crate) mod views;
