//! Set-up, log-in, invitations and log-out: how somebody unknown becomes somebody known.
//!
//! Wherever something could be guessed, the address it comes from is counted before anything is compared
//! ([`crate::auth::tries`]), and an unknown name takes as long as a wrong password.

use std::time::Instant;

use axum::Json;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::Markup;
use serde::{Deserialize, Serialize};

use crate::auth::password::acceptable;
use crate::auth::secret::{Secret, SecretHash};
use crate::auth::tries::Subject;
use crate::auth::{PersonName, Role};
use crate::http::auth::guard;
use crate::http::auth::guard::{Visit, Who};
use crate::http::error::{Answer, Problem};
use crate::http::given::Given;
use crate::http::ui::templates;
use crate::now_us;
use crate::store::{PeopleError, Person, StoreError};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    code: String,
    next: String,
}

pub(crate) async fn set_up_page(
    visit: Visit,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Markup {
    let code = asked.map_or_else(|_| String::new(), |Query(asked)| asked.code);
    let view = templates::SetUpView {
        code,
        name: String::new(),
        wrong: None,
        plain_http: is_plain_http(&visit),
    };
    templates::set_up_page(&view)
}

#[derive(Deserialize)]
pub(crate) struct SetUp {
    code: String,
    name: String,
    password: String,
}

/// Makes the first owner and logs him in; the code is good for that once, as there is an owner afterwards.
pub(crate) async fn set_up(
    visit: Visit,
    headers: HeaderMap,
    given: Given<SetUp>,
) -> Answer<Response> {
    let Given { fields, .. } = given;
    let as_page = !wants_json(&headers);
    let view = templates::SetUpView {
        code: fields.code.clone(),
        name: fields.name.clone(),
        wrong: None,
        plain_http: is_plain_http(&visit),
    };
    match make_owner(&visit, fields).await {
        Ok(person) => welcome(&visit, &headers, &person, "/").await,
        Err(problem) if as_page => Ok(drawn(&problem, |wrong| {
            templates::set_up_page(&templates::SetUpView {
                wrong: Some(wrong),
                ..view
            })
        })),
        Err(problem) => Err(problem),
    }
}

async fn make_owner(visit: &Visit, fields: SetUp) -> Answer<Person> {
    let address = Subject::Address(visit.caller.network());
    visit.doors.begin(&address)?;
    if !visit.doors.code().is(&fields.code) {
        tracing::warn!(from = %visit.caller.address, "wrong set-up code");
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "This is not the code. It stands in the cloud's log, and is a new one after each start.",
        ));
    }
    visit.doors.forgive(&address);
    let name = new_name(&fields.name)?;
    acceptable(&fields.password, &name).map_err(Problem::wrong)?;
    let hash = visit.doors.passwords.hash(fields.password).await?;
    let person = visit.store.first_owner(&name, &hash, now_us()).await?;
    // From now on every request finds him.
    visit.doors.has_owner(&visit.store).await?;
    tracing::info!(%name, from = %visit.caller.address, "the first owner is here");
    Ok(person)
}

pub(crate) async fn log_in_page(
    visit: Visit,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let next = asked.map_or_else(|_| String::new(), |Query(asked)| asked.next);
    let view = templates::LogInView {
        name: String::new(),
        next: local(&next).unwrap_or_default().to_owned(),
        wrong: None,
        plain_http: is_plain_http(&visit),
    };
    templates::log_in_page(&view).into_response()
}

#[derive(Deserialize)]
pub(crate) struct LogIn {
    name: String,
    password: String,
    #[serde(default)]
    next: String,
}

pub(crate) async fn log_in(
    visit: Visit,
    headers: HeaderMap,
    given: Given<LogIn>,
) -> Answer<Response> {
    let Given { fields, .. } = given;
    let as_page = !wants_json(&headers);
    let next = local(&fields.next).unwrap_or("/").to_owned();
    let view = templates::LogInView {
        name: fields.name.clone(),
        next: next.clone(),
        wrong: None,
        plain_http: is_plain_http(&visit),
    };
    match know(&visit, fields).await {
        Ok(person) => welcome(&visit, &headers, &person, &next).await,
        Err(problem) if as_page => Ok(drawn(&problem, |wrong| {
            templates::log_in_page(&templates::LogInView {
                wrong: Some(wrong),
                ..view
            })
        })),
        Err(problem) => Err(problem),
    }
}

/// The person of this name and password.
async fn know(visit: &Visit, fields: LogIn) -> Answer<Person> {
    let address = Subject::Address(visit.caller.network());
    visit.doors.begin(&address)?;
    let name = fields.name.parse::<PersonName>().ok();
    let person = match &name {
        Some(name) => visit.store.person_named(name).await?,
        None => None,
    };
    let account = name.as_ref().map(|name| Subject::Account(name.key()));
    if let Some(account) = &account
        && !was_here(visit, person.as_ref()).await?
    {
        visit.doors.begin(account)?;
    }
    let stored = person.as_ref().and_then(|person| person.password.clone());
    let began = Instant::now();
    let right = visit
        .doors
        .passwords
        .verify(fields.password, stored)
        .await?;
    tracing::debug!(took = ?began.elapsed(), "compared a password");
    match person.filter(|_| right) {
        Some(person) => {
            visit.doors.forgive(&address);
            if let Some(account) = &account {
                visit.doors.forgive(account);
            }
            tracing::info!(name = person.name, from = %visit.caller.address, "logged in");
            Ok(person)
        }
        None => {
            let name = name.as_ref().map_or("no valid name", PersonName::as_str);
            tracing::warn!(name, from = %visit.caller.address, "wrong name or password");
            Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "Name or password is not right.",
            ))
        }
    }
}

/// Whether somebody is logged in from this very address: strangers who guess at a name must not keep its owner out.
async fn was_here(visit: &Visit, person: Option<&Person>) -> Result<bool, StoreError> {
    let Some(person) = person else {
        return Ok(false);
    };
    let address = visit.caller.address.to_string();
    let logins = visit.store.logins(person.id, now_us()).await?;
    Ok(logins.iter().any(|login| login.address == address))
}

pub(crate) async fn invitation_page(
    visit: Visit,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Answer<Response> {
    let code = asked.map_or_else(|_| String::new(), |Query(asked)| asked.code);
    let invited = visit
        .store
        .invited(&SecretHash::of(&code), now_us())
        .await?;
    let view = templates::InvitationView {
        name: invited.map(|person| person.name),
        code,
        wrong: None,
    };
    let status = match view.name {
        Some(_) => StatusCode::OK,
        None => StatusCode::NOT_FOUND,
    };
    Ok((status, templates::invitation_page(&view)).into_response())
}

#[derive(Deserialize)]
pub(crate) struct Accept {
    code: String,
    password: String,
}

pub(crate) async fn accept(
    visit: Visit,
    headers: HeaderMap,
    given: Given<Accept>,
) -> Answer<Response> {
    let Given { fields, .. } = given;
    let as_page = !wants_json(&headers);
    let secret = SecretHash::of(&fields.code);
    let view = templates::InvitationView {
        name: None,
        code: fields.code.clone(),
        wrong: None,
    };
    let accepted = async {
        visit
            .doors
            .begin(&Subject::Address(visit.caller.network()))?;
        let over = || Problem::new(StatusCode::NOT_FOUND, "This invitation is used or over.");
        let person = visit.store.invited(&secret, now_us()).await?;
        let person = person.ok_or_else(over)?;
        visit
            .doors
            .forgive(&Subject::Address(visit.caller.network()));
        let name = new_name(&person.name)?;
        acceptable(&fields.password, &name)
            .map_err(|why| (Some(person.name.clone()), Problem::wrong(why)))?;
        let hash = visit.doors.passwords.hash(fields.password).await?;
        let person = visit.store.accept(&secret, &hash, now_us()).await?;
        visit.doors.changed();
        Ok(person.ok_or_else(over)?)
    };
    match accepted.await {
        Ok(person) => {
            tracing::info!(name = person.name, from = %visit.caller.address, "chose a password");
            welcome(&visit, &headers, &person, "/").await
        }
        Err(Refused { name, problem }) if as_page => Ok(drawn(&problem, |wrong| {
            templates::invitation_page(&templates::InvitationView {
                name,
                wrong: Some(wrong),
                ..view
            })
        })),
        Err(refused) => Err(refused.problem),
    }
}

/// Why an invitation was not accepted, and who may try again.
struct Refused {
    name: Option<String>,
    problem: Problem,
}

impl<E: Into<Problem>> From<E> for Refused {
    fn from(problem: E) -> Self {
        Self {
            name: None,
            problem: problem.into(),
        }
    }
}

impl From<(Option<String>, Problem)> for Refused {
    fn from((name, problem): (Option<String>, Problem)) -> Self {
        Self { name, problem }
    }
}

/// Ends the session of the request's cookie; somebody without one is as logged out as can be.
pub(crate) async fn log_out(visit: Visit, headers: HeaderMap) -> Answer<Response> {
    if let Who::Person { session, .. } = &visit.who {
        visit.store.log_out(session).await?;
        visit.doors.changed();
    }
    let mut response = if wants_json(&headers) {
        StatusCode::NO_CONTENT.into_response()
    } else {
        Redirect::to("/login").into_response()
    };
    let headers = response.headers_mut();
    headers.insert(
        header::SET_COOKIE,
        guard::cookie(&visit.site, visit.caller, None),
    );
    // What this browser has kept of pages and pictures goes too.
    headers.insert("clear-site-data", HeaderValue::from_static("\"cache\""));
    Ok(response)
}

#[derive(Serialize)]
struct LoggedIn<'a> {
    name: &'a str,
    role: Role,
}

/// Begins a session and shows the way.
async fn welcome(
    visit: &Visit,
    headers: &HeaderMap,
    person: &Person,
    next: &str,
) -> Answer<Response> {
    let secret = Secret::new();
    let agent = headers
        .get(header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or("");
    let address = visit.caller.address.to_string();
    // Whoever logs in again leaves no old session behind.
    if let Who::Person { session, .. } = &visit.who {
        visit.store.log_out(session).await?;
    }
    visit
        .store
        .log_in(person.id, &secret.hash(), &address, agent, now_us())
        .await?;
    let mut response = if wants_json(headers) {
        let body = LoggedIn {
            name: &person.name,
            role: person.role,
        };
        (StatusCode::CREATED, Json(body)).into_response()
    } else {
        Redirect::to(next).into_response()
    };
    let cookie = guard::cookie(&visit.site, visit.caller, Some(secret.as_str()));
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// The same page once more, with what was wrong.
fn drawn(problem: &Problem, page: impl FnOnce(String) -> Markup) -> Response {
    let mut response = (problem.status, page(problem.detail.clone())).into_response();
    if let Some(seconds) = problem.retry_after_s {
        let seconds = HeaderValue::from(seconds);
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

pub(crate) fn new_name(name: &str) -> Answer<PersonName> {
    name.parse().map_err(|_| {
        Problem::wrong("A name is 1 to 64 letters and digits, with . _ - + @ where you like.")
    })
}

/// Programs send JSON, and are answered in it.
fn wants_json(headers: &HeaderMap) -> bool {
    let starts = |name, prefix: &str| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
            .is_some_and(|value| value.starts_with(prefix))
    };
    starts(header::CONTENT_TYPE, "application/json") || starts(header::ACCEPT, "application/json")
}

/// An address of our own, and nothing else: a link to the log-in page must not lead elsewhere afterwards.
fn local(next: &str) -> Option<&str> {
    let path = next.strip_prefix('/')?;
    let good = !path.starts_with(['/', '\\'])
        && path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    good.then_some(next)
}

fn is_plain_http(visit: &Visit) -> bool {
    !visit.caller.secure && !visit.caller.address.to_canonical().is_loopback()
}

impl From<PeopleError> for Problem {
    fn from(error: PeopleError) -> Self {
        StoreError::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_after_the_log_in_leads_nowhere_else() {
        for good in ["/", "/pictures?device=a&before=3", "/cameras/porch"] {
            assert_eq!(local(good), Some(good));
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
            assert_eq!(local(bad), None, "{bad:?}");
        }
    }
}
