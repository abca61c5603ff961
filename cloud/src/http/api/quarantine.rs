//! `/api/v1/quarantine`: messages that could not be parsed or attributed, their first bytes, and their deletion.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use keepsake_protocol::Hash;
use serde::{Deserialize, Serialize};

use crate::http::api::devices::limit;
use crate::http::api::dto;
use crate::http::app_state::AppState;
use crate::http::error::{HttpResult, Problem};

#[derive(Debug, Deserialize)]
pub(crate) struct QuarantineQuery {
    before: Option<i64>,
    limit: Option<u32>,
}

#[derive(Serialize)]
pub(crate) struct Quarantine {
    count: u64,
    quarantine: Vec<dto::Quarantined>,
    /// The moment to go on from, microseconds UTC; absent at the end.
    next: Option<i64>,
}

pub(crate) async fn list(
    State(state): State<AppState>,
    Query(asked): Query<QuarantineQuery>,
) -> HttpResult<Json<Quarantine>> {
    let limit = limit(asked.limit)?;
    // Counted first: a message deleted between the two queries must not make the count smaller than the list.
    let count = state.store.quarantine_count().await?;
    let (rows, next) = state.store.quarantine(asked.before, limit).await?;
    Ok(Json(Quarantine {
        count,
        quarantine: rows.into_iter().map(dto::Quarantined::from).collect(),
        next,
    }))
}

/// Returns the first bytes as they arrived. They can be anything, so a browser must not display them.
pub(crate) async fn bytes(State(state): State<AppState>, Path(id): Path<String>) -> HttpResult<impl IntoResponse> {
    let (device, hash) = split(&id)?;
    let bytes = state.store.quarantined_bytes(device, hash).await?;
    let bytes = bytes.ok_or_else(missing)?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"message.bin\""),
    ];
    Ok((headers, bytes))
}

pub(crate) async fn delete(State(state): State<AppState>, Path(id): Path<String>) -> HttpResult<StatusCode> {
    let (device, hash) = split(&id)?;
    if state.store.delete_quarantined(device, hash).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(missing())
    }
}

/// `{device}.{hash}`, with nothing before the dot where the topic named no camera.
fn split(id: &str) -> HttpResult<(&str, Hash)> {
    let (device, hash) = id.rsplit_once('.').ok_or_else(missing)?;
    Ok((device, hash.parse().map_err(|_| missing())?))
}

fn missing() -> Problem {
    Problem::not_found("such message in quarantine")
}
