//! Table `upload_dedup`: the pictures a camera without numbers has sent recently, so that the same one brought again by
//! the broker is told from a new one. It remembers a picture that was deleted meanwhile, too.

use keepsake_protocol::{DeviceId, Hash};
use sqlx::AnyConnection;

use crate::store::error::Result;
use crate::store::statement::sql;

/// A broker that brings a message again does so within this, or it is a new one: microseconds.
const RECENT_US: i64 = 24 * 3600 * 1_000_000;

/// Returns true if the camera has sent the same picture within a day.
pub(crate) async fn is_repeat(tx: &mut AnyConnection, device: &DeviceId, hash: Hash, now_us: i64) -> Result<bool> {
    Ok(seen(tx, device, hash)
        .await?
        .is_some_and(|seen_us| seen_us > now_us.saturating_sub(RECENT_US)))
}

/// Notes that the camera has sent it now, and forgets what it sent more than a day ago.
pub(crate) async fn remember(tx: &mut AnyConnection, device: &DeviceId, hash: Hash, now_us: i64) -> Result<()> {
    sql("DELETE FROM upload_dedup WHERE device = ? AND seen_us <= ?")
        .bind((device, now_us.saturating_sub(RECENT_US)))
        .execute(&mut *tx, "forget old uploads")
        .await?;
    let statement = match seen(tx, device, hash).await? {
        Some(_) => sql("UPDATE upload_dedup SET seen_us = ? WHERE device = ? AND hash = ?"),
        None => sql("INSERT INTO upload_dedup (seen_us, device, hash) VALUES (?, ?, ?)"),
    };
    statement.bind((now_us, device, hash)).execute(tx, "note an upload").await?;
    Ok(())
}

async fn seen(tx: &mut AnyConnection, device: &DeviceId, hash: Hash) -> Result<Option<i64>> {
    sql(SEEN).bind((device, hash)).optional_scalar(tx, "look for an upload").await
}

const SEEN: &str = "SELECT seen_us FROM upload_dedup WHERE device = ? AND hash = ?";

#[cfg(test)]
mod tests {
    use sqlx::Row;

    use super::*;
    use crate::store::limits::Limits;
    use crate::store::open::Store;

    #[tokio::test]
    async fn a_repeat_is_looked_up_by_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Limits::default()).await.unwrap();
        for (statement, uses) in [
            (SEEN, "SEARCH upload_dedup USING PRIMARY KEY (device=? AND hash=?)"),
            (
                "DELETE FROM upload_dedup WHERE device = ? AND seen_us <= ?",
                "USING COVERING INDEX upload_dedup_seen (device=? AND seen_us<?)",
            ),
        ] {
            let plan = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")))
                .bind("porch")
                .bind(1)
                .fetch_one(&store.readers)
                .await
                .unwrap();
            let plan: String = plan.get("detail");
            assert!(plan.contains(uses), "{plan}");
        }
    }
}
