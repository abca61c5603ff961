//! Pages and API: shows what the store holds, and changes nothing but by a command or an upload.
//!
//! Every route is on this screen. Nobody has a login yet, so only this computer may connect, and two rules keep other
//! web sites from using a browser on it: the Host must be this computer (against DNS rebinding), and whatever changes
//! something must come from our own pages or from no page at all ([`guard`]).

mod commands;
mod devices;
mod error;
mod guard;
mod json;
pub mod page;
mod pages;
mod pictures;
mod stream;
mod system;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;

use crate::announce::Announcer;
use crate::config::{CONNECTIONS_MAX, Config, STREAMS_MAX};
use crate::hold::Gate;
use crate::live::Live;
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
}

fn routes(site: Site) -> Router {
    let upload_bytes_max =
        usize::try_from(site.config.capture_bytes_max).unwrap_or(usize::MAX) + FORM_BYTES_MAX;
    Router::new()
        .route("/", get(pages::cameras))
        .route("/cameras/{device}", get(pages::camera))
        .route("/pictures", get(pages::gallery))
        .route("/pictures/{id}", get(pages::picture))
        .route("/quarantine", get(pages::quarantine))
        .route("/assets/{*path}", get(pages::asset))
        .route("/api/v1/devices", get(devices::list))
        .route(
            "/api/v1/devices/{device}/commands",
            get(commands::list).post(commands::ask),
        )
        .route("/api/v1/pictures", get(pictures::list))
        .route("/api/v1/pictures/{id}", get(pictures::one))
        .route("/api/v1/pictures/{id}/image", get(pictures::image))
        .route("/api/v1/pictures/{id}/thumbnail", get(pictures::thumbnail))
        .route("/api/v1/quarantine", get(system::quarantine))
        .route("/api/v1/system", get(system::system))
        .route("/api/v1/live", get(stream::live))
        .route("/healthz", get(system::alive))
        .route("/readyz", get(system::ready))
        .route(
            "/upload",
            post(upload::upload).layer(DefaultBodyLimit::max(upload_bytes_max)),
        )
        .fallback(pages::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(axum::middleware::map_response(error::in_our_words))
        .layer(axum::middleware::from_fn(guard::check))
        .layer(CatchPanicLayer::custom(error::panicked))
        .with_state(site)
}

/// Serves until it is stopped, then lets open requests end.
pub async fn serve(listener: TcpListener, site: Site, stop: CancellationToken) {
    let routes = routes(site);
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
