//! Tables `store_meta` and `counter`: what the store knows about itself, and numbers given out inside a commit.

use shared::StoreId;
use sqlx::{AnyConnection, Row};

use super::{Doing, Result, id};

/// The id of this store, made on the first call.
pub(super) async fn store_id(connection: &mut AnyConnection) -> Result<StoreId> {
    if let Some(bytes) = get(connection, "store").await? {
        return id(&bytes, "a store id");
    }
    let new: [u8; 16] = rand::random();
    put(connection, "store", &new).await?;
    Ok(StoreId(new))
}

pub(super) async fn get(
    connection: &mut AnyConnection,
    name: &'static str,
) -> Result<Option<Vec<u8>>> {
    let row = sqlx::query("SELECT value FROM store_meta WHERE name = ?")
        .bind(name)
        .fetch_optional(connection)
        .await
        .doing("read what the store knows about itself")?;
    Ok(row.map(|row| row.get(0)))
}

pub(super) async fn put(
    connection: &mut AnyConnection,
    name: &'static str,
    value: &[u8],
) -> Result<()> {
    if get(connection, name).await?.is_some() {
        sqlx::query("UPDATE store_meta SET value = ? WHERE name = ?")
            .bind(value)
            .bind(name)
            .execute(connection)
            .await
            .doing("change what the store knows about itself")?;
    } else {
        sqlx::query("INSERT INTO store_meta (name, value) VALUES (?, ?)")
            .bind(name)
            .bind(value)
            .execute(connection)
            .await
            .doing("note what the store knows about itself")?;
    }
    Ok(())
}

/// The next number of `name`, 1 the first time. It is taken if the transaction commits, so readers never see a higher
/// number before a lower one.
pub(super) async fn next(tx: &mut AnyConnection, name: &'static str) -> Result<i64> {
    let last: Option<i64> = sqlx::query_scalar("SELECT last FROM counter WHERE name = ?")
        .bind(name)
        .fetch_optional(&mut *tx)
        .await
        .doing("read a counter")?;
    let next = last.unwrap_or(0) + 1;
    let statement = match last {
        Some(_) => sqlx::query("UPDATE counter SET last = ? WHERE name = ?"),
        None => sqlx::query("INSERT INTO counter (last, name) VALUES (?, ?)"),
    };
    statement
        .bind(next)
        .bind(name)
        .execute(tx)
        .await
        .doing("raise a counter")?;
    Ok(next)
}
