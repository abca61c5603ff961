//! The answers before the cloud has reached its database: it is alive, but not ready, and why. Cameras keep everything
//! meanwhile.

use axum::Router;
use axum::http::StatusCode;
use axum::routing;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::http::api::health;
use crate::http::error::Problem;
use crate::http::server::{Tls, accept};

/// The Retry-After of every answer, seconds.
const RETRY_AFTER_S: u64 = 5;

/// Answers until it is stopped. `reason`: a plain sentence.
pub async fn wait(listener: &TcpListener, tls: Option<Tls>, reason: watch::Receiver<String>, stop: CancellationToken) {
    let why = reason.clone();
    let unready = move || {
        let reasons = [why.borrow().clone()];
        let body = json!({"ready": false, "reasons": reasons, "warnings": []});
        async move { (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)) }
    };
    let nothing_yet = move || {
        let problem = Problem::store_unavailable(&reason.borrow());
        async move { Problem { retry_after_s: Some(RETRY_AFTER_S), ..problem } }
    };
    let routes = Router::new()
        .route("/healthz", routing::get(health::alive))
        .route("/readyz", routing::get(unready))
        .fallback(nothing_yet);
    accept(listener, tls, routes, stop).await;
}
