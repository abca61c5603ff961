//! The connections for reading: a few, opened when they are needed and used again.
//!
//! This is not a pool of sqlx: that one asks each connection that comes back whether it is well, which costs a read of
//! one statement two more round trips, and waits without end for the answer when the network has swallowed it. Here a
//! connection is used again only after a read that succeeded, and is asked only if it was not used for a moment.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sqlx::{AnyConnection, Connection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::store::connection::Connector;
use crate::store::error::{Result, StoreError};

const CONNECTIONS_MAX: usize = 4;
/// A page does not wait longer than this for one of them.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// A connection that does not answer by then is given up.
const PING_WAIT: Duration = Duration::from_secs(2);
/// A connection that was used so recently is not asked whether it is well.
const FRESH: Duration = Duration::from_secs(1);
/// A server closes connections that nobody has used for a minute.
const IDLE_MAX: Duration = Duration::from_secs(50);

/// Clones share the connections.
#[derive(Clone)]
pub(super) struct Readers(Arc<Shared>);

struct Shared {
    connector: Connector,
    /// Each with when it was used last.
    idle: Mutex<Vec<(AnyConnection, Instant)>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(connector: Connector) -> Self {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Self(Arc::new(Shared { connector, idle: Mutex::default(), permits }))
    }

    /// Takes a connection, which may have to be opened.
    pub(super) async fn take(&self) -> Result<Reader> {
        tokio::time::timeout(WAIT_MAX, self.take_any())
            .await
            .unwrap_or(Err(StoreError::TimedOut(WAIT_MAX)))
    }

    async fn take_any(&self) -> Result<Reader> {
        // Closed only while the program ends.
        let permit = self.0.permits.clone().acquire_owned().await;
        let permit = permit.map_err(|_| StoreError::TimedOut(Duration::ZERO))?;
        let connection = match self.idle().await {
            Some(connection) => connection,
            None => self.0.connector.reader().await?,
        };
        Ok(Reader { connection, readers: self.clone(), permit })
    }

    /// Takes a connection that is open and well.
    async fn idle(&self) -> Option<AnyConnection> {
        loop {
            let (mut connection, used) = self.0.idle.lock().pop()?;
            let unused = used.elapsed();
            if unused < FRESH {
                return Some(connection);
            }
            let answer = tokio::time::timeout(PING_WAIT, connection.ping());
            if unused < IDLE_MAX && answer.await.is_ok_and(|answer| answer.is_ok()) {
                return Some(connection);
            }
        }
    }

    /// Closes the connections that nobody uses; there are no others from now on.
    pub(super) async fn close(&self) {
        self.0.permits.close();
        let idle = std::mem::take(&mut *self.0.idle.lock());
        for (connection, _) in idle {
            let _ = tokio::time::timeout(PING_WAIT, connection.close()).await;
        }
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").field("to", self.0.connector.address()).finish()
    }
}

/// A connection for reading. Dropped without a release, it is closed: an answer may still be on its way.
pub(super) struct Reader {
    connection: AnyConnection,
    readers: Readers,
    permit: OwnedSemaphorePermit,
}

impl Reader {
    /// Gives the connection back after a read that succeeded.
    pub(super) fn release(self) {
        let Self { connection, readers, permit } = self;
        readers.0.idle.lock().push((connection, Instant::now()));
        drop(permit);
    }
}

impl Deref for Reader {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.connection
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.connection
    }
}
