//! The keys of programs and cameras: for owners, as a page and as JSON. What a key says is shown once and never again.

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use keepsake_protocol::DeviceId;
use serde::{Deserialize, Serialize};

use crate::auth::secret::Secret;
use crate::auth::{KeyId, Rights, Role};
use crate::http::api::people::{Nothing, by};
use crate::http::auth::guard::Visit;
use crate::http::error::{Answer, Problem};
use crate::http::given::Given;
use crate::http::ui::{pages, templates};
use crate::now_us;
use crate::store::ApiToken;

/// Characters that say what a key is for.
const NAME_MAX: usize = 64;

#[derive(Serialize)]
struct Key {
    id: KeyId,
    name: String,
    /// `look`, `manage`, `owner`, or `camera`.
    role: &'static str,
    /// Which camera a key of role `camera` is for.
    device: Option<DeviceId>,
    created_us: i64,
    used_us: Option<i64>,
}

impl From<ApiToken> for Key {
    fn from(token: ApiToken) -> Self {
        let (role, device) = match token.rights {
            Rights::Role(role) => (role.as_str(), None),
            Rights::Camera(device) => ("camera", Some(device)),
        };
        Self {
            id: token.id,
            name: token.name,
            role,
            device,
            created_us: token.created_us,
            used_us: token.used_us,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Keys {
    keys: Vec<Key>,
}

pub(crate) async fn page(visit: Visit) -> Response {
    let view = view(&visit, None).await;
    pages::draw(&visit, view, templates::keys_page).await
}

pub(crate) async fn list(visit: Visit) -> Answer<Json<Keys>> {
    let keys = visit.store.tokens().await?;
    Ok(Json(Keys {
        keys: keys.into_iter().map(Key::from).collect(),
    }))
}

#[derive(Deserialize)]
pub(crate) struct New {
    name: String,
    /// `look`, `manage`, `owner`, or `camera`.
    role: String,
    #[serde(default)]
    device: String,
}

#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    key: Key,
    /// The key itself; the cloud keeps only its hash.
    secret: String,
}

pub(crate) async fn add(visit: Visit, given: Given<New>) -> Answer<Response> {
    let New { name, role, device } = given.fields;
    let name = key_name(&name)?;
    let rights = rights(&role, &device)?;
    let secret = Secret::key();
    let key = visit
        .store
        .add_token(name, &rights, &secret.hash(), now_us())
        .await?;
    tracing::info!(key = %key.id, role, device, by = by(&visit.who), "made a key");
    if given.by_page {
        let shown = Some((key.name, secret.as_str().to_owned()));
        let view = view(&visit, shown).await;
        return Ok(pages::draw(&visit, view, templates::keys_page).await);
    }
    let body = Made {
        key: key.into(),
        secret: secret.as_str().to_owned(),
    };
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

pub(crate) async fn revoke(
    visit: Visit,
    Path(id): Path<String>,
    given: Given<Nothing>,
) -> Answer<Response> {
    let missing = || Problem::not_found("such key");
    let id: KeyId = id.parse().map_err(|_| missing())?;
    if !visit.store.revoke(id).await? {
        return Err(missing());
    }
    visit.doors.changed();
    tracing::info!(key = %id, by = by(&visit.who), "revoked a key");
    if given.by_page {
        return Ok(Redirect::to("/keys").into_response());
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn key_name(name: &str) -> Answer<&str> {
    let name = name.trim();
    let length = name.chars().count();
    if !(1..=NAME_MAX).contains(&length) || name.chars().any(char::is_control) {
        return Err(Problem::wrong(
            "Say in 1 to 64 characters what the key is for.",
        ));
    }
    Ok(name)
}

fn rights(role: &str, device: &str) -> Answer<Rights> {
    if role == "camera" {
        let device = device.trim().parse::<DeviceId>();
        return device
            .map(Rights::Camera)
            .map_err(|error| Problem::wrong(format!("Which camera is it for? {error}.")));
    }
    let role = role.parse::<Role>();
    role.map(Rights::Role)
        .map_err(|_| Problem::wrong("A key is for look, manage, owner or camera."))
}

async fn view(visit: &Visit, made: Option<(String, String)>) -> Answer<templates::KeysView> {
    let keys = visit.store.tokens().await?;
    let cameras = visit.store.presences(now_us()).await?;
    Ok(templates::KeysView {
        made,
        cameras: cameras.into_iter().map(|(device, _)| device).collect(),
        keys: keys
            .into_iter()
            .map(|key| templates::KeyView {
                id: key.id.to_string(),
                name: key.name,
                opens: match key.rights {
                    Rights::Role(role) => role.as_str().to_owned(),
                    Rights::Camera(device) => format!("uploads of {device}"),
                },
                created_us: key.created_us,
                used_us: key.used_us,
            })
            .collect(),
    })
}
