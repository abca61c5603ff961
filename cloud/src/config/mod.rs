//! Every setting with its unit, default and bound, from `cloud.toml`, the environment and arguments.
//!
//! Later sources override earlier ones: defaults, `DIR/cloud.toml` or the file of `--config`, `KEEPSAKE_CLOUD_*`, arguments.
//! All settings are checked before anything is opened; an error is one sentence that names the setting.

mod broker;
mod error;
pub mod secret;
pub(crate) mod settings;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use keepsake_protocol::codec::CAPTURE_BYTES_MAX;
use serde::Deserialize;
use toml::{Table, Value};

use crate::args::Args;
use crate::store::address::{Address, Server};

pub use crate::config::broker::BrokerSettings;
pub use crate::config::error::ConfigError;
pub use crate::config::settings::AnonymousUpload;

use crate::config::settings::Settings;
use crate::ingest::external::ExternalTopics;

/// Memory for messages that are received and not yet committed. Beyond it nothing more is read from the broker until
/// there is room.
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Room in that memory for the pictures of third-party cameras.
pub const EXTERNAL_QUEUE_BYTES_MAX: usize = QUEUE_BYTES_MAX / 2;
/// Bytes after which a transaction takes no further messages.
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes that the embedded broker queues for a session that is offline or slow.
pub const BROKER_QUEUE_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Open event streams; beyond, 503. A browser opens at most six connections.
pub const STREAMS_MAX: usize = 100;
/// Memory for camera requests that are being read, KiB; beyond, 503. A larger request is read alone.
pub const READING_KIB_MAX: u32 = 64 * 1024;
/// Cameras that wait for downlink messages over HTTP at one time; beyond, 503. Each keeps one connection open.
pub const LISTENING_MAX: usize = 256;
/// Open HTTP connections; beyond, new ones wait.
pub const CONNECTIONS_MAX: usize = 512;
/// Default size limit of a picture with a database server: the default packet size of MariaDB is 16 MiB.
pub const SERVER_CAPTURE_BYTES_MAX: u64 = 15 * 1024 * 1024;
/// Open HTTP connections from one address (one /64 of IPv6); beyond, new ones are closed at once. A household behind one
/// address has a few browsers with six connections each, and its cameras. Loopback has no such limit, for reverse proxies.
pub const CONNECTIONS_OF_ONE_MAX: usize = 64;
/// Time after which an unanswered snap or identify command expires, microseconds.
pub const COMMAND_EXPIRY_US: i64 = 60_000_000;

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub data: PathBuf,
    pub listen: SocketAddr,
    /// Address of the embedded broker; `None` = it is not started.
    pub mqtt_listen: Option<SocketAddr>,
    /// `None` = the embedded broker is used.
    pub external_broker: Option<BrokerSettings>,
    /// Address of the database.
    pub database: Address,
    /// Accept a server that can lose committed data in a power cut.
    pub allow_unsafe_durability: bool,
    pub capture_bytes_max: u64,
    pub mqtt_inflight_max: u16,
    pub free_bytes_min: u64,
    pub free_percent_min: u8,
    /// Absent = loopback until there is an owner, then off.
    pub anonymous_upload: Option<AnonymousUpload>,
    /// Certificate chain and private key, PEM files; absent = plain http.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Days; 0 = no HSTS.
    pub hsts_days: u16,
    /// Topics of third-party cameras.
    pub external: ExternalTopics,
}

/// Not an argument, because every user of the computer can read the command line.
const MQTT_PASSWORD: &str = "KEEPSAKE_CLOUD_MQTT_PASSWORD";

impl Config {
    /// Merges defaults, file, environment and arguments, and checks the result.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting; nothing has been opened.
    pub fn load(args: &Args) -> Result<Self, ConfigError> {
        let file = match &args.config {
            Some(file) => file.clone(),
            None => args.data.join("cloud.toml"),
        };
        let mut table = read_file(&file, args.config.is_some())?;
        if let Ok(password) = std::env::var(MQTT_PASSWORD) {
            table.insert("mqtt_password".to_owned(), Value::String(password));
        }
        // An error contains no value of a secret, and names the setting on a line of its own.
        let unreadable = |error: &dyn std::error::Error| {
            ConfigError::Unreadable(format!("settings: {}", error.to_string().trim().replace('\n', " ")))
        };
        table.extend(Table::try_from(args).map_err(|error| unreadable(&error))?);
        let mut settings = Settings::deserialize(table).map_err(|error| unreadable(&error))?;
        // TOML has no number above 2^63 - 1.
        settings.capture_bytes_max = args.capture_bytes_max.or(settings.capture_bytes_max);
        settings.free_bytes_min = args.free_bytes_min.unwrap_or(settings.free_bytes_min);
        settings.topic_patterns.extend(args.topic_patterns.iter().cloned());
        check(&settings, &args.data)
    }
}

/// Reads the settings file; one that does not exist and was not named is empty. A file that exists and cannot be read is
/// an error: with other settings than the owner wrote, the cloud could store pictures in another place.
fn read_file(file: &Path, named: bool) -> Result<Table, ConfigError> {
    let shown = file.display();
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => return Ok(Table::new()),
        Err(error) => {
            return Err(ConfigError::Unreadable(format!(
                "read {shown}: {error}; this user must be able to read it, or name another with --config"
            )));
        }
    };
    // The text of the error itself would show the line, which may contain a password.
    text.parse().map_err(|error: toml::de::Error| {
        let line = text[..error.span().map_or(0, |span| span.start)].lines().count().max(1);
        ConfigError::Unreadable(format!("{shown}, line {line}: {}", error.message().replace('\n', " ")))
    })
}

fn check(settings: &Settings, data: &Path) -> Result<Config, ConfigError> {
    let mqtt_listen = settings.mqtt_listen.or_else(|| {
        let alone = settings.mqtt_broker_url.is_none();
        alone.then_some(SocketAddr::from(([127, 0, 0, 1], 1883)))
    });
    if let Some(address) = mqtt_listen.filter(|address| !address.ip().is_loopback()) {
        return Err(ConfigError::NotLoopback { flag: "mqtt-listen", address });
    }
    let tls = match (&settings.tls_cert, &settings.tls_key) {
        (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
        (None, None) => None,
        (Some(_), None) => return Err(ConfigError::HalfTls { missing: "tls-key" }),
        (None, Some(_)) => {
            return Err(ConfigError::HalfTls { missing: "tls-cert" });
        }
    };
    let within = |flag, found: u64, bounds: std::ops::RangeInclusive<u64>, expected| {
        if bounds.contains(&found) {
            Ok(())
        } else {
            Err(ConfigError::Bounds { flag, found: found.to_string(), expected })
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
    within("mqtt-inflight-max", settings.mqtt_inflight_max.into(), 1..=1000, "1 to 1000 messages")?;
    within("free-percent-min", settings.free_percent_min.into(), 0..=90, "0 to 90 percent")?;
    within("hsts-days", settings.hsts_days.into(), 0..=730, "0 to 730 days")?;
    Ok(Config {
        data: data.to_owned(),
        listen: settings.listen,
        mqtt_listen,
        external_broker: broker::check(settings)?,
        database,
        allow_unsafe_durability: settings.allow_unsafe_durability,
        capture_bytes_max,
        mqtt_inflight_max: settings.mqtt_inflight_max,
        free_bytes_min: settings.free_bytes_min,
        free_percent_min: settings.free_percent_min,
        anonymous_upload: settings.anonymous_upload,
        tls,
        hsts_days: settings.hsts_days,
        // The embedded broker listens on loopback only and closes these topics itself once there is an owner; another
        // broker has its own access rules.
        external: ExternalTopics::new(
            settings.anonymous_upload != Some(AnonymousUpload::Off),
            &settings.topic_patterns,
        )?,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn load(folder: &Path, arguments: &[&str]) -> Result<Config, ConfigError> {
        let data = ["cloud", "--data", folder.to_str().unwrap()];
        Config::load(&Args::parse_from(data.iter().chain(arguments)))
    }

    #[test]
    fn the_settings_file_of_the_package_has_every_setting_with_its_default() {
        let text = include_str!("../../cloud.toml");
        let as_it_is: Settings = toml::from_str(text).unwrap();
        let json = |settings: &Settings| serde_json::to_value(settings).unwrap();
        assert_eq!(json(&as_it_is), json(&Settings::default()));
        let named = |line: &str| {
            let (name, _) = line.trim_start_matches('#').split_once(" = ")?;
            Some(name.to_owned())
        };
        let names: Vec<String> = text.lines().filter_map(named).collect();
        for name in json(&Settings::default()).as_object().unwrap().keys() {
            let section = text.contains(&format!("\n[{name}]\n"));
            assert!(section || names.contains(name), "{name} is not in cloud.toml");
        }
        // The commented examples must be valid settings, too.
        let examples: String = text
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(example) if named(line).is_some() && !example.starts_with(' ') => example,
                _ => line,
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        let examples: Settings = toml::from_str(&examples).unwrap();
        assert!(examples.database.is_some() && examples.topic_patterns.len() == 1);
    }

    #[test]
    fn a_settings_file_that_was_named_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("own.toml");
        let load = |arguments: &[&str]| load(folder.path(), arguments);
        let named = ["--config", file.to_str().unwrap()];
        let error = load(&named).unwrap_err().to_string();
        assert!(error.contains("own.toml") && error.contains("--config"), "{error}");
        std::fs::write(&file, "mqtt_inflight_max = 7").unwrap();
        assert_eq!(load(&named).unwrap().mqtt_inflight_max, 7);
        assert_eq!(load(&[]).unwrap().mqtt_inflight_max, 20);
    }

    #[test]
    fn the_page_may_face_the_internet_and_the_embedded_broker_may_not() {
        let everywhere = SocketAddr::from(([0, 0, 0, 0], 5000));
        let settings = Settings { listen: everywhere, ..Settings::default() };
        assert_eq!(check(&settings, Path::new(".")).unwrap().listen, everywhere);
        let settings = Settings { mqtt_listen: Some(everywhere), ..Settings::default() };
        let error = check(&settings, Path::new(".")).unwrap_err();
        assert!(error.to_string().contains("--mqtt-listen 0.0.0.0:5000"));
    }

    #[test]
    fn with_an_external_broker_the_embedded_one_starts_only_on_request() {
        let listens = |broker: Option<&str>, listen: Option<SocketAddr>| {
            let settings = Settings {
                mqtt_broker_url: broker.map(str::to_owned),
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
        let settings = Settings { tls_cert: Some("cert.pem".into()), ..Settings::default() };
        let error = check(&settings, Path::new(".")).unwrap_err();
        assert!(error.to_string().contains("--tls-key is missing"));
    }

    #[test]
    fn the_password_of_the_database_is_in_no_error_and_not_in_the_configuration_shown() {
        let settings = |url: &str| Settings { database: Some(url.to_owned()), ..Settings::default() };
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
        let load = |more: &[&str]| load(folder.path(), more);
        let text = "[topic_patterns]\n\"frigate/+/snapshot\" = \"{1}\"\n\"tele/a.b/cam\" = \"garage\"";
        std::fs::write(folder.path().join("cloud.toml"), text).unwrap();
        let external = load(&["--topic-pattern", "x/+={1}"]).unwrap().external;
        for topic in ["frigate/yard/snapshot", "tele/a.b/cam", "x/y", "camera/image"] {
            assert!(external.matches_topic(topic), "{topic}");
        }
        let closed = load(&["--anonymous-upload", "off"]).unwrap().external;
        assert!(!closed.matches_topic("camera/image") && closed.matches_topic("tele/a.b/cam"));
        let error = load(&["--topic-pattern", "#=x"]).unwrap_err();
        assert!(error.to_string().contains("keepsake/v1/#"), "{error}");
    }

    #[test]
    fn an_unknown_setting_in_the_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let load = |more: &[&str]| load(folder.path(), more);
        let write = |text: &str| std::fs::write(folder.path().join("cloud.toml"), text).unwrap();
        assert_eq!(load(&[]).unwrap().mqtt_inflight_max, 20);
        write("mqtt_inflight_max = 3");
        assert_eq!(load(&[]).unwrap().mqtt_inflight_max, 3);
        assert_eq!(load(&["--mqtt-inflight-max", "1"]).unwrap().mqtt_inflight_max, 1);
        for (text, shown) in [
            ("broker_inflite = 3", "broker_inflite"),
            ("mqtt_inflight_max = \"many\"", "mqtt_inflight_max"),
            ("\nmqtt_password = hunter2", "line 2"),
            ("mqtt_password = 31337", "quotes"),
        ] {
            write(text);
            let error = load(&[]).unwrap_err().to_string();
            assert!(error.contains(shown) && !error.contains('\n'), "{error}");
            assert!(!error.contains("hunter2") && !error.contains("31337"), "{error}");
        }
    }
}
