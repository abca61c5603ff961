//! The JSON API, the camera's HTTP transport and the live event stream: one file per resource.

pub(crate) mod commands;
pub(crate) mod devices;
pub(crate) mod frames;
pub(crate) mod json;
pub(crate) mod keys;
pub(crate) mod metrics;
pub(crate) mod people;
pub(crate) mod pictures;
pub(crate) mod quarantine;
pub(crate) mod settings;
pub(crate) mod stream;
pub(crate) mod system;
pub(crate) mod upload;
