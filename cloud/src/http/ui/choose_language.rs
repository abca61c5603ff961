//! `POST /language`: the reader chooses a language.

use std::time::Duration;

use axum::extract::Form;
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::http::auth::login::local_path;
use crate::http::auth::request_context::RequestContext;
use crate::http::cookies::set_cookie;
use crate::http::ui::language::{COOKIE, Language};

const COOKIE_AGE: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Deserialize)]
pub(crate) struct LanguageForm {
    language: String,
    #[serde(default)]
    next: String,
}

/// Remembers the reader's choice, and shows the page again.
pub(crate) async fn choose(context: RequestContext, Form(form): Form<LanguageForm>) -> Response {
    let mut response = Redirect::to(local_path(&form.next).unwrap_or("/")).into_response();
    if let Some(language) = Language::from_code(&form.language) {
        let cookie = set_cookie(COOKIE.to_owned(), language.code(), COOKIE_AGE, context.caller.secure);
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
