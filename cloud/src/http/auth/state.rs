//! The state of authentication: the setup code, failed attempts, and clients that were authenticated recently.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::auth::login_throttle::{LoginThrottle, ThrottleKey};
use crate::auth::password::{BoundedPasswordHasher, TooManyHashes};
use crate::auth::token::{SetupCode, TokenHash};
use crate::http::auth::principal::Principal;
use crate::http::error::{HttpResult, Problem};
use crate::store::{Store, StoreError};

/// The time that a recently authenticated client keeps access while the store does not answer, so that the page can say so.
const LATELY: Duration = Duration::from_secs(15 * 60);
/// Remembered at once; beyond, all are forgotten (P4).
const LATELY_MAX: usize = 1_000;
/// The Retry-After while too many passwords are being hashed, seconds.
const BUSY_WAIT_S: u64 = 5;

/// Shared by all requests.
#[derive(Debug)]
pub struct AuthState {
    pub(crate) passwords: BoundedPasswordHasher,
    code: SetupCode,
    /// Once there is an owner there always is one.
    owner: AtomicBool,
    tries: Mutex<LoginThrottle>,
    lately: Mutex<HashMap<[u8; 32], (Principal, Instant)>>,
    /// Increases when a permission is withdrawn.
    changes: watch::Sender<u64>,
}

impl Default for AuthState {
    fn default() -> Self {
        Self {
            passwords: BoundedPasswordHasher::default(),
            code: SetupCode::new(),
            owner: AtomicBool::new(false),
            tries: Mutex::default(),
            lately: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }
}

impl AuthState {
    /// Returns true if there is an owner; until then only setup is available.
    ///
    /// # Errors
    /// [`StoreError`]: it cannot be known.
    pub async fn has_owner(&self, store: &Store) -> Result<bool, StoreError> {
        if self.owner.load(Ordering::Acquire) {
            return Ok(true);
        }
        let has = store.has_owner().await?;
        if has {
            self.owner.store(true, Ordering::Release);
        }
        Ok(has)
    }

    /// The code that makes the first owner, and no other one; new at each start.
    pub fn setup_code(&self) -> &SetupCode {
        &self.code
    }

    /// Counts a try to guess something, or refuses it.
    pub(crate) fn throttle(&self, subject: &ThrottleKey) -> HttpResult<()> {
        self.tries.lock().record_attempt(subject, Instant::now()).map_err(|wait| {
            // Rounded up: who comes when told to must be let in.
            Problem::retry_after(wait.as_secs() + 1, "Too many failed attempts.")
        })
    }

    pub(crate) fn reset_throttle(&self, subject: &ThrottleKey) {
        self.tries.lock().reset(subject);
    }

    pub(crate) fn remember(&self, secret: &TokenHash, principal: &Principal) {
        let mut lately = self.lately.lock();
        if lately.len() >= LATELY_MAX {
            lately.clear();
        }
        lately.insert(secret.0, (principal.clone(), Instant::now()));
    }

    pub(crate) fn recently_authenticated(&self, secret: &TokenHash) -> Option<Principal> {
        let lately = self.lately.lock();
        let (principal, since) = lately.get(&secret.0)?;
        (since.elapsed() < LATELY).then(|| principal.clone())
    }

    /// Forgets remembered clients and makes open streams check again, after a permission was withdrawn.
    pub(crate) fn changed(&self) {
        self.lately.lock().clear();
        self.changes.send_modify(|n| *n += 1);
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl From<TooManyHashes> for Problem {
    fn from(busy: TooManyHashes) -> Self {
        Self::retry_after(BUSY_WAIT_S, &busy.to_string())
    }
}
