//! `GET /api/v1/devices`.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::error::Answer;
use super::{Site, json};
use crate::now_us;

#[derive(Serialize)]
pub(super) struct Devices {
    devices: Vec<json::Device>,
}

pub(super) async fn list(State(site): State<Site>) -> Answer<Json<Devices>> {
    let devices = site.store.devices(now_us()).await?;
    Ok(Json(Devices {
        devices: devices.into_iter().map(json::Device::from).collect(),
    }))
}
