//! Pages and API: shows what the store holds, and changes nothing but by a command or an upload.
//!
//! Every route is in one table, with who may take it ([`Access`]); [`guard`] stands before all of them, [`mod@serve`] lets
//! connections in.

mod api;
mod auth;
mod error;
mod given;
mod paced;
mod serve;
pub mod ui;
pub mod waiting;

use crate::http::api::commands;
use crate::http::api::devices;
use crate::http::api::frames;
use crate::http::api::keys;
use crate::http::api::metrics;
use crate::http::api::people;
use crate::http::api::pictures;
use crate::http::api::quarantine;
use crate::http::api::settings;
use crate::http::api::stream;
use crate::http::api::system;
use crate::http::api::upload;
use crate::http::auth::account;
use crate::http::auth::entrance;
use crate::http::auth::guard;
use crate::http::ui::pages;
use std::sync::Arc;

pub use crate::http::auth::guard::Access;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{self, MethodRouter};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::config::{Config, LISTENING_MAX, READING_KIB_MAX, STREAMS_MAX};
use crate::downlink::announce::Announcer;
use crate::downlink::mailbox::Mailboxes;
use crate::ingest::intake::Queue;
use crate::mqtt::check::Findings;
use crate::mqtt::session::Session;
use crate::ops::hold::Gate;
use crate::ops::live::Live;
use crate::ops::metrics::Metrics;
use crate::pictures::thumbnail::Decoder;
use crate::store::Store;

/// What a form says around its picture, bytes.
const FORM_BYTES_MAX: usize = 64 * 1024;

/// The longest form about people and keys, bytes.
const FIELDS_BYTES_MAX: usize = 16 * 1024;

pub use crate::http::auth::doors::Doors;
pub use serve::{Tls, TlsError, serve};

/// Everything the routes work with.
#[derive(Clone)]
pub struct Site {
    pub store: Store,
    pub doors: Arc<Doors>,
    pub live: Live,
    pub gate: Gate,
    pub announcer: Announcer,
    pub decoder: Decoder,
    pub thumbnails: Arc<Notify>,
    pub sessions: [Session; 2],
    /// What is wrong with a broker elsewhere.
    pub broker_findings: Findings,
    /// Of pictures, and of everything else that cameras say.
    pub queues: [Arc<Queue>; 2],
    pub metrics: Metrics,
    pub mailboxes: Mailboxes,
    /// KiB of requests of cameras that may be read at once.
    pub reading: Arc<Semaphore>,
    /// Cameras that may wait for news at once.
    pub listening: Arc<Semaphore>,
    pub config: Arc<Config>,
    /// Where we really listen.
    pub address: std::net::SocketAddr,
    /// Where cameras connect, and our own sessions.
    pub broker: crate::mqtt::session::Broker,
    pub stop: CancellationToken,
    pub streams: Arc<Semaphore>,
}

impl Site {
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
    pub(crate) access: Access,
    handler: MethodRouter<Site>,
}

fn get<H: Handler<T, Site>, T: 'static>(access: Access, path: &'static str, handler: H) -> Route {
    route(Method::GET, path, access, routing::get(handler))
}

fn post<H: Handler<T, Site>, T: 'static>(access: Access, path: &'static str, handler: H) -> Route {
    route(Method::POST, path, access, routing::post(handler))
}

fn delete<H: Handler<T, Site>, T: 'static>(
    access: Access,
    path: &'static str,
    handler: H,
) -> Route {
    route(Method::DELETE, path, access, routing::delete(handler))
}

fn route(method: Method, path: &'static str, access: Access, handler: MethodRouter<Site>) -> Route {
    Route {
        method,
        path,
        access,
        handler,
    }
}

/// Every route, and who may take it: for whoever wants to check that it is so.
pub fn told(config: &Config) -> Vec<(Method, &'static str, Access)> {
    let all = table(config).into_iter();
    all.map(|route| (route.method, route.path, route.access))
        .collect()
}

/// Every route, and who may take it.
pub(crate) fn table(config: &Config) -> Vec<Route> {
    use Access::{Anyone, Camera, LogIn, Look, Manage, Oneself, Owner, SetUp, Upload};
    let upload_bytes_max =
        usize::try_from(config.capture_bytes_max).unwrap_or(usize::MAX) + FORM_BYTES_MAX;
    vec![
        get(SetUp, "/setup", entrance::set_up_page),
        post(SetUp, "/setup", entrance::set_up),
        get(LogIn, "/login", entrance::log_in_page),
        post(LogIn, "/login", entrance::log_in),
        get(LogIn, "/invitation", entrance::invitation_page),
        post(LogIn, "/invitation", entrance::accept),
        post(LogIn, "/logout", entrance::log_out),
        get(Oneself, "/account", account::page),
        post(Oneself, "/account/password", account::change_password),
        post(Oneself, "/account/sessions/end", account::end_sessions),
        get(Owner, "/people", people::page),
        post(Owner, "/people", people::add),
        post(Owner, "/people/{id}/role", people::change_role),
        post(Owner, "/people/{id}/reset", people::reset),
        post(Owner, "/people/{id}/remove", people::remove),
        get(Owner, "/keys", keys::page),
        post(Owner, "/keys", keys::add),
        post(Owner, "/keys/{id}/revoke", keys::revoke),
        get(Owner, "/api/v1/people", people::list),
        post(Owner, "/api/v1/people", people::add),
        post(Owner, "/api/v1/people/{id}/role", people::change_role),
        post(Owner, "/api/v1/people/{id}/reset", people::reset),
        delete(Owner, "/api/v1/people/{id}", people::remove),
        get(Owner, "/api/v1/keys", keys::list),
        post(Owner, "/api/v1/keys", keys::add),
        delete(Owner, "/api/v1/keys/{id}", keys::revoke),
        get(Look, "/api/v1/me", account::me),
        get(Look, "/", pages::cameras),
        get(Look, "/cameras/{device}", pages::camera),
        get(Look, "/cameras/{device}/settings", pages::settings),
        post(Manage, "/cameras/{device}/settings", pages::save_settings),
        get(Look, "/pictures", pages::gallery),
        get(Look, "/pictures/{id}", pages::picture),
        get(Look, "/quarantine", pages::quarantine),
        get(Anyone, "/assets/{*path}", pages::asset),
        get(Look, "/api/v1/devices", devices::list),
        get(Look, "/api/v1/devices/{device}", devices::one),
        get(Look, "/api/v1/devices/{device}/events", devices::events),
        get(Look, "/api/v1/devices/{device}/commands", commands::list),
        post(Manage, "/api/v1/devices/{device}/commands", commands::ask),
        get(Look, "/api/v1/devices/{device}/settings", settings::get),
        route(
            Method::PUT,
            "/api/v1/devices/{device}/settings",
            Manage,
            routing::put(settings::put),
        ),
        get(Look, "/api/v1/pictures", pictures::list),
        get(Look, "/api/v1/pictures/{id}", pictures::one),
        delete(Manage, "/api/v1/pictures/{id}", pictures::delete),
        get(Look, "/api/v1/pictures/{id}/image", pictures::image),
        get(Look, "/api/v1/pictures/{id}/thumbnail", pictures::thumbnail),
        get(Look, "/api/v1/counters", devices::counters),
        get(Look, "/api/v1/quarantine", quarantine::list),
        get(Look, "/api/v1/quarantine/{id}/bytes", quarantine::bytes),
        delete(Manage, "/api/v1/quarantine/{id}", quarantine::delete),
        get(Look, "/api/v1/system", system::system),
        get(Look, "/api/v1/live", stream::live),
        get(Look, "/metrics", metrics::metrics),
        get(Anyone, "/healthz", system::alive),
        get(Anyone, "/readyz", system::ready),
        post(Camera, "/api/v1/frames", frames::frame),
        post(Camera, "/api/v1/up/{leaf}", frames::word),
        get(Camera, "/api/v1/down", frames::news),
        route(
            Method::POST,
            "/upload",
            Upload,
            routing::post(upload::upload).layer(DefaultBodyLimit::max(upload_bytes_max)),
        ),
    ]
}

fn routes(site: Site) -> Router {
    let mut router = Router::new();
    for route in table(&site.config) {
        tracing::debug!(method = %route.method, path = route.path, access = ?route.access, "route");
        let state = (site.clone(), route.access);
        let gate = axum::middleware::from_fn_with_state(state, guard::admit);
        let handler = match route.access {
            Access::SetUp | Access::LogIn | Access::Oneself | Access::Owner => {
                route.handler.layer(DefaultBodyLimit::max(FIELDS_BYTES_MAX))
            }
            Access::Anyone | Access::Look | Access::Manage | Access::Camera | Access::Upload => {
                route.handler
            }
        };
        router = router.route(route.path, handler.layer(gate));
    }
    let state = (site.clone(), Access::Look);
    let gate = axum::middleware::from_fn_with_state(state, guard::admit);
    router
        // Whoever may not look learns nothing about what there is.
        .fallback(pages::not_found.layer(gate))
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(axum::middleware::map_response(error::in_our_words))
        .layer(axum::middleware::from_fn(paced::paced))
        .layer(axum::middleware::from_fn_with_state(
            site.clone(),
            guard::check,
        ))
        .layer(CatchPanicLayer::custom(error::panicked))
        .with_state(site)
}
