//! People and keys: who there is, what each may do, and what proves it.
//!
//! Pure but for [`password`], which works hard on purpose. Nothing that proves anything is stored as it is: passwords
//! as argon2id, everything else (sessions, keys, invitations) as the SHA-256 of 256 random bits.

pub mod login_throttle;
pub mod password;
pub mod token;

use std::fmt;
use std::str::FromStr;

use keepsake_protocol::DeviceId;
use serde::{Deserialize, Serialize};

/// The permissions of a user or an API token. Each role includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// See cameras and pictures.
    Viewer,
    /// Ask cameras for something, change and delete what is stored.
    Operator,
    /// Say who else may.
    Owner,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Owner];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Owner => "owner",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = InvalidRole;

    fn from_str(text: &str) -> Result<Self, InvalidRole> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or(InvalidRole)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a role is viewer, operator or owner")]
pub struct InvalidRole;

/// The access that an API token gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenScope {
    /// The API, like a person of this role.
    Role(Role),
    /// Bringing pictures in the name of this camera, and nothing else.
    Camera(DeviceId),
}

/// A login name: 1 to 64 bytes, letters and digits of any script and `.`, `_`, `-`, `+`, `@`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserName(String);

impl UserName {
    const BYTES_MAX: usize = 64;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// By what it is found: capitals make no other person.
    pub fn key(&self) -> Vec<u8> {
        self.0.to_lowercase().into_bytes()
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a name is 1 to 64 bytes of letters, digits and . _ - + @")]
pub struct InvalidName;

impl FromStr for UserName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let text = text.trim();
        let good = (1..=Self::BYTES_MAX).contains(&text.len())
            && text.chars().all(|letter| letter.is_alphanumeric() || "._-+@".contains(letter));
        good.then(|| Self(text.to_owned())).ok_or(InvalidName)
    }
}

/// A random id of a person or a key; it proves nothing and may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PrincipalId(pub [u8; 16]);

impl PrincipalId {
    pub(crate) fn new() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for PrincipalId {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut id = [0; 16];
        hex::decode_to_slice(text, &mut id).map(|()| Self(id))
    }
}

impl TryFrom<&[u8]> for PrincipalId {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

impl Serialize for PrincipalId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_has_nothing_that_could_be_markup_or_a_header() {
        for good in ["ada", "Åse", "ada@example.com", "a.b_c-d+e", " ada "] {
            assert!(good.parse::<UserName>().is_ok(), "{good}");
        }
        for bad in ["", " ", "a b", "<b>", "a\r\nb", "a\0", "a/b", "a\"", &"x".repeat(65)] {
            assert!(bad.parse::<UserName>().is_err(), "{bad:?}");
        }
        let key = |name: &str| name.parse::<UserName>().unwrap().key();
        assert_eq!(key("ÅSE"), key("åse"));
    }

    #[test]
    fn each_role_may_do_what_the_ones_before_it_may() {
        assert!(Role::Owner > Role::Operator && Role::Operator > Role::Viewer);
        for role in Role::ALL {
            assert_eq!(role.as_str().parse::<Role>().unwrap(), role);
        }
        assert!("root".parse::<Role>().is_err());
    }
}
