//! Reads for pages and the API, and the small transactions of users, sessions, tokens, commands and settings.

pub(crate) mod api_token;
pub(crate) mod command;
pub(crate) mod device;
pub(crate) mod login;
pub(crate) mod person;
pub(crate) mod setting;
