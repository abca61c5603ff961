//! API tokens of programs and cameras: for owners, as a page and as JSON. The text of a token is shown only once.

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use keepsake_protocol::DeviceId;
use serde::{Deserialize, Serialize};

use crate::auth::token::Token;
use crate::auth::{PrincipalId, Role, TokenScope};
use crate::http::api::users::{EmptyForm, actor_name};
use crate::http::auth::request_context::RequestContext;
use crate::http::error::{HttpResult, Problem};
use crate::http::form_or_json::FormOrJson;
use crate::http::ui::{handlers, templates};
use crate::now_us;
use crate::store::ApiToken;

/// Characters that say what a key is for.
const NAME_MAX: usize = 64;

#[derive(Serialize)]
struct TokenInfo {
    id: PrincipalId,
    name: String,
    /// `viewer`, `operator`, `owner` or `camera`.
    role: &'static str,
    /// Which camera a key of role `camera` is for.
    device: Option<DeviceId>,
    created_us: i64,
    used_us: Option<i64>,
}

impl From<ApiToken> for TokenInfo {
    fn from(token: ApiToken) -> Self {
        let (role, device) = match token.scope {
            TokenScope::Role(role) => (role.as_str(), None),
            TokenScope::Camera(device) => ("camera", Some(device)),
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
pub(crate) struct Tokens {
    tokens: Vec<TokenInfo>,
}

pub(crate) async fn page(context: RequestContext) -> Response {
    show(&context, None).await
}

pub(crate) async fn list(context: RequestContext) -> HttpResult<Json<Tokens>> {
    let tokens = context.store.tokens().await?;
    Ok(Json(Tokens { tokens: tokens.into_iter().map(TokenInfo::from).collect() }))
}

#[derive(Deserialize)]
pub(crate) struct NewToken {
    name: String,
    /// `viewer`, `operator`, `owner` or `camera`.
    role: String,
    #[serde(default)]
    device: String,
}

#[derive(Serialize)]
struct CreatedToken {
    #[serde(flatten)]
    key: TokenInfo,
    /// The key itself; the cloud keeps only its hash.
    token: String,
}

pub(crate) async fn add(context: RequestContext, given: FormOrJson<NewToken>) -> HttpResult<Response> {
    let NewToken { name, role, device } = given.fields;
    let (name, scope) = (token_name(&name)?, scope(&role, &device)?);
    let secret = Token::new_api_token();
    let key = context.store.add_token(name, &scope, &secret.hash(), now_us()).await?;
    tracing::info!(key = %key.id, role, device, by = actor_name(&context.principal), "created an API token");
    if given.is_form {
        return Ok(show(&context, Some((key.name, secret.as_str().to_owned()))).await);
    }
    let body = CreatedToken { key: key.into(), token: secret.as_str().to_owned() };
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

pub(crate) async fn revoke(
    context: RequestContext,
    Path(id): Path<String>,
    given: FormOrJson<EmptyForm>,
) -> HttpResult<Response> {
    let missing = || Problem::not_found("such API token");
    let id: PrincipalId = id.parse().map_err(|_| missing())?;
    if !context.store.revoke_token(id).await? {
        return Err(missing());
    }
    context.auth_state.changed();
    tracing::info!(key = %id, by = actor_name(&context.principal), "revoked an API token");
    Ok(given.done("/tokens"))
}

fn token_name(name: &str) -> HttpResult<&str> {
    let name = name.trim();
    let length = name.chars().count();
    if !(1..=NAME_MAX).contains(&length) || name.chars().any(char::is_control) {
        return Err(Problem::bad_request("Enter a name of 1 to 64 characters."));
    }
    Ok(name)
}

fn scope(role: &str, device: &str) -> HttpResult<TokenScope> {
    if role == "camera" {
        let device = device.trim().parse::<DeviceId>();
        return device
            .map(TokenScope::Camera)
            .map_err(|error| Problem::bad_request(format!("Enter the name of the camera: {error}.")));
    }
    let role = role.parse::<Role>();
    role.map(TokenScope::Role)
        .map_err(|_| Problem::bad_request("The role of an API token is viewer, operator, owner or camera."))
}

async fn show(context: &RequestContext, created: Option<(String, String)>) -> Response {
    let view = async {
        let cameras = context.store.presences(now_us()).await?.into_iter().map(|(device, _)| device).collect();
        Ok(templates::TokensView { created, cameras, tokens: context.store.tokens().await? })
    };
    handlers::draw(context, view.await, templates::tokens_page).await
}
