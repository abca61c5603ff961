//! Observes the receipts of the cloud and checks each at once, over a database connection of its own. A receipt
//! before its commit would lose pictures (P2).

use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use keepsake_protocol::codec;
use keepsake_protocol::receipt::Receipt;
use keepsake_protocol::topic::{MessageKind, Topic};

use crate::mqtt_client::Client;
use crate::store_probe::{Location, StoreProbe};
use keepsake_provision::process::eventually;

#[derive(Debug, Default)]
struct Observations {
    receipts: Vec<(String, Receipt)>,
    checked: u64,
    violations: Vec<String>,
    connected: bool,
    socket: Option<TcpStream>,
}

/// The observer. It listens until it is dropped, also over restarts of the broker.
#[derive(Debug)]
pub struct ReceiptObserver {
    seen: Arc<Mutex<Observations>>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl ReceiptObserver {
    /// `mqtt_port`: of the broker; `database`: the cloud's, or its data directory.
    pub fn start(mqtt_port: u16, database: impl Into<Location>) -> Self {
        let database = database.into();
        let seen: Arc<Mutex<Observations>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // The broker goes down with the cloud; receipts sent meanwhile reach no one.
                    let _ = listen(mqtt_port, &database, &seen);
                    seen.lock().unwrap().connected = false;
                    thread::sleep(Duration::from_millis(20));
                }
            })
        };
        Self { seen, stop, thread: Some(thread) }
    }

    /// Waits until it is subscribed.
    pub fn wait_until_subscribed(&self, within: Duration) {
        eventually("the observer's subscription", within, || {
            self.seen.lock().unwrap().connected.then_some(())
        });
    }

    /// Returns every receipt so far, with the name of the device.
    pub fn receipts(&self) -> Vec<(String, Receipt)> {
        self.seen.lock().unwrap().receipts.clone()
    }

    /// Ends, and fails the test if a receipt named an uncommitted capture.
    ///
    /// Returns how many captures the receipts named.
    pub fn verdict(mut self) -> u64 {
        self.end();
        let seen = self.seen.lock().unwrap();
        assert!(seen.violations.is_empty(), "receipts before their commit (P2): {:#?}", seen.violations);
        assert!(seen.checked > 0, "an observer that saw no receipt proves nothing");
        seen.checked
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(socket) = &self.seen.lock().unwrap().socket {
            let _ = socket.shutdown(Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for ReceiptObserver {
    fn drop(&mut self) {
        self.end();
    }
}

fn listen(mqtt_port: u16, database: &Location, seen: &Mutex<Observations>) -> std::io::Result<()> {
    let mut client = Client::connect(mqtt_port, "observer")?;
    client.subscribe(&MessageKind::Receipt.subscription_for_all_devices())?;
    client.wait_forever()?;
    {
        let mut seen = seen.lock().unwrap();
        seen.socket = Some(client.socket()?);
        seen.connected = true;
    }
    let store = ReceiptChecker::new(database);
    loop {
        let heard = client.next_publication()?;
        let receipt: Receipt = match codec::decode(&heard.payload) {
            Ok(receipt) => receipt,
            Err(error) => {
                let lie = format!("a receipt on {} that is none: {error}", heard.topic);
                seen.lock().unwrap().violations.push(lie);
                continue;
            }
        };
        let lies = store.violations(&receipt);
        let device = heard.topic.parse::<Topic>().map_or(heard.topic, |topic| topic.device.to_string());
        let mut seen = seen.lock().unwrap();
        seen.checked += receipt.stored.len() as u64;
        seen.violations.extend(lies);
        seen.receipts.push((device, receipt));
    }
}

/// The longest that a database may be away: tests stop, kill and restart it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Checks in the database that something is committed. It reconnects after a failed query: the database may not exist
/// yet, be away, or be another one after a restore.
#[derive(Debug)]
pub struct ReceiptChecker {
    database: Location,
    store: Mutex<Option<StoreProbe>>,
    patience: Duration,
}

impl ReceiptChecker {
    pub fn new(database: impl Into<Location>) -> Self {
        Self {
            database: database.into(),
            store: Mutex::new(None),
            patience: PATIENCE,
        }
    }

    /// Returns the claims of this receipt that are not committed, as sentences.
    pub fn violations(&self, receipt: &Receipt) -> Vec<String> {
        let mut lies = Vec::new();
        for (sequence, hash) in &receipt.stored {
            let fate = self.query(|store| store.fate(receipt.spool, *sequence, *hash));
            if !matches!(fate, Ok(Some(_))) {
                lies.push(format!("{}-{sequence} with {hash} has the fate {fate:?}", receipt.spool));
            }
        }
        lies
    }

    /// Queries the database, for at most a minute while it cannot be read.
    ///
    /// # Errors
    /// The last error of the database, as a sentence.
    pub fn query<T>(&self, ask: impl Fn(&StoreProbe) -> sqlx::Result<T>) -> Result<T, String> {
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
    fn a_receipt_for_what_is_not_committed_is_a_lie() {
        let folder = TempDir::new("witness");
        let stored = with_one_picture(&folder);
        let witness = ReceiptChecker::new(&*folder);
        let receipt = |sequence: u64, hash: HashPrefix| Receipt {
            stored: vec![(Sequence::try_from(sequence).unwrap(), hash)],
            ..Receipt::new(StoreId([1; 16]), stored.install)
        };
        let good = receipt(stored.sequence, stored.hash);
        assert_eq!(witness.violations(&good), Vec::<String>::new());
        let elsewhere = Receipt { spool: SpoolId([9; 16]), ..good };
        for lie in [
            receipt(stored.sequence + 1, stored.hash),
            receipt(stored.sequence, HashPrefix([9; 8])),
            elsewhere,
        ] {
            assert_eq!(witness.violations(&lie).len(), 1, "{lie:?}");
        }
        let nowhere = ReceiptChecker {
            patience: Duration::from_millis(100),
            ..ReceiptChecker::new(&*folder.join("nowhere"))
        };
        assert_eq!(nowhere.violations(&receipt(1, stored.hash)).len(), 1);
    }
}
