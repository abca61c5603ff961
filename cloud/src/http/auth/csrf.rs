//! Protection against cross-site requests.
//!
//! A request that changes something and is authenticated by a cookie must prove that it comes from our own pages: by
//! `Sec-Fetch-Site: same-origin`, or by an `Origin` that is our own where a browser sends no such header (old ones, and
//! all of them over plain HTTP). A request with an API token needs no such proof, because no browser adds one by itself.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, header};

use crate::http::auth::client_info::header_text;
use crate::http::error::Problem;

/// Returns the reason to refuse a request before its route is known.
pub(crate) fn refusal(method: &Method, headers: &HeaderMap) -> Option<Problem> {
    if headers.get_all(header::HOST).iter().count() != 1
        || header_text(headers, header::HOST).parse::<Authority>().is_err()
    {
        return Some(Problem::bad_request("The request must have exactly one valid Host header."));
    }
    // A browser adds no key by itself, so what has one is meant.
    if is_safe(method) || headers.contains_key(header::AUTHORIZATION) {
        return None;
    }
    is_cross_site(headers).then(cross_site_problem)
}

pub(crate) fn cross_site_problem() -> Problem {
    Problem::new(axum::http::StatusCode::FORBIDDEN, "Cross-site request refused.")
}

pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Returns true if a browser says that another site caused the request. Programs say nothing.
fn is_cross_site(headers: &HeaderMap) -> bool {
    match headers.get("sec-fetch-site") {
        Some(site) => !matches!(site.as_bytes(), b"same-origin" | b"none"),
        None => headers.contains_key(header::ORIGIN) && !is_our_origin(headers),
    }
}

/// Returns true if a browser says that one of our own pages caused the request.
pub(crate) fn is_same_site(headers: &HeaderMap) -> bool {
    match headers.get("sec-fetch-site") {
        Some(site) => site.as_bytes() == b"same-origin",
        None => is_our_origin(headers),
    }
}

fn is_our_origin(headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else {
        return false;
    };
    // Before a proxy that speaks TLS for us it is https.
    let origin = origin.to_str().unwrap_or("");
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    host.is_some_and(|host| host.eq_ignore_ascii_case(header_text(headers, header::HOST)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::auth::client_info::tests::headers;

    #[test]
    fn another_web_site_cannot_press_the_button() {
        let host = ("host", "cam.example:5000");
        let own = ("origin", "http://cam.example:5000");
        for (more, cross_site_problem, ours) in [
            (vec![], false, false),
            (vec![("sec-fetch-site", "same-origin")], false, true),
            (vec![("sec-fetch-site", "none")], false, false),
            (vec![("sec-fetch-site", "cross-site")], true, false),
            (vec![("sec-fetch-site", "cross-site"), own], true, false),
            (vec![("sec-fetch-site", "same-site")], true, false),
            (vec![own], false, true),
            (vec![("origin", "https://cam.example:5000")], false, true),
            (vec![own, own], true, false),
            (vec![("origin", "http://cam.example:5001")], true, false),
            (vec![("origin", "http://cam.example")], true, false),
            (vec![("origin", "http://evil.example")], true, false),
            (vec![("origin", "null")], true, false),
        ] {
            let all: Vec<_> = [vec![host], more].concat();
            let headers = headers(&all);
            assert_eq!(refusal(&Method::POST, &headers).is_some(), cross_site_problem, "{all:?}");
            assert_eq!(is_same_site(&headers), ours, "{all:?}");
            assert!(refusal(&Method::GET, &headers).is_none());
        }
    }

    #[test]
    fn a_request_names_one_host() {
        for bad in [
            headers(&[]),
            headers(&[("host", "")]),
            headers(&[("host", "a"), ("host", "b")]),
            headers(&[("host", "a/b")]),
            headers(&[("host", "a b")]),
        ] {
            assert!(refusal(&Method::GET, &bad).is_some(), "{bad:?}");
        }
    }
}
