//! Errors as RFC 9457 problems: a status and a plain sentence for the client, the cause for the log.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::http::ui::text::capitalize;
use crate::store::{StoreError, UserError};

/// `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// A plain sentence.
    pub(crate) detail: String,
    /// After how many seconds it is worth coming again, where that is known.
    pub(crate) retry_after_s: Option<u64>,
}

pub(crate) type HttpResult<T> = Result<T, Problem>;

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), retry_after_s: None }
    }

    /// Too many requests for a reason, which is a sentence. The answer names the time to wait.
    pub(crate) fn retry_after(seconds: u64, reason: &str) -> Self {
        let wait = match seconds {
            1 => "1 second".to_owned(),
            _ => format!("{seconds} seconds"),
        };
        let detail = format!("{reason} Try again in {wait}.");
        Self {
            retry_after_s: Some(seconds),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
        }
    }

    /// The request can succeed in `retry_after_s` seconds.
    pub(crate) fn unavailable(detail: impl Into<String>, retry_after_s: u64) -> Self {
        Self {
            retry_after_s: Some(retry_after_s),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
    }

    /// The store cannot be used for this reason, which is a sentence without its capital and full stop.
    pub(crate) fn store_unavailable(reason: &str) -> Self {
        let detail = format!("{}. Cameras keep their pictures meanwhile.", capitalize(reason));
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("There is no {what}."))
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl Problem {
    /// Returns a response with status and headers of the problem, for a page that shows it.
    pub(crate) fn with_body(&self, body: impl IntoResponse) -> Response {
        let mut response = (self.status, body).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Problem"),
            status: self.status.as_u16(),
            detail: &self.detail,
        };
        let mut response = self.with_body(([(header::CONTENT_TYPE, "application/problem+json")], Json(body)));
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if let StoreError::User(error) = error {
            let status = match error {
                UserError::Unknown => StatusCode::NOT_FOUND,
                UserError::NameTaken | UserError::LastOwner | UserError::HasOwner => StatusCode::CONFLICT,
                UserError::TooMany => StatusCode::INSUFFICIENT_STORAGE,
            };
            return Self::new(status, error.to_string());
        }
        if let StoreError::TooManyDevices(_) = error {
            return Self::new(StatusCode::INSUFFICIENT_STORAGE, "The maximum number of cameras is reached.");
        }
        if error.is_loss() {
            tracing::error!("send a picture: {:#}", anyhow::Error::from(error));
            return Self::new(
                StatusCode::NOT_FOUND,
                "The bytes of this picture are missing or damaged in the cloud's storage.",
            );
        }
        let problem = Self::store_unavailable(&error.sentence());
        tracing::error!("answer a request: {:#}", anyhow::Error::from(error));
        problem
    }
}

pub(crate) async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed.")
}

/// A bug: the request fails, the service goes on. The panic itself is in the log already.
pub(crate) fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal error. Details are in the server log.").into_response()
}

/// Returns true if this path is a page for people and not for programs.
pub(crate) fn is_page(path: &str) -> bool {
    !["/api/", "/upload", "/metrics", "/healthz", "/readyz", "/assets/"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
}
