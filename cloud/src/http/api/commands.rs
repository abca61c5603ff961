//! `/api/v1/devices/{device}/commands`: sends commands to a camera, and lists their progress.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use keepsake_protocol::command::CommandKind;
use serde::{Deserialize, Serialize};

use crate::http::api::{devices, dto};
use crate::http::app_state::AppState;
use crate::http::error::HttpResult;
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
    let device = devices::find(&state, &device).await?.id;
    let command = state.announcer.send_command(&device, given.fields.command).await?;
    if given.is_form {
        return Ok(Redirect::to(&format!("/cameras/{device}")).into_response());
    }
    Ok((StatusCode::ACCEPTED, Json(dto::Command::at(command, now_us()))).into_response())
}

pub(crate) async fn list(State(state): State<AppState>, Path(device): Path<String>) -> HttpResult<Json<Commands>> {
    let device = devices::find(&state, &device).await?.id;
    let now_us = now_us();
    let commands = state.store.commands(&device, LIMIT).await?;
    Ok(Json(Commands {
        commands: commands.into_iter().map(|command| dto::Command::at(command, now_us)).collect(),
    }))
}
