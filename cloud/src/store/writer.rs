//! The one connection that writes. Whatever goes wrong on it, it is given up, and the next unit of work begins on a new
//! one: nobody has to know what state it was in, and the database rolls back what was not committed.
//!
//! This is not a pool of one: a pool asks a connection that comes back whether it is well, and waits for the answer
//! without end when the network has swallowed it.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sqlx::{AnyConnection, Connection, Executor};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::address::Address;
use super::connection::Connector;
use crate::store::error::{ErrorContext, Result};

/// Settings of a server may be changed while it runs, so they are looked at again this often.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// A server that does not say goodbye by then is left without.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Clones share the connection.
#[derive(Clone)]
pub(super) struct Writer {
    connector: Connector,
    slot: Arc<Mutex<WriterSlot>>,
}

#[derive(Default)]
struct WriterSlot {
    kept: Option<OpenConnection>,
    /// The number of the last connection, for the server.
    number: Option<i64>,
}

struct OpenConnection {
    connection: AnyConnection,
    checked: Instant,
}

impl Writer {
    pub(super) fn new(connector: Connector) -> Self {
        Self { connector, slot: Arc::default() }
    }

    /// Waits its turn, connects if need be, and begins to write.
    pub(super) async fn begin(&self, what: &'static str) -> Result<Transaction> {
        let slot = self.ready().await?;
        let begin = match self.connector.address() {
            // Said at once and not at the first write: a transaction that has read before it may write would fail at
            // once when another process holds the database, instead of waiting its turn.
            Address::Folder(_) => "BEGIN IMMEDIATE",
            Address::Server(_) => "START TRANSACTION",
        };
        let mut writing = Transaction::take(slot);
        writing.execute_statement(begin).await.context(what)?;
        Ok(writing)
    }

    /// Looks whether one could write now, without doing it.
    pub(super) async fn check(&self) -> Result<()> {
        let slot = self.ready().await?;
        drop(slot);
        Ok(())
    }

    /// The slot with a connection in it that was looked at not long ago.
    async fn ready(&self) -> Result<OwnedMutexGuard<WriterSlot>> {
        let mut slot = Arc::clone(&self.slot).lock_owned().await;
        // Taken out while it is not certain to be well: a caller that stops waiting leaves none behind.
        if let Some(mut kept) = slot.kept.take() {
            if kept.checked.elapsed() < CHECK_EVERY {
                slot.kept = Some(kept);
                return Ok(slot);
            }
            self.connector.check(&mut kept.connection).await?;
            kept.checked = Instant::now();
            slot.kept = Some(kept);
            return Ok(slot);
        }
        let (connection, number) = self.connector.writer(slot.number).await?;
        slot.number = number;
        slot.kept = Some(OpenConnection { connection, checked: Instant::now() });
        Ok(slot)
    }

    /// Closes the connection; a later unit of work would open another one.
    pub(super) async fn close(&self) {
        let kept = self.slot.lock().await.kept.take();
        if let Some(kept) = kept {
            let _ = tokio::time::timeout(CLOSE_WAIT, kept.connection.close()).await;
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("to", self.connector.address()).finish()
    }
}

/// A transaction. Dropped without a commit, it takes the connection along, and with it all that was not committed.
pub(super) struct Transaction {
    slot: OwnedMutexGuard<WriterSlot>,
    kept: Option<OpenConnection>,
}

impl Transaction {
    fn take(mut slot: OwnedMutexGuard<WriterSlot>) -> Self {
        let kept = slot.kept.take();
        Self { slot, kept }
    }

    /// An error says nothing about whether it was committed; the connection is given up (P2).
    pub(super) async fn commit(mut self, what: &'static str) -> Result<()> {
        self.execute_statement("COMMIT").await.context(what)?;
        self.slot.kept = self.kept.take();
        Ok(())
    }

    /// Ends without a database failure: the connection stays.
    pub(super) async fn rollback(mut self) {
        if self.execute_statement("ROLLBACK").await.is_ok() {
            self.slot.kept = self.kept.take();
        }
    }

    /// In a box, as the compiler cannot see that the future itself may go to another thread.
    fn execute_statement(&mut self, statement: &'static str) -> BoxFuture<'_, sqlx::Result<()>> {
        Box::pin(async move {
            let connection: &mut AnyConnection = self;
            connection.execute(statement).await.map(drop)
        })
    }
}

impl Deref for Transaction {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.kept.as_ref().expect("taken only at the end").connection
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.kept.as_mut().expect("taken only at the end").connection
    }
}
