//! Refuses cross-site requests before they reach a route, and adds security headers to every response.

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::http::app_state::AppState;
use crate::http::auth::client_info::{ClientInfo, Peer, header_text};
use crate::http::auth::csrf;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Handles every request first, and stores the [`ClientInfo`] for the handlers.
pub(crate) async fn security_headers(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let peer = request
        .extensions()
        .get()
        .copied()
        .unwrap_or(Peer { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), tls: false });
    let headers = request.headers_mut();
    if !headers.contains_key(header::HOST)
        && let Some(authority) = request.uri().authority()
    {
        // HTTP/2 says it in `:authority`.
        let host = HeaderValue::from_str(authority.as_str());
        host.map(|host| request.headers_mut().insert(header::HOST, host)).ok();
    }
    let caller = ClientInfo::of(peer, request.headers());
    request.extensions_mut().insert(caller);
    let refusal = csrf::refusal(request.method(), request.headers());
    let mut response = match refusal {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    if header_text(headers, header::CONTENT_TYPE).starts_with("text/html") {
        headers.append(header::VARY, HeaderValue::from_static("accept-language, cookie"));
    }
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Pictures bring a stricter one of their own.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if caller.secure && state.config.hsts_days > 0 {
        let seconds = u64::from(state.config.hsts_days) * 24 * 3600;
        if let Ok(value) = HeaderValue::from_str(&format!("max-age={seconds}")) {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
        }
    }
    response
}
