//! Request fields from the form of a page or from JSON.

use axum::body::Bytes;
use axum::extract::{Form, FromRequest, Json, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::de::DeserializeOwned;

use crate::http::app_state::AppState;
use crate::http::error::is_page;

/// The fields of a request, and who awaits the answer.
pub(super) struct FormOrJson<T> {
    pub(super) fields: T,
    /// The form of a page: a person reads the answer.
    pub(super) is_form: bool,
}

impl<T> FormOrJson<T> {
    /// Returns the answer to a change: a person goes back to a page, a program gets no content.
    pub(super) fn done(&self, page: &str) -> Response {
        if self.is_form {
            Redirect::to(page).into_response()
        } else {
            StatusCode::NO_CONTENT.into_response()
        }
    }
}

impl<T: DeserializeOwned> FromRequest<AppState> for FormOrJson<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let body = Bytes::from_request(Request::from_parts(parts.clone(), body), state)
            .await
            .map_err(IntoResponse::into_response)?;
        // curl calls everything a form unless told otherwise, so a body that looks like JSON is taken for that.
        let is_json = body.first() == Some(&b'{');
        let is_form = !is_json && is_page(parts.uri.path());
        let fields = if is_json {
            Json::from_bytes(&body).map(|Json(fields)| fields).map_err(|error| error.body_text())
        } else {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            parts.headers.insert(header::CONTENT_TYPE, form);
            let form = Form::from_request(Request::from_parts(parts, body.into()), state).await;
            form.map(|Form(fields)| fields).map_err(|error| error.body_text())
        };
        let fields = fields.map_err(|text| (StatusCode::BAD_REQUEST, text).into_response())?;
        Ok(Self { fields, is_form })
    }
}
