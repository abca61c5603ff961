//! `/api/v1/devices/{device}/commands`: asks a camera for something, and tells how far that got.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use keepsake_protocol::DeviceId;
use keepsake_protocol::command::CommandKind;
use serde::{Deserialize, Serialize};

use crate::http::api::dto;
use crate::http::app_state::AppState;
use crate::http::error::{HttpResult, Problem};
use crate::now_us;

/// Commands told of one camera.
const LIMIT: u32 = 50;

#[derive(Debug, Deserialize)]
struct CommandRequest {
    command: CommandKind,
}

#[derive(Serialize)]
pub(crate) struct Commands {
    commands: Vec<dto::Command>,
}

/// Takes JSON, and the form of a page without JavaScript, which is sent back to the camera's page.
pub(crate) async fn create(
    State(state): State<AppState>,
    Path(device): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> HttpResult<Response> {
    let device = find(&state, &device).await?;
    // curl calls everything a form unless told otherwise, so a body that looks like JSON is taken for that.
    let is_form = body.first() != Some(&b'{')
        && headers
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let asked = if is_form {
        let fields = std::str::from_utf8(&body).unwrap_or("").split('&');
        let named = fields.filter_map(|field| field.strip_prefix("command=")).next();
        serde_json::from_value(serde_json::json!({ "command": named }))
    } else {
        serde_json::from_slice(&body)
    };
    let CommandRequest { command } = asked.map_err(|_| {
        Problem::bad_request("Expected {\"command\": \"snap\"}, or \"identify\", \"restart\" or \"diagnostics\".")
    })?;
    let noted = state.announcer.send_command(&device, command).await?;
    if is_form {
        return Ok(Redirect::to(&format!("/cameras/{device}")).into_response());
    }
    let told = dto::Command::at(noted, now_us());
    Ok((StatusCode::ACCEPTED, Json(told)).into_response())
}

pub(crate) async fn list(State(state): State<AppState>, Path(device): Path<String>) -> HttpResult<Json<Commands>> {
    let device = find(&state, &device).await?;
    let now_us = now_us();
    let commands = state.store.commands(&device, LIMIT).await?;
    Ok(Json(Commands {
        commands: commands.into_iter().map(|command| dto::Command::at(command, now_us)).collect(),
    }))
}

async fn find(state: &AppState, device: &str) -> HttpResult<DeviceId> {
    let device: DeviceId = device.parse().map_err(|_| Problem::not_found("such camera"))?;
    let known = state.store.device(&device, now_us()).await?;
    known.map(|_| device).ok_or_else(|| Problem::not_found("such camera"))
}
