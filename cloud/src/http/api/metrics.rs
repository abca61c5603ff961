//! `GET /metrics`: for Prometheus.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use keepsake_protocol::presence::Presence;

use crate::config::STREAMS_MAX;
use crate::http::app_state::AppState;
use crate::now_us;
use crate::ops::metrics;
use crate::ops::metrics::CONTENT_TYPE;
use crate::store::StoreError;

/// Always answers: that the store is away is one of the things to know.
pub(crate) async fn metrics(State(site): State<AppState>) -> impl IntoResponse {
    let hold = site.backpressure.state();
    let queued = site.queues.iter().map(|queue| queue.depth());
    let (queued_messages, queued_bytes) =
        queued.fold((0, 0), |(messages, bytes), queue| (messages + queue.0, bytes + queue.1));
    let state = metrics::MetricsSnapshot {
        version: env!("CARGO_PKG_VERSION"),
        stored: stored(&site).await.ok(),
        sessions: site
            .sessions
            .iter()
            .map(|session| {
                let connected = session.health().borrow().connected;
                (session.name().to_owned(), connected)
            })
            .collect(),
        held_by_store: hold.store.is_some(),
        held_by_space: hold.space.is_some() || hold.room.is_some(),
        free_bytes: hold.free_bytes,
        queued_messages,
        queued_bytes,
        streams: STREAMS_MAX.saturating_sub(site.streams.available_permits()) as u64,
    };
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], site.metrics.render(&state))
}

async fn stored(site: &AppState) -> Result<metrics::StoreFigures, StoreError> {
    let devices = site.store.devices(now_us()).await?;
    Ok(metrics::StoreFigures {
        quarantined: site.store.quarantine_count().await?,
        cameras: devices
            .into_iter()
            .map(|device| {
                let queue = device.status.map(|status| status.queue).unwrap_or_default();
                metrics::CameraFigures {
                    name: device.id.to_string(),
                    online: device.presence == Presence::Online,
                    counters: device.counters,
                    waiting: queue.waiting,
                    waiting_bytes: queue.waiting_bytes,
                }
            })
            .collect(),
    })
}
