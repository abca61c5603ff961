//! The command line of the `cloud` program.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use serde::Serialize;

use crate::config::AnonymousUpload;

/// The cloud of Keepsake: takes pictures from cameras, keeps them, and shows them.
#[derive(Debug, Parser, Serialize)]
#[command(name = "cloud", version, args_override_self = true)]
pub struct Args {
    #[command(subcommand)]
    #[serde(skip)]
    pub command: Option<crate::commands::Command>,

    /// Folder for the database and cloud.toml
    #[arg(
        long,
        env = "KEEPSAKE_CLOUD_DATA",
        default_value = "./keepsake-data",
        value_name = "DIR",
        global = true
    )]
    #[serde(skip)]
    pub data: PathBuf,

    /// The settings file, which must then be there [default: cloud.toml in the data folder, if there is one]
    #[arg(
        long,
        env = "KEEPSAKE_CLOUD_CONFIG",
        value_name = "FILE",
        global = true
    )]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Address of the pages and the API; port 0 takes any free port [default: 127.0.0.1:5000]
    #[arg(long, env = "KEEPSAKE_CLOUD_LISTEN", value_name = "ADDRESS:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,

    /// Address of the embedded MQTT broker; port 0 takes any free port [default: 127.0.0.1:1883, and none with --ingest-broker]
    #[arg(long, env = "KEEPSAKE_CLOUD_MQTT_LISTEN", value_name = "ADDRESS:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtt_listen: Option<SocketAddr>,

    /// Where the cloud's own sessions connect, mqtt(s)://user@host:port [default: the embedded broker itself]
    #[arg(long, env = "KEEPSAKE_CLOUD_INGEST_BROKER", value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingest_broker: Option<String>,

    /// The name the cloud has at that broker; its password is in KEEPSAKE_CLOUD_INGEST_PASSWORD or a file
    #[arg(long, env = "KEEPSAKE_CLOUD_INGEST_USER", value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingest_user: Option<String>,

    /// File whose first line is the cloud's password at that broker
    #[arg(long, env = "KEEPSAKE_CLOUD_INGEST_PASSWORD_FILE", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingest_password_file: Option<PathBuf>,

    /// For mqtts: certificates of the authorities to believe, PEM [default: those of this system]
    #[arg(long, env = "KEEPSAKE_CLOUD_INGEST_CA", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingest_ca: Option<PathBuf>,

    /// For mqtts: the cloud's own certificate, PEM
    #[arg(long, env = "KEEPSAKE_CLOUD_INGEST_CERT", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingest_cert: Option<PathBuf>,

    /// For mqtts: the private key of that certificate, PEM
    #[arg(long, env = "KEEPSAKE_CLOUD_INGEST_KEY", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingest_key: Option<PathBuf>,

    /// Where the database is, mysql://user:password@host:port/name, for MySQL 8 or later and MariaDB 10.6 or later;
    /// others on this machine see arguments, so a password is better in cloud.toml [default: SQLite in the data folder]
    #[arg(
        long,
        env = "KEEPSAKE_CLOUD_DATABASE",
        hide_env_values = true,
        value_name = "URL",
        global = true
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,

    /// Take pictures although a power cut may take them back from the database again
    #[arg(
        long,
        env = "KEEPSAKE_CLOUD_ACCEPT_WEAK_DURABILITY",
        num_args = 0..=1,
        default_missing_value = "true",
        value_name = "BOOL"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept_weak_durability: Option<bool>,

    /// A topic to which other cameras publish JPEG or PNG, and their name, as in 'frigate/+/snapshot={1}'; may be repeated
    #[arg(
        long = "topic-pattern",
        value_name = "FILTER=NAME",
        value_parser = topic_pattern
    )]
    #[serde(skip)]
    pub topic_patterns: Vec<(String, String)>,

    /// The largest picture taken, bytes, 65536 to 67108864 [default: 67108864; with --database 15728640, which fits
    /// into the packets of a MariaDB as it comes]
    #[arg(long, env = "KEEPSAKE_CLOUD_CAPTURE_BYTES_MAX", value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture_bytes_max: Option<u64>,

    /// Messages the embedded broker sends ahead of their acknowledgement, 1 to 1000 [default: 20]
    #[arg(long, env = "KEEPSAKE_CLOUD_BROKER_INFLIGHT", value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_inflight: Option<u16>,

    /// Below this free space nothing is taken any more, bytes [default: 1073741824]
    #[arg(long, env = "KEEPSAKE_CLOUD_HOLD_FREE_BYTES", value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_free_bytes: Option<u64>,

    /// Who may send pictures without an API token (POST /upload, MQTT topic camera/image): loopback, everyone or off [default: loopback until there is an owner, then off]
    #[arg(long, env = "KEEPSAKE_CLOUD_ANONYMOUS_UPLOAD", value_name = "WHO")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous_upload: Option<AnonymousUpload>,

    /// Certificate chain for https on --listen, PEM; read again when it changes [default: none, plain http]
    #[arg(long, env = "KEEPSAKE_CLOUD_TLS_CERT", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the certificate, PEM
    #[arg(long, env = "KEEPSAKE_CLOUD_TLS_KEY", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,

    /// Over https, tell browsers to use nothing else for so many days (HSTS), 0 to 730; 0 says nothing [default: 0]
    #[arg(long, env = "KEEPSAKE_CLOUD_HSTS_DAYS", value_name = "DAYS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hsts_days: Option<u16>,

    /// Below this free space nothing is taken any more, percent of the disk, 0 to 90 [default: 5]
    #[arg(long, env = "KEEPSAKE_CLOUD_HOLD_FREE_PERCENT", value_name = "PERCENT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_free_percent: Option<u8>,
}

fn topic_pattern(text: &str) -> Result<(String, String), String> {
    let (filter, name) = text
        .rsplit_once('=')
        .ok_or("expected a filter, = and a name, such as frigate/+/snapshot={1}")?;
    Ok((filter.to_owned(), name.to_owned()))
}
