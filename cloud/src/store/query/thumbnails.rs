//! Table `thumbnail`: the pictures that need one, and the results.

use std::collections::HashSet;

use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::store::address::Address;
use crate::store::bind::from_bigint;
use crate::store::error::Result;
use crate::store::open::Store;
use crate::store::picture::{Picture, Thumbnail};
use crate::store::query::pictures::{read, select};
use crate::store::statement::{Bind, Statement, insert_rows, select_rows, sql, update_rows};

/// The result of decoding one picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedThumbnail {
    pub arrival: i64,
    /// Ready or none.
    pub state: Thumbnail,
    /// JPEG; absent when there is none, or when the picture itself serves as its thumbnail.
    pub jpeg: Option<Vec<u8>>,
    /// The average colour, 0xRRGGBB.
    pub color: Option<u32>,
    /// The bytes do not decode.
    pub damaged: bool,
}

/// The limits of one claim.
#[derive(Debug, Clone, Copy)]
pub struct ClaimLimits {
    pub pictures_max: u32,
    /// The claim ends with the picture that reaches this size, bytes of all its pictures.
    pub bytes_max: u64,
    /// A picture that was claimed this often without a result gets no thumbnail.
    pub attempts_max: u32,
}

impl Store {
    /// Stores finished thumbnails, and claims the pictures that arrived last of those without one, in one transaction.
    ///
    /// A claim counts as an attempt: if decoding a picture kills the program, it is not tried for ever. Such a picture
    /// is not marked as damaged, because the program may have ended for any reason. A picture whose last attempt had no
    /// result is claimed alone, so that it costs no other picture an attempt.
    ///
    /// `unread`: pictures whose bytes could not be read; their attempts do not count.
    pub async fn next_thumbnails(
        &self,
        finished: &[FinishedThumbnail],
        unread: &[i64],
        limits: ClaimLimits,
    ) -> Result<Vec<Picture>> {
        self.with_timeout(async {
            let mut tx = self.begin("begin thumbnails").await?;
            finish(&mut tx, finished).await?;
            update_rows("UPDATE picture SET thumbnail_attempts = ? WHERE arrival IN", 0_u32, unread)
                .execute(&mut tx, "take attempts at thumbnails back")
                .await?;
            // Another connection may be inserting or claiming the newest ones; they are not waited for.
            let lock = match self.connector.address() {
                Address::Folder(_) => "",
                Address::Server(_) => " FOR UPDATE SKIP LOCKED",
            };
            let claimed = claim(&mut tx, lock, limits).await?;
            let attempt = "UPDATE picture SET thumbnail_attempts = thumbnail_attempts + ? WHERE arrival IN";
            update_rows(attempt, 1_u32, &claimed)
                .execute(&mut tx, "note attempts at thumbnails")
                .await?;
            let pictures = read_claimed(&mut tx, &claimed).await?;
            tx.commit("commit thumbnails").await?;
            Ok(pictures)
        })
        .await
    }

    /// Returns the number of pictures that wait for their thumbnail.
    pub async fn pending_thumbnails(&self) -> Result<u64> {
        let pending: Option<i64> = sql(COUNT)
            .bind(Thumbnail::Pending.column())
            .value(self, "count the pictures without a thumbnail")
            .await?;
        Ok(pending.map_or(0, from_bigint))
    }
}

const COUNT: &str = "SELECT COUNT(*) FROM picture WHERE thumbnail = ?";
/// One range of an index, however many pictures wait.
const PENDING: &str =
    "SELECT arrival, bytes, thumbnail_attempts FROM picture WHERE thumbnail = ? ORDER BY arrival DESC LIMIT ?";

/// Stores the results of pictures that still exist.
async fn finish(tx: &mut AnyConnection, finished: &[FinishedThumbnail]) -> Result<()> {
    if finished.is_empty() {
        return Ok(());
    }
    let arrivals: Vec<i64> = finished.iter().map(|one| one.arrival).collect();
    let existing = select_rows("SELECT arrival FROM picture", "arrival = ?", &arrivals, "")
        .fetch_all(&mut *tx, "look for pictures with a new thumbnail")
        .await?;
    let existing: HashSet<i64> = existing.iter().map(|row| row.get(0)).collect();
    let finished: Vec<_> = finished.iter().filter(|one| existing.contains(&one.arrival)).collect();
    let jpegs: Vec<_> = finished.iter().filter_map(|one| Some((one.arrival, one.jpeg.as_deref()?))).collect();
    // Replaces, because the commit of an earlier try may have succeeded although it reported an error.
    insert_rows("REPLACE INTO thumbnail (arrival, bytes)", jpegs)
        .execute(&mut *tx, "store thumbnails")
        .await?;
    if finished.is_empty() {
        return Ok(());
    }
    let whens = |column: &str, end: &str| {
        format!("{column} = CASE arrival{} END{end}", " WHEN ? THEN ?".repeat(finished.len()))
    };
    let (state, damaged, color) = (whens("thumbnail", ", "), whens("damaged", ", "), whens("color", ""));
    let marks = vec!["?"; finished.len()].join(", ");
    let update = format!("UPDATE picture SET {state}{damaged}{color} WHERE arrival IN ({marks})");
    let statement = bind_all(sql(AssertSqlSafe(update)), finished.iter().map(|one| (one.arrival, one.state.column())));
    let statement = bind_all(statement, finished.iter().map(|one| (one.arrival, one.damaged)));
    let statement = bind_all(statement, finished.iter().map(|one| (one.arrival, one.color.map(i64::from))));
    bind_all(statement, finished.iter().map(|one| one.arrival))
        .execute(tx, "note the results of thumbnails")
        .await?;
    Ok(())
}

/// Returns the pictures to decode next, newest first, and gives up on those that were tried too often.
async fn claim(tx: &mut AnyConnection, lock: &str, limits: ClaimLimits) -> Result<Vec<i64>> {
    let statement = format!("{PENDING}{lock}");
    let mut claimed = Vec::new();
    loop {
        let rows = sql(AssertSqlSafe(statement.clone()))
            .bind((Thumbnail::Pending.column(), limits.pictures_max))
            .fetch_all(&mut *tx, "find pictures without a thumbnail")
            .await?;
        let (mut given_up, mut bytes) = (Vec::new(), 0);
        for row in &rows {
            let (arrival, attempts): (i64, i64) = (row.get(0), row.get(2));
            if attempts >= i64::from(limits.attempts_max) {
                given_up.push(arrival);
                continue;
            }
            let alone = attempts > 0;
            if bytes >= limits.bytes_max || (alone && !claimed.is_empty()) {
                break;
            }
            claimed.push(arrival);
            bytes += from_bigint(row.get(1));
            if alone {
                break;
            }
        }
        update_rows("UPDATE picture SET thumbnail = ? WHERE arrival IN", Thumbnail::None.column(), &given_up)
            .execute(tx, "give up on thumbnails")
            .await?;
        if !claimed.is_empty() || given_up.is_empty() {
            return Ok(claimed);
        }
    }
}

async fn read_claimed(tx: &mut AnyConnection, claimed: &[i64]) -> Result<Vec<Picture>> {
    if claimed.is_empty() {
        return Ok(Vec::new());
    }
    let marks = vec!["?"; claimed.len()].join(", ");
    let rows = bind_all(
        select(&format!("WHERE arrival IN ({marks}) ORDER BY arrival DESC")),
        claimed.iter().copied(),
    )
    .fetch_all(tx, "read pictures without a thumbnail")
    .await?;
    rows.iter().map(read).collect()
}

fn bind_all<V: Bind>(statement: Statement, values: impl IntoIterator<Item = V>) -> Statement {
    values.into_iter().fold(statement, Statement::bind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::limits::Limits;

    #[tokio::test]
    async fn pictures_are_claimed_and_counted_by_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Limits::default()).await.unwrap();
        for (statement, expected) in [
            (PENDING, "SEARCH picture USING INDEX picture_thumbnail (thumbnail=?)"),
            (COUNT, "SEARCH picture USING COVERING INDEX picture_thumbnail (thumbnail=?)"),
        ] {
            let explain = format!("EXPLAIN QUERY PLAN {statement}");
            let plan = sqlx::query(AssertSqlSafe(explain))
                .fetch_all(&mut *store.reader().await.unwrap())
                .await
                .unwrap();
            let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
            assert_eq!(plan, [expected]);
        }
    }
}
