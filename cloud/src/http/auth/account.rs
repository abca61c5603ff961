//! A user's own account: change the password, list and end sessions.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::{Deserialize, Serialize};

use crate::auth::login_throttle::ThrottleKey;
use crate::auth::password::check_strength;
use crate::auth::token::TokenHash;
use crate::auth::{PrincipalId, Role};
use crate::http::auth::principal::Principal;
use crate::http::auth::request_context::RequestContext;
use crate::http::error::{HttpResult, Problem};
use crate::http::form_or_json::FormOrJson;
use crate::http::ui::{handlers, templates};
use crate::now_us;

/// The user that [`crate::http::Permission::SelfService`] admits.
struct CurrentUser<'a> {
    id: PrincipalId,
    name: &'a str,
    session: &'a TokenHash,
}

impl<'a> CurrentUser<'a> {
    fn of(context: &'a RequestContext) -> HttpResult<Self> {
        match &context.principal {
            Principal::User { id, name, session, .. } => Ok(Self { id: *id, name, session }),
            Principal::Anonymous
            | Principal::ApiToken { .. }
            | Principal::Camera { .. }
            | Principal::AnonymousUpload => Err(Problem::new(StatusCode::FORBIDDEN, "Log in as a user to do this.")),
        }
    }
}

pub(crate) async fn page(context: RequestContext) -> Response {
    let view = view(&context, None).await;
    handlers::draw(&context, view, templates::account_page).await
}

#[derive(Deserialize)]
pub(crate) struct PasswordForm {
    current: String,
    new: String,
}

/// Sets another password, and ends all other sessions.
pub(crate) async fn change_password(context: RequestContext, given: FormOrJson<PasswordForm>) -> HttpResult<Response> {
    let Err(problem) = set_password(&context, given.fields).await else {
        return Ok(Redirect::to("/account").into_response());
    };
    let view = view(&context, Some(problem.detail.clone())).await?;
    Ok(problem.with_body(templates::account_page(&handlers::page_context(&context).await, &view)))
}

async fn set_password(context: &RequestContext, fields: PasswordForm) -> HttpResult<()> {
    let current_user = CurrentUser::of(context)?;
    // Guesses in an unattended browser are limited too.
    let address = ThrottleKey::Address(context.caller.network());
    context.auth_state.throttle(&address)?;
    let name = crate::http::auth::login::new_name(current_user.name)?;
    let known = context.store.user_named(&name).await?;
    let stored = known.and_then(|user| user.password);
    if !context.auth_state.passwords.verify(fields.current, stored).await? {
        return Err(Problem::new(StatusCode::FORBIDDEN, "Current password is incorrect."));
    }
    context.auth_state.reset_throttle(&address);
    check_strength(&fields.new, &name).map_err(Problem::bad_request)?;
    let hash = context.auth_state.passwords.hash(fields.new).await?;
    context.store.change_password(current_user.id, &hash, Some(current_user.session)).await?;
    context.auth_state.changed();
    tracing::info!(%name, from = %context.caller.address, "changed the password");
    Ok(())
}

#[derive(Deserialize)]
pub(crate) struct EndSessionsForm {
    /// The beginning of one session's hash, or nothing for all but this one.
    #[serde(default)]
    session: String,
}

pub(crate) async fn end_sessions(context: RequestContext, given: FormOrJson<EndSessionsForm>) -> HttpResult<Response> {
    let current_user = CurrentUser::of(&context)?;
    if given.fields.session.is_empty() {
        let kept = Some(current_user.session);
        context.store.end_sessions(current_user.id, kept).await?;
    } else {
        let all = context.store.sessions(current_user.id, now_us()).await?;
        let found = all.iter().find(|login| login.secret.prefix() == given.fields.session);
        let found = found.ok_or_else(|| Problem::not_found("such session"))?;
        context.store.end_session(&found.secret).await?;
    }
    context.auth_state.changed();
    Ok(Redirect::to("/account").into_response())
}

#[derive(Serialize)]
pub(crate) struct Me {
    name: String,
    role: Role,
    /// `user` or `token`.
    kind: &'static str,
}

pub(crate) async fn me(context: RequestContext) -> HttpResult<Json<Me>> {
    let (name, role, kind) = match &context.principal {
        Principal::User { name, role, .. } => (name, *role, "user"),
        Principal::ApiToken { name, role, .. } => (name, *role, "token"),
        Principal::Anonymous | Principal::Camera { .. } | Principal::AnonymousUpload => {
            return Err(Problem::not_found("such user"));
        }
    };
    Ok(Json(Me { name: name.clone(), role, kind }))
}

async fn view(context: &RequestContext, wrong: Option<String>) -> HttpResult<templates::AccountView> {
    let current_user = CurrentUser::of(context)?;
    let sessions = context.store.sessions(current_user.id, now_us()).await?;
    Ok(templates::AccountView { wrong, sessions, current_session: *current_user.session })
}
