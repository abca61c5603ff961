//! Makes the bytes of pictures durable in their place, before the rows that name them.

use std::time::Duration;

use crate::ingest::operation::IngestOp;
use crate::ingest::worker::IngestWorker;
use crate::objects::DurableObject;

const WAIT_MIN: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(10);

impl IngestWorker {
    /// Stores the bytes of all whole pictures that are not in an object yet, however long it takes. Objects too old to be
    /// committed are stored again, with new keys.
    pub(super) async fn store_bytes(&self, operations: &mut [IngestOp]) {
        let Some(place) = self.store.current_place() else {
            return;
        };
        let mut wait = WAIT_MIN;
        loop {
            let (mut waiting, mut objects) = (Vec::new(), Vec::new());
            for (object, bytes) in operations.iter_mut().filter_map(IngestOp::picture_bytes) {
                if !bytes.object.as_ref().is_some_and(DurableObject::is_recent) {
                    objects.push(object);
                    waiting.push(bytes);
                }
            }
            if waiting.is_empty() {
                return;
            }
            let results = place.put_batch(objects).await;
            let mut failed = None;
            for (bytes, result) in waiting.into_iter().zip(results) {
                match result {
                    Ok(object) => bytes.object = Some(object),
                    Err(error) => failed = Some(error),
                }
            }
            let Some(error) = failed else {
                self.backpressure.set_bytes(None);
                return;
            };
            let reason = if error.is_full() {
                "the cloud has no room left for pictures"
            } else {
                "the cloud's place for pictures does not take any"
            };
            self.backpressure.set_bytes(Some(reason.to_owned()));
            tracing::error!("store the bytes of pictures: {:#}", anyhow::Error::from(error));
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAIT_MAX);
        }
    }
}
