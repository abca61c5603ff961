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
    /// What works although it is not as it should be: the database, or the limits of a broker elsewhere.
    warnings: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct System {
    store: StoreId,
    version: &'static str,
    /// Version of the wire protocol.
    protocol: &'static str,
    /// Why nothing is taken at the moment.
    hold: Option<String>,
    /// What was accepted although it is not as it should be.
    warnings: Vec<String>,
    free_bytes: Option<u64>,
    quarantined: u64,
    capture_bytes_max: u64,
}

/// The process answers; whether it can work is another question.
pub(crate) async fn alive() -> Json<Alive> {
    Json(Alive { alive: true })
}

pub(crate) async fn ready(State(site): State<AppState>) -> (StatusCode, Json<Readiness>) {
    let hold = site.backpressure.state();
    let mut reasons: Vec<String> = [hold.store, hold.space, hold.room].into_iter().flatten().collect();
    for session in &site.sessions {
        let health = session.health().borrow().clone();
        if !health.connected {
            let why = health.trouble.map_or_else(String::new, |why| format!(": {why}"));
            let name = session.name();
            reasons.push(format!("the session {name} has no connection to the broker{why}"));
        }
    }
    if site.store.quarantine_count().await.is_err() {
        reasons.push("the database cannot be read".to_owned());
    }
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let ready = reasons.is_empty();
    let readiness = Readiness { ready, reasons, warnings: warnings(&site) };
    (status, Json(readiness))
}

pub(crate) async fn system(State(site): State<AppState>) -> HttpResult<Json<System>> {
    let hold = site.backpressure.state();
    Ok(Json(System {
        store: site.store.id(),
        version: env!("CARGO_PKG_VERSION"),
        protocol: keepsake_protocol::topic::ROOT,
        hold: hold.reason().map(str::to_owned),
        warnings: warnings(&site),
        free_bytes: hold.free_bytes,
        quarantined: site.store.quarantine_count().await?,
        capture_bytes_max: site.config.capture_bytes_max,
    }))
}

fn warnings(site: &AppState) -> Vec<String> {
    let mut warnings = site.store.weaknesses();
    warnings.extend(site.broker_warnings.borrow().iter().cloned());
    warnings
}
