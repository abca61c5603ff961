//! The reasons to deny a request, and the answers.

use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use crate::http::error::{self, Problem};
use crate::store::StoreError;

#[derive(Debug)]
pub(crate) enum Denial {
    /// Nothing but set-up answers.
    SetupRequired,
    LoginRequired,
    /// Set-up is over.
    HasOwner,
    Problem(Problem),
}

impl From<StoreError> for Denial {
    fn from(error: StoreError) -> Self {
        Self::Problem(error.into())
    }
}

impl From<Problem> for Denial {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

pub(crate) fn forbidden() -> Denial {
    Problem::new(StatusCode::FORBIDDEN, "You don't have permission. Ask an owner for access.").into()
}

pub(crate) fn denial_response(refusal: Denial, request: &Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let page = error::is_page(path);
    let problem = match refusal {
        Denial::SetupRequired if page => return Redirect::to("/setup").into_response(),
        Denial::SetupRequired => Problem::new(
            StatusCode::FORBIDDEN,
            "This cloud has no owner yet. Open /setup with the code from the server log.",
        ),
        Denial::LoginRequired if page && *method == Method::GET => {
            return Redirect::to(&format!("/login?next={}", escaped(request))).into_response();
        }
        Denial::LoginRequired if page => return Redirect::to("/login").into_response(),
        Denial::LoginRequired => {
            Problem::new(StatusCode::UNAUTHORIZED, "Log in, or send an API token as `Authorization: Bearer …`.")
        }
        Denial::HasOwner if page => return Redirect::to("/login").into_response(),
        Denial::HasOwner => Problem::new(StatusCode::CONFLICT, "This cloud already has an owner."),
        Denial::Problem(problem) => problem,
    };
    let unauthorized = problem.status == StatusCode::UNAUTHORIZED;
    let mut response = problem.into_response();
    if unauthorized {
        let headers = response.headers_mut();
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"keepsake\""));
    }
    response
}

/// The address of a request as a value in a query.
fn escaped(request: &Request) -> String {
    let wanted = request.uri().path_and_query().map_or("/", axum::http::uri::PathAndQuery::as_str);
    wanted
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'/' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
