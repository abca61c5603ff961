//! `GET /metrics`: for Prometheus.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use keepsake_protocol::status::Presence;

use crate::config::STREAMS_MAX;
use crate::http::app_state::AppState;
use crate::now_us;
use crate::ops::metrics;
use crate::ops::metrics::CONTENT_TYPE;
use crate::store::StoreError;

/// Always answers: that the store is away is one of the things to know.
pub(crate) async fn metrics(State(state): State<AppState>) -> impl IntoResponse {
    let hold = state.backpressure.state();
    let queued = state.queues.iter().map(|queue| queue.depth());
    let (queued_messages, queued_bytes) =
        queued.fold((0, 0), |(messages, bytes), queue| (messages + queue.0, bytes + queue.1));
    let snapshot = metrics::MetricsSnapshot {
        version: env!("CARGO_PKG_VERSION"),
        stored: stored(&state).await.ok(),
        sessions: state
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
        streams: STREAMS_MAX.saturating_sub(state.streams.available_permits()) as u64,
    };
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], state.metrics.render(&snapshot))
}

async fn stored(state: &AppState) -> Result<metrics::StoreFigures, StoreError> {
    let devices = state.store.devices(now_us()).await?;
    Ok(metrics::StoreFigures {
        quarantined: state.store.quarantine_count().await?,
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
