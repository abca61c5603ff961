//! Secrets, which appear in no log, error or API answer, and where they are read from.
//!
//! The type of the crate `secrecy` can be neither serialised nor compared, and the settings of file, environment and
//! command line are merged as TOML before they are read.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The longest password, bytes: MQTT encodes the length in two bytes.
const SECRET_BYTES_MAX: usize = 65_535;

#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TextOnly)
    }
}

/// Accepts strings only, with error texts of its own: serde's error for a value of the wrong type contains the value,
/// for example a password of digits without quotes.
struct TextOnly;

const QUOTES: &str = "must be text: write it in quotes";

impl Visitor<'_> for TextOnly {
    type Value = SecretText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text in quotes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretText, E> {
        Ok(SecretText::new(text))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<SecretText, E> {
        Err(E::custom(QUOTES))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<SecretText, E> {
        Err(E::custom(QUOTES))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<SecretText, E> {
        Err(E::custom(QUOTES))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<SecretText, E> {
        Err(E::custom(QUOTES))
    }
}

/// The place that a password is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    Known(SecretText),
    /// The first line of this file, read on every use, so that a new password needs no restart.
    InFile(PathBuf),
}

/// An unusable password file. The error contains nothing of its content.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("read the password file {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the first line of the password file {0} must be text of 1 to 65535 bytes")]
    Line(PathBuf),
}

impl PasswordSource {
    /// Returns the password.
    ///
    /// # Errors
    /// [`PasswordError`] if the file cannot be read or its first line is not a password.
    pub fn read(&self) -> Result<SecretText, PasswordError> {
        match self {
            Self::Known(secret) => Ok(secret.clone()),
            Self::InFile(path) => first_line(path),
        }
    }
}

fn first_line(path: &Path) -> Result<SecretText, PasswordError> {
    let bytes = std::fs::read(path).map_err(|source| PasswordError::Read { path: path.to_owned(), source })?;
    let text = std::str::from_utf8(&bytes).ok();
    text.and_then(|text| text.lines().next())
        .filter(|line| !line.is_empty() && line.len() <= SECRET_BYTES_MAX)
        .map(SecretText::new)
        .ok_or_else(|| PasswordError::Line(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret = SecretText::new("hunter2");
        assert_eq!(
            format!("{secret:?} {:?}", PasswordSource::Known(secret.clone())),
            "(hidden) Known((hidden))"
        );
        let error = serde_json::from_str::<SecretText>("31337").unwrap_err().to_string();
        assert!(error.contains("quotes") && !error.contains("31337"), "{error}");
    }

    #[test]
    fn an_error_gives_its_cause_once() {
        let missing = PasswordSource::InFile("/nonexistent/password".into());
        let error = anyhow::Error::from(missing.read().unwrap_err());
        let said = format!("{error:#}");
        assert_eq!(said.matches("No such file").count(), 1, "{said}");
    }

    #[test]
    fn a_password_is_the_first_line_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            PasswordSource::InFile(path.clone()).read()
        };
        assert_eq!(read(b"hunter2\n").unwrap(), SecretText::new("hunter2"));
        assert_eq!(read(b"two words\r\nnot this").unwrap(), SecretText::new("two words"));
        for bad in [b"".as_slice(), b"\nhunter2", b"\xff\xfe"] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains("first line") && !error.contains("hunter2"), "{error}");
        }
    }
}
