//! Cookies of requests and answers.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};

/// Returns a cookie that scripts cannot read, as the value of `Set-Cookie`.
pub(crate) fn set_cookie(name: String, value: &str, max_age: Duration, secure: bool) -> HeaderValue {
    let mut cookie = Cookie::build((name, value))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(max_age.try_into().expect("ages are days"))
        .build();
    if secure {
        cookie.set_secure(true);
    }
    HeaderValue::from_str(&cookie.to_string()).expect("names and values are ASCII")
}

/// Returns the value of a cookie that the browser sent.
pub(crate) fn cookie_of(headers: &HeaderMap, name: &str) -> Option<String> {
    let jar = CookieJar::from_headers(headers);
    jar.get(name)
        .map(|cookie| cookie.value().to_owned())
        .filter(|value| !value.is_empty())
}
