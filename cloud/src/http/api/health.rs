//! The health of the cloud: alive, ready, and why uploads are paused.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use keepsake_protocol::StoreId;
use serde::Serialize;

use crate::http::app_state::AppState;
use crate::http::error::HttpResult;

#[derive(Serialize)]
pub(crate) struct Alive {
    alive: bool,
}

#[derive(Serialize)]
pub(crate) struct Readiness {
    ready: bool,
    /// Plain sentences; empty when ready.
    reasons: Vec<String>,
    /// Problems of the database or an external broker with which the cloud still works.
    warnings: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct System {
    store: StoreId,
    version: &'static str,
    /// Version of the wire protocol.
    protocol: &'static str,
    /// The reason why uploads are paused.
    hold: Option<String>,
    /// Unsafe conditions that the configuration allows.
    warnings: Vec<String>,
    free_bytes: Option<u64>,
    quarantined: u64,
    /// Pictures that wait for their thumbnail.
    thumbnails_pending: u64,
    capture_bytes_max: u64,
}

/// The process answers; whether it can work is another question.
pub(crate) async fn alive() -> Json<Alive> {
    Json(Alive { alive: true })
}

pub(crate) async fn ready(State(state): State<AppState>) -> (StatusCode, Json<Readiness>) {
    let hold = state.backpressure.state();
    let mut reasons: Vec<String> = [hold.store, hold.space, hold.room].into_iter().flatten().collect();
    for session in &state.sessions {
        let health = session.health().borrow().clone();
        if !health.connected {
            let why = health.trouble.map_or_else(String::new, |why| format!(": {why}"));
            let name = session.name();
            reasons.push(format!("the session {name} has no connection to the broker{why}"));
        }
    }
    if state.store.quarantine_count().await.is_err() {
        reasons.push("the database cannot be read".to_owned());
    }
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let ready = reasons.is_empty();
    let readiness = Readiness { ready, reasons, warnings: warnings(&state) };
    (status, Json(readiness))
}

pub(crate) async fn system(State(state): State<AppState>) -> HttpResult<Json<System>> {
    let hold = state.backpressure.state();
    Ok(Json(System {
        store: state.store.id(),
        version: env!("CARGO_PKG_VERSION"),
        protocol: keepsake_protocol::topic::ROOT,
        hold: hold.reason().map(str::to_owned),
        warnings: warnings(&state),
        free_bytes: hold.free_bytes,
        quarantined: state.store.quarantine_count().await?,
        thumbnails_pending: state.metrics.pending_thumbnails(),
        capture_bytes_max: state.config.capture_bytes_max,
    }))
}

fn warnings(state: &AppState) -> Vec<String> {
    let mut warnings = state.store.weaknesses();
    warnings.extend(state.broker_warnings.borrow().iter().cloned());
    warnings
}
