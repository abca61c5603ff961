//! Request fields from the form of a page or from JSON.

use axum::body::Bytes;
use axum::extract::{Form, FromRequest, Json, Request};
use axum::http::{HeaderValue, header};
use serde::de::DeserializeOwned;

use crate::http::app_state::AppState;
use crate::http::error::{Problem, is_page};

/// The fields, and whether a page or a program awaits the answer.
pub(super) struct FormOrJson<T> {
    pub(super) fields: T,
    /// It went to the address of a page, so that a person reads the answer.
    pub(super) is_form: bool,
}

impl<T: DeserializeOwned> FromRequest<AppState> for FormOrJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Problem> {
        let is_form = is_page(request.uri().path());
        let (mut parts, body) = request.into_parts();
        let body = Request::from_parts(parts.clone(), body);
        let body = Bytes::from_request(body, state)
            .await
            .map_err(|error| Problem::new(error.status(), error.body_text()))?;
        // curl calls everything a form unless told otherwise, so a body that looks like JSON is taken for that.
        let is_json = body.first() == Some(&b'{');
        let kind = if is_json {
            "application/json"
        } else {
            "application/x-www-form-urlencoded"
        };
        let kind = HeaderValue::from_static(kind);
        parts.headers.insert(header::CONTENT_TYPE, kind);
        let request = Request::from_parts(parts, body.into());
        let fields = if is_json {
            let read = Json::from_request(request, state).await;
            read.map(|Json(fields)| fields).map_err(|error| Problem::bad_request(error.body_text()))
        } else {
            let read = Form::from_request(request, state).await;
            read.map(|Form(fields)| fields).map_err(|error| Problem::bad_request(error.body_text()))
        };
        fields.map(|fields| Self { fields, is_form })
    }
}
