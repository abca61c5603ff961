//! `/api/v1/devices/{device}/commands`: sends commands to a camera, and lists their progress.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use keepsake_protocol::DeviceId;
use keepsake_protocol::command::CommandKind;
use serde::{Deserialize, Serialize};

use crate::http::api::dto;
use crate::http::app_state::AppState;
use crate::http::error::{HttpResult, Problem};
use crate::http::form_or_json::FormOrJson;
use crate::now_us;

/// The longest list of commands of one camera.
const LIMIT: u32 = 50;

#[derive(Debug, Deserialize)]
pub(crate) struct CommandRequest {
    command: CommandKind,
}

#[derive(Serialize)]
pub(crate) struct Commands {
    commands: Vec<dto::Command>,
}

/// Sends a command. A page is sent back to the camera's page.
pub(crate) async fn create(
    State(state): State<AppState>,
    Path(device): Path<String>,
    given: FormOrJson<CommandRequest>,
) -> HttpResult<Response> {
    let device = find(&state, &device).await?;
    let command = state.announcer.send_command(&device, given.fields.command).await?;
    if given.is_form {
        return Ok(Redirect::to(&format!("/cameras/{device}")).into_response());
    }
    Ok((StatusCode::ACCEPTED, Json(dto::Command::at(command, now_us()))).into_response())
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
