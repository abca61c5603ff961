//! Tables `store_meta` and `counter`: what the store knows about itself, and numbers given out inside a commit.

use keepsake_protocol::StoreId;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::store::bind::id;
use crate::store::error::Result;
use crate::store::statement::{for_update, sql};

/// The id of this store, made on the first call.
pub(super) async fn store_id(connection: &mut AnyConnection) -> Result<StoreId> {
    if let Some(bytes) = get(connection, "store").await? {
        return id(&bytes, "a store id");
    }
    let new: [u8; 16] = rand::random();
    put(connection, "store", &new).await?;
    Ok(StoreId(new))
}

pub(super) async fn get(connection: &mut AnyConnection, name: &'static str) -> Result<Option<Vec<u8>>> {
    let row = sql("SELECT value FROM store_meta WHERE name = ?")
        .bind(name)
        .fetch_optional(connection, "read what the store knows about itself")
        .await?;
    Ok(row.map(|row| row.get(0)))
}

pub(super) async fn put(connection: &mut AnyConnection, name: &'static str, value: &[u8]) -> Result<()> {
    let known = sql("UPDATE store_meta SET value = ? WHERE name = ?")
        .bind((value, name))
        .execute(&mut *connection, "change what the store knows about itself")
        .await?;
    // sqlx has MySQL count the rows it found, as the others do, not the rows it changed.
    if known == 0 {
        sql("INSERT INTO store_meta (name, value) VALUES (?, ?)")
            .bind((name, value))
            .execute(connection, "note what the store knows about itself")
            .await?;
    }
    Ok(())
}

/// The last number of `name` given out, 0 before the first. Nobody else gives one out until the transaction ends.
pub(super) async fn last(tx: &mut AnyConnection, name: &'static str) -> Result<i64> {
    let lock = for_update(tx);
    let last: Option<i64> = sql(AssertSqlSafe(format!("SELECT last FROM counter WHERE name = ?{lock}")))
        .bind(name)
        .optional_scalar(tx, "read a counter")
        .await?;
    Ok(last.unwrap_or(0))
}

/// Notes that numbers of `name` up to `last`, which is above what was noted before, are given out.
pub(super) async fn raise(tx: &mut AnyConnection, name: &'static str, last: i64) -> Result<()> {
    let known = sql("UPDATE counter SET last = ? WHERE name = ?")
        .bind((last, name))
        .execute(&mut *tx, "raise a counter")
        .await?;
    // The number is another one than before, so it is counted whether a database counts rows found or rows changed.
    if known == 0 {
        sql("INSERT INTO counter (last, name) VALUES (?, ?)")
            .bind((last, name))
            .execute(tx, "begin a counter")
            .await?;
    }
    Ok(())
}
