//! Pages and API: shows what the store holds, and changes nothing but by a command or an upload.
//!
//! Every route is in one table, with who may take it ([`Permission`]); `guard` stands before all of them, `serve` lets
//! connections in.

mod api;
mod auth;
mod error;
mod form_or_json;
pub mod not_ready;
mod server;
mod slow_body;
pub mod ui;

use crate::http::api::commands;
use crate::http::api::device;
use crate::http::api::devices;
use crate::http::api::health;
use crate::http::api::metrics;
use crate::http::api::pictures;
use crate::http::api::quarantine;
use crate::http::api::settings;
use crate::http::api::sse;
use crate::http::api::tokens;
use crate::http::api::upload;
use crate::http::api::users;
use crate::http::auth::account;
use crate::http::auth::authorize;
use crate::http::auth::login;
use crate::http::ui::handlers;
use crate::http::ui::language;
use std::sync::Arc;

pub use crate::http::auth::authorize::Permission;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{self, MethodRouter};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::config::{Config, LISTENING_MAX, READING_KIB_MAX, STREAMS_MAX};
use crate::downlink::announcer::Announcer;
use crate::downlink::outbox::Outboxes;
use crate::ingest::queue::Queue;
use crate::mqtt::broker_probe::BrokerWarnings;
use crate::mqtt::session::MqttSession;
use crate::ops::backpressure::Backpressure;
use crate::ops::event_bus::EventBus;
use crate::ops::metrics::Metrics;
use crate::pictures::thumbnail::Decoder;
use crate::store::Store;

/// What a form says around its picture, bytes.
const FORM_BYTES_MAX: usize = 64 * 1024;

/// The longest form about people and keys, bytes.
const FIELDS_BYTES_MAX: usize = 16 * 1024;

pub use crate::http::auth::state::AuthState;
pub use crate::http::server::{Tls, TlsError, serve};

/// Everything the routes work with.
#[derive(Clone)]
pub struct AppState {
    pub store: Store,
    pub auth_state: Arc<AuthState>,
    pub live: EventBus,
    pub backpressure: Backpressure,
    pub announcer: Announcer,
    pub decoder: Decoder,
    pub thumbnails: Arc<Notify>,
    pub sessions: [MqttSession; 2],
    /// What is wrong with a broker elsewhere.
    pub broker_warnings: BrokerWarnings,
    /// Of pictures, and of everything else that cameras say.
    pub queues: [Arc<Queue>; 2],
    pub metrics: Metrics,
    pub outboxes: Outboxes,
    /// KiB of requests of cameras that may be read at once.
    pub reading: Arc<Semaphore>,
    /// Cameras that may wait for news at once.
    pub listening: Arc<Semaphore>,
    pub config: Arc<Config>,
    /// Where we really listen.
    pub address: std::net::SocketAddr,
    /// Where cameras connect, and our own sessions.
    pub broker: crate::mqtt::session::BrokerAddress,
    pub stop: CancellationToken,
    pub streams: Arc<Semaphore>,
}

impl AppState {
    pub fn streams() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(STREAMS_MAX))
    }

    pub fn reading() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(READING_KIB_MAX as usize))
    }

    pub fn listening() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(LISTENING_MAX))
    }
}

/// One line of the table of routes: who may do what. What is not in it is refused.
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
    Route {
        method,
        path,
        access,
        handler,
    }
}

/// Every route with the permission it needs, for the tests.
pub fn route_table(config: &Config) -> Vec<(Method, &'static str, Permission)> {
    let all = table(config).into_iter();
    all.map(|route| (route.method, route.path, route.access)).collect()
}

/// Every route, and who may take it.
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
        get(Viewer, "/pictures", handlers::gallery),
        get(Viewer, "/pictures/{id}", handlers::picture),
        get(Viewer, "/quarantine", handlers::quarantine),
        get(Anyone, "/assets/{*path}", handlers::asset),
        post(Anyone, "/language", language::choose),
        get(Viewer, "/api/v1/devices", devices::list),
        get(Viewer, "/api/v1/devices/{device}", devices::one),
        get(Viewer, "/api/v1/devices/{device}/events", devices::events),
        get(Viewer, "/api/v1/devices/{device}/commands", commands::list),
        post(Operator, "/api/v1/devices/{device}/commands", commands::create),
        get(Viewer, "/api/v1/devices/{device}/settings", settings::get),
        route(
            Method::PUT,
            "/api/v1/devices/{device}/settings",
            Operator,
            routing::put(settings::put),
        ),
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
        post(Camera, "/api/v1/frames", device::upload_frame),
        post(Camera, "/api/v1/up/{leaf}", device::send_message),
        get(Camera, "/api/v1/down", device::poll_downlink),
        route(
            Method::POST,
            "/upload",
            Upload,
            routing::post(upload::upload).layer(DefaultBodyLimit::max(upload_bytes_max)),
        ),
    ]
}

fn routes(site: AppState) -> Router {
    let mut router = Router::new();
    for route in table(&site.config) {
        tracing::debug!(method = %route.method, path = route.path, access = ?route.access, "route");
        let state = (site.clone(), route.access);
        let backpressure = axum::middleware::from_fn_with_state(state, authorize::authorize);
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
        router = router.route(route.path, handler.layer(backpressure));
    }
    let state = (site.clone(), Permission::Viewer);
    let backpressure = axum::middleware::from_fn_with_state(state, authorize::authorize);
    router
        // A client without access does not learn which pages exist.
        .fallback(handlers::not_found.layer(backpressure))
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(axum::middleware::map_response(error::to_problem_json))
        .layer(axum::middleware::from_fn(slow_body::enforce_min_rate))
        .layer(axum::middleware::from_fn_with_state(
            site.clone(),
            authorize::security_headers,
        ))
        .layer(CatchPanicLayer::custom(error::panicked))
        .with_state(site)
}
