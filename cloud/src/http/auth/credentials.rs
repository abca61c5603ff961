//! Session cookies and API tokens: finds out which principal a request comes from.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::auth::TokenScope;
use crate::auth::login_throttle::ThrottleKey;
use crate::auth::token::TokenHash;
use crate::http::app_state::AppState;
use crate::http::auth::client_info::ClientInfo;
use crate::http::auth::denial::Denial;
use crate::http::auth::principal::Principal;
use crate::http::cookies::{cookie_of, set_cookie};
use crate::http::error::Problem;
use crate::now_us;
use crate::store::StoreError;

/// A browser keeps an expired session's cookie no longer than the session could last.
const COOKIE_AGE: Duration = Duration::from_secs(90 * 24 * 3600);
/// The interval between permission checks of an open stream.
const LOOK_AGAIN_EVERY: Duration = Duration::from_secs(30);

/// Returns the session cookie; without a secret, one that makes the browser delete it.
pub(crate) fn session_cookie(state: &AppState, caller: ClientInfo, secret: Option<&str>) -> HeaderValue {
    let (value, age) = secret.map_or(("", Duration::ZERO), |secret| (secret, COOKIE_AGE));
    set_cookie(cookie_name(state, caller.secure), value, age, caller.secure)
}

/// Cookies know no ports, so two clouds on one computer need two names.
fn cookie_name(state: &AppState, secure: bool) -> String {
    let store = state.store.id().to_string();
    // The prefix makes browsers refuse one that another host of the domain has set.
    let prefix = if secure { "__Host-" } else { "" };
    format!("{prefix}keepsake-{}", &store[..8])
}

/// Returns the principal of the token or cookie of a request. An invalid token is refused; an expired cookie is ignored.
pub(crate) async fn identify(state: &AppState, headers: &HeaderMap, caller: ClientInfo) -> Result<Principal, Denial> {
    if headers.contains_key(header::AUTHORIZATION) {
        return identify_token(state, headers, caller).await;
    }
    let Some(secret) = cookie_of(headers, &cookie_name(state, caller.secure)) else {
        return Ok(Principal::Anonymous);
    };
    let secret = TokenHash::of(&secret);
    let login = match state.store.session(&secret, now_us()).await {
        Ok(login) => login,
        Err(error) => return state.auth_state.recently_authenticated(&secret).ok_or(error.into()),
    };
    let Some(login) = login else {
        return Ok(Principal::Anonymous);
    };
    let principal = Principal::User {
        id: login.user,
        name: login.name.clone(),
        role: login.role,
        session: secret,
    };
    state.auth_state.remember(&secret, &principal);
    let store = state.store.clone();
    record_use(async move { store.record_session_use(&login, now_us()).await });
    Ok(principal)
}

async fn identify_token(state: &AppState, headers: &HeaderMap, caller: ClientInfo) -> Result<Principal, Denial> {
    let secret = bearer(headers).map(TokenHash::of);
    let token = match &secret {
        Some(secret) => match state.store.token(secret).await {
            Ok(token) => token,
            Err(error) => return state.auth_state.recently_authenticated(secret).ok_or(error.into()),
        },
        None => None,
    };
    let (Some(secret), Some(token)) = (secret, token) else {
        state.auth_state.throttle(&ThrottleKey::Key(caller.network()))?;
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "Invalid or revoked API token.").into());
    };
    let principal = match &token.scope {
        TokenScope::Role(role) => Principal::ApiToken { id: token.id, name: token.name.clone(), role: *role },
        TokenScope::Camera(device) => Principal::Camera { id: token.id, device: device.clone() },
    };
    state.auth_state.remember(&secret, &principal);
    let store = state.store.clone();
    record_use(async move { store.record_token_use(&token, now_us()).await });
    Ok(principal)
}

/// Records the use of a credential without delaying the request while the store is busy.
fn record_use(recording: impl Future<Output = Result<(), StoreError>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = recording.await {
            tracing::debug!("record a use: {:#}", anyhow::Error::from(error));
        }
    });
}

/// Ends when `principal` loses access. For open streams: every other request is checked by itself.
pub(crate) async fn until_revoked(state: AppState, principal: Principal, secret: Option<TokenHash>) {
    let mut changes = state.auth_state.changes();
    loop {
        // Changes by another process are only seen by looking from time to time.
        let _ = tokio::time::timeout(LOOK_AGAIN_EVERY, changes.changed()).await;
        if !is_still_valid(&state, &principal, secret.as_ref()).await {
            return;
        }
    }
}

/// Returns true also while the store does not answer.
async fn is_still_valid(state: &AppState, principal: &Principal, secret: Option<&TokenHash>) -> bool {
    let Some(secret) = secret else {
        return true;
    };
    match principal {
        Principal::User { .. } => !matches!(state.store.session(secret, now_us()).await, Ok(None)),
        Principal::ApiToken { .. } | Principal::Camera { .. } => !matches!(state.store.token(secret).await, Ok(None)),
        Principal::Anonymous | Principal::AnonymousUpload => true,
    }
}

/// Returns the hash of the token or cookie that a request sent.
pub(crate) fn sent_credential(state: &AppState, headers: &HeaderMap, caller: ClientInfo) -> Option<TokenHash> {
    bearer(headers)
        .map(str::to_owned)
        .or_else(|| cookie_of(headers, &cookie_name(state, caller.secure)))
        .map(|secret| TokenHash::of(&secret))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (only, None) = (all.next()?, all.next()) else {
        return None;
    };
    let (scheme, key) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim()).filter(|key| !key.is_empty())
}
