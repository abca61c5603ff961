//! Table `inventory`: the captures that cameras report to have on their cards, and those to ask for.

use keepsake_protocol::inventory::Inventory;
use keepsake_protocol::ranges::Ranges;
use keepsake_protocol::receipt::ResendRequest;
use keepsake_protocol::status::SpoolInventory;
use keepsake_protocol::{DeviceId, HashPrefix, Sequence, SpoolId};
use sqlx::{AnyConnection, Row};

use crate::store::bind::{id, sequence, to_bigint};
use crate::store::commit::{fate, tombstone};
use crate::store::error::Result;
use crate::store::parts::Parts;
use crate::store::statement::sql;

/// A card that has been silent for so long while another speaks in its place was replaced, microseconds.
const REPLACED_US: i64 = 24 * 3600 * 1_000_000;

/// Replaces what `device` has said of its card. Spools it speaks of no more have nothing on it any more.
///
/// `spools`: the first is the current one, which tells the card: a copy in another board may bear the same name, and
/// one card two names, if its camera was renamed. What others have said of theirs stays until they are
/// [`REPLACED_US`] silent.
pub(crate) async fn replace(
    tx: &mut AnyConnection,
    device: &DeviceId,
    spools: &[SpoolInventory],
    now_us: i64,
) -> Result<()> {
    let Some(card) = spools.first().map(|current| current.spool) else {
        return Ok(());
    };
    let known = sql("SELECT device, card, spool, at_us FROM inventory WHERE device = ? OR card = ?")
        .bind((device, card))
        .fetch_all(&mut *tx, "read what was said of the card")
        .await?;
    for row in &known {
        let (speaker, its_card): (&str, &[u8]) = (row.get(0), row.get(1));
        let spool: SpoolId = id(row.get::<&[u8], _>(2), "a spool")?;
        let gone = if speaker == device.as_str() && its_card == card.0 {
            spools.iter().all(|held| held.spool != spool)
        } else {
            row.get::<i64, _>(3) < now_us.saturating_sub(REPLACED_US)
        };
        if !gone {
            continue;
        }
        sql("UPDATE inventory SET waiting = '[]', retained = '[]', coarse = 0, at_us = ?, \
             next = (SELECT next FROM spool WHERE spool.spool = inventory.spool) \
             WHERE device = ? AND card = ? AND spool = ?")
        .bind((now_us, speaker, its_card, spool))
        .execute(&mut *tx, "note that nothing of a spool is on a card")
        .await?;
    }
    for held in spools {
        sql("DELETE FROM inventory WHERE device = ? AND card = ? AND spool = ?")
            .bind((device, card, held.spool))
            .execute(&mut *tx, "replace what is on a card")
            .await?;
        sql("INSERT INTO inventory (device, card, spool, next, waiting, retained, coarse, at_us) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
        .bind((
            device,
            card,
            held.spool,
            held.next,
            json(&held.waiting),
            json(&held.kept),
            held.coarse,
            now_us,
        ))
        .execute(&mut *tx, "note what is on a card")
        .await?;
    }
    Ok(())
}

/// Returns the captures of an inventory page that are here, and the missing bytes of the unfinished ones.
pub(crate) async fn answer_inventory(
    tx: &mut AnyConnection,
    parts: &Parts,
    have: &Inventory,
) -> Result<(Vec<(Sequence, HashPrefix)>, Vec<ResendRequest>)> {
    /// Captures this close together are looked up by one query.
    const WINDOW: u64 = 2000;
    let mut asked = have.captures.clone();
    asked.sort_unstable();
    asked.dedup();
    let mut stored = Vec::new();
    let mut want = Vec::new();
    for window in asked.chunk_by(|a, b| b.0.get() / WINDOW == a.0.get() / WINDOW) {
        let (Some(first), Some(last)) = (window.first(), window.last()) else {
            continue;
        };
        let span = (first.0, last.0);
        let mut known = fate::settled(tx, have.spool, span).await?;
        known.extend(tombstone::within(tx, have.spool, span).await?);
        known.sort_unstable();
        let unfinished = parts.unfinished(have.spool, span);
        for entry in window {
            if known.binary_search(entry).is_ok() {
                stored.push(*entry);
            } else if let Some(missing) = unfinished.iter().find(|missing| missing.capture == *entry) {
                want.push(ResendRequest { sequence: entry.0, ranges: missing.ranges.clone() });
            }
        }
    }
    Ok((stored, want))
}

/// Returns the captures that cameras retain and that this store does not know, because it was restored from a backup.
pub(crate) async fn missing_captures(
    tx: &mut AnyConnection,
    spools: &[SpoolInventory],
    most: usize,
) -> Result<Vec<(SpoolId, Vec<ResendRequest>)>> {
    let mut all = Vec::new();
    let mut left = most;
    for held in spools {
        let mut wants = Vec::new();
        for (first, last) in held.kept.iter() {
            if left == 0 {
                break;
            }
            let span = (first.get(), last.get());
            // Coarse ranges name captures that the card does not have. Asking for other ones each time keeps those
            // from standing in the way of the real ones for ever.
            let look = if held.coarse { left * 8 } else { left };
            let mut missing = fate::without_fate(tx, held.spool, span, look).await?;
            if missing.len() > left {
                let skip = rand::random_range(0..=missing.len() - left);
                missing.drain(..skip);
                missing.truncate(left);
            }
            left -= missing.len();
            for number in missing {
                wants.push(ResendRequest { sequence: sequence(to_bigint(number))?, ranges: Vec::new() });
            }
        }
        if !wants.is_empty() {
            all.push((held.spool, wants));
        }
    }
    Ok(all)
}

fn json(ranges: &Ranges) -> String {
    serde_json::to_string(ranges).expect("ranges are a list of pairs of numbers")
}
