//! Table `upload_dedup`: the pictures a camera without numbers has sent recently, so that the same one brought again by
//! the broker is told from a new one. It remembers a picture that was deleted meanwhile, too.

use std::collections::{BTreeSet, HashMap};

use keepsake_protocol::{DeviceId, Hash};
use sqlx::{AnyConnection, Row};

use crate::store::bind::id;
use crate::store::error::{Result, StoreError};
use crate::store::statement::{insert_rows, select_rows, sql};

/// A broker that brings a message again does so within this, or it is a new one: microseconds.
const RECENT_US: i64 = 24 * 3600 * 1_000_000;

/// Returns true if a picture sent at `seen_us` and now is a repeat.
pub(crate) fn is_recent(seen_us: i64, now_us: i64) -> bool {
    seen_us > now_us.saturating_sub(RECENT_US)
}

/// Returns when these cameras sent these pictures last, for those that are remembered.
pub(crate) async fn seen(
    tx: &mut AnyConnection,
    pictures: &[(&DeviceId, Hash)],
) -> Result<HashMap<(DeviceId, Hash), i64>> {
    let rows = select_rows(SEEN, SEEN_ONE, pictures, "").fetch_all(tx, "look for uploads").await?;
    rows.iter()
        .map(|row| {
            let device: String = row.get(0);
            let device = device.parse().map_err(|_| StoreError::Corrupt("an upload of an odd camera".to_owned()))?;
            Ok(((device, id(row.get::<&[u8], _>(1), "a hash")?), row.get(2)))
        })
        .collect()
}

/// Notes that cameras have sent pictures now, and forgets what they sent more than a day ago.
pub(crate) async fn remember(tx: &mut AnyConnection, pictures: BTreeSet<(&DeviceId, Hash)>, now_us: i64) -> Result<()> {
    let devices: BTreeSet<&DeviceId> = pictures.iter().map(|(device, _)| *device).collect();
    for device in devices {
        sql(FORGET)
            .bind((device, now_us.saturating_sub(RECENT_US)))
            .execute(&mut *tx, "forget old uploads")
            .await?;
    }
    let rows = pictures.into_iter().map(|(device, hash)| (device, hash, now_us));
    insert_rows("REPLACE INTO upload_dedup (device, hash, seen_us)", rows)
        .execute(tx, "note uploads")
        .await
}

const SEEN: &str = "SELECT device, hash, seen_us FROM upload_dedup";
const SEEN_ONE: &str = "(device = ? AND hash = ?)";
const FORGET: &str = "DELETE FROM upload_dedup WHERE device = ? AND seen_us <= ?";

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
            (
                format!("{SEEN} WHERE {SEEN_ONE}"),
                "SEARCH upload_dedup USING PRIMARY KEY (device=? AND hash=?)",
            ),
            (FORGET.to_owned(), "USING COVERING INDEX upload_dedup_seen (device=? AND seen_us<?)"),
        ] {
            let plan = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")))
                .bind("porch")
                .bind(1)
                .fetch_one(&mut *store.reader().await.unwrap())
                .await
                .unwrap();
            let plan: String = plan.get("detail");
            assert!(plan.contains(uses), "{plan}");
        }
    }
}
