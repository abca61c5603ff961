//! Table `report`: what cameras say they have on their cards, and what follows for `held` and `want`.

use keepsake_protocol::presence::SpoolInventory;
use keepsake_protocol::ranges::Ranges;
use keepsake_protocol::receipt::ResendRequest;
use keepsake_protocol::{DeviceId, Sequence, SpoolId};
use sqlx::{AnyConnection, Row};

use crate::store::bind::{id, sequence, to_bigint};
use crate::store::commit::fate;
use crate::store::error::{ErrorContext, Result, StoreError};

/// A report this much younger than the highest number heard of knows of that number, microseconds. Below, a picture may
/// have overtaken the status that speaks of it, as they travel in two sessions.
const OVERTAKEN_US: i64 = 10_000_000;

/// A card that has been silent for so long while another speaks in its place was replaced, microseconds.
const REPLACED_US: i64 = 24 * 3600 * 1_000_000;

/// Replaces what `device` has said of its card. Installs it speaks of no more have nothing on it any more.
///
/// `installs`: the first is the current one, which tells the card: a copy in another board may bear the same name, and
/// one card two names, if its camera was renamed. What others have said of theirs stays until they are
/// [`REPLACED_US`] silent.
pub(crate) async fn replace(
    tx: &mut AnyConnection,
    device: &DeviceId,
    installs: &[SpoolInventory],
    now_us: i64,
) -> Result<()> {
    let Some(card) = installs.first().map(|current| current.spool) else {
        return Ok(());
    };
    let known = sqlx::query("SELECT device, card, spool, at_us FROM inventory WHERE device = ? OR card = ?")
        .bind(device.as_str())
        .bind(card.0.as_slice())
        .fetch_all(&mut *tx)
        .await
        .context("read what was said of the card")?;
    for row in &known {
        let (speaker, its_card): (&str, &[u8]) = (row.get(0), row.get(1));
        let install: SpoolId = id(row.get::<&[u8], _>(2), "an install")?;
        let gone = if speaker == device.as_str() && its_card == card.0 {
            installs.iter().all(|held| held.spool != install)
        } else {
            row.get::<i64, _>(3) < now_us.saturating_sub(REPLACED_US)
        };
        if !gone {
            continue;
        }
        sqlx::query(
            "UPDATE inventory SET waiting = '[]', retained = '[]', coarse = 0, at_us = ?, \
             next = (SELECT next FROM spool WHERE spool.spool = inventory.spool) \
             WHERE device = ? AND card = ? AND spool = ?",
        )
        .bind(now_us)
        .bind(speaker)
        .bind(its_card)
        .bind(install.0.as_slice())
        .execute(&mut *tx)
        .await
        .context("note that nothing of an install is on a card")?;
    }
    for held in installs {
        sqlx::query("DELETE FROM inventory WHERE device = ? AND card = ? AND spool = ?")
            .bind(device.as_str())
            .bind(card.0.as_slice())
            .bind(held.spool.0.as_slice())
            .execute(&mut *tx)
            .await
            .context("replace what is on a card")?;
        sqlx::query(
            "INSERT INTO inventory (device, card, spool, next, waiting, retained, coarse, at_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(device.as_str())
        .bind(card.0.as_slice())
        .bind(held.spool.0.as_slice())
        .bind(to_bigint(held.next.get()))
        .bind(json(&held.waiting))
        .bind(json(&held.kept))
        .bind(i64::from(held.coarse))
        .bind(now_us)
        .execute(&mut *tx)
        .await
        .context("note what is on a card")?;
    }
    Ok(())
}

/// How many captures below `next` are on some card and have no fate, and whether that may be too many.
///
/// `next_us`: when `next` was first heard of. `sequences`: how many have any fate.
pub(crate) async fn held(
    connection: &mut AnyConnection,
    install: SpoolId,
    next: Sequence,
    next_us: i64,
    sequences: u64,
) -> Result<(u64, bool)> {
    let rows = sqlx::query("SELECT next, waiting, retained, coarse, at_us FROM inventory WHERE spool = ?")
        .bind(install.0.as_slice())
        .fetch_all(&mut *connection)
        .await
        .context("read what is on the cards")?;
    let mut on_cards: Vec<(Sequence, Sequence)> = Vec::new();
    // Numbers nobody has reported on yet: a press is on the card before its number leaves the camera, so they are held
    // until a report says otherwise.
    let mut reported = Sequence::FIRST;
    let mut coarse = false;
    for row in &rows {
        let said = sequence(row.get(0))?.min(next);
        let knows_all = row.get::<i64, _>(4) > next_us.saturating_add(OVERTAKEN_US);
        reported = reported.max(if knows_all { next } else { said });
        on_cards.extend(ranges(row.get(1))?.iter());
        on_cards.extend(ranges(row.get(2))?.iter());
        coarse |= row.get::<i64, _>(3) != 0;
    }
    if reported < next {
        on_cards.push((reported, Sequence::MAX));
    }
    let on_cards: Ranges = on_cards.into_iter().collect();
    let last = next.get() - 1;
    let mut spans = Vec::new();
    let mut between = Vec::new();
    let mut reached = 1;
    for (first, through) in on_cards.iter() {
        let span = (first.get(), through.get().min(last));
        if span.0 > span.1 {
            continue;
        }
        if reached < span.0 {
            between.push((reached, span.0 - 1));
        }
        reached = span.1 + 1;
        spans.push(span);
    }
    if reached <= last {
        between.push((reached, last));
    }
    let length = |spans: &[(u64, u64)]| spans.iter().map(|(a, z)| z - a + 1).sum::<u64>();
    // Every number with a fate is below `next`. So the fates on the cards may be counted, or those beside them and taken
    // from all: a camera that keeps all it ever sent must not make the store count all of it for each page.
    let known = if length(&spans) <= length(&between) {
        count_all(connection, install, &spans).await?
    } else {
        let beside = count_all(connection, install, &between).await?;
        sequences.saturating_sub(beside)
    };
    let held = length(&spans).saturating_sub(known);
    Ok((held, coarse))
}

async fn count_all(connection: &mut AnyConnection, install: SpoolId, spans: &[(u64, u64)]) -> Result<u64> {
    let mut all = 0;
    for span in spans {
        all += fate::count_within(connection, install, *span).await?;
    }
    Ok(all)
}

/// What cameras keep after a receipt and this store knows nothing of: it has been restored from an older copy.
pub(crate) async fn missing_captures(
    tx: &mut AnyConnection,
    installs: &[SpoolInventory],
    most: usize,
) -> Result<Vec<(SpoolId, Vec<ResendRequest>)>> {
    let mut all = Vec::new();
    let mut left = most;
    for held in installs {
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
                wants.push(ResendRequest {
                    sequence: sequence(to_bigint(number))?,
                    ranges: Vec::new(),
                });
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

fn ranges(json: &str) -> Result<Ranges> {
    serde_json::from_str(json).map_err(|error| StoreError::Corrupt(format!("ranges: {error}")))
}
