//! The JSON API, the camera's HTTP transport and the live event stream: one file per resource.

pub(crate) mod camera_transport;
pub(crate) mod commands;
pub(crate) mod devices;
pub(crate) mod dto;
pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod pictures;
pub(crate) mod quarantine;
pub(crate) mod settings;
pub(crate) mod sse;
pub(crate) mod tokens;
pub(crate) mod upload;
pub(crate) mod users;
