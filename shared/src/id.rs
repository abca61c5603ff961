//! Identifiers: devices, spools, captures and hashes. Each is parsed once and is valid from then on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// An identifier from outside that is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("a device name is 1 to 64 of A-Z a-z 0-9 . _ - and starts with a letter or digit")]
    Device,
    #[error("the device name `cloud` is reserved")]
    Reserved,
    #[error("expected {0} lower-case hexadecimal digits")]
    Hex(usize),
    #[error("a sequence is a whole number from 1 to 9007199254740991")]
    Sequence,
    #[error("a picture id is spool-sequence-hash, such as {}-12-{}", "0".repeat(32), "0".repeat(16))]
    Picture,
}

/// The name of a camera: 1 to 64 of `A-Z a-z 0-9 . _ -`, first a letter or digit, never `cloud`.
///
/// The alphabet excludes `/ + # $`, so a name is always one level of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(String);

serde_as_text!(DeviceId);

impl DeviceId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceId {
    type Err = IdError;

    fn from_str(name: &str) -> Result<Self, IdError> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
        let starts_well = name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
        if name.len() > 64 || !starts_well || !name.bytes().all(allowed) {
            return Err(IdError::Device);
        }
        if name.eq_ignore_ascii_case("cloud") {
            return Err(IdError::Reserved);
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Defines an identifier of fixed length that is written as lower-case hexadecimal digits.
macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(test, derive(proptest_derive::Arbitrary))]
        pub struct $name(pub [u8; $bytes]);

        serde_as_text!($name);

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if text.bytes().any(|c| c.is_ascii_uppercase()) {
                    return Err(IdError::Hex($bytes * 2));
                }
                let mut bytes = [0; $bytes];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError::Hex($bytes * 2))?;
                Ok(Self(bytes))
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = IdError;

            fn try_from(bytes: &[u8]) -> Result<Self, IdError> {
                bytes.try_into().map(Self).map_err(|_| IdError::Hex($bytes * 2))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

hex_id!(
    /// 128 random bits, made when a spool is created. A spool belongs to one camera.
    SpoolId,
    16
);
hex_id!(
    /// 128 random bits, made with the cloud's database. A camera pins the first one it meets.
    StoreId,
    16
);
hex_id!(
    /// The kernel's boot id (`/proc/sys/kernel/random/boot_id`). Boot times compare only within one boot.
    BootId,
    16
);
hex_id!(
    /// The first 8 bytes of a [`struct@Hash`], used in receipts and file names.
    HashPrefix,
    8
);
hex_id!(
    /// SHA-256 of a whole picture, or of a tombstone's JSON exactly as sent.
    Hash,
    32
);

impl Hash {
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    pub fn prefix(&self) -> HashPrefix {
        let mut prefix = [0; 8];
        prefix.copy_from_slice(&self.0[..8]);
        HashPrefix(prefix)
    }
}

/// The number of a capture within its spool: 1, 2, 3 … at most 2^53 - 1, so that every JSON parser reads it exactly.
/// Order is by sequence, never by time (P6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Sequence(u64);

impl Sequence {
    pub const FIRST: Self = Self(1);
    pub const MAX: Self = Self((1 << 53) - 1);

    /// Returns the number, 1 to 2^53 - 1.
    pub fn get(self) -> u64 {
        self.0
    }

    /// Returns the next sequence, saturating at [`Sequence::MAX`].
    #[must_use]
    pub fn next(self) -> Self {
        Self((self.0 + 1).min(Self::MAX.0))
    }
}

impl TryFrom<u64> for Sequence {
    type Error = IdError;

    fn try_from(number: u64) -> Result<Self, IdError> {
        if (Self::FIRST.0..=Self::MAX.0).contains(&number) {
            Ok(Self(number))
        } else {
            Err(IdError::Sequence)
        }
    }
}

impl From<Sequence> for u64 {
    fn from(sequence: Sequence) -> Self {
        sequence.0
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The permanent name of a capture: its spool, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct CaptureId {
    #[serde(rename = "install")]
    pub spool: SpoolId,
    pub sequence: Sequence,
}

impl fmt::Display for CaptureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.spool, self.sequence)
    }
}

/// The name of a stored picture in URLs. A cloned card can produce two pictures with one [`CaptureId`]; their hashes
/// differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PictureId {
    pub capture: CaptureId,
    pub hash: HashPrefix,
}

serde_as_text!(PictureId);

impl fmt::Display for PictureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.capture, self.hash)
    }
}

impl FromStr for PictureId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let parts: Vec<&str> = text.splitn(3, '-').collect();
        let [spool, sequence, hash] = parts[..] else {
            return Err(IdError::Picture);
        };
        let number: u64 = sequence.parse().map_err(|_| IdError::Picture)?;
        let id = Self {
            capture: CaptureId {
                spool: spool.parse().map_err(|_| IdError::Picture)?,
                sequence: number.try_into().map_err(|_| IdError::Picture)?,
            },
            hash: hash.parse().map_err(|_| IdError::Picture)?,
        };
        // A picture has exactly one URL, so `012` and `+12` are rejected.
        if id.to_string() == text {
            Ok(id)
        } else {
            Err(IdError::Picture)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_name_cannot_change_a_topic() {
        for good in ["porch", "camera-1a2b3c", "Boat_shed.2", "0", &"a".repeat(64)] {
            assert!(good.parse::<DeviceId>().is_ok(), "{good}");
        }
        for bad in ["", "a/b", "a+b", "#", "$SYS", "..", "-a", "a b", "ä", "a\0", &"a".repeat(65)] {
            assert_eq!(bad.parse::<DeviceId>(), Err(IdError::Device), "{bad:?}");
        }
        for reserved in ["cloud", "CLOUD"] {
            assert_eq!(reserved.parse::<DeviceId>(), Err(IdError::Reserved));
        }
    }

    #[test]
    fn an_id_has_exactly_one_spelling() {
        let hash = Hash::of(b"");
        assert_eq!(hash.to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(hash.prefix().to_string(), "e3b0c44298fc1c14");
        assert!(hash.to_string().to_uppercase().parse::<Hash>().is_err());
        let id = format!("{}-12-{}", "0a".repeat(16), hash.prefix());
        assert_eq!(id.parse::<PictureId>().unwrap().to_string(), id);
        for bad in [
            "",
            "1-2-3",
            &id.replace("-12-", "-012-"),
            &id.replace("-12-", "-0-"),
            &id.replace("-12-", "-+12-"),
        ] {
            assert!(bad.parse::<PictureId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_sequence_is_exact_in_every_json_reader() {
        assert!(Sequence::try_from(0).is_err());
        assert!(Sequence::try_from(1 << 53).is_err());
        assert_eq!(Sequence::MAX.next(), Sequence::MAX);
        assert!(serde_json::from_str::<Sequence>("1.5").is_err());
        assert!(serde_json::from_str::<Sequence>("-1").is_err());
    }
}
