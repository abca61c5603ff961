//! The route table: every page and API endpoint, with the permission it needs.

mod api;
mod app_state;
mod auth;
mod body_budget;
mod cookies;
mod error;
mod form_or_json;
pub mod not_ready;
mod problem_page;
mod security_headers;
mod server;
mod settings_progress;
mod slow_body;
pub mod ui;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{self, MethodRouter};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::config::Config;
use crate::http::api::{
    camera_transport, commands, devices, health, metrics, pictures, quarantine, settings, sse, tokens, upload, users,
};
pub use crate::http::app_state::AppState;
pub use crate::http::auth::authorize::Permission;
use crate::http::auth::authorize::authorize;
pub use crate::http::auth::state::AuthState;
use crate::http::auth::{account, login};
pub use crate::http::body_budget::BodyBudget;
pub use crate::http::server::{Tls, TlsError};
use crate::http::ui::{choose_language, handlers};

/// Size limit of the parts of a form around its picture, bytes.
const FORM_BYTES_MAX: usize = 64 * 1024;

/// Size limit of forms about users and API tokens, bytes.
const FIELDS_BYTES_MAX: usize = 16 * 1024;

/// Serves until it is stopped, then lets open requests end.
pub async fn serve(listener: TcpListener, tls: Option<Tls>, state: AppState, stop: CancellationToken) {
    server::accept(&listener, tls, routes(state), stop).await;
}

/// A route, and the permission it needs. Requests to any other path are refused.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) access: Permission,
    handler: MethodRouter<AppState>,
}

fn get<H: Handler<T, AppState>, T: 'static>(access: Permission, path: &'static str, handler: H) -> Route {
    route(Method::GET, path, access, routing::get(handler))
}

fn post<H: Handler<T, AppState>, T: 'static>(access: Permission, path: &'static str, handler: H) -> Route {
    route(Method::POST, path, access, routing::post(handler))
}

fn delete<H: Handler<T, AppState>, T: 'static>(access: Permission, path: &'static str, handler: H) -> Route {
    route(Method::DELETE, path, access, routing::delete(handler))
}

fn route(method: Method, path: &'static str, access: Permission, handler: MethodRouter<AppState>) -> Route {
    Route { method, path, access, handler }
}

/// Returns every route with the permission it needs, for the tests.
pub fn route_table(config: &Config) -> Vec<(Method, &'static str, Permission)> {
    let all = table(config).into_iter();
    all.map(|route| (route.method, route.path, route.access)).collect()
}

/// Returns every route.
pub(crate) fn table(config: &Config) -> Vec<Route> {
    use Permission::{Anyone, Camera, Login, Operator, Owner, SelfService, Setup, Upload, Viewer};
    let upload_bytes_max = usize::try_from(config.capture_bytes_max).unwrap_or(usize::MAX) + FORM_BYTES_MAX;
    vec![
        get(Setup, "/setup", login::setup_page),
        post(Setup, "/setup", login::setup),
        get(Login, "/login", login::login_page),
        post(Login, "/login", login::login),
        get(Login, "/invitation", login::invitation_page),
        post(Login, "/invitation", login::accept_invitation),
        post(Login, "/logout", login::logout),
        get(SelfService, "/account", account::page),
        post(SelfService, "/account/password", account::change_password),
        post(SelfService, "/account/sessions/end", account::end_sessions),
        get(Owner, "/users", users::page),
        post(Owner, "/users", users::add),
        post(Owner, "/users/{id}/role", users::change_role),
        post(Owner, "/users/{id}/reset", users::reset),
        post(Owner, "/users/{id}/remove", users::remove),
        get(Owner, "/tokens", tokens::page),
        post(Owner, "/tokens", tokens::add),
        post(Owner, "/tokens/{id}/revoke", tokens::revoke),
        get(Owner, "/api/v1/users", users::list),
        post(Owner, "/api/v1/users", users::add),
        post(Owner, "/api/v1/users/{id}/role", users::change_role),
        post(Owner, "/api/v1/users/{id}/reset", users::reset),
        delete(Owner, "/api/v1/users/{id}", users::remove),
        get(Owner, "/api/v1/tokens", tokens::list),
        post(Owner, "/api/v1/tokens", tokens::add),
        delete(Owner, "/api/v1/tokens/{id}", tokens::revoke),
        get(Viewer, "/api/v1/me", account::me),
        get(Viewer, "/", handlers::cameras),
        get(Viewer, "/cameras/{device}", handlers::camera),
        get(Viewer, "/cameras/{device}/settings", handlers::settings),
        post(Operator, "/cameras/{device}/settings", handlers::save_settings),
        post(Operator, "/cameras/{device}/commands", commands::create),
        get(Viewer, "/pictures", handlers::gallery),
        get(Viewer, "/pictures/{id}", handlers::picture),
        get(Viewer, "/quarantine", handlers::quarantine),
        get(Anyone, "/assets/{*path}", handlers::asset),
        post(Anyone, "/language", choose_language::choose),
        get(Viewer, "/api/v1/devices", devices::list),
        get(Viewer, "/api/v1/devices/{device}", devices::one),
        get(Viewer, "/api/v1/devices/{device}/events", devices::events),
        get(Viewer, "/api/v1/devices/{device}/commands", commands::list),
        post(Operator, "/api/v1/devices/{device}/commands", commands::create),
        get(Viewer, "/api/v1/devices/{device}/settings", settings::get),
        route(Method::PUT, "/api/v1/devices/{device}/settings", Operator, routing::put(settings::put)),
        get(Viewer, "/api/v1/pictures", pictures::list),
        get(Viewer, "/api/v1/pictures/{id}", pictures::one),
        delete(Operator, "/api/v1/pictures/{id}", pictures::delete),
        get(Viewer, "/api/v1/pictures/{id}/image", pictures::image),
        get(Viewer, "/api/v1/pictures/{id}/thumbnail", pictures::thumbnail),
        get(Viewer, "/api/v1/counters", devices::counters),
        get(Viewer, "/api/v1/quarantine", quarantine::list),
        get(Viewer, "/api/v1/quarantine/{id}/bytes", quarantine::bytes),
        delete(Operator, "/api/v1/quarantine/{id}", quarantine::delete),
        get(Viewer, "/api/v1/system", health::system),
        get(Viewer, "/api/v1/live", sse::live),
        get(Viewer, "/metrics", metrics::metrics),
        get(Anyone, "/healthz", health::alive),
        get(Anyone, "/readyz", health::ready),
        post(Camera, "/api/v1/frames", camera_transport::upload_frame),
        post(Camera, "/api/v1/up/{leaf}", camera_transport::send_message),
        get(Camera, "/api/v1/down", camera_transport::poll_downlink),
        route(
            Method::POST,
            "/upload",
            Upload,
            routing::post(upload::upload).layer(DefaultBodyLimit::max(upload_bytes_max)),
        ),
    ]
}

fn routes(state: AppState) -> Router {
    let mut router = Router::new();
    for route in table(&state.config) {
        tracing::debug!(method = %route.method, path = route.path, access = ?route.access, "route");
        let access = (state.clone(), route.access);
        let authorization = from_fn_with_state(access, authorize);
        let handler = match route.access {
            Permission::Setup | Permission::Login | Permission::SelfService | Permission::Owner => {
                route.handler.layer(DefaultBodyLimit::max(FIELDS_BYTES_MAX))
            }
            Permission::Anyone
            | Permission::Viewer
            | Permission::Operator
            | Permission::Camera
            | Permission::Upload => route.handler,
        };
        let budget = from_fn_with_state(state.bodies.clone(), body_budget::reserve);
        router = router.route(route.path, handler.layer(budget).layer(authorization));
    }
    let access = (state.clone(), Permission::Viewer);
    let authorization = from_fn_with_state(access, authorize);
    router
        // A client without access does not learn which pages exist.
        .fallback(handlers::not_found.layer(authorization))
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(from_fn(problem_page::show_problems))
        .layer(from_fn(slow_body::enforce_min_rate))
        .layer(from_fn_with_state(state.clone(), security_headers::security_headers))
        .layer(CatchPanicLayer::custom(error::panicked))
        .with_state(state)
}
