//! Shows problems to people: a page instead of JSON.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::http::auth::client_info::header_text;
use crate::http::auth::request_context::{visitor, wants_json};
use crate::http::error::{Problem, is_page};
use crate::http::ui::templates;

/// The longest text in which axum refuses a request is far shorter, bytes.
const REFUSAL_BYTES_MAX: usize = 4096;

/// Passes a request on. A problem in the answer is shown as a page on the path of a page, else as JSON; so is the plain
/// text in which axum refuses a path, query or body that it cannot read.
pub(crate) async fn show_problems(request: Request, next: Next) -> Response {
    let visitor = visitor(request.method(), request.uri(), request.headers());
    let as_page = is_page(request.uri().path()) && !wants_json(request.headers());
    let response = next.run(request).await;
    let status = response.status();
    let is_text = header_text(response.headers(), header::CONTENT_TYPE).starts_with("text/plain");
    let problem = match response.extensions().get::<Problem>() {
        Some(problem) if as_page => problem.clone(),
        None if as_page && is_text && status.is_client_error() => Problem::new(status, unreadable(status)),
        None if is_text && status.is_client_error() => {
            let text = to_bytes(response.into_body(), REFUSAL_BYTES_MAX).await.unwrap_or_default();
            return Problem::new(status, String::from_utf8_lossy(&text)).into_response();
        }
        Some(_) | None => return response,
    };
    problem.with_body(templates::denied_page(&visitor, problem.status, &problem.detail))
}

/// Returns a sentence for people instead of axum's, which is for programmers.
fn unreadable(status: StatusCode) -> &'static str {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => "The form is too large.",
        _ => "The address or the form is incomplete or malformed.",
    }
}
