//! The state, the principal and the client of a request, for handlers.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use crate::http::app_state::AppState;
use crate::http::auth::client_info::{ClientInfo, client_info, header_text};
use crate::http::auth::principal::Principal;

/// Everything that a handler knows about a request besides its body.
pub(crate) struct RequestContext {
    pub(crate) site: AppState,
    pub(crate) principal: Principal,
    pub(crate) caller: ClientInfo,
    /// As the browser named it.
    pub(crate) host: String,
}

impl std::ops::Deref for RequestContext {
    type Target = AppState;

    fn deref(&self) -> &AppState {
        &self.site
    }
}

impl FromRequestParts<AppState> for RequestContext {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, site: &AppState) -> Result<Self, Self::Rejection> {
        let principal = parts.extensions.get().cloned().unwrap_or(Principal::Anonymous);
        Ok(Self {
            site: site.clone(),
            principal,
            caller: client_info(&parts.extensions),
            host: header_text(&parts.headers, header::HOST).to_owned(),
        })
    }
}
