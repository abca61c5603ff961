//! `POST /upload`: a picture by HTTP, the lab's way: `curl -F image=@photo.jpg http://127.0.0.1:5000/upload`.

use axum::body::Bytes;
use axum::extract::multipart::{Multipart, MultipartError};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use keepsake_protocol::DeviceId;
use keepsake_protocol::capture::ContentType;
use keepsake_protocol::id::PictureId;
use serde::{Deserialize, Serialize};

use crate::http::app_state::AppState;
use crate::http::auth::principal::Principal;
use crate::http::error::{HttpResult, Problem};
use crate::ingest::external::DEVICE_DEFAULT;
use crate::now_us;
use crate::ops::event_bus::ChangeEvent;
use crate::store::Upload;

#[derive(Debug, Deserialize)]
pub(crate) struct UploadQuery {
    device: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct UploadResponse {
    id: PictureId,
}

pub(crate) async fn upload(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Query(asked): Query<UploadQuery>,
    mut form: Multipart,
) -> HttpResult<(StatusCode, Json<UploadResponse>)> {
    let mut device = asked.device;
    if let (Principal::Camera { device: own, .. }, None) = (&principal, &device) {
        device = Some(own.to_string());
    }
    let mut image = None;
    while let Some(field) = form.next_field().await.map_err(broken)? {
        match field.name() {
            Some("image") => image = Some(field.bytes().await.map_err(broken)?),
            Some("device") => device = Some(field.text().await.map_err(broken)?),
            _ => {}
        }
    }
    let device: DeviceId = device
        .as_deref()
        .filter(|name| !name.is_empty())
        .unwrap_or(DEVICE_DEFAULT)
        .parse()
        .map_err(|error: keepsake_protocol::id::IdError| Problem::bad_request(error.to_string()))?;
    if !principal.may_act_for(&device) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!("This API token cannot upload pictures of {device}."),
        ));
    }
    let image = image.ok_or_else(|| Problem::bad_request("The form has no field named image."))?;
    let id = keep(&state, &device, image).await?;
    Ok((StatusCode::CREATED, Json(UploadResponse { id })))
}

async fn keep(state: &AppState, device: &DeviceId, image: Bytes) -> HttpResult<PictureId> {
    if image.len() as u64 > state.config.capture_bytes_max {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("A picture is at most {} bytes.", state.config.capture_bytes_max),
        ));
    }
    let content_type = ContentType::sniff(&image)
        .ok_or_else(|| Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The image is neither a JPEG nor a PNG."))?;
    if let Some(reason) = state.backpressure.state().reason() {
        let why = format!("Uploads are paused: {reason}.");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why));
    }
    // Only the size of the picture is wanted here; its thumbnail is made after the commit, like all others.
    let decoded = state.decoder.decode(image.to_vec(), content_type).await;
    let size = decoded.thumbnail.as_ref().map(|thumbnail| (thumbnail.width, thumbnail.height));
    let (width, height) = size.unwrap_or((0, 0));
    let upload = Upload { content_type, width, height, damaged: decoded.damaged };
    let picture = state.store.upload(device, image, upload, now_us()).await?;
    state.live.publish(ChangeEvent::Pictures);
    state.live.publish(ChangeEvent::Device(std::sync::Arc::new(device.clone())));
    state.thumbnails.notify_one();
    Ok(picture.id())
}

#[expect(clippy::needless_pass_by_value, reason = "made to be handed to map_err")]
fn broken(error: MultipartError) -> Problem {
    Problem::new(error.status(), error.body_text())
}
