//! `GET /api/v1/pictures`, one picture, its bytes and its small version; `DELETE` of one.

use std::ops::Range;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use keepsake_protocol::id::PictureId;
use serde::{Deserialize, Serialize};

use crate::http::api::{devices, dto};
use crate::http::app_state::AppState;
use crate::http::error::{HttpResult, Problem};
use crate::ops::event_bus::ChangeEvent;
use crate::store::{PageQuery, Picture, PictureCursor, Thumbnail};

const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 500;

#[derive(Debug, Deserialize)]
pub(crate) struct PicturesQuery {
    device: Option<String>,
    after: Option<PictureCursor>,
    before: Option<PictureCursor>,
    arrived_after: Option<i64>,
    limit: Option<u32>,
}

#[derive(Serialize)]
pub(crate) struct Pictures {
    pictures: Vec<dto::Picture>,
    /// Continues the list in the same direction, as the same parameter; absent at the end.
    next: Option<String>,
}

/// A picture is bytes from elsewhere: opened by itself, whatever a browser takes it for, it runs and loads nothing.
pub(crate) const PICTURE_POLICY: &str = "default-src 'none'; sandbox; frame-ancestors 'none'";

pub(crate) async fn list(
    State(state): State<AppState>,
    Query(asked): Query<PicturesQuery>,
) -> HttpResult<Json<Pictures>> {
    let device = devices::filter(asked.device.as_deref())?;
    let limit = asked.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!("limit is 1 to {LIMIT_MAX}.")));
    }
    // One more than asked for tells whether there is a next page.
    let mut pictures = match (asked.arrived_after, asked.after) {
        (Some(_), _) if device.is_some() => {
            return Err(Problem::bad_request("arrived_after lists the pictures of all cameras."));
        }
        (Some(arrival), _) => state.store.pictures_arrived_after(arrival, limit + 1).await?,
        (None, Some(after)) => state.store.pictures(device.as_ref(), PageQuery::After(after), limit + 1).await?,
        (None, None) => state.store.pictures(device.as_ref(), PageQuery::Before(asked.before), limit + 1).await?,
    };
    let more = pictures.len() > limit as usize;
    pictures.truncate(limit as usize);
    let next = |picture: &Picture| match asked.arrived_after {
        Some(_) => picture.arrival.to_string(),
        None => picture.cursor().to_string(),
    };
    Ok(Json(Pictures {
        next: pictures.last().filter(|_| more).map(next),
        pictures: pictures.into_iter().map(dto::Picture::from).collect(),
    }))
}

pub(crate) async fn one(State(state): State<AppState>, Path(id): Path<String>) -> HttpResult<Json<dto::Picture>> {
    Ok(Json(find(&state, &id).await?.into()))
}

pub(crate) async fn image(
    State(state): State<AppState>,
    Path(id): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> HttpResult<Response> {
    let id: PictureId = id.parse().map_err(|_| Problem::not_found("such picture"))?;
    let image = state.store.stored_image(&id).await?;
    let image = image.ok_or_else(|| Problem::not_found("such picture"))?;
    let etag = format!("\"{}\"", image.hash);
    if let Some(unchanged) = unchanged(&headers, &etag) {
        return Ok(unchanged);
    }
    let (status, range) = match wanted_range(&headers, &etag, image.len) {
        Ok(Some(range)) => (StatusCode::PARTIAL_CONTENT, range),
        Ok(None) => (StatusCode::OK, 0..image.len),
        Err(refusal) => return Ok(refusal),
    };
    let length = range.end - range.start;
    let which = format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), image.len);
    let body = match method {
        Method::HEAD => Body::empty(),
        _ => match state.store.open_image(&image, range).await {
            Ok(stream) => Body::from_stream(stream),
            Err(error) => {
                if error.is_loss() {
                    state.metrics.record_loss();
                }
                return Err(error.into());
            }
        },
    };
    let name = format!("inline; filename=\"{id}.{}\"", image.content_type.extension());
    let mut response = (status, sent(body, image.content_type.as_str(), &etag)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, length.into());
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(which) = HeaderValue::from_str(&which)
    {
        headers.insert(header::CONTENT_RANGE, which);
    }
    Ok(response)
}

pub(crate) async fn thumbnail(
    State(state): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> HttpResult<Response> {
    let picture = find(&state, &id).await?;
    if picture.thumbnail != Thumbnail::Ready {
        return Err(Problem::not_found("thumbnail of this picture, or not yet"));
    }
    let etag = format!("\"{}-small\"", picture.hash);
    if let Some(unchanged) = unchanged(&headers, &etag) {
        return Ok(unchanged);
    }
    if let Some(jpeg) = state.store.thumbnail(picture.arrival).await? {
        return Ok(sent(jpeg, "image/jpeg", &etag));
    }
    // A small picture serves as its own thumbnail.
    let bytes = state.store.image(picture.arrival).await?;
    let bytes = bytes.ok_or_else(|| Problem::not_found("such picture"))?;
    Ok(sent(bytes, picture.content_type.as_str(), &etag))
}

/// Row and bytes go, the fate stays `deleted`: whatever a camera brings of it later is not stored again.
pub(crate) async fn delete(State(state): State<AppState>, Path(id): Path<String>) -> HttpResult<StatusCode> {
    let picture = find(&state, &id).await?;
    state.store.delete(&picture).await?;
    tracing::info!(picture = %picture.id(), "deleted");
    state.live.publish(ChangeEvent::Device(Arc::new(picture.device)));
    Ok(StatusCode::NO_CONTENT)
}

async fn find(state: &AppState, id: &str) -> HttpResult<Picture> {
    let id: PictureId = id.parse().map_err(|_| Problem::not_found("such picture"))?;
    let picture = state.store.picture(&id).await?;
    picture.ok_or_else(|| Problem::not_found("such picture"))
}

/// The bytes of a hash never change, so a browser that has them has them for good.
fn unchanged(headers: &HeaderMap, etag: &str) -> Option<Response> {
    let known = headers.get(header::IF_NONE_MATCH)?.to_str().ok()?;
    known
        .split(',')
        .any(|known| known.trim() == etag)
        .then(|| (StatusCode::NOT_MODIFIED, kept_forever(etag)).into_response())
}

/// Returns the requested range; nothing if the whole picture is to be sent, because no range, several or an unknown kind
/// are requested.
///
/// # Errors
/// The response to a range that is outside the picture.
#[expect(clippy::result_large_err, reason = "the response is sent at once")]
fn wanted_range(headers: &HeaderMap, etag: &str, len: u64) -> Result<Option<Range<u64>>, Response> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let asked = match text(header::RANGE).map(http_range_header::parse_range_header) {
        // `If-Range`: a part is only wanted if it is of the bytes the asker has already.
        Some(Ok(asked)) if text(header::IF_RANGE).is_none_or(|known| known == etag) => asked,
        Some(_) | None => return Ok(None),
    };
    match asked.validate(len).as_deref() {
        Ok([range]) => Ok(Some(*range.start()..range.end() + 1)),
        Ok(_) => Ok(None),
        Err(_) => {
            let problem = Problem::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                format!("Requested range not satisfiable: the picture has {len} bytes."),
            );
            let headers = [
                (header::CONTENT_RANGE, format!("bytes */{len}")),
                (header::ACCEPT_RANGES, "bytes".to_owned()),
            ];
            Err((headers, problem).into_response())
        }
    }
}

fn sent(body: impl Into<Body>, content_type: &'static str, etag: &str) -> Response {
    let kind = [(header::CONTENT_TYPE, content_type), (header::CONTENT_SECURITY_POLICY, PICTURE_POLICY)];
    (kind, kept_forever(etag), body.into()).into_response()
}

fn kept_forever(etag: &str) -> [(header::HeaderName, String); 2] {
    [
        (header::ETAG, etag.to_owned()),
        (header::CACHE_CONTROL, "private, max-age=31536000, immutable".to_owned()),
    ]
}
