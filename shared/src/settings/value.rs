//! Types for structured values of settings.

use std::fmt;
use std::str::FromStr;

/// The highest BCM number of a pin on the header of a Raspberry Pi.
pub const PIN_MAX: u8 = 27;

/// The address of the cloud: its broker as `mqtt(s)://host:port`, or its web server as `http(s)://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudUrl {
    pub scheme: Scheme,
    pub host: String,
    pub port: u16,
}

serde_as_text!(CloudUrl);

/// The protocol of a [`CloudUrl`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Mqtt,
    /// With TLS.
    Mqtts,
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    const ALL: [Self; 4] = [Self::Mqtt, Self::Mqtts, Self::Http, Self::Https];

    const fn word(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Returns the port registered with IANA.
    const fn port(self) -> u16 {
        match self {
            Self::Mqtt => 1883,
            Self::Mqtts => 8883,
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// Returns true if the connection uses TLS.
    pub const fn tls(self) -> bool {
        match self {
            Self::Mqtt | Self::Http => false,
            Self::Mqtts | Self::Https => true,
        }
    }
}

impl Default for CloudUrl {
    fn default() -> Self {
        Self {
            scheme: Scheme::Mqtt,
            host: "127.0.0.1".to_owned(),
            port: Scheme::Mqtt.port(),
        }
    }
}

impl FromStr for CloudUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err("must begin with mqtt://, such as mqtt://192.168.1.10:1883".to_owned());
        };
        let scheme = Scheme::ALL
            .into_iter()
            .find(|known| known.word() == scheme)
            .ok_or_else(|| format!("begins with {scheme}://, use mqtt(s):// or http(s)://"))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            return Err("contains a user name; set cloud.user and cloud.password instead".to_owned());
        }
        let (host, port) = match rest.rsplit_once(':') {
            // A colon inside the brackets of an IPv6 address does not begin a port.
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            Some(_) | None => (rest, None),
        };
        let port = match port {
            None => scheme.port(),
            Some(port) => port
                .parse()
                .ok()
                .filter(|&port: &u16| port > 0)
                .ok_or_else(|| format!("has the port {port:?}, which must be 1 to 65535"))?,
        };
        let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(six) if six.parse::<std::net::Ipv6Addr>().is_ok() => six,
            Some(_) => return Err("has brackets, but not around an IPv6 address".to_owned()),
            None => host,
        };
        let six = host.contains(':');
        let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || host.len() > 253 || !(six || host.chars().all(sound)) {
            return Err(format!("has the host {host:?}, which is neither a host name nor an IP address"));
        }
        if six && host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err("needs brackets around an IPv6 address, such as mqtt://[::1]:1883".to_owned());
        }
        Ok(Self { scheme, host: host.to_owned(), port })
    }
}

impl fmt::Display for CloudUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        let scheme = scheme.word();
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

/// Hours of the day in local time, which may span midnight: `22:00-06:30`. The end is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    from_minute: u16,
    until_minute: u16,
}

impl QuietHours {
    /// Returns true if `minute` of the day (0 to 1439, local time) is within the quiet hours.
    pub fn contains(&self, minute: u16) -> bool {
        if self.from_minute <= self.until_minute {
            (self.from_minute..self.until_minute).contains(&minute)
        } else {
            minute >= self.from_minute || minute < self.until_minute
        }
    }
}

impl FromStr for QuietHours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let minute = |time: &str| {
            let (hours, minutes) = time.trim().split_once(':')?;
            let digits = |t: &str| t.len() <= 2 && t.bytes().all(|c| c.is_ascii_digit());
            if !digits(hours) || minutes.len() != 2 || !digits(minutes) {
                return None;
            }
            let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
            (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
        };
        text.split_once('-')
            .and_then(|(from, until)| Some(Self { from_minute: minute(from)?, until_minute: minute(until)? }))
            .ok_or_else(|| "must look like 22:00-06:30".to_owned())
    }
}

impl fmt::Display for QuietHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, until) = (self.from_minute, self.until_minute);
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)
    }
}

/// The BCM numbers of the pins of an RGB LED.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RgbPins {
    pub red: u8,
    pub green: u8,
    pub blue: u8,
}

impl FromStr for RgbPins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pins: Option<Vec<u8>> =
            text.split(',').map(|pin| pin.trim().parse().ok().filter(|pin| *pin <= PIN_MAX)).collect();
        match pins.as_deref() {
            Some(&[red, green, blue]) if red != green && green != blue && blue != red => Ok(Self { red, green, blue }),
            Some(_) | None => {
                Err("must be three different pins from 0 to 27 for red, green and blue, such as 27,22,23".to_owned())
            }
        }
    }
}

impl fmt::Display for RgbPins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{}", self.red, self.green, self.blue)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_led_of_three_colours_has_three_pins() {
        let pins: RgbPins = "27, 22,23".parse().unwrap();
        assert_eq!((pins.red, pins.green, pins.blue), (27, 22, 23));
        assert_eq!(pins.to_string(), "27,22,23");
        for wrong in ["27", "27,22", "27,22,22", "27,22,28", "red,22,23", "1,2,3,4", "27,22,-1"] {
            assert!(wrong.parse::<RgbPins>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_cloud_url_says_host_and_port() {
        use Scheme::{Http, Https, Mqtt, Mqtts};
        for (text, scheme, host, port) in [
            ("mqtt://127.0.0.1:1883", Mqtt, "127.0.0.1", 1883),
            ("mqtt://broker.example", Mqtt, "broker.example", 1883),
            ("mqtt://broker.example:8883/", Mqtt, "broker.example", 8883),
            ("mqtt://[::1]:1884", Mqtt, "::1", 1884),
            ("mqtt://[fe80::2]", Mqtt, "fe80::2", 1883),
            ("mqtts://broker.example", Mqtts, "broker.example", 8883),
            ("mqtts://[::1]:1", Mqtts, "::1", 1),
            ("http://cloud.example:5000", Http, "cloud.example", 5000),
            ("http://cloud.example/", Http, "cloud.example", 80),
            ("https://[::1]", Https, "::1", 443),
        ] {
            let url: CloudUrl = text.parse().unwrap();
            assert_eq!((url.scheme, url.host.as_str(), url.port), (scheme, host, port));
            assert_eq!(url.to_string().parse(), Ok(url));
        }
    }

    #[test]
    fn a_wrong_cloud_url_says_what_to_write() {
        for (text, says) in [
            ("mqtts://me:secret@host", "cloud.user"),
            ("https://me:secret@host", "cloud.user"),
            ("https://host/path", "neither a host name nor an IP address"),
            ("ftp://host", "use mqtt(s)://"),
            ("host:1883", "must begin with mqtt://"),
            ("mqtt://", "neither a host name nor an IP address"),
            ("mqtt://host:", "1 to 65535"),
            ("mqtt://host:0", "1 to 65535"),
            ("mqtt://host:70000", "1 to 65535"),
            ("mqtt://me:secret@host", "cloud.user"),
            ("mqtt://ho st", "neither a host name nor an IP address"),
            ("mqtt://host/path", "neither a host name nor an IP address"),
            ("mqtt://::1", "brackets"),
            ("mqtt://[nonsense]:1883", "brackets"),
        ] {
            let error = text.parse::<CloudUrl>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn quiet_hours_may_span_midnight() {
        let night: QuietHours = "22:00-06:30".parse().unwrap();
        for (minute, dark) in [(22 * 60, true), (1439, true), (0, true), (389, true), (390, false), (1319, false)] {
            assert_eq!(night.contains(minute), dark, "minute {minute}");
        }
        let siesta: QuietHours = "13:00-15:00".parse().unwrap();
        assert!(siesta.contains(800) && !siesta.contains(900) && !siesta.contains(0));
        assert_eq!(siesta.to_string(), "13:00-15:00");
        for bad in ["", "22:00", "24:00-06:00", "22-6", "a:b-c:d", "22:0-6:30", "-"] {
            assert!(bad.parse::<QuietHours>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC*") {
            let _ = text.parse::<QuietHours>();
            let _ = text.parse::<CloudUrl>();
            let _ = format!("mqtt://{text}").parse::<CloudUrl>();
        }
    }
}
