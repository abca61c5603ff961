//! User management for owners, as a page and as JSON.

use std::time::Duration;

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::auth::token::Token;
use crate::auth::{PrincipalId, Role};
use crate::http::auth::login::new_name;
use crate::http::auth::principal::Principal;
use crate::http::auth::request_context::RequestContext;
use crate::http::error::{HttpResult, Problem};
use crate::http::form_or_json::FormOrJson;
use crate::http::ui::{handlers, templates};
use crate::now_us;
use crate::store;

/// The time in which an invitation can be used.
const INVITATION_FOR: Duration = Duration::from_secs(48 * 3600);

#[derive(Serialize)]
struct UserInfo {
    id: PrincipalId,
    name: String,
    role: Role,
    /// False while the invitation is not accepted.
    has_password: bool,
    created_us: i64,
    seen_us: Option<i64>,
}

impl From<store::User> for UserInfo {
    fn from(user: store::User) -> Self {
        Self {
            id: user.id,
            name: user.name,
            role: user.role,
            has_password: user.password.is_some(),
            created_us: user.created_us,
            seen_us: user.seen_us,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Users {
    users: Vec<UserInfo>,
}

pub(crate) async fn page(context: RequestContext) -> Response {
    show(&context, None).await
}

pub(crate) async fn list(context: RequestContext) -> HttpResult<Json<Users>> {
    let users = context.store.users().await?;
    Ok(Json(Users { users: users.into_iter().map(UserInfo::from).collect() }))
}

#[derive(Deserialize)]
pub(crate) struct NewUser {
    name: String,
    role: Role,
}

#[derive(Serialize)]
struct InvitedUser {
    #[serde(flatten)]
    user: UserInfo,
    /// The path where the user sets a password, once, within 48 hours.
    invitation: String,
}

/// Adds a user, and shows the invitation link.
pub(crate) async fn add(context: RequestContext, given: FormOrJson<NewUser>) -> HttpResult<Response> {
    let name = new_name(&given.fields.name)?;
    let user = context.store.add_user(&name, given.fields.role, None, now_us()).await?;
    tracing::info!(%name, role = %user.role, by = actor_name(&context.principal), "added a user");
    let link = invite(&context, user.id).await?;
    invitation_response(&context, given.is_form, user, link).await
}

/// Takes the password away, ends all sessions, and shows the link with which a new one is chosen.
pub(crate) async fn reset(
    context: RequestContext,
    Path(id): Path<String>,
    given: FormOrJson<EmptyForm>,
) -> HttpResult<Response> {
    let user = find(&context, &id).await?;
    if current_user(&context.principal) == Some(user.id) {
        return Err(Problem::bad_request("Change your own password on your account page."));
    }
    let link = invite(&context, user.id).await?;
    tracing::info!(name = user.name, by = actor_name(&context.principal), "took the password away");
    invitation_response(&context, given.is_form, user, link).await
}

#[derive(Deserialize)]
pub(crate) struct NewRole {
    role: Role,
}

pub(crate) async fn change_role(
    context: RequestContext,
    Path(id): Path<String>,
    given: FormOrJson<NewRole>,
) -> HttpResult<Response> {
    let user = find(&context, &id).await?;
    let role = given.fields.role;
    context.store.change_role(user.id, role).await?;
    context.auth_state.changed();
    tracing::info!(name = user.name, %role, by = actor_name(&context.principal), "changed a role");
    Ok(given.done("/users"))
}

pub(crate) async fn remove(
    context: RequestContext,
    Path(id): Path<String>,
    given: FormOrJson<EmptyForm>,
) -> HttpResult<Response> {
    let user = find(&context, &id).await?;
    context.store.remove_user(user.id).await?;
    context.auth_state.changed();
    tracing::info!(name = user.name, by = actor_name(&context.principal), "removed a user");
    Ok(given.done("/users"))
}

/// No fields.
#[derive(Deserialize)]
pub(crate) struct EmptyForm {}

async fn invite(context: &RequestContext, user: PrincipalId) -> HttpResult<String> {
    let secret = Token::new();
    let lasts_us = i64::try_from(INVITATION_FOR.as_micros()).unwrap_or(i64::MAX);
    let expires_us = now_us().saturating_add(lasts_us);
    context.store.invite(user, &secret.hash(), expires_us).await?;
    context.auth_state.changed();
    Ok(format!("/invitation?code={}", secret.as_str()))
}

async fn invitation_response(
    context: &RequestContext,
    is_form: bool,
    user: store::User,
    link: String,
) -> HttpResult<Response> {
    if is_form {
        return Ok(show(context, Some((user.name, link))).await);
    }
    let body = InvitedUser { user: user.into(), invitation: link };
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

async fn find(context: &RequestContext, id: &str) -> HttpResult<store::User> {
    let missing = || Problem::not_found("such user");
    let id: PrincipalId = id.parse().map_err(|_| missing())?;
    let users = context.store.users().await?;
    users.into_iter().find(|user| user.id == id).ok_or_else(missing)
}

async fn show(context: &RequestContext, invited: Option<(String, String)>) -> Response {
    let current_user = current_user(&context.principal);
    let users = context.store.users().await.map_err(Problem::from);
    let view = users.map(|users| templates::UsersView { invited, users, current_user });
    handlers::draw(context, view, templates::users_page).await
}

fn current_user(principal: &Principal) -> Option<PrincipalId> {
    match principal {
        Principal::User { id, .. } => Some(*id),
        Principal::Anonymous | Principal::ApiToken { .. } | Principal::Camera { .. } | Principal::AnonymousUpload => {
            None
        }
    }
}

/// The name of the principal for the log.
pub(crate) fn actor_name(principal: &Principal) -> &str {
    match principal {
        Principal::User { name, .. } | Principal::ApiToken { name, .. } => name,
        Principal::Camera { device, .. } => device.as_str(),
        Principal::Anonymous | Principal::AnonymousUpload => "nobody",
    }
}
