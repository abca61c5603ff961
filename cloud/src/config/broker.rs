//! Where the cloud's own sessions connect when the broker is not its own: `mqtt(s)://user@host:port`, and what it takes
//! to be let in there.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::time_provider::DefaultTimeProvider;

use crate::config::secret::PasswordSource;
use crate::config::{ConfigError, Settings};

/// As registered with IANA.
const MQTT_PORT: u16 = 1883;
const MQTTS_PORT: u16 = 8883;

/// A broker elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerSettings {
    pub host: String,
    pub port: u16,
    pub user: Option<String>,
    pub password: Option<PasswordSource>,
    /// `mqtts://`: whom to believe, and the client certificate if there is one.
    pub tls: Option<keepsake_tls::TlsFiles>,
}

/// What was written, put together. Files are read once to see whether they can be.
pub(super) fn check(settings: &Settings) -> Result<Option<BrokerSettings>, ConfigError> {
    let files = [
        ("ingest-ca", &settings.ingest_ca),
        ("ingest-cert", &settings.ingest_cert),
        ("ingest-key", &settings.ingest_key),
        ("ingest-password-file", &settings.ingest_password_file),
    ];
    let Some(text) = settings.ingest_broker.as_deref() else {
        let mut lonely = files.iter().filter(|(_, path)| path.is_some());
        return match lonely.next().map(|(flag, _)| *flag) {
            Some(flag) => Err(alone(flag, "--ingest-broker, which is not set")),
            None if settings.ingest_password.is_some() => Err(alone(
                "ingest-password",
                "--ingest-broker, which is not set",
            )),
            None => Ok(None),
        };
    };
    let url = Url::parse(text)?;
    let user = match (url.user, &settings.ingest_user) {
        (Some(_), Some(_)) => {
            return Err(ConfigError::Together(
                "--ingest-user and a user in --ingest-broker",
            ));
        }
        (from_url, set) => from_url.or_else(|| set.clone()),
    };
    let password = match (&settings.ingest_password, &settings.ingest_password_file) {
        (Some(_), Some(_)) => {
            return Err(ConfigError::Together(
                "ingest-password and ingest-password-file",
            ));
        }
        (Some(known), None) => Some(PasswordSource::Known(known.clone())),
        (None, file) => file.clone().map(PasswordSource::InFile),
    };
    if let Some(password) = &password {
        if user.is_none() {
            return Err(alone("ingest-password", "--ingest-user, which is not set"));
        }
        password
            .read()
            .map_err(|error| ConfigError::Unreadable(format!("--ingest-password-file: {error}")))?;
    }
    let tls = if url.tls {
        Some(tls_files(settings)?)
    } else {
        let mut useless = files[..3].iter().filter(|(_, path)| path.is_some());
        if let Some((flag, _)) = useless.next() {
            return Err(alone(flag, "TLS: --ingest-broker must begin with mqtts://"));
        }
        None
    };
    Ok(Some(BrokerSettings {
        host: url.host,
        port: url.port,
        user,
        password,
        tls,
    }))
}

fn alone(flag: &'static str, needs: &'static str) -> ConfigError {
    ConfigError::Alone { flag, needs }
}

fn tls_files(settings: &Settings) -> Result<keepsake_tls::TlsFiles, ConfigError> {
    let path = |path: &Option<PathBuf>| path.clone();
    let identity = match (path(&settings.ingest_cert), path(&settings.ingest_key)) {
        (Some(certificate), Some(key)) => Some(keepsake_tls::Identity { certificate, key }),
        (Some(_), None) => return Err(alone("ingest-cert", "--ingest-key, which is not set")),
        (None, Some(_)) => return Err(alone("ingest-key", "--ingest-cert, which is not set")),
        (None, None) => None,
    };
    let files = keepsake_tls::TlsFiles {
        ca: path(&settings.ingest_ca),
        identity,
    };
    keepsake_tls::client(&files, Arc::new(DefaultTimeProvider)).map_err(|error| {
        ConfigError::Unreadable(format!(
            "TLS for --ingest-broker: {:#}",
            anyhow::Error::from(error)
        ))
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
        // Arguments can be read by everyone on this computer.
        if user.is_some_and(|user| user.contains(':')) {
            return Err(ConfigError::PasswordInUrl);
        }
        let (host, port) = match place.rsplit_once(':') {
            // A colon inside the brackets of an IPv6 address is no port.
            Some((host, port)) if !port.ends_with(']') => {
                let port = port.parse().ok().filter(|port| *port > 0_u16);
                (host, port.ok_or_else(|| wrong(text))?)
            }
            _ => (place, if tls { MQTTS_PORT } else { MQTT_PORT }),
        };
        let host = match host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
        {
            Some(six) if six.parse::<std::net::Ipv6Addr>().is_ok() => six,
            Some(_) => return Err(wrong(text)),
            None => host,
        };
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '?' | '#');
        let six = host.parse::<std::net::Ipv6Addr>().is_ok();
        let sound =
            !host.is_empty() && !host.contains(odd) && (six || !host.contains([':', '[', ']']));
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

/// Without whatever stands before an `@`: it may be a password.
fn wrong(text: &str) -> ConfigError {
    let shown = match text.rsplit_once('@') {
        Some((_, place)) => format!("…@{place}"),
        None => text.to_owned(),
    };
    ConfigError::Bounds {
        flag: "ingest-broker",
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
        for text in [
            "mqtt://me:hunter2@host",
            "mqtt://me:hunter2@",
            "http://me:hunter2@host",
        ] {
            let error = Url::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let error = Url::parse("mqtt://me:hunter2@host")
            .unwrap_err()
            .to_string();
        assert!(error.contains("--ingest-password-file"), "{error}");
    }

    #[test]
    fn settings_that_need_another_say_which() {
        let file = Some(PathBuf::from("/dev/null"));
        let to = |url: &str| Settings {
            ingest_broker: Some(url.to_owned()),
            ..Settings::default()
        };
        let refused = |settings: Settings, says: &str| {
            let error = check(&settings).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        };
        refused(
            Settings {
                ingest_ca: file.clone(),
                ..Settings::default()
            },
            "--ingest-ca needs --ingest-broker",
        );
        refused(
            Settings {
                ingest_ca: file.clone(),
                ..to("mqtt://host")
            },
            "--ingest-ca needs TLS",
        );
        refused(
            Settings {
                ingest_cert: file.clone(),
                ..to("mqtts://host")
            },
            "--ingest-cert needs --ingest-key",
        );
        refused(
            Settings {
                ingest_ca: file,
                ..to("mqtts://host")
            },
            "/dev/null holds no certificate",
        );
        refused(
            Settings {
                ingest_password: Some(SecretText::new("x")),
                ..to("mqtt://host")
            },
            "--ingest-password needs --ingest-user",
        );
        refused(
            Settings {
                ingest_user: Some("you".to_owned()),
                ..to("mqtt://me@host")
            },
            "--ingest-user and a user in --ingest-broker",
        );
    }
}
