//! `GET /api/v1/devices`, one camera, and its events: faults, clock offsets, and why sequences have no picture.

use axum::Json;
use axum::extract::{Path, Query, State};
use keepsake_protocol::DeviceId;
use keepsake_protocol::id::IdError;
use serde::{Deserialize, Serialize};

use crate::http::api::dto;
use crate::http::app_state::AppState;
use crate::http::error::{HttpResult, Problem};
use crate::now_us;
use crate::store::{Counters, Device};

const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 500;

#[derive(Serialize)]
pub(crate) struct Devices {
    devices: Vec<dto::Device>,
}

#[derive(Serialize)]
pub(crate) struct Events {
    events: Vec<dto::Event>,
    /// The moment to go on from, microseconds UTC; absent at the end.
    next: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct EventsQuery {
    before: Option<i64>,
    limit: Option<u32>,
}

pub(crate) async fn list(State(state): State<AppState>) -> HttpResult<Json<Devices>> {
    let devices = state.store.devices(now_us()).await?;
    Ok(Json(Devices {
        devices: devices.into_iter().map(dto::Device::from).collect(),
    }))
}

/// The counters over all cameras.
pub(crate) async fn counters(State(state): State<AppState>) -> HttpResult<Json<dto::Totals>> {
    let devices = state.store.devices(now_us()).await?;
    Ok(Json(devices.iter().map(|device| device.counters).sum::<Counters>().into()))
}

pub(crate) async fn one(State(state): State<AppState>, Path(device): Path<String>) -> HttpResult<Json<dto::Device>> {
    Ok(Json(find(&state, &device).await?.into()))
}

pub(crate) async fn events(
    State(state): State<AppState>,
    Path(device): Path<String>,
    Query(asked): Query<EventsQuery>,
) -> HttpResult<Json<Events>> {
    let limit = limit(asked.limit)?;
    let device = find(&state, &device).await?.id;
    let (events, next) = state.store.events(&device, asked.before, limit).await?;
    Ok(Json(Events {
        events: events.into_iter().map(dto::Event::from).collect(),
        next,
    }))
}

pub(crate) fn limit(asked: Option<u32>) -> HttpResult<u32> {
    let limit = asked.unwrap_or(LIMIT_DEFAULT);
    if (1..=LIMIT_MAX).contains(&limit) {
        Ok(limit)
    } else {
        Err(Problem::bad_request(format!("limit is 1 to {LIMIT_MAX}.")))
    }
}

/// Returns the camera with this name.
pub(crate) async fn find(state: &AppState, name: &str) -> HttpResult<Device> {
    let missing = || Problem::not_found("camera with that name");
    let device: DeviceId = name.parse().map_err(|_| missing())?;
    state.store.device(&device, now_us()).await?.ok_or_else(missing)
}

/// Parses the camera of a query; an empty name is no filter.
pub(crate) fn filter(device: Option<&str>) -> HttpResult<Option<DeviceId>> {
    let device = device.filter(|name| !name.is_empty()).map(str::parse).transpose();
    device.map_err(|error: IdError| Problem::bad_request(error.to_string()))
}
