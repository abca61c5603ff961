//! Cookies of requests and answers.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
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

/// Returns the value of a cookie that the browser sent. Of several with the same name, the first counts: browsers send
/// the most specific one first.
pub(crate) fn cookie_of(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(Cookie::split_parse)
        .filter_map(Result::ok)
        .find(|cookie| cookie.name() == name && !cookie.value().is_empty())
        .map(|cookie| cookie.value().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cookie_of_a_name_that_has_a_value_counts() {
        let mut headers = HeaderMap::new();
        for value in ["session=; a=b; session=one", "session=two"] {
            headers.append(header::COOKIE, HeaderValue::from_static(value));
        }
        assert_eq!(cookie_of(&headers, "session").as_deref(), Some("one"));
        assert_eq!(cookie_of(&headers, "sess"), None);
    }
}
