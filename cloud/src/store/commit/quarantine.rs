//! Table `quarantine`: messages that are not what they say, with the reason, bounded per camera.

use serde::Serialize;
use sqlx::{AnyConnection, Row};

use crate::ingest::operation::QuarantineEntry;
use crate::store::bind::from_bigint;
use crate::store::error::Result;
use crate::store::limits::BATCH_MESSAGES_MAX;
use crate::store::limits::Limits;
use crate::store::open::Store;
use crate::store::paginate::paginate;
use crate::store::statement::sql;
use keepsake_protocol::Hash;

/// One message in quarantine, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuarantinedMessage {
    /// Empty where the topic named none.
    pub device: String,
    /// SHA-256 of the message, hex.
    pub hash: String,
    pub topic: String,
    pub reason: String,
    /// Length of the message, bytes.
    #[serde(rename = "bytes")]
    pub size: u64,
    /// The number of times that exactly this message came.
    pub times: u64,
    /// Microseconds UTC.
    pub first_us: i64,
    pub last_us: i64,
}

/// Limit of the characters of a topic and a reason that are kept.
const TEXT_MAX: usize = 500;

/// Keeps a message and its reason; the same message again is only counted.
pub(crate) async fn insert(
    tx: &mut AnyConnection,
    suspect: &QuarantineEntry,
    now_us: i64,
    limits: &Limits,
) -> Result<()> {
    let device = suspect.device.as_ref().map_or("", |device| device.as_str());
    let known: Option<i64> = sql("SELECT times FROM quarantine WHERE device = ? AND hash = ?")
        .bind((device, suspect.hash))
        .optional_scalar(&mut *tx, "look into the quarantine")
        .await?;
    if known.is_some() {
        sql(
            "UPDATE quarantine SET times = times + 1, last_us = ?, topic = ?, reason = ? WHERE device = ? AND hash = ?",
        )
        .bind((now_us, text(&suspect.topic), text(&suspect.reason), device, suspect.hash))
        .execute(tx, "count a message in quarantine")
        .await?;
        return Ok(());
    }
    let kept = suspect.bytes.len().min(limits.quarantine_message_bytes_max);
    sql(
        "INSERT INTO quarantine (device, hash, topic, reason, size, stored_bytes, times, first_us, last_us, bytes) \
         VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?)",
    )
    .bind((
        device,
        suspect.hash,
        text(&suspect.topic),
        text(&suspect.reason),
        suspect.bytes.len() as u64,
        kept as u64,
        now_us,
        now_us,
        &suspect.bytes[..kept],
    ))
    .execute(&mut *tx, "put a message into quarantine")
    .await?;
    make_room(tx, device, limits).await
}

/// Drops the messages that came longest ago until the camera, and all of them together, are within the limits.
async fn make_room(tx: &mut AnyConnection, device: &str, limits: &Limits) -> Result<()> {
    let rows = sql("SELECT hash, stored_bytes FROM quarantine WHERE device = ? ORDER BY last_us DESC, first_us DESC")
        .bind(device)
        .fetch_all(&mut *tx, "measure the quarantine of a camera")
        .await?;
    let mut bytes = 0;
    for (at, row) in rows.iter().enumerate() {
        bytes += from_bigint(row.get(1));
        // The newest stays whatever it weighs: it is what someone looks for.
        let room = at == 0 || ((at as u64) < limits.quarantine_rows_max && bytes <= limits.quarantine_bytes_max);
        if !room {
            sql("DELETE FROM quarantine WHERE device = ? AND hash = ?")
                .bind((device, row.get::<&[u8], _>(0)))
                .execute(&mut *tx, "drop a message from quarantine")
                .await?;
        }
    }
    let oldest: Option<i64> = sql("SELECT last_us FROM quarantine ORDER BY last_us DESC LIMIT 1 OFFSET ?")
        .bind(limits.quarantine_all_rows_max)
        .optional_scalar(&mut *tx, "measure the quarantine")
        .await?;
    if let Some(oldest) = oldest {
        sql("DELETE FROM quarantine WHERE last_us <= ?")
            .bind(oldest)
            .execute(tx, "drop old messages from quarantine")
            .await?;
    }
    Ok(())
}

fn text(text: &str) -> &str {
    let end = text.floor_char_boundary(TEXT_MAX);
    &text[..end]
}

impl Store {
    /// The messages that came last, about `limit` from before the moment `before`, and from which moment to go on. What
    /// came at one moment stays on one page, so a page may be longer by a batch.
    pub async fn quarantine(&self, before: Option<i64>, limit: u32) -> Result<(Vec<QuarantinedMessage>, Option<i64>)> {
        let batch = u32::try_from(BATCH_MESSAGES_MAX).unwrap_or(u32::MAX);
        let rows = sql("SELECT device, hash, topic, reason, size, times, first_us, last_us FROM quarantine \
             WHERE last_us < ? ORDER BY last_us DESC LIMIT ?")
        .bind((before.unwrap_or(i64::MAX), limit.saturating_add(batch)))
        .rows(self, "list the quarantine")
        .await?;
        let rows = rows.iter().map(|row| QuarantinedMessage {
            device: row.get(0),
            hash: hex::encode(row.get::<&[u8], _>(1)),
            topic: row.get(2),
            reason: row.get(3),
            size: from_bigint(row.get(4)),
            times: from_bigint(row.get(5)),
            first_us: row.get(6),
            last_us: row.get(7),
        });
        Ok(paginate(rows.collect(), limit, |row| row.last_us))
    }

    /// The first bytes of one message.
    pub async fn quarantined_bytes(&self, device: &str, hash: Hash) -> Result<Option<Vec<u8>>> {
        sql("SELECT bytes FROM quarantine WHERE device = ? AND hash = ?")
            .bind((device, hash))
            .value(self, "read a message in quarantine")
            .await
    }

    /// Deletes one message. Returns true if it existed.
    pub async fn delete_quarantined(&self, device: &str, hash: Hash) -> Result<bool> {
        let deleted = sql("DELETE FROM quarantine WHERE device = ? AND hash = ?")
            .bind((device, hash))
            .commit(self, "delete a message from quarantine")
            .await?;
        Ok(deleted > 0)
    }

    /// Returns the number of messages in quarantine.
    pub async fn quarantine_count(&self) -> Result<u64> {
        let count = sql("SELECT COUNT(*) FROM quarantine").value(self, "count the quarantine").await?;
        Ok(count.map_or(0, from_bigint))
    }
}
