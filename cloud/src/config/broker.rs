//! The settings of an external broker: `mqtt(s)://user@host:port`, the password and the TLS files.

use std::path::PathBuf;
use std::sync::Arc;

use keepsake_tls::DefaultTimeProvider;

use crate::config::error::ConfigError;
use crate::config::secret::PasswordSource;
use crate::config::settings::Settings;

/// The ports registered with IANA.
const MQTT_PORT: u16 = 1883;
const MQTTS_PORT: u16 = 8883;

/// An external broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerSettings {
    pub host: String,
    pub port: u16,
    pub user: Option<String>,
    pub password: Option<PasswordSource>,
    /// Present with `mqtts://`: the trusted CA certificates and the optional client certificate.
    pub tls: Option<keepsake_tls::TlsFiles>,
}

/// Combines the settings of the external broker, and reads each file once to detect errors at the start.
pub(super) fn check(settings: &Settings) -> Result<Option<BrokerSettings>, ConfigError> {
    let files = [
        ("mqtt-ca-file", &settings.mqtt_ca_file),
        ("mqtt-cert-file", &settings.mqtt_cert_file),
        ("mqtt-key-file", &settings.mqtt_key_file),
        ("mqtt-password-file", &settings.mqtt_password_file),
    ];
    let Some(text) = settings.mqtt_broker_url.as_deref() else {
        let mut lonely = files.iter().filter(|(_, path)| path.is_some());
        return match lonely.next().map(|(flag, _)| *flag) {
            Some(flag) => Err(alone(flag, "--mqtt-broker-url, which is not set")),
            None if settings.mqtt_password.is_some() => {
                Err(alone("mqtt-password", "--mqtt-broker-url, which is not set"))
            }
            None => Ok(None),
        };
    };
    let url = Url::parse(text)?;
    let user = match (url.user, &settings.mqtt_username) {
        (Some(_), Some(_)) => {
            return Err(ConfigError::Together("--mqtt-username and a user in --mqtt-broker-url"));
        }
        (from_url, set) => from_url.or_else(|| set.clone()),
    };
    let password = match (&settings.mqtt_password, &settings.mqtt_password_file) {
        (Some(_), Some(_)) => {
            return Err(ConfigError::Together("mqtt-password and mqtt-password-file"));
        }
        (Some(known), None) => Some(PasswordSource::Known(known.clone())),
        (None, file) => file.clone().map(PasswordSource::InFile),
    };
    if let Some(password) = &password {
        if user.is_none() {
            return Err(alone("mqtt-password", "--mqtt-username, which is not set"));
        }
        password.read().map_err(|error| {
            let error = anyhow::Error::from(error);
            ConfigError::Unreadable(format!("--mqtt-password-file: {error:#}"))
        })?;
    }
    let tls = if url.tls {
        Some(tls_files(settings)?)
    } else {
        let mut useless = files[..3].iter().filter(|(_, path)| path.is_some());
        if let Some((flag, _)) = useless.next() {
            return Err(alone(flag, "TLS: --mqtt-broker-url must begin with mqtts://"));
        }
        None
    };
    Ok(Some(BrokerSettings { host: url.host, port: url.port, user, password, tls }))
}

fn alone(flag: &'static str, needs: &'static str) -> ConfigError {
    ConfigError::Alone { flag, needs }
}

fn tls_files(settings: &Settings) -> Result<keepsake_tls::TlsFiles, ConfigError> {
    let path = |path: &Option<PathBuf>| path.clone();
    let identity = match (path(&settings.mqtt_cert_file), path(&settings.mqtt_key_file)) {
        (Some(certificate), Some(key)) => Some(keepsake_tls::Identity { certificate, key }),
        (Some(_), None) => {
            return Err(alone("mqtt-cert-file", "--mqtt-key-file, which is not set"));
        }
        (None, Some(_)) => {
            return Err(alone("mqtt-key-file", "--mqtt-cert-file, which is not set"));
        }
        (None, None) => None,
    };
    let files = keepsake_tls::TlsFiles { ca: path(&settings.mqtt_ca_file), identity };
    keepsake_tls::client(&files, Arc::new(DefaultTimeProvider)).map_err(|error| {
        ConfigError::Unreadable(format!("TLS for --mqtt-broker-url: {:#}", anyhow::Error::from(error)))
    })?;
    Ok(files)
}

#[derive(Debug, PartialEq, Eq)]
struct Url {
    tls: bool,
    user: Option<String>,
    host: String,
    port: u16,
}

impl Url {
    fn parse(text: &str) -> Result<Self, ConfigError> {
        let (before, rest) = match text.split_once("://") {
            Some((scheme @ ("mqtt" | "mqtts"), rest)) => (scheme, rest),
            _ => return Err(wrong(text)),
        };
        let tls = before == "mqtts";
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        // Every user of this computer can read the command line.
        if user.is_some_and(|user| user.contains(':')) {
            return Err(ConfigError::PasswordInUrl);
        }
        let (host, port) = match place.rsplit_once(':') {
            // A colon inside the brackets of an IPv6 address does not begin a port.
            Some((host, port)) if !port.ends_with(']') => {
                let port = port.parse().ok().filter(|port| *port > 0_u16);
                (host, port.ok_or_else(|| wrong(text))?)
            }
            _ => (place, if tls { MQTTS_PORT } else { MQTT_PORT }),
        };
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(six) if six.parse::<std::net::Ipv6Addr>().is_ok() => six,
            Some(_) => return Err(wrong(text)),
            None => host,
        };
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '?' | '#');
        let six = host.parse::<std::net::Ipv6Addr>().is_ok();
        let sound = !host.is_empty() && !host.contains(odd) && (six || !host.contains([':', '[', ']']));
        if !sound || user.is_some_and(|user| user.is_empty() || user.contains(odd)) {
            return Err(wrong(text));
        }
        Ok(Self {
            tls,
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port,
        })
    }
}

/// Leaves out the text before an `@`, which may be a password.
fn wrong(text: &str) -> ConfigError {
    let shown = match text.rsplit_once('@') {
        Some((_, place)) => format!("…@{place}"),
        None => text.to_owned(),
    };
    ConfigError::Bounds {
        flag: "mqtt-broker-url",
        found: shown,
        expected: "mqtt://host:port, mqtts://host:port or either with a user, as in mqtts://user@host:port",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::SecretText;

    #[test]
    fn a_broker_url_is_a_host_and_perhaps_more() {
        let check = |text: &str, tls, user: Option<&str>, host: &str, port| {
            let expected = Url {
                tls,
                user: user.map(str::to_owned),
                host: host.to_owned(),
                port,
            };
            assert_eq!(Url::parse(text).unwrap(), expected, "{text}");
        };
        check("mqtt://localhost:1884", false, None, "localhost", 1884);
        check("mqtt://broker.lan/", false, None, "broker.lan", 1883);
        check("mqtts://broker.lan", true, None, "broker.lan", 8883);
        check("mqtts://me@broker.lan:1", true, Some("me"), "broker.lan", 1);
        check("mqtt://[::1]:1884", false, None, "::1", 1884);
        check("mqtts://[::1]", true, None, "::1", 8883);
        for bad in [
            "mqtt://:1884",
            "mqtt://host:99999",
            "mqtt://host:0",
            "mqtt://host:",
            "mqtt://[host]:1",
            "mqtt://::1",
            "mqtt://a b",
            "mqtt://host/path",
            "mqtts://@host",
            "http://host",
            "host:1883",
            "",
        ] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_in_the_url_is_refused_and_not_repeated() {
        for text in ["mqtt://me:hunter2@host", "mqtt://me:hunter2@", "http://me:hunter2@host"] {
            let error = Url::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let error = Url::parse("mqtt://me:hunter2@host").unwrap_err().to_string();
        assert!(error.contains("--mqtt-password-file"), "{error}");
    }

    #[test]
    fn settings_that_need_another_say_which() {
        let file = Some(PathBuf::from("/dev/null"));
        let to = |url: &str| Settings { mqtt_broker_url: Some(url.to_owned()), ..Settings::default() };
        let refused = |settings: Settings, says: &str| {
            let error = check(&settings).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        };
        refused(
            Settings { mqtt_ca_file: file.clone(), ..Settings::default() },
            "--mqtt-ca-file needs --mqtt-broker-url",
        );
        refused(Settings { mqtt_ca_file: file.clone(), ..to("mqtt://host") }, "--mqtt-ca-file needs TLS");
        refused(
            Settings { mqtt_cert_file: file.clone(), ..to("mqtts://host") },
            "--mqtt-cert-file needs --mqtt-key-file",
        );
        refused(Settings { mqtt_ca_file: file, ..to("mqtts://host") }, "/dev/null contains no certificate");
        refused(
            Settings {
                mqtt_password: Some(SecretText::new("x")),
                ..to("mqtt://host")
            },
            "--mqtt-password needs --mqtt-username",
        );
        refused(
            Settings {
                mqtt_username: Some("you".to_owned()),
                ..to("mqtt://me@host")
            },
            "--mqtt-username and a user in --mqtt-broker-url",
        );
    }
}
