//! Keeps other web sites away from a service that has no login, and says how browsers should treat what we send.

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Site;
use super::error::Problem;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Who may take a route. Each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everyone, whether there is an owner or not.
    Anyone,
    /// Whoever may see pictures.
    Look,
    /// Whoever may ask cameras to do something, and change or delete what is stored.
    Manage,
    /// A camera or a script that brings pictures.
    Camera,
}

/// Who makes a request; every handler may ask for it as an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    /// Whoever sits at this computer.
    Local,
}

/// Lets a request through to its route, or not.
pub(super) async fn admit(
    State((_site, _access)): State<(Site, Access)>,
    mut request: Request,
    next: Next,
) -> Response {
    request.extensions_mut().insert(Who::Local);
    next.run(request).await
}

pub(super) async fn check(request: Request, next: Next) -> Response {
    let refusal = refusal(request.method(), request.headers());
    let mut response = match refusal {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Why a request is not answered.
fn refusal(method: &Method, headers: &HeaderMap) -> Option<Problem> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let host = text(header::HOST).unwrap_or("");
    if !is_this_computer(host) {
        // A web site whose name is made to point here could otherwise read everything as if it were ours.
        return Some(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "This service answers only to localhost, 127.0.0.1 and [::1].",
        ));
    }
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return None;
    }
    let from_elsewhere = match text(HeaderName::from_static("sec-fetch-site")) {
        Some(site) => !matches!(site, "same-origin" | "none"),
        // Old browsers say where from; curl and scripts say nothing.
        None => {
            text(header::ORIGIN).is_some_and(|origin| origin.strip_prefix("http://") != Some(host))
        }
    };
    from_elsewhere.then(|| {
        Problem::new(
            StatusCode::FORBIDDEN,
            "Only the pages of this service may ask for that.",
        )
    })
}

fn is_this_computer(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host();
    name.eq_ignore_ascii_case("localhost")
        || name
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &Method, headers: &[(&'static str, &'static str)]) -> Option<StatusCode> {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        refusal(method, &headers).map(|problem| problem.status)
    }

    #[test]
    fn only_names_of_this_computer_are_answered() {
        for good in ["localhost", "localhost:5000", "127.0.0.1:1", "[::1]:5000"] {
            assert_eq!(check(&Method::GET, &[("host", good)]), None, "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "localhost.evil.example:5000",
            "10.0.0.1",
            "a@localhost@b",
        ] {
            let refused = Some(StatusCode::MISDIRECTED_REQUEST);
            assert_eq!(check(&Method::GET, &[("host", bad)]), refused, "{bad}");
        }
    }

    #[test]
    fn another_web_site_cannot_press_the_button() {
        let host = ("host", "localhost:5000");
        let forbidden = Some(StatusCode::FORBIDDEN);
        for (headers, expected) in [
            (vec![host], None),
            (vec![host, ("sec-fetch-site", "same-origin")], None),
            (vec![host, ("sec-fetch-site", "cross-site")], forbidden),
            (vec![host, ("sec-fetch-site", "same-site")], forbidden),
            (vec![host, ("origin", "http://localhost:5000")], None),
            (vec![host, ("origin", "http://localhost:5001")], forbidden),
            (vec![host, ("origin", "null")], forbidden),
        ] {
            assert_eq!(check(&Method::POST, &headers), expected, "{headers:?}");
        }
        assert_eq!(
            check(&Method::GET, &[host, ("sec-fetch-site", "cross-site")]),
            None
        );
    }
}
