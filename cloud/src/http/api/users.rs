//! Who may log in: for owners, as a page and as JSON.

use std::time::Duration;

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::{Deserialize, Serialize};

use crate::auth::token::Token;
use crate::auth::{PrincipalId, Role};
use crate::http::auth::authorize::{Principal, RequestContext};
use crate::http::auth::login::new_name;
use crate::http::error::{HttpResult, Problem};
use crate::http::form_or_json::FormOrJson;
use crate::http::ui::{handlers, templates};
use crate::now_us;
use crate::store;

/// How long somebody invited has for choosing a password.
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
    fn from(person: store::User) -> Self {
        Self {
            id: person.id,
            name: person.name,
            role: person.role,
            has_password: person.password.is_some(),
            created_us: person.created_us,
            seen_us: person.seen_us,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Users {
    users: Vec<UserInfo>,
}

pub(crate) async fn page(visit: RequestContext) -> Response {
    let view = view(&visit, None).await;
    handlers::draw(&visit, view, templates::users_page).await
}

pub(crate) async fn list(visit: RequestContext) -> HttpResult<Json<Users>> {
    let users = visit.store.users().await?;
    Ok(Json(Users {
        users: users.into_iter().map(UserInfo::from).collect(),
    }))
}

#[derive(Deserialize)]
pub(crate) struct NewUser {
    name: String,
    role: Role,
}

#[derive(Serialize)]
struct InvitedUser {
    #[serde(flatten)]
    person: UserInfo,
    /// Where a password is chosen, once, within 48 hours.
    invitation: String,
}

/// Adds somebody, and shows the link with which a password is chosen.
pub(crate) async fn add(visit: RequestContext, given: FormOrJson<NewUser>) -> HttpResult<Response> {
    let name = new_name(&given.fields.name)?;
    let person = visit
        .store
        .add_user(&name, given.fields.role, None, now_us())
        .await?;
    tracing::info!(%name, role = %person.role, by = actor_name(&visit.who), "added somebody");
    let link = invite(&visit, person.id).await?;
    invitation_response(&visit, given.is_form, person, link).await
}

/// Takes the password away, ends all sessions, and shows the link with which a new one is chosen.
pub(crate) async fn reset(
    visit: RequestContext,
    Path(id): Path<String>,
    given: FormOrJson<EmptyForm>,
) -> HttpResult<Response> {
    let person = find(&visit, &id).await?;
    if is_oneself(&visit.who, person.id) {
        return Err(Problem::bad_request(
            "To choose another password for yourself go to your account.",
        ));
    }
    let link = invite(&visit, person.id).await?;
    tracing::info!(
        name = person.name,
        by = actor_name(&visit.who),
        "took the password away"
    );
    invitation_response(&visit, given.is_form, person, link).await
}

#[derive(Deserialize)]
pub(crate) struct NewRole {
    role: Role,
}

pub(crate) async fn change_role(
    visit: RequestContext,
    Path(id): Path<String>,
    given: FormOrJson<NewRole>,
) -> HttpResult<Response> {
    let person = find(&visit, &id).await?;
    let role = given.fields.role;
    visit.store.change_role(person.id, role).await?;
    visit.doors.changed();
    tracing::info!(name = person.name, %role, by = actor_name(&visit.who), "changed a role");
    Ok(change_response(given.is_form))
}

pub(crate) async fn remove(
    visit: RequestContext,
    Path(id): Path<String>,
    given: FormOrJson<EmptyForm>,
) -> HttpResult<Response> {
    let person = find(&visit, &id).await?;
    visit.store.remove_user(person.id).await?;
    visit.doors.changed();
    tracing::info!(
        name = person.name,
        by = actor_name(&visit.who),
        "removed somebody"
    );
    Ok(change_response(given.is_form))
}

/// No fields.
#[derive(Deserialize)]
pub(crate) struct EmptyForm {}

async fn invite(visit: &RequestContext, person: PrincipalId) -> HttpResult<String> {
    let secret = Token::new();
    let lasts_us = i64::try_from(INVITATION_FOR.as_micros()).unwrap_or(i64::MAX);
    let expires_us = now_us().saturating_add(lasts_us);
    visit
        .store
        .invite(person, &secret.hash(), expires_us)
        .await?;
    visit.doors.changed();
    Ok(format!("/invitation?code={}", secret.as_str()))
}

async fn invitation_response(
    visit: &RequestContext,
    is_form: bool,
    person: store::User,
    link: String,
) -> HttpResult<Response> {
    if is_form {
        let view = view(visit, Some((person.name, link))).await;
        return Ok(handlers::draw(visit, view, templates::users_page).await);
    }
    let body = InvitedUser {
        person: person.into(),
        invitation: link,
    };
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

fn change_response(is_form: bool) -> Response {
    if is_form {
        Redirect::to("/users").into_response()
    } else {
        StatusCode::NO_CONTENT.into_response()
    }
}

async fn find(visit: &RequestContext, id: &str) -> HttpResult<store::User> {
    let missing = || Problem::not_found("such person");
    let id: PrincipalId = id.parse().map_err(|_| missing())?;
    let users = visit.store.users().await?;
    users
        .into_iter()
        .find(|person| person.id == id)
        .ok_or_else(missing)
}

async fn view(
    visit: &RequestContext,
    invited: Option<(String, String)>,
) -> HttpResult<templates::UsersView> {
    let users = visit.store.users().await?;
    Ok(templates::UsersView {
        invited,
        users: users
            .into_iter()
            .map(|person| templates::UserView {
                id: person.id.to_string(),
                oneself: is_oneself(&visit.who, person.id),
                name: person.name,
                role: person.role,
                has_password: person.password.is_some(),
                seen_us: person.seen_us,
            })
            .collect(),
    })
}

fn is_oneself(who: &Principal, person: PrincipalId) -> bool {
    matches!(who, Principal::User { id, .. } if *id == person)
}

/// Who did it, for the log.
pub(crate) fn actor_name(who: &Principal) -> &str {
    match who {
        Principal::User { name, .. } | Principal::ApiToken { name, .. } => name,
        Principal::Camera { device, .. } => device.as_str(),
        Principal::Anonymous | Principal::LegacyUpload => "nobody",
    }
}
