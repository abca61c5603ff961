//! Makes the bytes of pictures durable in their place, before the rows that name them.

use std::time::Duration;

use crate::ingest::operation::IngestOp;
use crate::ingest::worker::IngestWorker;
use crate::store::StoreError;

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
            for operation in &mut *operations {
                if let Some(object) = operation.missing_object() {
                    objects.push(object);
                    waiting.extend(operation.object_mut());
                }
            }
            if waiting.is_empty() {
                return;
            }
            let results = place.put_batch(objects).await;
            let mut failed = None;
            for (object, result) in waiting.into_iter().zip(results) {
                match result {
                    Ok(stored) => *object = Some(stored),
                    Err(error) => failed = Some(StoreError::from(error)),
                }
            }
            let Some(error) = failed else {
                self.backpressure.set_bytes(None);
                return;
            };
            self.backpressure.set_bytes(Some(error.sentence()));
            tracing::error!("store the bytes of pictures: {:#}", anyhow::Error::from(error));
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAIT_MAX);
        }
    }
}
