//! The settings as `cloud.toml` spells them, with their defaults.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::secret::SecretText;

/// The clients that may send pictures without an API token, by `POST /upload` and on the external topics of the embedded broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum AnonymousUpload {
    /// Clients on this computer.
    Loopback,
    /// Every client.
    Everyone,
    /// No client.
    Off,
}

/// All settings.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) listen: SocketAddr,
    pub(super) mqtt_listen: Option<SocketAddr>,
    pub(super) mqtt_broker_url: Option<String>,
    pub(super) mqtt_username: Option<String>,
    pub(super) mqtt_password: Option<SecretText>,
    pub(super) mqtt_password_file: Option<PathBuf>,
    pub(super) mqtt_ca_file: Option<PathBuf>,
    pub(super) mqtt_cert_file: Option<PathBuf>,
    pub(super) mqtt_key_file: Option<PathBuf>,
    pub(super) database: Option<String>,
    pub(super) bytes: Option<String>,
    pub(super) allow_unsafe_durability: bool,
    pub(super) capture_bytes_max: Option<u64>,
    pub(super) mqtt_inflight_max: u16,
    pub(super) free_bytes_min: u64,
    pub(super) free_percent_min: u8,
    pub(super) thumbnail_threads: Option<u8>,
    pub(super) anonymous_upload: Option<AnonymousUpload>,
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) hsts_days: u16,
    /// MQTT filter = name of the camera; {1} in the name is the text that the filter's first `+` matched.
    pub(super) topic_patterns: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 5000)),
            mqtt_listen: None,
            mqtt_broker_url: None,
            mqtt_username: None,
            mqtt_password: None,
            mqtt_password_file: None,
            mqtt_ca_file: None,
            mqtt_cert_file: None,
            mqtt_key_file: None,
            database: None,
            bytes: None,
            allow_unsafe_durability: false,
            capture_bytes_max: None,
            mqtt_inflight_max: 20,
            free_bytes_min: 1024 * 1024 * 1024,
            free_percent_min: 5,
            thumbnail_threads: None,
            anonymous_upload: None,
            tls_cert: None,
            tls_key: None,
            hsts_days: 0,
            topic_patterns: BTreeMap::new(),
        }
    }
}
