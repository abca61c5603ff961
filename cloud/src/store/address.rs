//! The address of the database: a file in the data folder, or a server named by a URL.
//!
//! The URL has a password in it. Nothing here prints more of it than user, host and name, also not in an error.

use std::fmt;
use std::path::{Path, PathBuf};

use url::{Host, Url};

/// The SQLite file in the data directory.
pub(in crate::store) const DATABASE_FILE: &str = "keepsake.sqlite";

/// The address of the database.
#[derive(Clone, PartialEq, Eq)]
pub enum Address {
    /// SQLite, in this folder.
    Folder(PathBuf),
    /// MySQL or MariaDB.
    Server(Server),
}

/// A database on a server of MySQL or MariaDB.
#[derive(Clone, PartialEq, Eq)]
pub struct Server(Url);

/// The parameters that are allowed after the `?`.
const KEYS: [&str; 4] = ["ssl-mode", "ssl-ca", "ssl-cert", "ssl-key"];
const SSL_MODES: [&str; 5] = ["disabled", "preferred", "required", "verify_ca", "verify_identity"];
/// The limit of MySQL, characters.
const NAME_MAX: usize = 64;

impl Server {
    /// Reads `mysql://user:password@host:port/name?ssl-mode=…&ssl-ca=…`; `mariadb://` is the same. Without `ssl-mode`
    /// a certificate authority is checked if one is given, and otherwise TLS is used if the server offers it, but
    /// not to this computer.
    ///
    /// # Errors
    /// The mistake, in a few words that repeat nothing of the URL but names.
    pub fn parse(url: &str) -> Result<Self, String> {
        let mut url: Url = url.parse().map_err(|error| format!("{error}"))?;
        if !matches!(url.scheme(), "mysql" | "mariadb") {
            return Err("it begins with mysql://".to_owned());
        }
        if url.host().is_none_or(|host| host == Host::Domain("")) {
            return Err("there is no host in it".to_owned());
        }
        if url.port() == Some(0) {
            return Err("there is no port 0".to_owned());
        }
        if url.username().is_empty() {
            return Err("there is no user in it".to_owned());
        }
        let name = url.path().trim_start_matches('/');
        let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(plain) {
            return Err(format!(
                "after the host stands the name of a database, 1 to {NAME_MAX} letters, digits, - or _"
            ));
        }
        if url.fragment().is_some() {
            return Err("a # in a password is written %23".to_owned());
        }
        let mut mode = None;
        let mut authority = false;
        for (key, value) in url.query_pairs() {
            match &*key {
                "ssl-mode" => {
                    let known = SSL_MODES.iter().find(|known| value.eq_ignore_ascii_case(known));
                    mode = Some(known.ok_or_else(|| format!("ssl-mode is one of {}", SSL_MODES.join(", ")))?);
                }
                "ssl-ca" | "ssl-cert" | "ssl-key" => {
                    if !Path::new(&*value).is_file() {
                        return Err(format!("{key} names no file"));
                    }
                    authority |= key == "ssl-ca";
                }
                _ => return Err(format!("behind the ? stand {} only", KEYS.join(", "))),
            }
        }
        if mode.is_none() {
            let mode = match url.host() {
                _ if authority => "verify_ca",
                Some(host) if is_this_computer(&host) => "disabled",
                _ => "preferred",
            };
            url.query_pairs_mut().append_pair("ssl-mode", mode);
        }
        Ok(Self(url))
    }

    /// With the password: for the driver and nobody else.
    pub(super) fn secret(&self) -> &str {
        self.0.as_str()
    }

    /// The name of the database on its server.
    pub(super) fn name(&self) -> &str {
        self.0.path().trim_start_matches('/')
    }
}

fn is_this_computer(host: &Host<&str>) -> bool {
    match host {
        // In a URL of an unknown kind the numbers of an IPv4 address are a name like any other.
        Host::Domain(name) => {
            *name == "localhost" || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        }
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.host_str().unwrap_or_default();
        let port = self.0.port().unwrap_or(3306);
        write!(f, "mysql://{}@{host}:{port}/{}", self.0.username(), self.name())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => fmt::Display::fmt(&folder.join(DATABASE_FILE).display(), f),
            Self::Server(server) => fmt::Display::fmt(server, f),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_user_host_and_database() {
        let check = |url: &str, expected: Result<&str, &str>| match (Server::parse(url), expected) {
            (Ok(server), Ok(shown)) => assert_eq!(server.to_string(), shown),
            (Err(error), Err(part)) => assert!(error.contains(part), "{url}: {error}"),
            (found, _) => panic!("{url}: {found:?}"),
        };
        check("mysql://me:secret@db.lan/keepsake", Ok("mysql://me@db.lan:3306/keepsake"));
        check(
            "mariadb://me:secret@[::1]:3307/keepsake?ssl-mode=REQUIRED",
            Ok("mysql://me@[::1]:3307/keepsake"),
        );
        check("postgres://me:secret@db.lan/keepsake", Err("mysql://"));
        check("db.lan/keepsake", Err("relative URL"));
        check("mysql://db.lan/keepsake", Err("no user"));
        check("mysql://me:secret@db.lan", Err("name of a database"));
        check("mysql://me:secret@db.lan/a/b", Err("name of a database"));
        check("mysql://me:secret@db.lan/a%60b", Err("name of a database"));
        check("mysql://me:secret@db.lan:0/keepsake", Err("port 0"));
        check("mysql://me:sec#ret@db.lan/keepsake", Err(""));
        check("mysql://me:secret@db.lan/k?ssl-mode=maybe", Err("verify_ca"));
        check("mysql://me:secret@db.lan/k?ssl-ca=/no/file", Err("no file"));
        check("mysql://me:secret@db.lan/k?socket=/s", Err("ssl-mode"));
    }

    #[test]
    fn the_password_is_never_shown() {
        let address = Address::Server(Server::parse("mysql://me:secret@db.lan/keepsake").unwrap());
        assert!(!format!("{address} {address:?} {address:#?}").contains("secret"));
        for wrong in [
            "mysql://me:secret@db.lan",
            "mysql://me:secret@db.lan:99999/k",
            "mysql://me:secret@/k",
            "mysql://me:sec ret@[::/k",
            "mysql://me:secret@db.lan/k?secret=1",
            "http://me:secret@db.lan/k",
        ] {
            let error = Server::parse(wrong).unwrap_err();
            assert!(!error.contains("sec"), "{wrong}: {error}");
        }
    }

    #[test]
    fn tls_is_used_where_it_can_matter() {
        for (url, mode) in [
            ("mysql://me:p@127.0.0.1/k", "disabled"),
            ("mysql://me:p@localhost/k", "disabled"),
            ("mysql://me:p@[::1]/k", "disabled"),
            ("mysql://me:p@db.lan/k", "preferred"),
            ("mysql://me:p@localhost/k?ssl-mode=required", "required"),
            ("mysql://me:p@db.lan/k?ssl-ca=Cargo.toml", "verify_ca"),
        ] {
            let server = Server::parse(url).unwrap();
            let asked = format!("ssl-mode={mode}");
            assert!(server.secret().ends_with(&asked), "{url}: {mode}");
        }
    }
}
