//! Table `garbage`: objects that no row names any more. The row of the picture goes first, then the object, then its row
//! here, so that whatever interrupts the work is done again and no row is ever without its bytes.

use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::objects::{BytesLocation, ObjectKey};
use crate::store::error::{Result, StoreError};
use crate::store::open::Store;
use crate::store::statement::{Statement, sql};

/// Objects that are deleted at a time.
const DELETED_AT_ONCE: u32 = 500;

/// Notes that nothing names the bytes at this location from this transaction on. Bytes in the database are deleted
/// with their row instead.
pub(in crate::store) async fn add(tx: &mut AnyConnection, location: &BytesLocation, due_us: i64) -> Result<()> {
    if let BytesLocation::Object { place, key } = location {
        sql("INSERT INTO garbage (place, object, due_us) VALUES (?, ?, ?)")
            .bind((*place, key.as_str(), due_us))
            .execute(tx, "note an object that nothing names")
            .await?;
    }
    Ok(())
}

impl Store {
    /// Deletes objects that are due, and returns their number. A place that cannot be used is left for later.
    ///
    /// # Errors
    /// [`StoreError`]: the database does not answer, or no place could be used.
    pub async fn collect_garbage(&self, now_us: i64) -> Result<u64> {
        let places: Vec<i64> = {
            let rows = sql("SELECT DISTINCT place FROM garbage WHERE due_us <= ?").bind(now_us);
            rows.rows(self, "look for objects to delete")
                .await?
                .iter()
                .map(|row| row.get(0))
                .collect()
        };
        let (mut deleted, mut failed) = (0, None);
        for place in places {
            match self.collect_garbage_of(place, now_us).await {
                Ok(number) => deleted += number,
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if deleted == 0 => Err(error),
            _ => Ok(deleted),
        }
    }

    async fn collect_garbage_of(&self, place: i64, now_us: i64) -> Result<u64> {
        let mut deleted = 0;
        loop {
            let rows = sql("SELECT object FROM garbage WHERE place = ? AND due_us <= ? LIMIT ?")
                .bind((place, now_us, DELETED_AT_ONCE))
                .rows(self, "read the objects to delete")
                .await?;
            let keys = rows.iter().map(|row| key(&row.get::<String, _>(0))).collect::<Result<Vec<_>>>()?;
            if keys.is_empty() {
                return Ok(deleted);
            }
            self.place(place).await?.delete(&keys).await?;
            deleted += among("DELETE FROM garbage WHERE place = ? AND object IN", place, &keys)
                .commit(self, "forget deleted objects")
                .await?;
        }
    }

    /// Returns the objects that neither a picture nor `garbage` names: orphans, unless their writer is still at work.
    ///
    /// # Errors
    /// [`StoreError`]: the database does not answer.
    pub async fn unnamed(&self, place: i64, keys: &[ObjectKey]) -> Result<Vec<ObjectKey>> {
        let mut unnamed = Vec::new();
        for keys in keys.chunks(DELETED_AT_ONCE as usize) {
            let mut named = std::collections::HashSet::new();
            for table in [
                "SELECT object FROM picture WHERE place = ? AND object IN",
                "SELECT object FROM garbage WHERE place = ? AND object IN",
            ] {
                let rows = among(table, place, keys).rows(self, "look for the pictures of objects").await?;
                named.extend(rows.iter().map(|row| row.get::<String, _>(0)));
            }
            unnamed.extend(keys.iter().filter(|key| !named.contains(key.as_str())).cloned());
        }
        Ok(unnamed)
    }
}

/// Returns a statement that ends with a list of objects.
fn among(statement: &'static str, place: i64, keys: &[ObjectKey]) -> Statement {
    let marks = vec!["?"; keys.len()].join(", ");
    let statement = sql(AssertSqlSafe(format!("{statement} ({marks})"))).bind(place);
    keys.iter().fold(statement, |statement, key| statement.bind(key.as_str()))
}

/// Reads a key from its column.
pub(in crate::store) fn key(text: &str) -> Result<ObjectKey> {
    text.parse().map_err(|_| StoreError::Corrupt(format!("the object {text}")))
}
