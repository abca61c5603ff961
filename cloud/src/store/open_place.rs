//! Table `bytes_place`: the places outside the database that have ever held bytes of pictures.
//!
//! A place carries a marker with its number, so it keeps its number when it moves to another address, and an empty
//! folder is never taken for it.

use sqlx::Row;

use crate::objects::{BytesPlace, BytesSetting, DurableObject, NewObject, ObjectError, ObjectStore, PlaceMarker};
use crate::store::error::{Result, StoreError};
use crate::store::open::Store;
use crate::store::statement::sql;

/// The highest number of a place. Numbers are random: a database that was restored from a backup does not know the places
/// that were added since, and must not give their numbers to others.
const NUMBER_MAX: i64 = (1 << 53) - 1;

impl Store {
    /// Opens the place for the bytes of new pictures, and remembers it. Nothing is opened for the database itself.
    ///
    /// # Errors
    /// [`StoreError::Objects`] if the place cannot be used, [`StoreError::ForeignPlace`] if it belongs to another store,
    /// and [`StoreError::EmptyPlace`] if pictures should be there and it is empty.
    pub async fn open_place(&self, setting: &BytesSetting) -> Result<Option<BytesPlace>> {
        let place = self.open_other_place(setting).await?;
        let mut open = self.places.open.lock();
        open.current.clone_from(&place);
        if let Some(place) = &place {
            open.known.insert(place.id, place.objects.clone());
        }
        Ok(place)
    }

    /// Returns the place for the bytes of new pictures; nothing for the database. It is the one that
    /// [`Store::open_place`] has opened.
    pub fn current_place(&self) -> Option<BytesPlace> {
        self.places.open.lock().current.clone()
    }

    /// Opens the place for the bytes of pictures that are moved, like [`Store::open_place`].
    ///
    /// # Errors
    /// The errors of [`Store::open_place`].
    pub async fn open_other_place(&self, setting: &BytesSetting) -> Result<Option<BytesPlace>> {
        match ObjectStore::open(setting)? {
            Some(objects) => Ok(Some(self.register_place(objects, setting.to_string()).await?)),
            None => Ok(None),
        }
    }

    /// Returns the numbers and addresses of all places outside the database.
    ///
    /// # Errors
    /// [`StoreError`]: the database does not answer.
    pub async fn place_list(&self) -> Result<Vec<(i64, String)>> {
        let rows = sql("SELECT id, url FROM bytes_place ORDER BY id").rows(self, "list the places").await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Stores the bytes of a picture as an object, unless they go into the database.
    pub(in crate::store) async fn store_object(&self, object: NewObject) -> Result<Option<DurableObject>> {
        let Some(place) = self.current_place() else {
            return Ok(None);
        };
        Ok(place.put_batch(vec![object]).await.pop().transpose()?)
    }

    /// Deletes objects that no row names. One that cannot be deleted is found as an orphan later.
    pub(crate) async fn delete_objects(&self, objects: impl IntoIterator<Item = DurableObject>) {
        let Some(place) = self.current_place() else {
            return;
        };
        let objects = objects.into_iter().filter(|object| object.place == place.id);
        let keys: Vec<_> = objects.map(|object| object.key).collect();
        if !keys.is_empty()
            && let Err(error) = place.objects.delete(&keys).await
        {
            tracing::warn!("delete objects without a row: {:#}", anyhow::Error::from(error));
        }
    }

    /// Returns the number of a place, which is new if the place has no marker yet.
    async fn register_place(&self, objects: ObjectStore, url: String) -> Result<BytesPlace> {
        let id = match objects.marker().await? {
            Some(marker) if marker.store != self.id => return Err(StoreError::ForeignPlace(url)),
            Some(marker) => {
                self.set_place_url(marker.place, &url).await?;
                marker.place
            }
            None => {
                let id = self.new_place(&url).await?;
                objects.set_marker(&PlaceMarker { store: self.id, place: id }).await?;
                id
            }
        };
        objects.probe().await?;
        Ok(BytesPlace { id, objects })
    }

    /// Notes the address of a place that says it has this number.
    async fn set_place_url(&self, id: i64, url: &str) -> Result<()> {
        let same: Option<i64> = sql("SELECT COUNT(*) FROM bytes_place WHERE id = ? AND url = ?")
            .bind((id, url))
            .value(self, "look for a place")
            .await?;
        if same == Some(1) {
            return Ok(());
        }
        self.with_timeout(async {
            let mut tx = self.begin("begin noting a place").await?;
            // A database from before the place was first used does not know it yet.
            sql("DELETE FROM bytes_place WHERE id = ?")
                .bind(id)
                .execute(&mut *tx, "forget the address of a place")
                .await?;
            sql("INSERT INTO bytes_place (id, url) VALUES (?, ?)")
                .bind((id, url))
                .execute(&mut *tx, "note the address of a place")
                .await?;
            tx.commit("commit the address of a place").await
        })
        .await
    }

    /// Returns a number for a place without a marker: a new one, or that of an attempt that was interrupted.
    async fn new_place(&self, url: &str) -> Result<i64> {
        self.with_timeout(async {
            let mut tx = self.begin("begin adding a place").await?;
            let known: Option<i64> = sql("SELECT id FROM bytes_place WHERE url = ?")
                .bind(url)
                .optional_scalar(&mut *tx, "look for a place")
                .await?;
            if let Some(id) = known {
                let used: Option<i64> = sql("SELECT arrival FROM picture WHERE place = ? LIMIT 1")
                    .bind(id)
                    .optional_scalar(&mut *tx, "look for a picture in a place")
                    .await?;
                tx.rollback().await;
                return if used.is_none() {
                    Ok(id)
                } else {
                    Err(StoreError::EmptyPlace(url.to_owned()))
                };
            }
            let id = rand::random_range(1..=NUMBER_MAX);
            sql("INSERT INTO bytes_place (id, url) VALUES (?, ?)")
                .bind((id, url))
                .execute(&mut *tx, "add a place")
                .await?;
            tx.commit("commit a place").await?;
            Ok(id)
        })
        .await
    }

    /// Returns the place with this number, which is opened if need be.
    ///
    /// # Errors
    /// [`StoreError::Objects`] if it cannot be used, [`StoreError::EmptyPlace`] and [`StoreError::ForeignPlace`] if
    /// something else is at its address.
    pub async fn place(&self, id: i64) -> Result<ObjectStore> {
        if let Some(open) = self.places.open.lock().known.get(&id) {
            return Ok(open.clone());
        }
        let row = sql("SELECT url FROM bytes_place WHERE id = ?")
            .bind(id)
            .row(self, "look for a place")
            .await?;
        let row = row.ok_or_else(|| StoreError::Corrupt(format!("a picture in place {id}")))?;
        let url: String = row.get(0);
        let corrupt = |_| StoreError::Corrupt(format!("the place {url}"));
        let setting = BytesSetting::parse(&url, std::path::Path::new("/")).map_err(corrupt)?;
        let objects = ObjectStore::open(&setting)?.ok_or_else(|| corrupt(String::new()))?;
        match objects.marker().await? {
            Some(marker) if marker == (PlaceMarker { store: self.id, place: id }) => {
                self.places.open.lock().known.insert(id, objects.clone());
                Ok(objects)
            }
            Some(_) => Err(StoreError::ForeignPlace(url)),
            None => Err(StoreError::EmptyPlace(url)),
        }
    }
}

impl From<ObjectError> for StoreError {
    fn from(error: ObjectError) -> Self {
        Self::Objects(Box::new(error))
    }
}
