//! The settings that only the SD card image has: `[[wifi]]` and `[system]`, for the operating system.
//!
//! `appliance sd-card` applies them; the camera only reports their mistakes, so that one check of
//! `camera.toml` finds every mistake.

use toml::{Table, Value};

use super::problem::Level;
use super::value::closest;

/// The most networks.
pub const NETWORKS_MAX: usize = 16;
const NAME_BYTES_MAX: usize = 32;
const PASSPHRASE_CHARS: std::ops::RangeInclusive<usize> = 8..=63;
pub(super) const SECTIONS: [&str; 2] = ["wifi", "system"];
const WIFI: [&str; 3] = ["name", "password", "country"];
const SYSTEM: [&str; 4] = ["hostname", "timezone", "time_server", "ssh_key"];

/// A Wi-Fi network. There is no `Debug`, so that its password never appears in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Network {
    /// 1 to 32 bytes.
    pub name: String,
    /// Empty for an open network; otherwise 8 to 63 characters, or 64 hexadecimal digits.
    pub password: String,
}

/// The valid system settings of a card.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SystemSettings {
    pub networks: Vec<Network>,
    /// Two capital letters.
    pub country: Option<String>,
    pub hostname: Option<String>,
    pub timezone: Option<String>,
    pub time_server: Option<String>,
    pub ssh_key: Option<String>,
}

/// A problem with the system settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SystemProblem {
    pub level: Level,
    /// The key, such as `wifi.2.password` (counted from 1) or `system.hostname`.
    pub key: String,
    pub text: String,
}

/// Returns the names of all system settings, without their sections.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    WIFI.into_iter().chain(SYSTEM)
}

/// Returns true for a section of system settings.
pub(super) fn is_system_section(key: &str) -> bool {
    SECTIONS.contains(&key)
}

/// Returns the valid system settings, and a sentence about each invalid one.
///
/// Never quotes a password or a key.
pub(super) fn system_settings(table: &Table) -> (SystemSettings, Vec<SystemProblem>) {
    let mut read = Reader::default();
    match table.get("wifi") {
        None => {}
        Some(Value::Array(networks)) => {
            if networks.len() > NETWORKS_MAX {
                read.error(
                    format!("wifi.{}", NETWORKS_MAX + 1),
                    format!("there are more than {NETWORKS_MAX} [[wifi]]; the rest is ignored"),
                );
            }
            for (number, network) in (1..).zip(networks.iter().take(NETWORKS_MAX)) {
                match network {
                    Value::Table(network) => read.wifi(number, network),
                    _ => read.error(
                        "wifi",
                        "write [[wifi]] on a line of its own, with name = \"...\" and password = \"...\" on the lines below",
                    ),
                }
            }
        }
        // One pair of brackets is accepted for a single network.
        Some(Value::Table(network)) => read.wifi(1, network),
        Some(_) => read.error(
            "wifi",
            "wifi is a section; write [[wifi]] on a line of its own, with name = \"...\" and password = \"...\" on the lines below",
        ),
    }
    match table.get("system") {
        None => {}
        Some(Value::Table(system)) => read.system(system),
        Some(_) => {
            read.error("system", "system is a section; write [system] on a line of its own");
        }
    }
    (read.settings, read.problems)
}

#[derive(Default)]
struct Reader {
    settings: SystemSettings,
    problems: Vec<SystemProblem>,
}

impl Reader {
    fn error(&mut self, key: impl Into<String>, text: impl Into<String>) {
        self.report(Level::Error, key, text);
    }

    fn report(&mut self, level: Level, key: impl Into<String>, text: impl Into<String>) {
        self.problems.push(SystemProblem { level, key: key.into(), text: text.into() });
    }

    fn wifi(&mut self, number: usize, table: &Table) {
        let section = format!("wifi.{number}");
        let at = |name: &str| format!("{section}.{name}");
        let misspelt = self.unknown("[[wifi]]", &section, table, &WIFI);
        let name = self.text(&section, table, "name");
        let password = self.text(&section, table, "password");
        if let Some(country) = self.text(&section, table, "country").filter(|text| !text.is_empty()) {
            self.country(at("country"), country.trim());
        }
        let (Some(name), Some(password)) = (name, password) else {
            return;
        };
        if name.is_empty() {
            if !password.is_empty() && !misspelt.contains(&"name") {
                self.error(
                    at("name"),
                    "this [[wifi]] has a password but no name; write name = \"...\" with the name of the network",
                );
            }
            return;
        }
        let short: String = name.chars().take(40).collect();
        if name.len() > NAME_BYTES_MAX {
            self.error(
                at("name"),
                format!(
                    "the Wi-Fi name \"{short}\" has {} bytes, and a Wi-Fi name has at most {NAME_BYTES_MAX}",
                    name.len()
                ),
            );
            return;
        }
        // Without a password, the camera could join an open network of the same name that a stranger set up.
        if !table.contains_key("password") {
            if !misspelt.contains(&"password") {
                self.error(
                    at("password"),
                    format!(
                        "Wi-Fi \"{short}\" has no password; write password = \"...\" below its name, or password = \"\" if it is open"
                    ),
                );
            }
            return;
        }
        if name.trim() != name {
            let text = format!("the Wi-Fi name \"{name}\" begins or ends with a space; is that intended?");
            self.report(Level::Warning, at("name"), text);
        }
        if let Some(text) = password_mistake(&name, &password) {
            self.error(at("password"), text);
            return;
        }
        if self.settings.networks.iter().any(|other| other.name == name) {
            self.error(
                at("name"),
                format!("Wi-Fi \"{name}\" is listed twice; the first one is used, delete the other"),
            );
            return;
        }
        self.settings.networks.push(Network { name, password });
    }

    /// The first country of the file applies.
    fn country(&mut self, key: String, country: &str) {
        let capital = country.to_ascii_uppercase();
        if capital.len() == 2 && capital.bytes().all(|c| c.is_ascii_uppercase()) {
            // People write UK; the kernel's code is GB.
            let capital = if capital == "UK" { "GB".to_owned() } else { capital };
            self.settings.country.get_or_insert(capital);
        } else {
            self.error(
                key,
                "a country is two letters; write country = \"NO\" for Norway, \"DE\" for Germany, \"US\" for the United States",
            );
        }
    }

    fn system(&mut self, table: &Table) {
        self.unknown("[system]", "system", table, &SYSTEM);
        let is_label = |text: &str| {
            text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
                && !text.starts_with('-')
                && !text.ends_with('-')
                && text.len() <= 63
        };
        let is_zone = |text: &str| {
            text.bytes().all(|c| c.is_ascii_alphanumeric() || b"/_+-".contains(&c)) && !text.starts_with('/')
        };
        let is_host = |text: &str| text.bytes().all(|c| c.is_ascii_alphanumeric() || b".:-".contains(&c));
        if let Some(name) = self.given(table, "hostname").map(|name| name.to_ascii_lowercase()) {
            let must = "must be 1 to 63 of a-z 0-9 -, without dots or spaces; write hostname = \"keepsake\"";
            self.settings.hostname = self.valid("hostname", name, is_label, must);
        }
        if let Some(zone) = self.given(table, "timezone") {
            let must = "must be a time zone name; write timezone = \"Europe/Oslo\"";
            self.settings.timezone = self.valid("timezone", zone, is_zone, must);
        }
        if let Some(server) = self.given(table, "time_server") {
            let must = "must be one host name or address; write time_server = \"192.168.1.1\"";
            self.settings.time_server = self.valid("time_server", server, is_host, must);
        }
        match self.given(table, "ssh_key") {
            Some(key) if key.contains("PRIVATE KEY") => self.error(
                "system.ssh_key",
                "system.ssh_key is your private key, which you must not share; the public key is in the file ending in .pub",
            ),
            Some(key) if !is_public_key(&key) => self.error(
                "system.ssh_key",
                "system.ssh_key is not a public key, which is one line that begins with ssh-ed25519, ssh-rsa or ecdsa-",
            ),
            key => self.settings.ssh_key = key,
        }
    }

    /// Returns a setting of `[system]` that is not empty.
    fn given(&mut self, table: &Table, name: &str) -> Option<String> {
        let text = self.text("system", table, name)?;
        (!text.trim().is_empty()).then(|| text.trim().to_owned())
    }

    fn valid(&mut self, name: &str, text: String, is_valid: impl Fn(&str) -> bool, must: &str) -> Option<String> {
        if is_valid(&text) {
            return Some(text);
        }
        self.error(format!("system.{name}"), format!("system.{name} {must}"));
        None
    }

    fn text(&mut self, section: &str, table: &Table, name: &str) -> Option<String> {
        let at = format!("{section}.{name}");
        match table.get(name) {
            None => Some(String::new()),
            Some(Value::String(text)) if text.contains(['\n', '\r', '\0']) => {
                self.error(at, format!("{name} has more than one line"));
                None
            }
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => {
                self.error(at, format!("{name} needs quotes; write {name} = \"...\""));
                None
            }
        }
    }

    /// Returns the names that were meant.
    fn unknown(&mut self, shown: &str, section: &str, table: &Table, known: &[&'static str]) -> Vec<&'static str> {
        let mut misspelt = Vec::new();
        for key in table.keys().filter(|key| !known.contains(&key.as_str())) {
            let near = synonym(key).or_else(|| closest(key, known.iter().copied()));
            misspelt.extend(near);
            let at = format!("{section}.{key}");
            let key: String = key.chars().take(60).collect();
            let text = match near {
                Some(near) => format!("{key} is not a setting of {shown}, did you mean {near}?"),
                None => format!("{key} is not a setting of {shown}, which has {}", known.join(", ")),
            };
            self.error(at, text);
        }
        misspelt
    }
}

/// Returns why this cannot be the password of a Wi-Fi network.
fn password_mistake(name: &str, password: &str) -> Option<String> {
    let count = password.chars().count();
    let is_key = count == 64 && password.bytes().all(|c| c.is_ascii_hexdigit());
    if !is_key && count > 0 && !PASSPHRASE_CHARS.contains(&count) {
        return Some(format!(
            "the password of Wi-Fi \"{name}\" has {count} characters; a Wi-Fi password has {} to {}; it is on the label of the router",
            PASSPHRASE_CHARS.start(),
            PASSPHRASE_CHARS.end()
        ));
    }
    let is_plain = password.bytes().all(|c| (b' '..=b'~').contains(&c));
    (!is_plain).then(|| {
        format!(
            "the password of Wi-Fi \"{name}\" has a character that is not allowed; a Wi-Fi password has only letters without accents, digits and punctuation"
        )
    })
}

/// Returns our name for another system's name.
fn synonym(key: &str) -> Option<&'static str> {
    match key.to_ascii_lowercase().as_str() {
        "ssid" => Some("name"),
        "psk" | "key" | "passphrase" => Some("password"),
        _ => None,
    }
}

fn is_public_key(text: &str) -> bool {
    let kind = ["ssh-ed25519 ", "ssh-rsa ", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
    kind.iter().any(|kind| text.starts_with(kind))
        && text.split_whitespace().nth(1).is_some_and(|key| key.len() > 40)
        && text.is_ascii()
}
