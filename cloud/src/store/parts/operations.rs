//! The operations of the store on parts: a batch, the progress of a capture, and what nobody finishes.

use bytes::Bytes;
use keepsake_protocol::CaptureId;
use keepsake_protocol::codec::CAPTURE_BYTES_MAX;

use crate::ingest::operation::IngestOp;
use crate::objects::NewObject;
use crate::store::error::Result;
use crate::store::open::Store;
use crate::store::parts::{BatchParts, PartOutcome};

impl Store {
    /// Stores the parts among the operations of a batch, and joins the captures that are complete. Together they take
    /// no more memory than the largest capture alone may.
    ///
    /// # Errors
    /// [`crate::store::StoreError::Parts`]: the same batch may simply be committed again.
    pub(in crate::store) async fn put_parts(&self, operations: &[IngestOp], now_us: i64) -> Result<BatchParts> {
        let mut parts = BatchParts::default();
        let mut memory = CAPTURE_BYTES_MAX;
        for (place, operation) in operations.iter().enumerate() {
            if let IngestOp::Capture { device, header, bytes } = operation
                && !header.is_whole()
            {
                let outcome = self.parts.put(device, header, bytes.data.clone(), now_us, memory).await?;
                if let PartOutcome::Whole(whole) | PartOutcome::WrongHash(whole) = &outcome {
                    memory = memory.saturating_sub(whole.len() as u64);
                }
                if let PartOutcome::Whole(whole) = &outcome {
                    let record = &header.capture;
                    let bytes = Bytes::copy_from_slice(whole);
                    let sequence = Some(record.sequence);
                    let object = NewObject::of_picture(device, sequence, record.hash, record.content_type, bytes);
                    if let Some(object) = self.store_object(object).await? {
                        parts.objects.insert(place, object);
                    }
                }
                parts.outcomes.insert(place, outcome);
            }
        }
        Ok(parts)
    }

    /// Returns how many bytes of an unfinished capture are here, and its length.
    pub fn progress(&self, capture: CaptureId) -> Option<(u64, u64)> {
        let index = self.parts.0.index.lock();
        let within = index.within(capture.spool, (capture.sequence, capture.sequence));
        let latest = within.max_by_key(|(_, unfinished)| unfinished.progress_us);
        // Parts that overlap are counted twice.
        latest.map(|(_, unfinished)| (unfinished.bytes().min(unfinished.total), unfinished.total))
    }

    /// Drops unfinished captures that nobody has brought a part of for too long. Returns how many.
    pub async fn drop_stale_parts(&self, now_us: i64) -> usize {
        let age = i64::try_from(self.limits.part_age_max.as_micros()).unwrap_or(i64::MAX);
        let files = self.parts.0.clone();
        let dropping = tokio::task::spawn_blocking(move || {
            let stale = files.index.lock().remove_stale(now_us.saturating_sub(age));
            files.delete(&stale);
            stale.len()
        });
        dropping.await.unwrap_or(0)
    }
}
