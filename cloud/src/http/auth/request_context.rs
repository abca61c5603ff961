//! The state, the principal and the client of a request, for handlers.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{HeaderMap, Method, header};

use crate::http::app_state::AppState;
use crate::http::auth::client_info::{ClientInfo, client_info, header_text};
use crate::http::auth::principal::Principal;
use crate::http::ui::language::Language;
use crate::http::ui::views::Visitor;

/// Everything that a handler knows about a request besides its body.
pub(crate) struct RequestContext {
    pub(crate) state: AppState,
    pub(crate) principal: Principal,
    pub(crate) caller: ClientInfo,
    /// The Host header.
    pub(crate) host: String,
    pub(crate) visitor: Visitor,
    /// Programs send JSON, and are answered in it.
    pub(crate) wants_json: bool,
}

impl std::ops::Deref for RequestContext {
    type Target = AppState;

    fn deref(&self) -> &AppState {
        &self.state
    }
}

impl FromRequestParts<AppState> for RequestContext {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Self::Rejection> {
        let principal = parts.extensions.get().cloned().unwrap_or(Principal::Anonymous);
        Ok(Self {
            state: state.clone(),
            principal,
            caller: client_info(&parts.extensions),
            host: header_text(&parts.headers, header::HOST).to_owned(),
            visitor: visitor(&parts.method, &parts.uri, &parts.headers),
            wants_json: wants_json(&parts.headers),
        })
    }
}

/// Returns the reader of the answer. A form that was sent is not shown again by its own address, but by that of its page.
pub(crate) fn visitor(method: &Method, uri: &Uri, headers: &HeaderMap) -> Visitor {
    let page = if *method == Method::GET {
        Some(uri.clone())
    } else {
        header_text(headers, header::REFERER).parse::<Uri>().ok()
    };
    let path = page.as_ref().and_then(Uri::path_and_query);
    Visitor {
        language: Language::of(headers),
        here: path.map_or("/", PathAndQuery::as_str).to_owned(),
    }
}

/// Returns true for a program that sends JSON or asks for it.
pub(crate) fn wants_json(headers: &HeaderMap) -> bool {
    [header::CONTENT_TYPE, header::ACCEPT]
        .into_iter()
        .any(|name| header_text(headers, name).starts_with("application/json"))
}
