//! The command line of the `cloud` program.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use keepsake_protocol::DeviceId;
use serde::Serialize;

use crate::auth::{Role, UserName};
use crate::config::settings::AnonymousUpload;

/// The Keepsake cloud: receives pictures from cameras, stores them and shows them.
#[derive(Debug, Parser, Serialize)]
#[command(name = "cloud", version, args_override_self = true)]
pub struct Args {
    #[command(subcommand)]
    #[serde(skip)]
    pub command: Option<Command>,

    /// Directory of the database and cloud.toml
    #[arg(
        long,
        env = "KEEPSAKE_CLOUD_DATA",
        default_value = "./keepsake-data",
        value_name = "DIR",
        global = true
    )]
    #[serde(skip)]
    pub data: PathBuf,

    /// Settings file, which must exist [default: cloud.toml in the data directory, if it exists]
    #[arg(long, env = "KEEPSAKE_CLOUD_CONFIG", value_name = "FILE", global = true)]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Address of the web interface and the API; port 0 selects a free port [default: 127.0.0.1:5000]
    #[arg(long, env = "KEEPSAKE_CLOUD_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,

    /// Address of the embedded MQTT broker; port 0 selects a free port [default: 127.0.0.1:1883, or no embedded broker with --mqtt-broker-url]
    #[arg(long, env = "KEEPSAKE_CLOUD_MQTT_LISTEN", value_name = "ADDRESS:PORT")]
    pub mqtt_listen: Option<SocketAddr>,

    /// External MQTT broker, mqtt(s)://user@host:port [default: the embedded broker]
    #[arg(long, env = "KEEPSAKE_CLOUD_MQTT_BROKER_URL", value_name = "URL")]
    pub mqtt_broker_url: Option<String>,

    /// User name for the external broker; the password is in KEEPSAKE_CLOUD_MQTT_PASSWORD or a file
    #[arg(long, env = "KEEPSAKE_CLOUD_MQTT_USERNAME", value_name = "NAME")]
    pub mqtt_username: Option<String>,

    /// File whose first line is the password for the external broker
    #[arg(long, env = "KEEPSAKE_CLOUD_MQTT_PASSWORD_FILE", value_name = "FILE")]
    pub mqtt_password_file: Option<PathBuf>,

    /// For mqtts: PEM file with trusted CA certificates [default: the system's CA store]
    #[arg(long, env = "KEEPSAKE_CLOUD_MQTT_CA_FILE", value_name = "FILE")]
    pub mqtt_ca_file: Option<PathBuf>,

    /// For mqtts: PEM file with the client certificate
    #[arg(long, env = "KEEPSAKE_CLOUD_MQTT_CERT_FILE", value_name = "FILE")]
    pub mqtt_cert_file: Option<PathBuf>,

    /// For mqtts: PEM file with the private key of the client certificate
    #[arg(long, env = "KEEPSAKE_CLOUD_MQTT_KEY_FILE", value_name = "FILE")]
    pub mqtt_key_file: Option<PathBuf>,

    /// Database server, mysql://user:password@host:port/name: MySQL 8 or later, or MariaDB 10.6 or later. Every user of
    /// this computer can read the command line, so put the password into cloud.toml [default: SQLite in the data directory]
    #[arg(
        long,
        env = "KEEPSAKE_CLOUD_DATABASE",
        hide_env_values = true,
        value_name = "URL",
        global = true
    )]
    pub database: Option<String>,

    /// Place for the bytes of new pictures: database, folder:PATH (relative to the data directory) or s3://BUCKET/PREFIX
    /// [default: database; with --database folder:pictures]
    #[arg(long, env = "KEEPSAKE_CLOUD_BYTES", value_name = "PLACE", global = true)]
    pub bytes: Option<String>,

    /// Store pictures even if the database server can lose committed data in a power cut
    #[arg(
        long,
        env = "KEEPSAKE_CLOUD_ALLOW_UNSAFE_DURABILITY",
        num_args = 0..=1,
        default_missing_value = "true",
        value_name = "BOOL"
    )]
    pub allow_unsafe_durability: Option<bool>,

    /// MQTT topic on which third-party cameras publish JPEG or PNG pictures, and the camera's name: 'frigate/+/snapshot={1}'; can be repeated
    #[arg(
        long = "topic-pattern",
        value_name = "FILTER=NAME",
        value_parser = topic_pattern
    )]
    #[serde(skip)]
    pub topic_patterns: Vec<(String, String)>,

    /// Size of the largest picture that is accepted, 65536 to 67108864 bytes [default: 67108864; with --database
    /// 15728640, which fits into the default packet size of MariaDB]
    #[arg(long, env = "KEEPSAKE_CLOUD_CAPTURE_BYTES_MAX", value_name = "BYTES")]
    #[serde(skip)]
    pub capture_bytes_max: Option<u64>,

    /// Unacknowledged messages that the embedded broker sends to a client at most, 1 to 1000 [default: 20]
    #[arg(long, env = "KEEPSAKE_CLOUD_MQTT_INFLIGHT_MAX", value_name = "N")]
    pub mqtt_inflight_max: Option<u16>,

    /// Pause uploads while less disk space than this is free, bytes [default: 1073741824]
    #[arg(long, env = "KEEPSAKE_CLOUD_FREE_BYTES_MIN", value_name = "BYTES")]
    #[serde(skip)]
    pub free_bytes_min: Option<u64>,

    /// Clients that may send pictures without an API token (POST /upload, MQTT topic camera/image): loopback, everyone or off [default: loopback until there is an owner, then off]
    #[arg(long, env = "KEEPSAKE_CLOUD_ANONYMOUS_UPLOAD", value_name = "WHO")]
    pub anonymous_upload: Option<AnonymousUpload>,

    /// PEM file with the certificate chain for HTTPS on --listen; reloaded when it changes [default: plain HTTP]
    #[arg(long, env = "KEEPSAKE_CLOUD_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// PEM file with the private key of --tls-cert
    #[arg(long, env = "KEEPSAKE_CLOUD_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Time for which browsers must use HTTPS only (HSTS), 0 to 730 days; 0 does not send the header [default: 0]
    #[arg(long, env = "KEEPSAKE_CLOUD_HSTS_DAYS", value_name = "DAYS")]
    pub hsts_days: Option<u16>,

    /// Pause uploads while less of the disk than this is free, percent, 0 to 90 [default: 5]
    #[arg(long, env = "KEEPSAKE_CLOUD_FREE_PERCENT_MIN", value_name = "PERCENT")]
    pub free_percent_min: Option<u8>,

    /// Threads that decode pictures for their thumbnails, 1 to 64 [default: half of the cores]
    #[arg(long, env = "KEEPSAKE_CLOUD_THUMBNAIL_THREADS", value_name = "N")]
    pub thumbnail_threads: Option<u8>,
}

fn topic_pattern(text: &str) -> Result<(String, String), String> {
    let (filter, name) = text
        .rsplit_once('=')
        .ok_or("expected a filter, = and a name, such as frigate/+/snapshot={1}")?;
    Ok((filter.to_owned(), name.to_owned()))
}

/// A command that works on the store, whether the cloud runs or not.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Manage users
    #[command(subcommand)]
    User(UserCommand),
    /// Manage API tokens of programs and cameras
    #[command(subcommand)]
    Token(TokenCommand),
    /// Move or check the bytes of pictures
    #[command(subcommand)]
    Bytes(BytesCommand),
}

#[derive(Debug, Clone, Subcommand)]
pub enum BytesCommand {
    /// Move the bytes of all pictures to another place, while the cloud runs or not; after an interruption, run it again
    Move {
        /// database, folder:PATH or s3://BUCKET/PREFIX [default: the setting bytes]
        #[arg(long, value_name = "PLACE")]
        to: Option<String>,
        /// Days after which the old bytes are deleted, 0 to 365; until then a backup of the database from before the
        /// move can be restored
        #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u16).range(0..=365))]
        keep_days: u16,
        /// Speed limit, 1 to 10000 MiB a second [default: none]
        #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        rate: Option<u32>,
    },
    /// Look for pictures without bytes and for objects without pictures
    Check {
        /// Read all bytes and compare them with their hashes, instead of only their lengths
        #[arg(long)]
        read: bool,
    },
}

#[derive(Debug, Clone, Subcommand)]
pub enum UserCommand {
    /// Create a user; the password is prompted for, or read from standard input
    Create {
        name: UserName,
        /// viewer, operator or owner
        #[arg(long)]
        role: Role,
    },
    /// Set a new password and end all sessions
    Reset {
        name: UserName,
        /// Print a link for setting a password, valid once within 48 hours, instead of prompting for one
        #[arg(long)]
        link: bool,
    },
    /// List the users
    List,
}

#[derive(Debug, Clone, Subcommand)]
pub enum TokenCommand {
    /// Create an API token and print it: it is shown only once
    Create {
        /// Purpose of the token
        name: String,
        /// viewer, operator or owner
        #[arg(long, required_unless_present = "camera", conflicts_with = "camera")]
        role: Option<Role>,
        /// Allow uploads for this camera, and nothing else
        #[arg(long, value_name = "NAME")]
        camera: Option<DeviceId>,
        /// Revoke the tokens of the same name
        #[arg(long)]
        replace: bool,
    },
    /// List the API tokens
    List,
    /// Revoke a token by its id, or all of a name
    Revoke { token: String },
}
