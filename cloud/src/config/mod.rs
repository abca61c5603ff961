//! Every setting with its unit, default and bound, from `cloud.toml`, the environment and arguments.
//!
//! Later ones win: defaults, `DIR/cloud.toml` or the file of `--config`, `KEEPSAKE_CLOUD_*`, arguments. Everything is checked before anything is
//! opened; what is wrong is one sentence that names the setting.

mod broker;
pub mod secret;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use keepsake_protocol::codec::CAPTURE_BYTES_MAX;
use serde::{Deserialize, Serialize};

use crate::args::Args;
use crate::store::address::{Address, Server};

pub use crate::config::broker::BrokerSettings;

use crate::config::secret::SecretText;
use crate::ingest::external::{ExternalTopics, TopicPatternError};

/// Messages read and not yet committed may take this much memory; beyond, the connection is dropped until there is
/// room, and the broker brings again what was not acknowledged.
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// One transaction stops taking messages beyond this many bytes.
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What the embedded broker keeps for a session that is away or slow.
pub const BROKER_QUEUE_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Open live streams; beyond, 503. Six fit into one browser.
pub const STREAMS_MAX: usize = 100;
/// Requests of cameras that are being read may take this much memory, KiB; beyond, 503. One that is larger is read alone.
pub const READING_KIB_MAX: u32 = 64 * 1024;
/// Cameras that wait for news over HTTP at one time; beyond, 503. Each has a connection open for it.
pub const LISTENING_MAX: usize = 256;
/// Open HTTP connections; beyond, new ones wait.
pub const CONNECTIONS_MAX: usize = 512;
/// The largest picture for a database server, if nothing else is said: packets of a MariaDB are 16 MiB as it comes.
pub const SERVER_CAPTURE_BYTES_MAX: u64 = 15 * 1024 * 1024;
/// Open HTTP connections from one address (one /64 of IPv6); beyond, new ones are closed at once. A household behind one
/// address has a few browsers with six each, and its cameras. This computer itself has no such bound: a proxy may be here.
pub const CONNECTIONS_OF_ONE_MAX: usize = 64;
/// How long snap and identify may wait for the camera, microseconds.
pub const COMMAND_EXPIRY_US: i64 = 60_000_000;

/// Who may send pictures without an API token, by `POST /upload` and on the external topics of the embedded broker.
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

/// The settings as `cloud.toml` spells them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    listen: SocketAddr,
    mqtt_listen: Option<SocketAddr>,
    ingest_broker: Option<String>,
    ingest_user: Option<String>,
    ingest_password: Option<SecretText>,
    ingest_password_file: Option<PathBuf>,
    ingest_ca: Option<PathBuf>,
    ingest_cert: Option<PathBuf>,
    ingest_key: Option<PathBuf>,
    database: Option<String>,
    accept_weak_durability: bool,
    capture_bytes_max: Option<u64>,
    broker_inflight: u16,
    hold_free_bytes: u64,
    hold_free_percent: u8,
    anonymous_upload: Option<AnonymousUpload>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    hsts_days: u16,
    /// MQTT filter = name of the camera, in which {1} is what the filter's first `+` has met.
    topic_patterns: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 5000)),
            mqtt_listen: None,
            ingest_broker: None,
            ingest_user: None,
            ingest_password: None,
            ingest_password_file: None,
            ingest_ca: None,
            ingest_cert: None,
            ingest_key: None,
            database: None,
            accept_weak_durability: false,
            capture_bytes_max: None,
            broker_inflight: 20,
            hold_free_bytes: 1024 * 1024 * 1024,
            hold_free_percent: 5,
            anonymous_upload: None,
            tls_cert: None,
            tls_key: None,
            hsts_days: 0,
            topic_patterns: BTreeMap::new(),
        }
    }
}

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub data: PathBuf,
    pub listen: SocketAddr,
    /// Of the embedded broker; none = it is not started.
    pub mqtt_listen: Option<SocketAddr>,
    /// Absent = the embedded broker.
    pub ingest_broker: Option<BrokerSettings>,
    /// Where the pictures are kept.
    pub database: Address,
    /// Whether commits are accepted that a power cut may take back.
    pub accept_weak_durability: bool,
    pub capture_bytes_max: u64,
    pub broker_inflight: u16,
    pub hold_free_bytes: u64,
    pub hold_free_percent: u8,
    /// Absent = loopback until there is an owner, then off.
    pub anonymous_upload: Option<AnonymousUpload>,
    /// Certificate chain and private key, PEM files; absent = plain http.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Days; 0 = no HSTS.
    pub hsts_days: u16,
    /// Topics of cameras that know nothing of Keepsake.
    pub ways: ExternalTopics,
}

/// What is wrong with the configuration, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{0}")]
    Unreadable(String),
    #[error(
        "--{flag} {address}: only this computer may connect to the embedded broker (127.0.0.1 or [::1]), because it knows no passwords; cameras elsewhere need --ingest-broker with a broker that does"
    )]
    NotLoopback {
        flag: &'static str,
        address: SocketAddr,
    },
    /// Says nothing of the URL itself, which has a password in it.
    #[error("--database: {0}; expected mysql://user:password@host:port/name")]
    Database(String),
    #[error("--tls-cert and --tls-key belong together: --{missing} is missing")]
    HalfTls { missing: &'static str },
    #[error("--{flag} {found}: expected {expected}")]
    Bounds {
        flag: &'static str,
        found: String,
        expected: &'static str,
    },
    #[error(transparent)]
    Pattern(#[from] TopicPatternError),
    #[error("--{flag} needs {needs}")]
    Alone {
        flag: &'static str,
        needs: &'static str,
    },
    #[error("{0}: set one of them")]
    Together(&'static str),
    #[error(
        "--ingest-broker holds a password, which everyone on this computer could read there; write mqtt(s)://user@host and \
         put it into a file for --ingest-password-file, or into KEEPSAKE_CLOUD_INGEST_PASSWORD"
    )]
    PasswordInUrl,
}

/// No argument: those can be read by everyone on the computer.
const INGEST_PASSWORD: &str = "KEEPSAKE_CLOUD_INGEST_PASSWORD";

impl Config {
    /// Joins defaults, file, environment and arguments.
    ///
    /// # Errors
    /// [`ConfigError`]: nothing has been opened.
    pub fn load(args: &Args) -> Result<Self, ConfigError> {
        let file = match &args.config {
            Some(file) => file.clone(),
            None => args.data.join("cloud.toml"),
        };
        let mut layers = Figment::from(Serialized::defaults(Settings::default()));
        if is_there(&file, args.config.is_some())? {
            layers = layers.merge(Toml::file_exact(file));
        }
        if !args.topic_patterns.is_empty() {
            let patterns: BTreeMap<_, _> = args.topic_patterns.iter().cloned().collect();
            layers = layers.merge(Serialized::default("topic_patterns", patterns));
        }
        if let Ok(password) = std::env::var(INGEST_PASSWORD) {
            layers = layers.merge(Serialized::default(
                "ingest_password",
                SecretText::new(password),
            ));
        }
        let settings: Settings = layers
            .merge(Serialized::defaults(args))
            .extract()
            .map_err(|error| ConfigError::Unreadable(error.to_string()))?;
        check(&settings, &args.data)
    }
}

/// Without the file there are defaults, unless it was asked for by name. One that is there and cannot be read is told:
/// a cloud with other settings than its owner has written could take pictures to another place.
fn is_there(file: &Path, named: bool) -> Result<bool, ConfigError> {
    match std::fs::File::open(file) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => Ok(false),
        Err(error) => {
            let file = file.display();
            Err(ConfigError::Unreadable(format!(
                "read {file}: {error}; this user must be able to read it, or name another with --config"
            )))
        }
    }
}

fn check(settings: &Settings, data: &Path) -> Result<Config, ConfigError> {
    let mqtt_listen = settings.mqtt_listen.or_else(|| {
        let alone = settings.ingest_broker.is_none();
        alone.then_some(SocketAddr::from(([127, 0, 0, 1], 1883)))
    });
    if let Some(address) = mqtt_listen.filter(|address| !address.ip().is_loopback()) {
        return Err(ConfigError::NotLoopback {
            flag: "mqtt-listen",
            address,
        });
    }
    let tls = match (&settings.tls_cert, &settings.tls_key) {
        (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
        (None, None) => None,
        (Some(_), None) => return Err(ConfigError::HalfTls { missing: "tls-key" }),
        (None, Some(_)) => {
            return Err(ConfigError::HalfTls {
                missing: "tls-cert",
            });
        }
    };
    let within = |flag, found: u64, bounds: std::ops::RangeInclusive<u64>, expected| {
        if bounds.contains(&found) {
            Ok(())
        } else {
            Err(ConfigError::Bounds {
                flag,
                found: found.to_string(),
                expected,
            })
        }
    };
    let database = match &settings.database {
        None => Address::Folder(data.to_owned()),
        Some(url) => Address::Server(Server::parse(url).map_err(ConfigError::Database)?),
    };
    let capture_bytes_max = settings.capture_bytes_max.unwrap_or(match database {
        Address::Folder(_) => CAPTURE_BYTES_MAX,
        Address::Server(_) => SERVER_CAPTURE_BYTES_MAX,
    });
    within(
        "capture-bytes-max",
        capture_bytes_max,
        64 * 1024..=CAPTURE_BYTES_MAX,
        "65536 to 67108864 bytes",
    )?;
    within(
        "broker-inflight",
        settings.broker_inflight.into(),
        1..=1000,
        "1 to 1000 messages",
    )?;
    within(
        "hold-free-percent",
        settings.hold_free_percent.into(),
        0..=90,
        "0 to 90 percent",
    )?;
    within(
        "hsts-days",
        settings.hsts_days.into(),
        0..=730,
        "0 to 730 days",
    )?;
    Ok(Config {
        data: data.to_owned(),
        listen: settings.listen,
        mqtt_listen,
        ingest_broker: broker::check(settings)?,
        database,
        accept_weak_durability: settings.accept_weak_durability,
        capture_bytes_max,
        broker_inflight: settings.broker_inflight,
        hold_free_bytes: settings.hold_free_bytes,
        hold_free_percent: settings.hold_free_percent,
        anonymous_upload: settings.anonymous_upload,
        tls,
        hsts_days: settings.hsts_days,
        // The embedded broker listens on loopback only and closes these topics itself once there is an owner; another
        // broker has its own access rules.
        ways: ExternalTopics::new(
            settings.anonymous_upload != Some(AnonymousUpload::Off),
            &settings.topic_patterns,
        )?,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn the_settings_file_of_the_package_has_every_setting_with_its_default() {
        let text = include_str!("../../cloud.toml");
        let as_it_is: Settings = Figment::from(Toml::string(text)).extract().unwrap();
        let json = |settings: &Settings| serde_json::to_value(settings).unwrap();
        assert_eq!(json(&as_it_is), json(&Settings::default()));
        let named = |line: &str| {
            let (name, _) = line.trim_start_matches('#').split_once(" = ")?;
            Some(name.to_owned())
        };
        let names: Vec<String> = text.lines().filter_map(named).collect();
        for name in json(&Settings::default()).as_object().unwrap().keys() {
            let section = text.contains(&format!("\n[{name}]\n"));
            assert!(
                section || names.contains(name),
                "{name} is not in cloud.toml"
            );
        }
        // The examples behind a # are settings, too.
        let examples: String = text
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(example) if named(line).is_some() && !example.starts_with(' ') => example,
                _ => line,
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        let examples: Settings = Figment::from(Toml::string(&examples)).extract().unwrap();
        assert!(examples.database.is_some() && examples.topic_patterns.len() == 1);
    }

    #[test]
    fn a_settings_file_that_was_named_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("own.toml");
        let load = |arguments: &[&str]| {
            let data = ["cloud", "--data", folder.path().to_str().unwrap()];
            Config::load(&Args::parse_from(data.iter().chain(arguments)))
        };
        let named = ["--config", file.to_str().unwrap()];
        let error = load(&named).unwrap_err().to_string();
        assert!(
            error.contains("own.toml") && error.contains("--config"),
            "{error}"
        );
        std::fs::write(&file, "broker_inflight = 7").unwrap();
        assert_eq!(load(&named).unwrap().broker_inflight, 7);
        assert_eq!(load(&[]).unwrap().broker_inflight, 20);
    }

    #[test]
    fn the_page_may_face_the_internet_and_the_embedded_broker_may_not() {
        let everywhere = SocketAddr::from(([0, 0, 0, 0], 5000));
        let settings = Settings {
            listen: everywhere,
            ..Settings::default()
        };
        assert_eq!(check(&settings, Path::new(".")).unwrap().listen, everywhere);
        let settings = Settings {
            mqtt_listen: Some(everywhere),
            ..Settings::default()
        };
        let error = check(&settings, Path::new(".")).unwrap_err();
        assert!(error.to_string().contains("--mqtt-listen 0.0.0.0:5000"));
    }

    #[test]
    fn with_a_broker_elsewhere_ours_is_started_for_whoever_asks_for_it_only() {
        let listens = |broker: Option<&str>, listen: Option<SocketAddr>| {
            let settings = Settings {
                ingest_broker: broker.map(str::to_owned),
                mqtt_listen: listen,
                ..Settings::default()
            };
            check(&settings, Path::new(".")).unwrap().mqtt_listen
        };
        let (elsewhere, asked) = (Some("mqtt://cloud@broker.lan"), "127.0.0.1:7".parse().ok());
        assert_eq!(listens(None, None).unwrap().port(), 1883);
        assert_eq!(listens(elsewhere, None), None);
        assert_eq!(listens(elsewhere, asked), asked);
    }

    #[test]
    fn a_certificate_without_its_key_is_an_error() {
        let settings = Settings {
            tls_cert: Some("cert.pem".into()),
            ..Settings::default()
        };
        let error = check(&settings, Path::new(".")).unwrap_err();
        assert!(error.to_string().contains("--tls-key is missing"));
    }

    #[test]
    fn the_password_of_the_database_is_in_no_error_and_not_in_the_configuration_shown() {
        let settings = |url: &str| Settings {
            database: Some(url.to_owned()),
            ..Settings::default()
        };
        let check = |url: &str| check(&settings(url), Path::new("."));
        let config = check("mysql://me:secret@db.lan/keepsake").unwrap();
        assert_eq!(config.capture_bytes_max, SERVER_CAPTURE_BYTES_MAX);
        let shown = format!("{config:?}");
        assert!(shown.contains("mysql://me@db.lan:3306/keepsake"), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
        let error = check("mysql://me:secret@db.lan").unwrap_err().to_string();
        assert!(error.contains("--database"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn topics_of_other_cameras_come_from_the_file_and_from_arguments() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_str().unwrap();
        let load = |more: &[&str]| {
            let args = ["cloud", "--data", data];
            Config::load(&Args::parse_from(args.iter().chain(more)))
        };
        let text =
            "[topic_patterns]\n\"frigate/+/snapshot\" = \"{1}\"\n\"tele/a.b/cam\" = \"garage\"";
        std::fs::write(folder.path().join("cloud.toml"), text).unwrap();
        let ways = load(&["--topic-pattern", "x/+={1}"]).unwrap().ways;
        for topic in [
            "frigate/yard/snapshot",
            "tele/a.b/cam",
            "x/y",
            "camera/image",
        ] {
            assert!(ways.matches_topic(topic), "{topic}");
        }
        let closed = load(&["--anonymous-upload", "off"]).unwrap().ways;
        assert!(!closed.matches_topic("camera/image") && closed.matches_topic("tele/a.b/cam"));
        let error = load(&["--topic-pattern", "#=x"]).unwrap_err();
        assert!(error.to_string().contains("keepsake/v1/#"), "{error}");
    }

    #[test]
    fn an_unknown_setting_in_the_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let args = |more: &[&str]| {
            let data = folder.path().to_str().unwrap();
            Args::parse_from(["cloud", "--data", data].iter().chain(more))
        };
        assert_eq!(Config::load(&args(&[])).unwrap().broker_inflight, 20);
        std::fs::write(folder.path().join("cloud.toml"), "broker_inflight = 3").unwrap();
        assert_eq!(Config::load(&args(&[])).unwrap().broker_inflight, 3);
        let by_argument = args(&["--broker-inflight", "1"]);
        assert_eq!(Config::load(&by_argument).unwrap().broker_inflight, 1);
        std::fs::write(folder.path().join("cloud.toml"), "broker_inflite = 3").unwrap();
        let error = Config::load(&args(&[])).unwrap_err();
        assert!(error.to_string().contains("broker_inflite"), "{error}");
    }
}
