//! What somebody may do about himself: choose another password, see where he is logged in, end that.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::{Deserialize, Serialize};

use crate::auth::password::acceptable;
use crate::auth::secret::SecretHash;
use crate::auth::tries::Subject;
use crate::auth::{KeyId, Role};
use crate::http::auth::guard::{Visit, Who};
use crate::http::error::{Answer, Problem};
use crate::http::given::Given;
use crate::http::ui::{pages, templates};
use crate::now_us;

/// Whoever [`crate::http::Access::Oneself`] lets in.
struct Oneself<'a> {
    id: KeyId,
    name: &'a str,
    session: &'a SecretHash,
}

impl<'a> Oneself<'a> {
    fn of(visit: &'a Visit) -> Answer<Self> {
        match &visit.who {
            Who::Person {
                id, name, session, ..
            } => Ok(Self {
                id: *id,
                name,
                session,
            }),
            Who::Nobody | Who::Program { .. } | Who::Camera { .. } | Who::Lab => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "This is for people who are logged in.",
            )),
        }
    }
}

pub(crate) async fn page(visit: Visit) -> Response {
    let view = view(&visit, None).await;
    pages::draw(&visit, view, templates::account_page).await
}

#[derive(Deserialize)]
pub(crate) struct Passwords {
    current: String,
    new: String,
}

/// Sets another password, and ends all other sessions.
pub(crate) async fn change_password(visit: Visit, given: Given<Passwords>) -> Answer<Response> {
    let wrong = match set_password(&visit, given.fields).await {
        Ok(()) => return Ok(Redirect::to("/account").into_response()),
        Err(problem) => problem,
    };
    let status = wrong.status;
    let view = view(&visit, Some(wrong.detail)).await;
    let mut response = pages::draw(&visit, view, templates::account_page).await;
    *response.status_mut() = status;
    Ok(response)
}

async fn set_password(visit: &Visit, fields: Passwords) -> Answer<()> {
    let oneself = Oneself::of(visit)?;
    // Somebody at a browser left open must not guess here either.
    let address = Subject::Address(visit.caller.network());
    visit.doors.begin(&address)?;
    let name = crate::http::auth::entrance::new_name(oneself.name)?;
    let known = visit.store.person_named(&name).await?;
    let stored = known.and_then(|person| person.password);
    if !visit.doors.passwords.verify(fields.current, stored).await? {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "The password that you have now is another one.",
        ));
    }
    visit.doors.forgive(&address);
    acceptable(&fields.new, &name).map_err(Problem::wrong)?;
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
pub(crate) struct Ended {
    /// The beginning of one session's hash, or nothing for all but this one.
    #[serde(default)]
    session: String,
}

pub(crate) async fn end_sessions(visit: Visit, given: Given<Ended>) -> Answer<Response> {
    let oneself = Oneself::of(&visit)?;
    if given.fields.session.is_empty() {
        let kept = Some(oneself.session);
        visit.store.log_out_everywhere(oneself.id, kept).await?;
    } else {
        let all = visit.store.logins(oneself.id, now_us()).await?;
        let found = all
            .iter()
            .find(|login| short(&login.secret) == given.fields.session);
        let found = found.ok_or_else(|| Problem::not_found("such session"))?;
        visit.store.log_out(&found.secret).await?;
    }
    visit.doors.changed();
    Ok(Redirect::to("/account").into_response())
}

#[derive(Serialize)]
pub(crate) struct Me {
    name: String,
    role: Role,
    /// `person` or `key`.
    kind: &'static str,
}

pub(crate) async fn me(visit: Visit) -> Answer<Json<Me>> {
    let (name, role, kind) = match &visit.who {
        Who::Person { name, role, .. } => (name, *role, "person"),
        Who::Program { name, role, .. } => (name, *role, "key"),
        Who::Nobody | Who::Camera { .. } | Who::Lab => {
            return Err(Problem::not_found("such person"));
        }
    };
    Ok(Json(Me {
        name: name.clone(),
        role,
        kind,
    }))
}

async fn view(visit: &Visit, wrong: Option<String>) -> Answer<templates::AccountView> {
    let oneself = Oneself::of(visit)?;
    let logins = visit.store.logins(oneself.id, now_us()).await?;
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
fn short(secret: &SecretHash) -> String {
    hex::encode(&secret.0[..8])
}
