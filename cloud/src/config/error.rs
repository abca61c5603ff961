//! The errors in a configuration.

use std::net::SocketAddr;

use crate::ingest::external::TopicPatternError;

/// An error in the configuration, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{0}")]
    Unreadable(String),
    #[error(
        "--{flag} {address}: only this computer may connect to the embedded broker (127.0.0.1 or [::1]), because it has no passwords; for other cameras set --mqtt-broker-url to a broker that has"
    )]
    NotLoopback { flag: &'static str, address: SocketAddr },
    /// Leaves out the URL itself, which contains a password.
    #[error("--database: {0}; expected mysql://user:password@host:port/name")]
    Database(String),
    #[error("--bytes: {0}")]
    Bytes(String),
    #[error("--tls-cert and --tls-key belong together: --{missing} is missing")]
    HalfTls { missing: &'static str },
    #[error("--{flag} {found}: expected {expected}")]
    Bounds { flag: &'static str, found: String, expected: &'static str },
    #[error(transparent)]
    Pattern(#[from] TopicPatternError),
    #[error("--{flag} needs {needs}")]
    Alone { flag: &'static str, needs: &'static str },
    #[error("{0}: set one of them")]
    Together(&'static str),
    #[error(
        "--mqtt-broker-url contains a password, which every user of this computer could read; write mqtt(s)://user@host and \
         put the password into a file for --mqtt-password-file, or into KEEPSAKE_CLOUD_MQTT_PASSWORD"
    )]
    PasswordInUrl,
}
