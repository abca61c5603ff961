//! The store's handle: opening, checking and closing the database.

use keepsake_protocol::StoreId;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::store::address::Address;
use crate::store::connection::{Connector, StoreOptions, WriterLease};
use crate::store::error::{ErrorContext, Result, StoreError};
use crate::store::limits::Limits;
use crate::store::meta;
use crate::store::parts::Parts;
use crate::store::places::Places;
use crate::store::readers::{Reader, Readers};
use crate::store::statement::{Column, Statement};
use crate::store::writer::{Transaction, Writer};

/// A handle that may be cloned; all clones share the connections.
#[derive(Debug, Clone)]
pub struct Store {
    pub(in crate::store) writer: Writer,
    pub(in crate::store) readers: Readers,
    pub(in crate::store) connector: Connector,
    pub(in crate::store) id: StoreId,
    pub(in crate::store) limits: Limits,
    pub(in crate::store) places: Places,
    pub(in crate::store) parts: Parts,
}

impl Store {
    /// Opens the database at `place`, makes what is not there, and brings the tables up to date.
    ///
    /// # Errors
    /// [`StoreError::Folder`] if there can be no such folder, [`StoreError::SchemaTooNew`] if a newer program made the
    /// tables,
    /// [`StoreError::UnsafeDatabase`] and [`StoreError::AnotherWriter`] if nothing may be written there,
    /// [`StoreError::Database`] and
    /// [`StoreError::TimedOut`] if there is no database. Any but the first two may pass.
    pub async fn open(place: impl Into<StoreOptions>, limits: Limits) -> Result<Self> {
        Self::open_as(place.into(), limits, WriterLease::Required).await
    }

    /// Opens the database like [`Store::open`], for a command that changes a few rows of people and keys while a cloud
    /// may be at work there: where that one has the lease, it is left to it, and so are the tables.
    ///
    /// # Errors
    /// The errors of [`Store::open`], except [`StoreError::AnotherWriter`].
    pub async fn open_secondary(place: impl Into<StoreOptions>, limits: Limits) -> Result<Self> {
        Self::open_as(place.into(), limits, WriterLease::Optional).await
    }

    async fn open_as(place: StoreOptions, limits: Limits, lead: WriterLease) -> Result<Self> {
        if let Address::Folder(folder) = &place.address {
            std::fs::create_dir_all(folder).map_err(|source| StoreError::Folder { folder: folder.clone(), source })?;
        }
        let parts = Parts::open(&place.data, limits.clone());
        let connector = Connector::new(place, lead)?;
        let writer = Writer::new(connector.clone());
        tokio::time::timeout(limits.unit_of_work, writer.check())
            .await
            .map_err(|_| StoreError::TimedOut(limits.unit_of_work))??;
        let id = connector.id().ok_or(StoreError::AnotherWriter)?;
        let readers = Readers::new(connector.clone());
        Ok(Self {
            writer,
            readers,
            connector,
            id,
            limits,
            places: Places::default(),
            parts,
        })
    }

    /// The random id made with the database; cameras pin it.
    pub fn id(&self) -> StoreId {
        self.id
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Closes all connections; what is under way is rolled back.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Looks whether the store could be written to now, and whether it is still the one it was and still safe. Commits
    /// nothing.
    ///
    /// # Errors
    /// [`StoreError`]: nothing can be committed.
    pub async fn check(&self) -> Result<()> {
        self.with_timeout(self.writer.check()).await
    }

    /// Returns the accepted risks to the durability of the database, as sentences.
    pub fn weaknesses(&self) -> Vec<String> {
        self.connector.weaknesses()
    }

    /// Commits something that is always possible, to tell a store that is away from a batch that it cannot take.
    ///
    /// # Errors
    /// [`StoreError`]: the store takes nothing at all.
    pub async fn probe(&self, now_us: i64) -> Result<()> {
        self.with_timeout(async {
            let mut tx = self.begin("begin a probe").await?;
            meta::put(&mut tx, "probe", &now_us.to_be_bytes()).await?;
            tx.commit("commit a probe").await
        })
        .await?;
        match self.current_place() {
            Some(place) => Ok(place.objects.probe().await?),
            None => Ok(()),
        }
    }

    /// Begins to write; what comes of it is committed by [`Transaction::commit`] or not at all.
    pub(in crate::store) async fn begin(&self, what: &'static str) -> Result<Transaction> {
        self.writer.begin(what).await
    }

    /// Takes a connection for reading.
    pub(in crate::store) async fn reader(&self) -> Result<Reader> {
        self.readers.take().await
    }

    pub(in crate::store) async fn with_timeout<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let limit = self.limits.unit_of_work;
        tokio::time::timeout(limit, work).await.unwrap_or(Err(StoreError::TimedOut(limit)))
    }
}

/// Statements that need no transaction with others.
impl Statement {
    /// Executes the statement in a transaction of its own.
    pub(crate) async fn commit(self, store: &Store, what: &'static str) -> Result<u64> {
        store
            .with_timeout(async {
                let mut tx = store.begin(what).await?;
                let rows = self.execute(&mut *tx, what).await?;
                tx.commit(what).await?;
                Ok(rows)
            })
            .await
    }

    /// Reads all rows with a connection of its own.
    pub(crate) async fn rows(self, store: &Store, what: &'static str) -> Result<Vec<AnyRow>> {
        store
            .with_timeout(async {
                let mut connection = store.reader().await?;
                let rows = self.fetch_all(&mut *connection, what).await?;
                connection.release();
                Ok(rows)
            })
            .await
    }

    /// Reads the row, if there is one, with a connection of its own.
    pub(crate) async fn row(self, store: &Store, what: &'static str) -> Result<Option<AnyRow>> {
        Ok(self.rows(store, what).await?.into_iter().next())
    }

    /// Reads the first column of the row, if there is one, with a connection of its own.
    pub(crate) async fn value<T: Column>(self, store: &Store, what: &'static str) -> Result<Option<T>> {
        let row = self.row(store, what).await?;
        row.map(|row| row.try_get(0)).transpose().context(what)
    }
}

#[cfg(test)]
impl Store {
    /// Lets nobody write until what it returns is dropped.
    pub(crate) async fn occupy(&self) -> Result<impl Sized> {
        self.begin("occupy the store").await
    }
}
