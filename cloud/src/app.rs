//! Builds the parts of the cloud, starts them in order, and stops them in the reverse order.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use keepsake_protocol::StoreId;
use keepsake_protocol::topic::MessageKind;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::auth::token::SetupCode;
use crate::broker::embedded;
use crate::broker::embedded::LocalBroker;
use crate::config::secret::{PasswordSource, SecretText};
use crate::config::{Config, EXTERNAL_QUEUE_BYTES_MAX, QUEUE_BYTES_MAX};
use crate::data_dir;
use crate::downlink::Downlink;
use crate::downlink::announcer::Announcer;
use crate::downlink::outbox::Outboxes;
use crate::http;
use crate::ingest::queue::Queue;
use crate::ingest::windows::Windows;
use crate::ingest::worker::IngestWorker;
use crate::mqtt::session::{BrokerAddress, Filter, MqttLogin, MqttSession};
use crate::mqtt::{broker_probe, session};
use crate::ops::backpressure::{self, Backpressure};
use crate::ops::event_bus::EventBus;
use crate::ops::health_watch;
use crate::ops::metrics::Metrics;
use crate::ops::orphan_sweep;
use crate::ops::systemd;
use crate::pictures::thumbnail;
use crate::pictures::thumbnail::Decoder;
use crate::store::address::Address;
use crate::store::{Limits, Store, StoreError, StoreOptions};

/// The time that the sessions may take to be subscribed for the first time.
const SUBSCRIBE_WAIT: Duration = Duration::from_secs(30);
/// The first and the longest wait before a database that does not answer is tried again.
const STORE_WAIT_MIN: Duration = Duration::from_millis(200);
const STORE_WAIT_MAX: Duration = Duration::from_secs(5);
/// The files beside a SQLite database that opening it makes, bytes.
const OPEN_BYTES_MIN: u64 = 256 * 1024;
const DISK_FULL: &str = "the disk of the cloud's database is full";
/// Open requests may take this long to end.
const STOP_WAIT: Duration = Duration::from_secs(10);

/// A fault of the configuration, such as a port in use. A restart does not help.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("accept connections on --listen {address} (choose another address or port; port 0 selects a free port)")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("--data {folder}: another cloud is at work there; stop it, or choose another folder")]
    DataDirInUse { folder: std::path::PathBuf },
    #[error("{0}")]
    Schema(String),
    #[error("use --tls-cert and --tls-key")]
    Tls(#[from] http::TlsError),
    #[error(transparent)]
    Broker(#[from] embedded::BrokerError),
}

/// The addresses of everything, once it is ready.
#[derive(Debug, Clone)]
pub struct Ready {
    pub http: SocketAddr,
    /// The address of the embedded broker, if it runs.
    pub mqtt: Option<SocketAddr>,
    pub store: StoreId,
    /// The address where the first owner is created, with its code; absent once there is one.
    pub setup: Option<String>,
}

impl Ready {
    /// The one line on standard output that says so.
    pub fn line(&self) -> String {
        let Self { http, mqtt, store, setup } = self;
        serde_json::json!({"ready": {
            "http": http.to_string(),
            "mqtt": mqtt,
            "store": store.to_string(),
            "setup": setup,
        }})
        .to_string()
    }
}

/// Runs the cloud until `shutdown`; `ready` is called once, when cameras and browsers may come.
///
/// # Errors
/// [`StartError`] where the configuration is to blame; everything else is worth a restart.
pub async fn run(config: Config, ready: impl FnOnce(Ready), shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let tls = match &config.tls {
        Some((cert, key)) => Some(http::Tls::read(cert, key).map_err(StartError::from)?),
        None => None,
    };
    let Some(_lock) = data_dir::lock(&config.data)? else {
        let folder = config.data.clone();
        return Err(StartError::DataDirInUse { folder }.into());
    };
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| StartError::Listen { address: config.listen, source })?;
    let mut shutdown = std::pin::pin!(shutdown);
    let store = tokio::select! {
        store = open_store(&config, &listener, tls.clone()) => store?,
        () = shutdown.as_mut() => return Ok(()),
    };
    let broker = match config.mqtt_listen {
        Some(address) => {
            let started = embedded::start(&config, &store, address).await;
            Some(started.map_err(StartError::from)?)
        }
        None => None,
    };

    let address = listener.local_addr().context("ask for the port")?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let stop = CancellationToken::new();
    let decoder = Decoder::new(config.thumbnail_threads).context("prepare the threads that decode pictures")?;
    let (state, mut tasks) = start_services(config, decoder, &store, broker.as_deref(), address, &stop).await;
    let mut serving = tokio::spawn(http::serve(listener, tls, state.clone(), stop.clone()));
    tokio::select! {
        () = shutdown.as_mut() => tracing::info!("stopping"),
        ended = &mut serving => anyhow::bail!("the web server ended: {ended:?}"),
        failed = accept_cameras(&state, broker.as_deref(), scheme, ready) => return failed,
    }

    systemd::notify(&[NotifyState::Stopping]);
    stop.cancel();
    let ended = async {
        while tasks.join_next().await.is_some() {}
        let _ = serving.await;
    };
    if tokio::time::timeout(STOP_WAIT, ended).await.is_err() {
        tracing::warn!("some work did not end within {STOP_WAIT:?}");
    }
    for session in &state.sessions {
        session.disconnect();
    }
    if let Some(broker) = broker {
        broker.stop();
    }
    store.close().await;
    Ok(())
}

/// Builds everything that the routes need, and starts the work in the background.
async fn start_services(
    config: Config,
    decoder: Decoder,
    store: &Store,
    own_broker: Option<&dyn LocalBroker>,
    address: SocketAddr,
    stop: &CancellationToken,
) -> (http::AppState, JoinSet<()>) {
    let broker = session_target(&config, own_broker);
    let queues = [Arc::new(Queue::default()), Arc::new(Queue::default())];
    let [frames, control] = start_sessions(store, &broker, &queues, stop);
    let external = start_external_session(&config, store, &broker, &queues[0], stop);
    let backpressure = Backpressure::default();
    let outboxes = Outboxes::default();
    let (broker_warnings, message_bytes_max) = if config.external_broker.is_none() {
        broker_probe::of_embedded_broker(embedded::MESSAGE_BYTES_MAX)
    } else {
        broker_probe::start(broker.clone(), store.id(), &frames, stop.clone())
    };
    let announcer = Announcer::new(
        store.clone(),
        Downlink::new(control.clone(), outboxes.clone()),
        backpressure.clone(),
        config.capture_bytes_max,
        message_bytes_max,
    );
    let state = http::AppState {
        store: store.clone(),
        auth_state: Arc::default(),
        live: EventBus::default(),
        backpressure,
        announcer,
        decoder,
        thumbnails: Arc::default(),
        sessions: [frames, control.clone()].into_iter().chain(external).collect(),
        broker_warnings,
        queues,
        metrics: Metrics::default(),
        outboxes,
        bodies: http::BodyBudget::default(),
        listening: http::AppState::listening(),
        config: Arc::new(config),
        address,
        broker,
        stop: stop.clone(),
        streams: http::AppState::streams(),
    };
    health_watch::check_disk_space(&state.config, store, &state.backpressure).await;
    let tasks = start_tasks(&state, &control);
    (state, tasks)
}

/// Starts the MQTT sessions: one for pictures, one for everything else, so that pictures delay nothing.
fn start_sessions(
    store: &Store,
    broker: &BrokerAddress,
    [pictures, words]: &[Arc<Queue>; 2],
    stop: &CancellationToken,
) -> [MqttSession; 2] {
    let frames = MqttSession::start(
        &session::client_id("frames", store.id()),
        Filter::of_every_device(&[MessageKind::Frame]),
        broker.clone(),
        pictures.clone(),
        QUEUE_BYTES_MAX,
        stop.clone(),
    );
    let control = MqttSession::start(
        &session::client_id("control", store.id()),
        Filter::of_every_device(&[MessageKind::Have, MessageKind::Status, MessageKind::Event, MessageKind::Reply]),
        broker.clone(),
        words.clone(),
        QUEUE_BYTES_MAX,
        stop.clone(),
    );
    [frames, control]
}

/// Starts the session for pictures of third-party cameras, if there can be any. No window bounds them, so they have a
/// part of the queue, and wait at the broker without delaying other pictures.
fn start_external_session(
    config: &Config,
    store: &Store,
    broker: &BrokerAddress,
    pictures: &Arc<Queue>,
    stop: &CancellationToken,
) -> Option<MqttSession> {
    let filters: Vec<Filter> = config
        .external
        .filters()
        // Without one of them, the others still arrive.
        .map(|filter| Filter { filter: filter.to_owned(), required: false })
        .collect();
    (!filters.is_empty()).then(|| {
        MqttSession::start(
            &session::client_id("external", store.id()),
            filters,
            broker.clone(),
            pictures.clone(),
            EXTERNAL_QUEUE_BYTES_MAX,
            stop.clone(),
        )
    })
}

/// Starts the work in the background: ingest, announcements, thumbnails and the health watch.
fn start_tasks(state: &http::AppState, control: &MqttSession) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let external = Arc::new(state.config.external.clone());
    let [pictures, words] = &state.queues;
    let windows = Arc::new(Windows::new(pictures.clone()));
    for (queue, space) in [(pictures, Some(state.config.clone())), (words, None)] {
        let worker = IngestWorker {
            queue: queue.clone(),
            windows: windows.clone(),
            store: state.store.clone(),
            backpressure: state.backpressure.clone(),
            events: state.live.clone(),
            control: control.clone(),
            outboxes: state.outboxes.clone(),
            announcer: state.announcer.clone(),
            capture_bytes_max: state.config.capture_bytes_max,
            external: external.clone(),
            space,
            thumbnails: state.thumbnails.clone(),
            metrics: state.metrics.clone(),
        };
        tasks.spawn(worker.run(state.stop.clone()));
    }
    tasks.spawn(state.announcer.clone().run(state.stop.clone()));
    tasks.spawn(thumbnail::run(
        state.store.clone(),
        state.decoder.clone(),
        state.live.clone(),
        state.metrics.clone(),
        state.thumbnails.clone(),
        state.stop.clone(),
    ));
    tasks.spawn(orphan_sweep::run(state.store.clone(), state.stop.clone()));
    tasks.spawn(health_watch::run(
        state.config.clone(),
        state.store.clone(),
        state.backpressure.clone(),
        state.live.clone(),
        state.stop.clone(),
    ));
    tasks
}

/// Accepts cameras once the sessions are subscribed, and reports that the cloud is ready. Returns only on failure.
async fn accept_cameras(
    state: &http::AppState,
    own_broker: Option<&dyn LocalBroker>,
    scheme: &str,
    ready: impl FnOnce(Ready),
) -> anyhow::Result<()> {
    // The embedded broker answers at once or is broken; an external one may be away for any time, and the page says so.
    let patience = state.config.external_broker.is_none().then_some(SUBSCRIBE_WAIT);
    if patience.is_none() {
        // It may take forever, and start-up must not wait for it: the page and HTTP cameras are served.
        systemd::notify(&[NotifyState::Ready, NotifyState::Status("waiting for the broker")]);
    }
    for session in &state.sessions {
        wait_until_subscribed(session, patience).await?;
    }
    // Messages published from now on are received.
    if let Some(broker) = own_broker {
        broker.accept_clients();
    }
    let has_owner = state.auth_state.has_owner(&state.store).await.unwrap_or(true);
    let setup = (!has_owner).then(|| setup_url(scheme, state.address, state.auth_state.setup_code()));
    if let Some(link) = &setup {
        tracing::warn!("nobody owns this cloud yet: make the owner at {link}");
    }
    systemd::notify(&[NotifyState::Ready, NotifyState::Status("open to cameras and browsers")]);
    ready(Ready {
        http: state.address,
        mqtt: own_broker.map(LocalBroker::address),
        store: state.store.id(),
        setup,
    });
    std::future::pending().await
}

/// Opens the store. A server that is away, or not fit to be trusted yet, is waited for, and so is room on a full disk;
/// who asks meanwhile is told.
async fn open_store(config: &Config, listener: &TcpListener, tls: Option<http::Tls>) -> anyhow::Result<Store> {
    let place = StoreOptions {
        address: config.database.clone(),
        data: config.data.clone(),
        capture_bytes_max: config.capture_bytes_max,
        allow_unsafe_durability: config.allow_unsafe_durability,
    };
    let is_server = matches!(place.address, Address::Server(_));
    let (reason, mut reasons) = watch::channel("the cloud has not reached its database yet".to_owned());
    let opened = CancellationToken::new();
    let attempts = async {
        let mut wait = STORE_WAIT_MIN;
        let mut last = String::new();
        loop {
            let opened = match Store::open(place.clone(), Limits::default()).await {
                Ok(store) => store.open_place(&config.bytes).await.map(|_| store),
                Err(error) => Err(error),
            };
            let error = match opened {
                Ok(store) => return Ok(store),
                Err(error @ (StoreError::SchemaTooNew(_) | StoreError::SchemaTooOld)) => {
                    anyhow::bail!(StartError::Schema(error.to_string()))
                }
                Err(error) => error,
            };
            let is_full = error.is_full() || !is_server && disk_is_full(&config.data);
            let sentence = if is_full {
                DISK_FULL.to_owned()
            } else {
                error.sentence()
            };
            let error = anyhow::Error::from(error).context(format!("open the store {}", place.address));
            if !is_server && !is_full {
                return Err(error);
            }
            let said = format!("{error:#}");
            if said != last {
                tracing::error!("{said}; waiting for it");
                last = said;
            }
            reason.send_replace(sentence);
            // The page says why it cannot be shown, so this is a start; and it may stay like this for as long as it
            // likes.
            systemd::notify(&[
                NotifyState::Ready,
                NotifyState::Watchdog,
                NotifyState::Status("waiting for the database"),
            ]);
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(STORE_WAIT_MAX);
        }
    };
    let waiting = async {
        if !is_server {
            // A file is there at once, so the first request can wait, or there is a reason.
            let _ = reasons.changed().await;
        }
        http::not_ready::wait(listener, tls, reasons, opened.clone()).await;
    };
    let store = tokio::select! {
        store = attempts => store,
        // Nobody stops it before.
        () = waiting => anyhow::bail!("the web server ended"),
    };
    // Connections that are still open belong to the one who could only say no.
    opened.cancel();
    store
}

/// Returns true if the disk of the data directory has no room for the files that opening a database makes.
fn disk_is_full(folder: &std::path::Path) -> bool {
    backpressure::disk_space(folder).is_ok_and(|(free, _)| free < OPEN_BYTES_MIN)
}

/// Returns the address where the first owner is created. With a wildcard address, only the operator knows which address a browser can reach.
fn setup_url(scheme: &str, listen: SocketAddr, code: &SetupCode) -> String {
    let host = if listen.ip().is_unspecified() {
        format!("localhost:{}", listen.port())
    } else {
        listen.to_string()
    };
    format!("{scheme}://{host}/setup?code={}", code.as_str())
}

/// Waits until the session has subscribed for the first time; without a bound if there is no `patience`.
async fn wait_until_subscribed(session: &MqttSession, patience: Option<Duration>) -> anyhow::Result<()> {
    let mut health = session.health();
    let wait_until_subscribed = health.wait_for(|health| health.subscribed > 0);
    match patience {
        Some(patience) => tokio::time::timeout(patience, wait_until_subscribed)
            .await
            .context("subscribe at the broker")?
            .map(drop),
        None => wait_until_subscribed.await.map(drop),
    }
    .context("the session with the broker ended")
}

/// Prints the ready line; nobody reading it is no reason to stop.
#[expect(clippy::needless_pass_by_value, reason = "made to be handed to run")]
pub fn report_ready(ready: Ready) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", ready.line()).and_then(|()| out.flush());
}

/// Returns the broker that the sessions of the cloud connect to: `own`, or one elsewhere.
///
/// # Panics
/// There is neither, which the settings do not allow.
fn session_target(config: &Config, own: Option<&dyn LocalBroker>) -> BrokerAddress {
    let login = own.map(LocalBroker::credentials).map(|own| MqttLogin {
        user: own.user,
        password: Some(PasswordSource::Known(SecretText::new(own.password))),
    });
    let Some(elsewhere) = &config.external_broker else {
        let address = own.expect("one of the two brokers is there").address();
        return BrokerAddress {
            host: address.ip().to_string(),
            port: address.port(),
            login,
            tls: None,
        };
    };
    let own = login;
    let host: Option<IpAddr> = elsewhere.host.parse().ok();
    let login = match &elsewhere.user {
        Some(user) => Some(MqttLogin { user: user.clone(), password: elsewhere.password.clone() }),
        // On this computer it may be a way to our own broker that someone listens in on.
        None => own.filter(|_| host.is_some_and(|host| host.is_loopback())),
    };
    BrokerAddress {
        host: elsewhere.host.clone(),
        port: elsewhere.port,
        login,
        tls: elsewhere.tls.clone(),
    }
}
