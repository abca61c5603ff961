//! Decides whether a principal may use a route.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;

use crate::auth::Role;
use crate::config::AnonymousUpload;
use crate::http::app_state::AppState;
use crate::http::auth::client_info::{ClientInfo, client_info};
use crate::http::auth::credentials::identify;
use crate::http::auth::csrf;
use crate::http::auth::denial::{Denial, denial_response, forbidden};
use crate::http::auth::principal::Principal;

/// The permission that a route needs. Each role includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Everyone, whether there is an owner or not.
    Anyone,
    /// A client with the setup code, until there is an owner.
    Setup,
    /// Everyone, once there is an owner: to log in.
    Login,
    /// A viewer: may see pictures.
    Viewer,
    /// An operator: may send commands, and change or delete stored data.
    Operator,
    /// An owner: may manage users and API tokens.
    Owner,
    /// A logged-in user, for the user's own account. API tokens are refused.
    SelfService,
    /// A camera that uses HTTP; [`Principal::may_act_for`] says for which device.
    Camera,
    /// A client that uploads pictures, or a camera.
    Upload,
}

/// Passes a request to its route, or answers with the reason to deny it.
pub(crate) async fn authorize(
    State((state, access)): State<(AppState, Permission)>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = client_info(request.extensions());
    match authenticate(&state, access, request.method(), request.headers(), caller).await {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(refusal) => denial_response(refusal, &request),
    }
}

async fn authenticate(
    state: &AppState,
    access: Permission,
    method: &Method,
    headers: &HeaderMap,
    caller: ClientInfo,
) -> Result<Principal, Denial> {
    if access == Permission::Anyone {
        return Ok(Principal::Anonymous);
    }
    let principal = identify(state, headers, caller).await?;
    if let Principal::User { .. } = principal
        && !csrf::is_safe(method)
        && !csrf::is_same_site(headers)
    {
        return Err(Denial::Problem(csrf::cross_site_problem()));
    }
    let has_owner = match state.auth_state.has_owner(&state.store).await {
        Ok(has_owner) => has_owner,
        // A recently authenticated client may learn that the store is not available.
        Err(_) if principal.role().is_some() => true,
        Err(error) => return Err(error.into()),
    };
    let anonymous_upload = match state.config.anonymous_upload {
        Some(AnonymousUpload::Loopback) => caller.local,
        Some(AnonymousUpload::Everyone) => true,
        Some(AnonymousUpload::Off) => false,
        None => caller.local && !has_owner,
    };
    decide(access, principal, has_owner, anonymous_upload)
}

/// Compares the principal with the permission.
fn decide(
    access: Permission,
    principal: Principal,
    has_owner: bool,
    anonymous_upload: bool,
) -> Result<Principal, Denial> {
    let least = match access {
        Permission::Anyone => return Ok(principal),
        Permission::Setup if has_owner => return Err(Denial::HasOwner),
        Permission::Setup => return Ok(principal),
        Permission::Login if has_owner => return Ok(principal),
        Permission::Login => return Err(Denial::SetupRequired),
        Permission::Viewer => Role::Viewer,
        Permission::Operator => Role::Operator,
        Permission::Owner => Role::Owner,
        Permission::SelfService => match principal {
            Principal::User { .. } => return Ok(principal),
            Principal::ApiToken { .. } | Principal::Camera { .. } => return Err(forbidden()),
            Principal::Anonymous | Principal::AnonymousUpload => Role::Viewer,
        },
        Permission::Camera | Permission::Upload => match principal {
            Principal::Camera { .. } => return Ok(principal),
            // Only pictures: the camera endpoints hand out settings, which have passwords in them.
            Principal::Anonymous if anonymous_upload && access == Permission::Upload => {
                return Ok(Principal::AnonymousUpload);
            }
            Principal::Anonymous | Principal::AnonymousUpload | Principal::User { .. } | Principal::ApiToken { .. } => {
                Role::Operator
            }
        },
    };
    match (principal.role(), &principal) {
        (Some(_), Principal::User { .. }) if !has_owner => Err(Denial::SetupRequired),
        (Some(role), _) if role >= least => Ok(principal),
        (Some(_), _) | (None, Principal::Camera { .. }) => Err(forbidden()),
        // An API token was created in a shell on this computer, so it is valid before there is an owner.
        (None, _) if has_owner => Err(Denial::LoginRequired),
        (None, _) => Err(Denial::SetupRequired),
    }
}
