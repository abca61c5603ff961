//! Thumbnails, made after the commit: whatever the bytes are, they are stored, and decoding them may fail, bomb or crash
//! without touching that. The attempt is noted first, so a picture that kills the program is not tried for ever.
//!
//! One transaction stores the thumbnails of a batch and claims the next one; between two of them, the pictures are
//! decoded on a few threads of low priority. So thumbnails keep up with ingest, and ingest goes first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use keepsake_protocol::capture::ContentType;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::ops::event_bus::{ChangeEvent, EventBus};
use crate::ops::metrics::Metrics;
use crate::pictures::drawing::{self, DECODE_BYTES_MAX, Decoded};
use crate::pictures::orientation;
use crate::store::{ClaimLimits, FinishedThumbnail, Picture, Store, StoreError, Thumbnail};

/// One batch: a transaction for 32 pictures costs little more than one for a single picture. It ends early with 16 MiB,
/// so that large pictures do not keep a new one waiting for seconds.
const CLAIM: ClaimLimits = ClaimLimits {
    pictures_max: 32,
    bytes_max: 16 * 1024 * 1024,
    attempts_max: 3,
};
/// The wait for new pictures if no one tells of them.
const IDLE: Duration = Duration::from_secs(60);
/// The wait after the store failed.
const RETRY: Duration = Duration::from_secs(5);
/// The number of pending thumbnails is counted this often while there are some.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// The nice value of decoding threads: everything else goes first.
const NICE: i32 = 15;
const MIB: u64 = 1024 * 1024;

/// Decodes pictures on threads of its own.
#[derive(Debug, Clone)]
pub struct Decoder(Arc<DecoderThreads>);

#[derive(Debug)]
struct DecoderThreads {
    count: usize,
    /// Present until it is dropped. Only its blocking threads are used.
    threads: Option<Runtime>,
    /// MiB of pixels. Together the pictures being decoded take no more than the largest one alone may. The decoder
    /// itself needs up to twice as much again for a progressive JPEG.
    memory: Semaphore,
}

impl Decoder {
    /// Starts no thread before the first picture.
    ///
    /// # Errors
    /// The system has no resources for a runtime.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(threads)
            .thread_name("thumbnail")
            .on_thread_start(lower_priority)
            .build()?;
        Ok(Self(Arc::new(DecoderThreads {
            count: threads,
            threads: Some(runtime),
            memory: Semaphore::new(usize::try_from(DECODE_BYTES_MAX / MIB).unwrap_or(usize::MAX)),
        })))
    }

    /// Makes the thumbnail, off the async threads.
    pub async fn decode(&self, bytes: Vec<u8>, content_type: ContentType) -> Decoded {
        let failed = Decoded { thumbnail: None, damaged: false };
        let _memory = self.0.memory.acquire_many(memory_mib(&bytes, content_type)).await;
        let Some(threads) = &self.0.threads else {
            return failed;
        };
        let decoding = threads.handle().spawn_blocking(move || drawing::decode(&bytes, content_type));
        decoding.await.unwrap_or_else(|error| {
            tracing::warn!("decoding a picture failed badly: {error}");
            // A bug of ours or of a library's proves nothing about the bytes.
            failed
        })
    }
}

impl Drop for DecoderThreads {
    fn drop(&mut self) {
        // An async thread must not wait for the others.
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

/// Returns the MiB of pixels that the header of a picture announces, limited to what is decoded at all.
fn memory_mib(bytes: &[u8], content_type: ContentType) -> u32 {
    let (width, height) = orientation::dimensions(bytes, content_type).unwrap_or((0, 0));
    let pixel_bytes_max = match content_type {
        ContentType::Jpeg => 3,
        ContentType::Png => 8,
    };
    let pixels = u64::from(width) * u64::from(height) * pixel_bytes_max;
    u32::try_from(pixels.clamp(1, DECODE_BYTES_MAX).div_ceil(MIB)).unwrap_or(u32::MAX)
}

fn lower_priority() {
    // The calling thread only: on Linux each thread has its own.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!("lower the priority of a decoding thread: {error}");
    }
}

/// Works through pictures without a thumbnail until it is stopped.
pub async fn run(
    store: Store,
    decoder: Decoder,
    live: EventBus,
    metrics: Metrics,
    wake: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut batch = Batch::default();
    let mut counted: Option<Instant> = None;
    loop {
        let turn = async {
            let claimed = store.next_thumbnails(&batch.finished, &batch.unread, CLAIM).await?;
            let unread = !batch.unread.is_empty();
            metrics.record_thumbnails(batch.finished.len());
            for finished in batch.finished.drain(..) {
                live.publish(ChangeEvent::Picture(finished.arrival));
            }
            if claimed.is_empty() {
                metrics.set_pending_thumbnails(0);
            } else if counted.is_none_or(|at| at.elapsed() >= COUNT_EVERY) {
                counted = Some(Instant::now());
                if let Ok(pending) = store.pending_thumbnails().await {
                    metrics.set_pending_thumbnails(pending);
                }
            }
            let wait = match (claimed.is_empty(), unread) {
                (true, _) => Some(IDLE),
                (false, true) => Some(RETRY),
                (false, false) => None,
            };
            batch = decode_batch(&store, &decoder, claimed).await;
            Ok::<_, StoreError>(wait)
        };
        let turn = tokio::select! {
            () = stop.cancelled() => return,
            turn = turn => turn,
        };
        let wait = turn.unwrap_or_else(|error| {
            tracing::warn!("thumbnails: {:#}", anyhow::Error::from(error));
            Some(RETRY)
        });
        let Some(wait) = wait else {
            continue;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = wake.notified(), if wait == IDLE => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// The results of one claim.
#[derive(Debug, Default)]
struct Batch {
    finished: Vec<FinishedThumbnail>,
    /// Pictures whose bytes could not be read now.
    unread: Vec<i64>,
}

async fn decode_batch(store: &Store, decoder: &Decoder, claimed: Vec<Picture>) -> Batch {
    let mut batch = Batch::default();
    // One more than there are threads is read ahead, so that none of them waits for the store.
    let mut results = stream::iter(claimed)
        .map(|picture| async move { (picture.arrival, make_one(store, decoder, &picture).await) })
        .buffer_unordered(decoder.0.count + 1);
    while let Some((arrival, result)) = results.next().await {
        match result {
            Ok(finished) => batch.finished.push(finished),
            Err(error) => {
                tracing::warn!("read a picture for its thumbnail: {:#}", anyhow::Error::from(error));
                batch.unread.push(arrival);
            }
        }
    }
    batch
}

async fn make_one(store: &Store, decoder: &Decoder, picture: &Picture) -> Result<FinishedThumbnail, StoreError> {
    let Decoded { thumbnail, damaged } = match store.image(picture.arrival).await {
        Ok(bytes) => decoder.decode(bytes.unwrap_or_default(), picture.content_type).await,
        Err(error) if error.is_loss() => {
            tracing::error!("the bytes of picture {}: {:#}", picture.id(), anyhow::Error::from(error));
            Decoded { thumbnail: None, damaged: false }
        }
        Err(error) => return Err(error),
    };
    Ok(FinishedThumbnail {
        arrival: picture.arrival,
        state: if thumbnail.is_some() {
            Thumbnail::Ready
        } else {
            Thumbnail::None
        },
        color: thumbnail.as_ref().map(|thumbnail| thumbnail.color),
        jpeg: thumbnail.and_then(|thumbnail| thumbnail.jpeg),
        damaged,
    })
}
