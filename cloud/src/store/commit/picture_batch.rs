//! Stores the pictures of one transaction together: a statement handles many rows, since a round trip to the database
//! for each picture takes longer than everything else.

use std::collections::{BTreeSet, HashMap};

use keepsake_protocol::capture::FrameHeader;
use keepsake_protocol::{CaptureId, DeviceId, Hash};
use sqlx::AnyConnection;

use crate::objects::DurableObject;
use crate::store::bind::Key;
use crate::store::commit::fate::{Fates, PriorFate};
use crate::store::commit::spool::SpoolRows;
use crate::store::commit::totals::BatchTotals;
use crate::store::commit::upload::Upload;
use crate::store::commit::{capture_order, picture, upload_dedup};
use crate::store::error::Result;
use crate::store::picture::Picture;

/// A whole picture whose hash is correct.
#[derive(Debug)]
pub(crate) struct NewPicture<'a> {
    pub(crate) device: &'a DeviceId,
    pub(crate) hash: Hash,
    pub(crate) bytes: &'a [u8],
    /// The object that has the bytes, durable; absent if they go into the database.
    pub(crate) object: Option<&'a DurableObject>,
    pub(crate) number: Number<'a>,
}

/// The number of a picture.
#[derive(Debug)]
pub(crate) enum Number<'a> {
    /// Its camera gave it one.
    OfCamera(&'a FrameHeader),
    /// The cloud gives it one.
    OfCloud { upload: Upload, dedup: Dedup },
}

/// The check that a picture without a number was not sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dedup {
    /// Every request is a new picture.
    Never,
    /// It is new, and remembered for later ones.
    Remember,
    /// It is a repeat if the camera has sent the same within a day.
    Check,
}

/// Stores pictures: rows, bytes, fates and counters. Returns the stored pictures; nothing for a repeat (P3).
pub(crate) async fn insert(
    tx: &mut AnyConnection,
    totals: &mut BatchTotals,
    incoming: &[NewPicture<'_>],
    now_us: i64,
) -> Result<Vec<Option<Picture>>> {
    let mut spools = lock_spools(tx, incoming).await?;
    let headers = number(tx, &mut spools, incoming, now_us).await?;
    let captures: BTreeSet<CaptureId> = headers.iter().flatten().map(|header| header.capture.id()).collect();
    let captures: Vec<CaptureId> = captures.into_iter().collect();
    let mut fates = Fates::read(tx, &captures).await?;

    let mut new = Vec::new();
    let mut new_bytes = Vec::new();
    let mut is_new = Vec::with_capacity(incoming.len());
    for (incoming, header) in incoming.iter().zip(headers) {
        let Some(header) = header else {
            is_new.push(false);
            continue;
        };
        let fate = fates.mark_stored(Key::of(&header.capture), &mut spools);
        is_new.push(fate != PriorFate::Settled);
        let PriorFate::New { conflict } = fate else {
            continue;
        };
        let damaged = match &incoming.number {
            Number::OfCamera(_) => false,
            Number::OfCloud { upload, .. } => upload.damaged,
        };
        let arrival = totals.arrival(tx, incoming.device).await?;
        let mut picture = Picture::stored(arrival, incoming.device, header, now_us, damaged);
        picture.conflict = conflict;
        new.push(picture);
        new_bytes.push(match incoming.object {
            Some(object) => picture::Bytes::Object(object),
            None => picture::Bytes::Row(incoming.bytes),
        });
    }
    capture_order::place(tx, &mut new).await?;
    fates.write(tx).await?;
    spools.write(tx).await?;
    picture::insert(tx, &new, &new_bytes).await?;
    let mut new = new.into_iter();
    Ok(is_new.into_iter().map(|is_new| is_new.then(|| new.next()).flatten()).collect())
}

async fn lock_spools(tx: &mut AnyConnection, incoming: &[NewPicture<'_>]) -> Result<SpoolRows> {
    let mut spools = Vec::new();
    let mut uploaders = BTreeSet::new();
    for picture in incoming {
        match &picture.number {
            Number::OfCamera(header) => spools.push(header.capture.spool),
            Number::OfCloud { .. } => {
                uploaders.insert(picture.device);
            }
        }
    }
    let mut spools = SpoolRows::lock(tx, spools).await?;
    let uploaders: Vec<&DeviceId> = uploaders.into_iter().collect();
    spools.lock_uploads(tx, &uploaders).await?;
    Ok(spools)
}

/// Returns the headers of the pictures, with numbers for those that have none; nothing for a repeat of an upload.
async fn number(
    tx: &mut AnyConnection,
    spools: &mut SpoolRows,
    incoming: &[NewPicture<'_>],
    now_us: i64,
) -> Result<Vec<Option<FrameHeader>>> {
    let mut suspects = Vec::new();
    let mut remembered = BTreeSet::new();
    for picture in incoming {
        let Number::OfCloud { dedup, .. } = picture.number else {
            continue;
        };
        if dedup == Dedup::Check {
            suspects.push((picture.device, picture.hash));
        }
        if dedup != Dedup::Never {
            remembered.insert((picture.device, picture.hash));
        }
    }
    let mut recent: HashMap<(DeviceId, Hash), i64> = upload_dedup::seen(tx, &suspects).await?;
    let mut headers = Vec::with_capacity(incoming.len());
    for picture in incoming {
        let (upload, dedup) = match &picture.number {
            Number::OfCamera(header) => {
                let record = &header.capture;
                spools.touch(picture.device, record.spool, record.sequence.next(), now_us);
                headers.push(Some((*header).clone()));
                continue;
            }
            Number::OfCloud { upload, dedup } => (upload, *dedup),
        };
        let key = (picture.device.clone(), picture.hash);
        if dedup == Dedup::Check && recent.get(&key).is_some_and(|seen_us| upload_dedup::is_recent(*seen_us, now_us)) {
            headers.push(None);
            continue;
        }
        if dedup != Dedup::Never {
            recent.insert(key, now_us);
        }
        let (spool, sequence) = spools.next_upload(picture.device, now_us);
        let total = picture.bytes.len() as u64;
        headers.push(Some(upload.header(spool, sequence, picture.hash, total, now_us)));
    }
    upload_dedup::remember(tx, remembered, now_us).await?;
    Ok(headers)
}
