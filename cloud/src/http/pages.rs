//! The pages: reads what they show, and has [`super::page`] draw it.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Site;
use super::error::Problem;
use super::page;

pub(super) async fn asset(Path(path): Path<String>) -> Response {
    match page::asset(&path) {
        Some(asset) => (
            [
                (header::CONTENT_TYPE, asset.content_type.to_owned()),
                (header::ETAG, asset.etag),
                (header::CACHE_CONTROL, asset.cache_control.to_owned()),
            ],
            asset.bytes.into_owned(),
        )
            .into_response(),
        None => Problem::not_found("such file").into_response(),
    }
}
pub(super) async fn cameras(State(_): State<Site>) -> StatusCode { StatusCode::NOT_IMPLEMENTED }
pub(super) async fn camera(State(_): State<Site>) -> StatusCode { StatusCode::NOT_IMPLEMENTED }
pub(super) async fn gallery(State(_): State<Site>) -> StatusCode { StatusCode::NOT_IMPLEMENTED }
pub(super) async fn picture(State(_): State<Site>) -> StatusCode { StatusCode::NOT_IMPLEMENTED }
pub(super) async fn quarantine(State(_): State<Site>) -> StatusCode { StatusCode::NOT_IMPLEMENTED }
pub(super) async fn not_found() -> Problem { Problem::not_found("such page") }
