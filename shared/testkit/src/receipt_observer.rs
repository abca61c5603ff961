//! Observes the receipts of the cloud at the broker, and checks each at once.

use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use keepsake_protocol::codec;
use keepsake_protocol::receipt::Receipt;
use keepsake_protocol::topic::MessageKind;

use crate::commit_checker::CommitChecker;
use crate::mqtt_client::Client;
use crate::store_probe::StoreAddress;
use keepsake_provision::process::eventually;

#[derive(Debug)]
struct Observations {
    checker: CommitChecker,
    receipt_count: AtomicUsize,
    /// The socket of the current subscription.
    subscribed: Mutex<Option<TcpStream>>,
    stop: AtomicBool,
}

/// The observer. It listens until it is dropped, also over restarts of the broker.
#[derive(Debug)]
pub struct ReceiptObserver {
    seen: Arc<Observations>,
    thread: Option<thread::JoinHandle<()>>,
}

impl ReceiptObserver {
    /// `mqtt_port`: of the broker; `database`: of the cloud.
    pub fn start(mqtt_port: u16, database: &StoreAddress) -> Self {
        let seen = Arc::new(Observations {
            checker: CommitChecker::new(database),
            receipt_count: AtomicUsize::new(0),
            subscribed: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let observations = Arc::clone(&seen);
        let thread = thread::spawn(move || {
            while !observations.stop.load(Ordering::Relaxed) {
                // The broker goes down with the cloud; receipts sent meanwhile reach no one.
                let _ = observations.listen(mqtt_port);
                *observations.subscribed.lock().unwrap() = None;
                thread::sleep(Duration::from_millis(20));
            }
        });
        Self { seen, thread: Some(thread) }
    }

    /// Waits until it is subscribed.
    pub fn wait_until_subscribed(&self, within: Duration) {
        eventually("the observer's subscription", within, || {
            self.seen.subscribed.lock().unwrap().is_some().then_some(())
        });
    }

    /// Returns the number of receipts so far.
    pub fn receipt_count(&self) -> usize {
        self.seen.receipt_count.load(Ordering::Relaxed)
    }

    /// Ends, and fails the test if a receipt named an uncommitted capture.
    ///
    /// Returns how many captures the receipts named.
    pub fn verdict(mut self) -> u64 {
        self.end();
        self.seen.checker.verdict()
    }

    fn end(&mut self) {
        self.seen.stop.store(true, Ordering::Relaxed);
        if let Some(socket) = &*self.seen.subscribed.lock().unwrap() {
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

impl Observations {
    fn listen(&self, mqtt_port: u16) -> std::io::Result<()> {
        let mut client = Client::connect(mqtt_port, "observer")?;
        client.subscribe(&MessageKind::Receipt.subscription_for_all_devices())?;
        client.wait_forever()?;
        *self.subscribed.lock().unwrap() = Some(client.socket()?);
        loop {
            let publication = client.next_publication()?;
            match codec::decode::<Receipt>(&publication.payload) {
                Ok(receipt) => {
                    self.checker.check_receipt(&receipt);
                    self.receipt_count.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    let topic = publication.topic;
                    self.checker.record(false, || format!("no valid receipt on {topic}: {error}"));
                }
            }
        }
    }
}
