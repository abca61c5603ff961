//! The pages: handlers read the store, templates draw HTML.

pub(crate) mod asset;
pub(crate) mod journey;
pub(crate) mod pages;
pub(crate) mod parts;
pub mod templates;
pub(crate) mod view;
pub(crate) mod when;
pub(crate) mod words;
