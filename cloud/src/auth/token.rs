//! Secrets that identify a client: created once, shown once, stored as a hash.

use std::fmt;

use keepsake_protocol::Hash;
use subtle::ConstantTimeEq;

/// So that people, and programs that look for leaked secrets, know one when they see it.
const KEY_PREFIX: &str = "ks_";

/// 256 random bits as a text. Its `Debug` says nothing, so that no log can.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// For a session or an invitation.
    pub fn new() -> Self {
        let bits: [u8; 32] = rand::random();
        Self(hex::encode(bits))
    }

    /// For a program or a camera.
    pub fn new_api_token() -> Self {
        Self(format!("{KEY_PREFIX}{}", Self::new().0))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl Default for Token {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The SHA-256 of a secret's text. With 256 random bits behind it there is nothing to guess, so it needs no salt and
/// may be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// Returns the hash of any text that a client presents.
    pub fn of(text: &str) -> Self {
        Self(Hash::of(text.as_bytes()).0)
    }

    /// Returns the first digits: enough to tell the sessions of one user apart, and no secret.
    pub fn prefix(&self) -> String {
        hex::encode(&self.0[..8])
    }
}

impl TryFrom<&[u8]> for TokenHash {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

/// The code that makes the first owner: for people to type, so it is short, and guessing is slowed down elsewhere.
#[derive(Clone)]
pub struct SetupCode(String);

impl SetupCode {
    /// Without letters and digits that look like others. 30^12 is 58 bits.
    const LETTERS: &[u8; 30] = b"23456789ABCDEFGHJKMNPQRSTVWXYZ";

    pub(crate) fn new() -> Self {
        let groups = [(); 3].map(|()| {
            [(); 4]
                .map(|()| char::from(Self::LETTERS[rand::random_range(0..Self::LETTERS.len())]))
                .iter()
                .collect::<String>()
        });
        Self(groups.join("-"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if `shown` is this code, however it is spaced and written, in the same time for every answer.
    pub fn matches(&self, shown: &str) -> bool {
        let (right, shown) = (normalize(&self.0), normalize(shown));
        let (right, shown) = (TokenHash::of(&right), TokenHash::of(&shown));
        right.0.ct_eq(&shown.0).into()
    }
}

impl fmt::Debug for SetupCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetupCode")
    }
}

fn normalize(code: &str) -> String {
    let letters = code.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_uppercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_known_however_it_is_written_and_no_other_is() {
        let code = SetupCode::new();
        let text = code.as_str();
        assert_eq!(text.len(), 14);
        for good in [text.to_owned(), text.to_lowercase(), text.replace('-', " "), normalize(text)] {
            assert!(code.matches(&good), "{good}");
        }
        for bad in ["", "----", &text[..13], SetupCode::new().as_str()] {
            assert!(!code.matches(bad), "{bad}");
        }
    }

    #[test]
    fn a_secret_is_never_printed() {
        let (key, code) = (Token::new_api_token(), SetupCode::new());
        let printed = format!("{key:?} {code:?}");
        assert!(!printed.contains(&key.as_str()[3..]) && !printed.contains(code.as_str()));
        assert_ne!(Token::new_api_token().hash(), key.hash());
        assert_eq!(TokenHash::of(key.as_str()), key.hash());
    }
}
