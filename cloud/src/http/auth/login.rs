//! Setup, login, invitations and logout.
//!
//! Wherever something could be guessed, the address it comes from is counted before anything is compared
//! ([`crate::auth::login_throttle`]), and an unknown name takes as long as a wrong password.

use std::time::Instant;

use axum::Json;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::Markup;
use serde::{Deserialize, Serialize};

use crate::auth::login_throttle::ThrottleKey;
use crate::auth::password::check_strength;
use crate::auth::token::{Token, TokenHash};
use crate::auth::{Role, UserName};
use crate::http::auth::credentials;
use crate::http::auth::principal::Principal;
use crate::http::auth::request_context::RequestContext;
use crate::http::error::{HttpResult, Problem};
use crate::http::form_or_json::FormOrJson;
use crate::http::ui::templates;
use crate::now_us;
use crate::store::{StoreError, User, UserError};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LoginQuery {
    code: String,
    next: String,
}

pub(crate) async fn setup_page(context: RequestContext, asked: Result<Query<LoginQuery>, QueryRejection>) -> Markup {
    let code = asked.map_or_else(|_| String::new(), |Query(asked)| asked.code);
    let view = templates::SetupView {
        code,
        name: String::new(),
        wrong: None,
        plain_http: is_plain_http(&context),
    };
    templates::setup_page(&context.visitor, &view)
}

#[derive(Deserialize)]
pub(crate) struct SetupForm {
    code: String,
    name: String,
    password: String,
}

/// Makes the first owner and logs him in; the code is good for that once, as there is an owner afterwards.
pub(crate) async fn setup(
    context: RequestContext,
    headers: HeaderMap,
    given: FormOrJson<SetupForm>,
) -> HttpResult<Response> {
    let mut view = templates::SetupView {
        code: given.fields.code.clone(),
        name: given.fields.name.clone(),
        wrong: None,
        plain_http: is_plain_http(&context),
    };
    let user = make_owner(&context, given.fields).await;
    enter_or_show(&context, &headers, user, "/", |wrong| {
        view.wrong = Some(wrong);
        templates::setup_page(&context.visitor, &view)
    })
    .await
}

async fn make_owner(context: &RequestContext, fields: SetupForm) -> HttpResult<User> {
    let address = ThrottleKey::Address(context.caller.network());
    context.auth_state.throttle(&address)?;
    if !context.auth_state.setup_code().matches(&fields.code) {
        tracing::warn!(from = %context.caller.address, "wrong setup code");
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "Incorrect setup code. It is in the server log and changes at each start.",
        ));
    }
    context.auth_state.reset_throttle(&address);
    let name = new_name(&fields.name)?;
    check_strength(&fields.password, &name).map_err(Problem::bad_request)?;
    let hash = context.auth_state.passwords.hash(fields.password).await?;
    let user = context.store.create_first_owner(&name, &hash, now_us()).await?;
    // From now on every request finds the owner.
    context.auth_state.has_owner(&context.store).await?;
    tracing::info!(%name, from = %context.caller.address, "the first owner is here");
    Ok(user)
}

pub(crate) async fn login_page(context: RequestContext, asked: Result<Query<LoginQuery>, QueryRejection>) -> Response {
    let next = asked.map_or_else(|_| String::new(), |Query(asked)| asked.next);
    let view = templates::LoginView {
        name: String::new(),
        next: local_path(&next).unwrap_or_default().to_owned(),
        wrong: None,
        plain_http: is_plain_http(&context),
    };
    templates::login_page(&context.visitor, &view).into_response()
}

#[derive(Deserialize)]
pub(crate) struct LoginForm {
    name: String,
    password: String,
    #[serde(default)]
    next: String,
}

pub(crate) async fn login(
    context: RequestContext,
    headers: HeaderMap,
    given: FormOrJson<LoginForm>,
) -> HttpResult<Response> {
    let next = local_path(&given.fields.next).unwrap_or("/").to_owned();
    let mut view = templates::LoginView {
        name: given.fields.name.clone(),
        next: next.clone(),
        wrong: None,
        plain_http: is_plain_http(&context),
    };
    let user = verify_credentials(&context, given.fields).await;
    enter_or_show(&context, &headers, user, &next, |wrong| {
        view.wrong = Some(wrong);
        templates::login_page(&context.visitor, &view)
    })
    .await
}

/// Returns the user with this name and password.
async fn verify_credentials(context: &RequestContext, fields: LoginForm) -> HttpResult<User> {
    let address = ThrottleKey::Address(context.caller.network());
    context.auth_state.throttle(&address)?;
    let name = fields.name.parse::<UserName>().ok();
    let user = match &name {
        Some(name) => context.store.user_named(name).await?,
        None => None,
    };
    let account = name.as_ref().map(|name| ThrottleKey::Account(name.key()));
    if let Some(account) = &account
        && !has_known_session(context, user.as_ref()).await?
    {
        context.auth_state.throttle(account)?;
    }
    let stored = user.as_ref().and_then(|user| user.password.clone());
    let began = Instant::now();
    let right = context.auth_state.passwords.verify(fields.password, stored).await?;
    tracing::debug!(took = ?began.elapsed(), "compared a password");
    match user.filter(|_| right) {
        Some(user) => {
            context.auth_state.reset_throttle(&address);
            if let Some(account) = &account {
                context.auth_state.reset_throttle(account);
            }
            tracing::info!(name = user.name, from = %context.caller.address, "logged in");
            Ok(user)
        }
        None => {
            let name = name.as_ref().map_or("no valid name", UserName::as_str);
            tracing::warn!(name, from = %context.caller.address, "wrong name or password");
            Err(Problem::new(StatusCode::UNAUTHORIZED, "Incorrect name or password."))
        }
    }
}

/// Returns true if the user has a session from this address: guesses by strangers must not lock the user out.
async fn has_known_session(context: &RequestContext, user: Option<&User>) -> Result<bool, StoreError> {
    let Some(user) = user else {
        return Ok(false);
    };
    let address = context.caller.address.to_string();
    let logins = context.store.sessions(user.id, now_us()).await?;
    Ok(logins.iter().any(|login| login.address == address))
}

pub(crate) async fn invitation_page(
    context: RequestContext,
    asked: Result<Query<LoginQuery>, QueryRejection>,
) -> HttpResult<Response> {
    let code = asked.map_or_else(|_| String::new(), |Query(asked)| asked.code);
    let invited = context.store.invited(&TokenHash::of(&code), now_us()).await?;
    let view = templates::InvitationView { name: invited.map(|user| user.name), code, wrong: None };
    let status = match view.name {
        Some(_) => StatusCode::OK,
        None => StatusCode::NOT_FOUND,
    };
    Ok((status, templates::invitation_page(&context.visitor, &view)).into_response())
}

#[derive(Deserialize)]
pub(crate) struct AcceptForm {
    code: String,
    password: String,
}

pub(crate) async fn accept_invitation(
    context: RequestContext,
    headers: HeaderMap,
    given: FormOrJson<AcceptForm>,
) -> HttpResult<Response> {
    let code = given.fields.code.clone();
    let mut view = templates::InvitationView { name: None, code, wrong: None };
    let user = set_first_password(&context, given.fields, &mut view.name).await;
    enter_or_show(&context, &headers, user, "/", |wrong| {
        view.wrong = Some(wrong);
        templates::invitation_page(&context.visitor, &view)
    })
    .await
}

/// Leaves the name of the invited user in `name` if another password would be accepted.
async fn set_first_password(
    context: &RequestContext,
    fields: AcceptForm,
    name: &mut Option<String>,
) -> HttpResult<User> {
    let expired = || Problem::new(StatusCode::NOT_FOUND, "This invitation has expired or was already used.");
    let secret = TokenHash::of(&fields.code);
    let address = ThrottleKey::Address(context.caller.network());
    context.auth_state.throttle(&address)?;
    let invited = context.store.invited(&secret, now_us()).await?.ok_or_else(expired)?;
    context.auth_state.reset_throttle(&address);
    if let Err(why) = check_strength(&fields.password, &new_name(&invited.name)?) {
        *name = Some(invited.name);
        return Err(Problem::bad_request(why));
    }
    let hash = context.auth_state.passwords.hash(fields.password).await?;
    let user = context.store.accept_invitation(&secret, &hash, now_us()).await?;
    context.auth_state.changed();
    let user = user.ok_or_else(expired)?;
    tracing::info!(name = user.name, from = %context.caller.address, "chose a password");
    Ok(user)
}

/// Ends the session of the request's cookie, if there is one.
pub(crate) async fn logout(context: RequestContext) -> HttpResult<Response> {
    if let Principal::User { session, .. } = &context.principal {
        context.store.end_session(session).await?;
        context.auth_state.changed();
    }
    let mut response = if context.wants_json {
        StatusCode::NO_CONTENT.into_response()
    } else {
        Redirect::to("/login").into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::SET_COOKIE, credentials::session_cookie(&context.state, context.caller, None));
    // The browser deletes cached pages and pictures, too.
    headers.insert("clear-site-data", HeaderValue::from_static("\"cache\""));
    Ok(response)
}

#[derive(Serialize)]
struct NewSession<'a> {
    name: &'a str,
    role: Role,
}

/// Begins a session and shows the way.
async fn start_session(context: &RequestContext, headers: &HeaderMap, user: &User, next: &str) -> HttpResult<Response> {
    let secret = Token::new();
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("");
    let address = context.caller.address.to_string();
    // A new login ends the old session of this browser.
    if let Principal::User { session, .. } = &context.principal {
        context.store.end_session(session).await?;
    }
    context.store.create_session(user.id, &secret.hash(), &address, agent, now_us()).await?;
    let mut response = if context.wants_json {
        let body = NewSession { name: &user.name, role: user.role };
        (StatusCode::CREATED, Json(body)).into_response()
    } else {
        Redirect::to(next).into_response()
    };
    let cookie = credentials::session_cookie(&context.state, context.caller, Some(secret.as_str()));
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// Starts a session, or shows the page of the form again with the reason.
async fn enter_or_show(
    context: &RequestContext,
    headers: &HeaderMap,
    user: HttpResult<User>,
    next: &str,
    page: impl FnOnce(String) -> Markup,
) -> HttpResult<Response> {
    match user {
        Ok(user) => start_session(context, headers, &user, next).await,
        Err(problem) if context.wants_json => Err(problem),
        Err(problem) => Ok(problem.with_body(page(problem.detail.clone()))),
    }
}

pub(crate) fn new_name(name: &str) -> HttpResult<UserName> {
    name.parse()
        .map_err(|_| Problem::bad_request("A name must consist of 1–64 letters, digits or . _ - + @"))
}

/// An address of our own, and nothing else: a link to the log-in page must not lead elsewhere afterwards.
pub(crate) fn local_path(next: &str) -> Option<&str> {
    let path = next.strip_prefix('/')?;
    let good = !path.starts_with(['/', '\\']) && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    good.then_some(next)
}

fn is_plain_http(context: &RequestContext) -> bool {
    !context.caller.secure && !context.caller.address.to_canonical().is_loopback()
}

impl From<UserError> for Problem {
    fn from(error: UserError) -> Self {
        StoreError::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_after_the_log_in_leads_nowhere_else() {
        for good in ["/", "/pictures?device=a&before=3", "/cameras/porch"] {
            assert_eq!(local_path(good), Some(good));
        }
        for bad in [
            "",
            "pictures",
            "//evil.example",
            "/\\evil.example",
            "/a\\b",
            "https://evil.example",
            "/a\r\nset-cookie: x=y",
            "/a b",
            "/å",
        ] {
            assert_eq!(local_path(bad), None, "{bad:?}");
        }
    }
}
