//! Who stands before the door: the code that makes the first owner, guesses that were made, and whom the store knew lately.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::auth::password::{Busy, Passwords};
use crate::auth::secret::{SecretHash, SetupCode};
use crate::auth::tries::{Subject, Tries};
use crate::http::auth::guard::Who;
use crate::http::error::{Answer, Problem};
use crate::store::{Store, StoreError};

/// How long somebody the store knew may go on looking while it does not answer, so that the page can say so.
const LATELY: Duration = Duration::from_secs(15 * 60);
/// Remembered at once; beyond, all are forgotten (P4).
const LATELY_MAX: usize = 1_000;
/// What somebody is told who comes while too many passwords are being worked on, seconds.
const BUSY_WAIT_S: u64 = 5;

/// Shared by all requests.
#[derive(Debug)]
pub struct Doors {
    pub(crate) passwords: Passwords,
    code: SetupCode,
    /// Once there is an owner there always is one.
    owner: AtomicBool,
    tries: Mutex<Tries>,
    lately: Mutex<HashMap<[u8; 32], (Who, Instant)>>,
    /// Rises when somebody may do less than before.
    changes: watch::Sender<u64>,
}

impl Default for Doors {
    fn default() -> Self {
        Self {
            passwords: Passwords::default(),
            code: SetupCode::new(),
            owner: AtomicBool::new(false),
            tries: Mutex::default(),
            lately: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }
}

impl Doors {
    /// Whether there is an owner; until then nothing but set-up answers.
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
    pub fn code(&self) -> &SetupCode {
        &self.code
    }

    /// Counts a try to guess something, or refuses it.
    pub(crate) fn begin(&self, subject: &Subject) -> Answer<()> {
        held(&self.tries)
            .begin(subject, Instant::now())
            .map_err(|wait| {
                // Rounded up: who comes when told to must be let in.
                Problem::wait(
                    wait.as_secs() + 1,
                    "Too many tries did not fit. Wait a little, and try again.",
                )
            })
    }

    pub(crate) fn forgive(&self, subject: &Subject) {
        held(&self.tries).forgive(subject);
    }

    pub(crate) fn remember(&self, secret: &SecretHash, who: &Who) {
        let mut lately = held(&self.lately);
        if lately.len() >= LATELY_MAX {
            lately.clear();
        }
        lately.insert(secret.0, (who.clone(), Instant::now()));
    }

    pub(crate) fn lately(&self, secret: &SecretHash) -> Option<Who> {
        let lately = held(&self.lately);
        let (who, since) = lately.get(&secret.0)?;
        (since.elapsed() < LATELY).then(|| who.clone())
    }

    /// Somebody may do less than before: nothing remembered holds, and open streams are to look again.
    pub(crate) fn changed(&self) {
        held(&self.lately).clear();
        self.changes.send_modify(|n| *n += 1);
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl From<Busy> for Problem {
    fn from(busy: Busy) -> Self {
        Self::wait(BUSY_WAIT_S, format!("Try again in a moment: {busy}."))
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
