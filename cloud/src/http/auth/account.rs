//! What somebody may do about himself: choose another password, see where he is logged in, end that.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::{Deserialize, Serialize};

use crate::auth::login_throttle::ThrottleKey;
use crate::auth::password::check_strength;
use crate::auth::token::TokenHash;
use crate::auth::{PrincipalId, Role};
use crate::http::auth::authorize::{Principal, RequestContext};
use crate::http::error::{HttpResult, Problem};
use crate::http::form_or_json::FormOrJson;
use crate::http::ui::{handlers, templates};
use crate::now_us;

/// Whoever [`crate::http::Permission::SelfService`] lets in.
struct CurrentUser<'a> {
    id: PrincipalId,
    name: &'a str,
    session: &'a TokenHash,
}

impl<'a> CurrentUser<'a> {
    fn of(visit: &'a RequestContext) -> HttpResult<Self> {
        match &visit.who {
            Principal::User {
                id, name, session, ..
            } => Ok(Self {
                id: *id,
                name,
                session,
            }),
            Principal::Anonymous
            | Principal::ApiToken { .. }
            | Principal::Camera { .. }
            | Principal::LegacyUpload => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "This is for people who are logged in.",
            )),
        }
    }
}

pub(crate) async fn page(visit: RequestContext) -> Response {
    let view = view(&visit, None).await;
    handlers::draw(&visit, view, templates::account_page).await
}

#[derive(Deserialize)]
pub(crate) struct PasswordForm {
    current: String,
    new: String,
}

/// Sets another password, and ends all other sessions.
pub(crate) async fn change_password(
    visit: RequestContext,
    given: FormOrJson<PasswordForm>,
) -> HttpResult<Response> {
    let wrong = match set_password(&visit, given.fields).await {
        Ok(()) => return Ok(Redirect::to("/account").into_response()),
        Err(problem) => problem,
    };
    let status = wrong.status;
    let view = view(&visit, Some(wrong.detail)).await;
    let mut response = handlers::draw(&visit, view, templates::account_page).await;
    *response.status_mut() = status;
    Ok(response)
}

async fn set_password(visit: &RequestContext, fields: PasswordForm) -> HttpResult<()> {
    let oneself = CurrentUser::of(visit)?;
    // Somebody at a browser left open must not guess here either.
    let address = ThrottleKey::Address(visit.caller.network());
    visit.doors.throttle(&address)?;
    let name = crate::http::auth::login::new_name(oneself.name)?;
    let known = visit.store.user_named(&name).await?;
    let stored = known.and_then(|person| person.password);
    if !visit.doors.passwords.verify(fields.current, stored).await? {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "The password that you have now is another one.",
        ));
    }
    visit.doors.reset_throttle(&address);
    check_strength(&fields.new, &name).map_err(Problem::bad_request)?;
    let hash = visit.doors.passwords.hash(fields.new).await?;
    visit
        .store
        .change_password(oneself.id, &hash, Some(oneself.session))
        .await?;
    visit.doors.changed();
    tracing::info!(%name, from = %visit.caller.address, "changed the password");
    Ok(())
}

#[derive(Deserialize)]
pub(crate) struct EndSessionsForm {
    /// The beginning of one session's hash, or nothing for all but this one.
    #[serde(default)]
    session: String,
}

pub(crate) async fn end_sessions(
    visit: RequestContext,
    given: FormOrJson<EndSessionsForm>,
) -> HttpResult<Response> {
    let oneself = CurrentUser::of(&visit)?;
    if given.fields.session.is_empty() {
        let kept = Some(oneself.session);
        visit.store.end_sessions(oneself.id, kept).await?;
    } else {
        let all = visit.store.sessions(oneself.id, now_us()).await?;
        let found = all
            .iter()
            .find(|login| short(&login.secret) == given.fields.session);
        let found = found.ok_or_else(|| Problem::not_found("such session"))?;
        visit.store.end_session(&found.secret).await?;
    }
    visit.doors.changed();
    Ok(Redirect::to("/account").into_response())
}

#[derive(Serialize)]
pub(crate) struct Me {
    name: String,
    role: Role,
    /// `user` or `api_token`.
    kind: &'static str,
}

pub(crate) async fn me(visit: RequestContext) -> HttpResult<Json<Me>> {
    let (name, role, kind) = match &visit.who {
        Principal::User { name, role, .. } => (name, *role, "user"),
        Principal::ApiToken { name, role, .. } => (name, *role, "api_token"),
        Principal::Anonymous | Principal::Camera { .. } | Principal::LegacyUpload => {
            return Err(Problem::not_found("such user"));
        }
    };
    Ok(Json(Me {
        name: name.clone(),
        role,
        kind,
    }))
}

async fn view(visit: &RequestContext, wrong: Option<String>) -> HttpResult<templates::AccountView> {
    let oneself = CurrentUser::of(visit)?;
    let logins = visit.store.sessions(oneself.id, now_us()).await?;
    Ok(templates::AccountView {
        wrong,
        sessions: logins
            .into_iter()
            .map(|login| templates::SessionView {
                id: short(&login.secret),
                this: login.secret == *oneself.session,
                created_us: login.created_us,
                used_us: login.used_us,
                address: login.address,
                agent: login.agent,
            })
            .collect(),
    })
}

/// Enough to tell the sessions of one person apart; it opens nothing.
fn short(secret: &TokenHash) -> String {
    hex::encode(&secret.0[..8])
}
