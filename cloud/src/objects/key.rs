//! The name of an object, such as `2026-11-28/15/150423-0f8a6c1e9b3d5f7702468ace.jpg`, or
//! `2026-11-28/15/150423-0f8a6c1e9b3d5f7702468ace.tar:512` for a member of an archive by the offset of its bytes.
//!
//! The time is that of the upload, UTC, for people who look for a picture, and so that the objects of a batch share a
//! directory. 96 random bits make each key new. No key is a directory of another one.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// The longest key, characters; the column has room for as many.
const LENGTH_MAX: usize = 128;

/// The name of an object within its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Returns a key that was never used.
    pub fn new(extension: &str, now_us: i64) -> Self {
        let now = jiff::Timestamp::from_microsecond(now_us).unwrap_or_default();
        let random: [u8; 12] = rand::random();
        Self(format!("{}-{}.{extension}", now.strftime("%Y-%m-%d/%H/%H%M%S"), hex::encode(random)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the key of the member of this archive whose bytes begin at `offset`.
    pub(super) fn member(&self, offset: u64) -> Self {
        Self(format!("{self}:{offset}"))
    }

    /// Returns the file, and for a member of an archive the offset of its bytes.
    pub(super) fn file(&self) -> (&str, Option<u64>) {
        match self.0.split_once(':') {
            Some((file, offset)) => (file, offset.parse().ok()),
            None => (&self.0, None),
        }
    }
}

impl FromStr for ObjectKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |part: &str| {
            let known = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || matches!(char, '-' | '.');
            !part.is_empty() && !part.starts_with('.') && part.chars().all(known)
        };
        let is_offset = |text: &str| text.parse().is_ok_and(|offset: u64| offset.to_string() == text);
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [day, hour, name] if text.len() <= LENGTH_MAX && plain(day) && plain(hour) => {
                let is_name = match name.split_once(':') {
                    Some((archive, offset)) => archive.ends_with(".tar") && plain(archive) && is_offset(offset),
                    None => plain(name),
                };
                if is_name {
                    Ok(Self(text.to_owned()))
                } else {
                    Err("not the key of an object")
                }
            }
            _ => Err("not the key of an object"),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_new_names_its_time_and_can_be_read_back() {
        let key = ObjectKey::new("jpg", 1_795_878_263_000_000);
        assert!(key.as_str().starts_with("2026-11-28/15/150423-"), "{key}");
        assert!(key.as_str().ends_with(".jpg"));
        assert_eq!(key.as_str().parse(), Ok(key.clone()));
        let member = ObjectKey::new("tar", i64::MAX).member(u64::MAX);
        assert_eq!(member.as_str().parse(), Ok(member.clone()));
        assert_eq!(member.file().1, Some(u64::MAX));
        assert_ne!(ObjectKey::new("jpg", 1_795_878_263_000_000), key);
        assert!(ObjectKey::new("jpg", i64::MAX).as_str().parse::<ObjectKey>().is_ok());
    }

    #[test]
    fn a_key_stays_within_its_place() {
        for text in [
            "a/b/c.tar:",
            "a/b/c.tar:07",
            "a/b/c.tar:+7",
            "a/b/c.tar:7:7",
            "a/b/c.jpg:7",
            "",
            "a",
            "a/b",
            "a/b/c/d",
            "../b/c",
            "a/../c",
            "a/b/..",
            "/b/c",
            "a//c",
            "a/b/.c",
            "a/b/C",
            "a/b/c d",
        ] {
            assert!(text.parse::<ObjectKey>().is_err(), "{text}");
        }
        assert!(format!("a/b/{}", "c".repeat(125)).parse::<ObjectKey>().is_err());
    }
}
