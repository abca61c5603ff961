//! Checks receipts and acknowledgements against the database, over a connection of its own, and keeps the result.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use keepsake_protocol::receipt::Receipt;

use crate::store_probe::{StoreAddress, StoreProbe};

/// The longest that a database may be away: tests stop, kill and restart it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Checks that something is committed. It reconnects after a failed query: the database may not exist yet, be away, or
/// be another one after a restore.
#[derive(Debug)]
pub(crate) struct CommitChecker {
    database: StoreAddress,
    store: Mutex<Option<StoreProbe>>,
    patience: Duration,
    findings: Mutex<Findings>,
}

#[derive(Debug, Default)]
struct Findings {
    checked: u64,
    violations: Vec<String>,
}

impl CommitChecker {
    pub(crate) fn new(database: &StoreAddress) -> Self {
        Self {
            database: database.clone(),
            store: Mutex::new(None),
            patience: PATIENCE,
            findings: Mutex::default(),
        }
    }

    /// Checks that every capture that the receipt confirms is committed: a receipt before its commit would lose
    /// pictures (P2).
    pub(crate) fn check_receipt(&self, receipt: &Receipt) {
        for (sequence, hash) in &receipt.stored {
            let fate = self.query(|store| store.fate(receipt.spool, *sequence, *hash));
            self.record(matches!(fate, Ok(Some(_))), || {
                format!("a receipt for {}-{sequence} with {hash} and the fate {fate:?}", receipt.spool)
            });
        }
    }

    /// Counts one check, and keeps the description of a violation.
    pub(crate) fn record(&self, is_committed: bool, describe: impl FnOnce() -> String) {
        let mut findings = self.findings.lock().unwrap();
        findings.checked += 1;
        if !is_committed {
            findings.violations.push(describe());
        }
    }

    /// Fails the test if anything was confirmed before its commit, or if nothing was checked. Returns the number of
    /// checks.
    pub(crate) fn verdict(&self) -> u64 {
        let Findings { checked, violations } = &*self.findings.lock().unwrap();
        assert!(violations.is_empty(), "confirmed before the commit (P2): {violations:#?}");
        assert!(*checked > 0, "no check was made, which proves nothing");
        *checked
    }

    /// Queries the database, for at most a minute while it cannot be read.
    ///
    /// # Errors
    /// The last error of the database, as a sentence.
    pub(crate) fn query<T>(&self, ask: impl Fn(&StoreProbe) -> sqlx::Result<T>) -> Result<T, String> {
        let deadline = Instant::now() + self.patience;
        let mut open = self.store.lock().unwrap();
        loop {
            let answer = match open.take().map_or_else(|| StoreProbe::open(&self.database), Ok) {
                Ok(store) => ask(&store).inspect(|_| *open = Some(store)),
                Err(error) => Err(error),
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) if Instant::now() > deadline => return Err(error.to_string()),
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use keepsake_protocol::{HashPrefix, Sequence, SpoolId, StoreId};

    use super::*;
    use crate::store_probe::tests::with_one_picture;
    use keepsake_provision::temp_dir::TempDir;

    #[test]
    fn a_receipt_before_its_commit_is_a_violation() {
        let folder = TempDir::new("checker");
        let stored = with_one_picture(&folder);
        let receipt = |sequence: u64, hash: HashPrefix| Receipt {
            stored: vec![(Sequence::try_from(sequence).unwrap(), hash)],
            ..Receipt::new(StoreId([1; 16]), stored.spool)
        };
        let violations = |checker: CommitChecker, receipt: &Receipt| {
            checker.check_receipt(receipt);
            checker.findings.into_inner().unwrap().violations
        };
        let good = receipt(stored.sequence, stored.hash);
        assert_eq!(
            violations(CommitChecker::new(&StoreAddress::sqlite(&folder)), &good),
            Vec::<String>::new()
        );
        let elsewhere = Receipt { spool: SpoolId([9; 16]), ..good };
        for false_receipt in [
            receipt(stored.sequence + 1, stored.hash),
            receipt(stored.sequence, HashPrefix([9; 8])),
            elsewhere,
        ] {
            assert_eq!(
                violations(CommitChecker::new(&StoreAddress::sqlite(&folder)), &false_receipt).len(),
                1,
                "{false_receipt:?}"
            );
        }
        let nowhere = CommitChecker {
            patience: Duration::from_millis(100),
            ..CommitChecker::new(&StoreAddress::sqlite(&folder.join("nowhere")))
        };
        assert_eq!(violations(nowhere, &receipt(1, stored.hash)).len(), 1);
    }
}
