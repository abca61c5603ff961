//! Pages and API: shows what the store holds, and changes nothing but by a command or an upload.
//!
//! Every route is in one table, with who may take it ([`Access`]). Nobody has a login yet, so only this computer may connect, and two rules keep other
//! web sites from using a browser on it: the Host must be this computer (against DNS rebinding), and whatever changes
//! something must come from our own pages or from no page at all ([`guard`]).

mod commands;
mod devices;
mod error;
mod frames;
mod guard;
mod json;
mod metrics;
pub mod page;
mod pages;
mod pictures;
mod quarantine;
mod settings;
mod stream;
mod system;
mod upload;
pub mod waiting;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{self, MethodRouter};
use guard::Access;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;

use crate::announce::Announcer;
use crate::config::{CONNECTIONS_MAX, Config, LISTENING_MAX, READING_KIB_MAX, STREAMS_MAX};
use crate::hold::Gate;
use crate::intake::Queue;
use crate::live::Live;
use crate::mailbox::Mailboxes;
use crate::metrics::Metrics;
use crate::mqtt::Session;
use crate::store::Store;
use crate::thumbnail::Decoder;

/// A client that has not finished its header by then is cut off; without it, idle ones would use up all connections.
const HEADER_WAIT: Duration = Duration::from_secs(10);
/// What a form says around its picture, bytes.
const FORM_BYTES_MAX: usize = 64 * 1024;

/// Everything the routes work with.
#[derive(Clone)]
pub struct Site {
    pub store: Store,
    pub live: Live,
    pub gate: Gate,
    pub announcer: Announcer,
    pub decoder: Decoder,
    pub thumbnails: Arc<Notify>,
    pub sessions: [Session; 2],
    /// Of pictures, and of everything else that cameras say.
    pub queues: [Arc<Queue>; 2],
    pub metrics: Metrics,
    pub mailboxes: Mailboxes,
    /// KiB of requests of cameras that may be read at once.
    pub reading: Arc<Semaphore>,
    /// Cameras that may wait for news at once.
    pub listening: Arc<Semaphore>,
    pub config: Arc<Config>,
    /// Where we really listen, HTTP and MQTT.
    pub addresses: (std::net::SocketAddr, std::net::SocketAddr),
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

fn route(method: Method, path: &'static str, access: Access, handler: MethodRouter<Site>) -> Route {
    Route {
        method,
        path,
        access,
        handler,
    }
}

/// Every route, and who may take it.
pub(crate) fn table(config: &Config) -> Vec<Route> {
    use Access::{Anyone, Camera, Look, Manage};
    let upload_bytes_max =
        usize::try_from(config.capture_bytes_max).unwrap_or(usize::MAX) + FORM_BYTES_MAX;
    vec![
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
        route(
            Method::DELETE,
            "/api/v1/pictures/{id}",
            Manage,
            routing::delete(pictures::delete),
        ),
        get(Look, "/api/v1/pictures/{id}/image", pictures::image),
        get(Look, "/api/v1/pictures/{id}/thumbnail", pictures::thumbnail),
        get(Look, "/api/v1/counters", devices::counters),
        get(Look, "/api/v1/quarantine", quarantine::list),
        get(Look, "/api/v1/quarantine/{id}/bytes", quarantine::bytes),
        route(
            Method::DELETE,
            "/api/v1/quarantine/{id}",
            Manage,
            routing::delete(quarantine::delete),
        ),
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
            Camera,
            routing::post(upload::upload).layer(DefaultBodyLimit::max(upload_bytes_max)),
        ),
    ]
}

fn routes(site: Site) -> Router {
    let mut router = Router::new();
    for route in table(&site.config) {
        tracing::debug!(method = %route.method, path = route.path, access = ?route.access, "route");
        let gate = axum::middleware::from_fn_with_state((site.clone(), route.access), guard::admit);
        router = router.route(route.path, route.handler.layer(gate));
    }
    router
        .fallback(pages::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(axum::middleware::map_response(error::in_our_words))
        .layer(axum::middleware::from_fn(guard::check))
        .layer(CatchPanicLayer::custom(error::panicked))
        .with_state(site)
}

/// Serves until it is stopped, then lets open requests end.
pub async fn serve(listener: TcpListener, site: Site, stop: CancellationToken) {
    accept(&listener, routes(site), stop).await;
}

async fn accept(listener: &TcpListener, routes: Router, stop: CancellationToken) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let tasks = TaskTracker::new();
    loop {
        let Ok(place) = connections.clone().acquire_owned().await else {
            break;
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Mostly no more file descriptors: waiting is all that helps.
                tracing::warn!("accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(routes.clone());
        let stop = stop.clone();
        tasks.spawn(async move {
            let _place = place;
            let _ = stream.set_nodelay(true);
            // axum::serve sets no timer, and without one hyper waits for a header for ever.
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_WAIT)
                .serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!("connection: {error}");
            }
        });
    }
    tasks.close();
    tasks.wait().await;
}
