//! Commits a batch, however long it takes.
//!
//! A batch that fails is rolled back whole. If another writer was quicker, it is simply committed again. If nothing can
//! be committed at all, the store is away: everything waits and is tried again for as long as it takes, and cameras are
//! told to hold. If a probe commits, the batch fails for its content, so its messages are tried one by one; one that
//! fails alone three times is refused with a reason.

use std::time::{Duration, Instant};

use crate::ingest::operation::{CommitOutcome, IngestOp};
use crate::ingest::worker::{Committed, IngestWorker};
use crate::now_us;
use crate::store::StoreError;

/// A capture fails alone this often, while a probe commits, before it is refused.
const ATTEMPTS_ALONE: u32 = 3;
/// The same where the failure was none of its content: connections may be cut just then, again and again.
const ATTEMPTS_ALONE_PASSING: u32 = 30;
/// A refused capture may be tried again after this, seconds.
const REFUSED_RETRY_S: u64 = 3600;
const STORE_WAIT_MIN: Duration = Duration::from_millis(200);
const STORE_WAIT_MAX: Duration = Duration::from_secs(10);
/// A batch loses this many races before it is treated as any other that fails.
const RACES_MAX: u32 = 10;
const RACE_WAIT_MIN: Duration = Duration::from_millis(5);
const RACE_WAIT_MAX: Duration = Duration::from_millis(500);

impl IngestWorker {
    /// Commits the operations, however long it takes.
    pub(super) async fn commit(&self, operations: &mut [IngestOp]) -> Committed {
        let mut wait = STORE_WAIT_MIN;
        let (mut races, mut race_wait) = (0, RACE_WAIT_MIN);
        let (mut retried, mut full) = (false, false);
        loop {
            // Nothing to do, unless the store was away for so long that the objects are too old.
            self.store_bytes(operations).await;
            let began = Instant::now();
            let committed = self.store.commit(operations, now_us()).await;
            self.metrics.record_commit(began.elapsed(), committed.is_ok());
            let error = match committed {
                Ok(outcomes) => {
                    self.backpressure.set_store(None);
                    if full {
                        self.backpressure.set_room(None);
                    }
                    return Committed { outcomes, retried };
                }
                Err(error) => error,
            };
            // A lost race is known to have come to nothing, so nothing that follows from a doubtful try applies.
            if error.is_race() && races < RACES_MAX {
                races += 1;
                tracing::debug!("another writer was quicker: {:#}", with_chain(error));
                tokio::time::sleep(rand::random_range(race_wait / 2..=race_wait)).await;
                race_wait = (race_wait * 2).min(RACE_WAIT_MAX);
                continue;
            }
            retried = true;
            // A probe is small enough to fit where no picture does, so it would prove nothing.
            let no_room = error.is_full().then(|| error.sentence());
            // Whether the try has come to nothing cannot be known, and such a picture has no number to tell by.
            for operation in &mut *operations {
                if let IngestOp::Upload { maybe_repeat, .. } = operation {
                    *maybe_repeat = true;
                }
            }
            tracing::warn!("commit of {} messages: {:#}", operations.len(), with_chain(error));
            if no_room.is_some() {
                full = true;
                self.backpressure.set_room(no_room);
            } else if let Err(error) = self.store.probe(now_us()).await {
                self.backpressure.set_store(Some(error.sentence()));
                tracing::error!("the store is away: {:#}", with_chain(error));
            } else {
                self.backpressure.set_store(None);
                match self.commit_one_by_one(operations).await {
                    Some(outcomes) => {
                        if full {
                            self.backpressure.set_room(None);
                        }
                        return Committed { outcomes, retried };
                    }
                    None => continue,
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(STORE_WAIT_MAX);
        }
    }

    /// Commits each message alone. Returns nothing if the store went away or is full: start again, repeats are harmless.
    async fn commit_one_by_one(&self, operations: &[IngestOp]) -> Option<Vec<CommitOutcome>> {
        let mut outcomes = Vec::with_capacity(operations.len());
        for operation in operations {
            let mut attempts = 0;
            let outcome = loop {
                match self.store.commit(std::slice::from_ref(operation), now_us()).await {
                    Ok(mut one) => break one.pop().unwrap_or(CommitOutcome::Dropped),
                    Err(error) => {
                        attempts += 1;
                        // An object that waited too long is stored again.
                        let is_late = matches!(error, StoreError::LateObject);
                        if is_late || error.is_full() || self.store.probe(now_us()).await.is_err() {
                            return None;
                        }
                        let most = if error.is_transient() {
                            ATTEMPTS_ALONE_PASSING
                        } else {
                            ATTEMPTS_ALONE
                        };
                        if attempts >= most {
                            operation.span().in_scope(|| {
                                tracing::error!(
                                    "one message cannot be committed although others can: {:#}",
                                    with_chain(error)
                                );
                            });
                            break refused(operation);
                        }
                        tokio::time::sleep(STORE_WAIT_MIN).await;
                    }
                }
            };
            outcomes.push(outcome);
        }
        Some(outcomes)
    }
}

/// The outcome of a message that cannot be committed although others can.
fn refused(operation: &IngestOp) -> CommitOutcome {
    match operation.receipt_id() {
        Some(id) => CommitOutcome::Refused {
            id,
            reason: "the cloud's database cannot take this one".to_owned(),
            retry_after: REFUSED_RETRY_S,
        },
        None => CommitOutcome::Dropped,
    }
}

/// With its causes, as only `anyhow` prints them.
fn with_chain(error: StoreError) -> anyhow::Error {
    error.into()
}
