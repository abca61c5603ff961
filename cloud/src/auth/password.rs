//! Passwords as argon2id, with the parameters that OWASP's Password Storage Cheat Sheet names first.
//!
//! Each takes memory and time on purpose, so few are worked on at once, off the async threads, and few may wait.

use std::sync::Arc;
use std::sync::LazyLock;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::auth::UserName;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Worked on at the same time: 38 MiB and two cores at most.
const AT_ONCE: usize = 2;
/// Waiting or being worked on; beyond that, a client is told to try again. About two seconds of work on a small
/// machine.
const WAITING_MAX: usize = 32;

/// Characters; NIST SP 800-63B wants at least eight and no rules about their kind.
const CHARACTERS_MIN: usize = 10;
/// Bytes; a bound and nothing else (P4).
const BYTES_MAX: usize = 512;

/// The hash to compare with if the user is unknown, so that the answer takes as long.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash("nobody has this password"));

/// Makes and checks password hashes, a few at a time.
#[derive(Debug, Clone)]
pub struct BoundedPasswordHasher {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// Too many passwords are being worked on.
#[derive(Debug, thiserror::Error)]
#[error("Too many people are logging in.")]
pub struct TooManyHashes;

impl Default for BoundedPasswordHasher {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            places: Arc::new(Semaphore::new(WAITING_MAX)),
        }
    }
}

impl BoundedPasswordHasher {
    /// The hash to store, as a PHC string.
    ///
    /// # Errors
    /// [`TooManyHashes`]: nothing was done.
    pub async fn hash(&self, password: String) -> Result<String, TooManyHashes> {
        self.run_blocking(move || hash(&password)).await
    }

    /// Returns true if `stored` is the hash of `password`. Without a hash (nobody of that name, or no password yet) it
    /// is not, after the same work.
    ///
    /// # Errors
    /// [`TooManyHashes`]: nothing was done.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, TooManyHashes> {
        self.run_blocking(move || {
            let known = stored.is_some();
            let stored = stored.unwrap_or_else(|| NOBODY.clone());
            let right = PasswordHash::new(&stored)
                .is_ok_and(|stored| argon2().verify_password(password.as_bytes(), &stored).is_ok());
            known && right
        })
        .await
    }

    async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, TooManyHashes> {
        let _place = self.places.try_acquire().map_err(|_| TooManyHashes)?;
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| TooManyHashes)?;
        // The client may be gone; the memory is in use until the work is done, and so is the permit.
        let worked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        worked.await.map_err(|_| TooManyHashes)
    }
}

/// Checks that this may become the password of `name`.
///
/// # Errors
/// A sentence for the person who chose it.
pub fn check_strength(password: &str, name: &UserName) -> Result<(), &'static str> {
    let first = password.chars().next();
    if password.chars().count() < CHARACTERS_MIN {
        return Err("Use at least 10 characters. Four random words are easy to remember.");
    }
    if password.len() > BYTES_MAX {
        return Err("Use at most 512 bytes.");
    }
    if password.chars().all(|letter| Some(letter) == first) {
        return Err("This password repeats a single character.");
    }
    let folded = password.to_lowercase();
    if folded == name.as_str().to_lowercase() || COMMON.contains(&folded.as_str()) {
        return Err("This password is too common.");
    }
    Ok(())
}

/// The ones of ten characters and more that lead the lists of leaked passwords.
const COMMON: [&str; 12] = [
    "1234567890",
    "12345678910",
    "0123456789",
    "0987654321",
    "qwertyuiop",
    "1q2w3e4r5t",
    "password12",
    "password123",
    "password1234",
    "passwordpassword",
    "raspberrypi",
    "keepsakekeepsake",
];

fn hash(password: &str) -> String {
    let salt: [u8; 16] = rand::random();
    let salt = SaltString::encode_b64(&salt).expect("16 bytes are the recommended length");
    argon2()
        .hash_password(password.as_bytes(), &salt)
        .expect("constant parameters, and a password below 4 GiB")
        .to_string()
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("constants within argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_is_accepted() {
        let passwords = BoundedPasswordHasher::default();
        let stored = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        let check = async |password: &str, stored: Option<&str>| {
            let stored = stored.map(str::to_owned);
            passwords.verify(password.to_owned(), stored).await.unwrap()
        };
        assert!(check("correct horse", Some(&stored)).await);
        assert!(!check("correct horsf", Some(&stored)).await);
        assert!(!check("correct horse", None).await);
        assert!(!check("nobody has this password", None).await);
        assert!(!check("correct horse", Some("rubbish")).await);
        let again = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert_ne!(again, stored, "each has a salt of its own");
    }

    #[tokio::test]
    async fn too_many_at_once_are_told_so() {
        let passwords = BoundedPasswordHasher::default();
        let _all = passwords.places.try_acquire_many(u32::try_from(WAITING_MAX).unwrap()).unwrap();
        assert!(passwords.hash("x".to_owned()).await.is_err());
    }

    #[test]
    fn a_password_is_long_enough_and_not_the_first_guess() {
        let name = "ada.lovelace".parse().unwrap();
        for good in ["correct horse", "ååååååååå!", "          x"] {
            assert!(check_strength(good, &name).is_ok(), "{good}");
        }
        for bad in ["", "short", "Ada.Lovelace", "aaaaaaaaaaaaa", "Password123", &"xy".repeat(300)] {
            assert!(check_strength(bad, &name).is_err(), "{bad}");
        }
    }
}
