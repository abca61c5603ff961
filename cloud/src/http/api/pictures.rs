//! `GET /api/v1/pictures`, one picture, its bytes and its small version; `DELETE` of one.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
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
    headers: HeaderMap,
) -> HttpResult<Response> {
    let picture = find(&state, &id).await?;
    let etag = format!("\"{}\"", picture.hash);
    if let Some(unchanged) = unchanged(&headers, &etag) {
        return Ok(unchanged);
    }
    let bytes = state.store.image(picture.arrival).await?;
    let bytes = bytes.ok_or_else(|| Problem::not_found("such picture"))?;
    let name = format!("inline; filename=\"{}.{}\"", picture.id(), picture.content_type.extension());
    let mut response = ranged(&headers, &etag, bytes, picture.content_type.as_str());
    if let Ok(name) = HeaderValue::from_str(&name) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
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

/// Returns the requested range, or the whole picture if no range, several or an unknown kind are requested.
fn ranged(headers: &HeaderMap, etag: &str, bytes: Vec<u8>, content_type: &'static str) -> Response {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let mut response = match text(header::RANGE).map(http_range_header::parse_range_header) {
        // `If-Range`: a part is only wanted if it is of the bytes the asker has already.
        Some(Ok(asked)) if text(header::IF_RANGE).is_none_or(|known| known == etag) => {
            let total = bytes.len();
            match asked.validate(total as u64).as_deref() {
                Ok([range]) => {
                    let at = |end: &u64| usize::try_from(*end).unwrap_or(usize::MAX);
                    let part = bytes[at(range.start())..=at(range.end())].to_vec();
                    let which = format!("bytes {}-{}/{total}", range.start(), range.end());
                    let which = [(header::CONTENT_RANGE, which)];
                    let part = sent(part, content_type, etag);
                    (StatusCode::PARTIAL_CONTENT, which, part).into_response()
                }
                Ok(_) => sent(bytes, content_type, etag),
                Err(_) => {
                    let problem = Problem::new(
                        StatusCode::RANGE_NOT_SATISFIABLE,
                        format!("Requested range not satisfiable: the picture has {total} bytes."),
                    );
                    let which = [(header::CONTENT_RANGE, format!("bytes */{total}"))];
                    return (which, problem).into_response();
                }
            }
        }
        Some(_) | None => sent(bytes, content_type, etag),
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response
}

fn sent(bytes: Vec<u8>, content_type: &'static str, etag: &str) -> Response {
    let kind = [(header::CONTENT_TYPE, content_type), (header::CONTENT_SECURITY_POLICY, PICTURE_POLICY)];
    (kind, kept_forever(etag), bytes).into_response()
}

fn kept_forever(etag: &str) -> [(header::HeaderName, String); 2] {
    [
        (header::ETAG, etag.to_owned()),
        (header::CACHE_CONTROL, "private, max-age=31536000, immutable".to_owned()),
    ]
}
