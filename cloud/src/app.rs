//! Builds all the parts, starts them in order, and stops them in the other one.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use keepsake_protocol::StoreId;
use keepsake_protocol::presence::Presence;
use keepsake_protocol::topic::MessageKind;
use nix::fcntl::{Flock, FlockArg};
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::auth::token::SetupCode;
use crate::broker::embedded;
use crate::broker::embedded::LocalBroker;
use crate::config::Config;
use crate::config::secret::{PasswordSource, SecretText};
use crate::downlink::Downlink;
use crate::downlink::announcer::Announcer;
use crate::downlink::outbox::Outboxes;
use crate::http;
use crate::ingest::queue::Queue;
use crate::ingest::worker::IngestWorker;
use crate::mqtt::session::{BrokerAddress, Filter, MqttLogin, MqttSession};
use crate::mqtt::{broker_probe, session};
use crate::now_us;
use crate::ops::backpressure;
use crate::ops::backpressure::Backpressure;
use crate::ops::event_bus::{ChangeEvent, EventBus};
use crate::ops::metrics::Metrics;
use crate::pictures::thumbnail;
use crate::pictures::thumbnail::Decoder;
use crate::store::address::Address;
use crate::store::{Limits, Store, StoreError, StoreOptions};

/// How long the sessions may take to be subscribed for the first time.
const SUBSCRIBE_WAIT: Duration = Duration::from_secs(30);
/// How often room on the disk and silence of cameras are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// How long a database that is away is left alone at first, and at most.
const STORE_WAIT_MIN: Duration = Duration::from_millis(200);
const STORE_WAIT_MAX: Duration = Duration::from_secs(5);
/// How often unfinished captures are looked through.
const TIDY_EVERY: Duration = Duration::from_secs(600);
/// Open requests may take this long to end.
const STOP_WAIT: Duration = Duration::from_secs(10);

/// A port that is taken, or a folder that cannot be used: the configuration is wrong, a restart does not help.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("accept connections on --listen {address} (choose another address or port; port 0 selects a free port)")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("--data {folder}: another cloud is at work there; stop it, or choose another folder")]
    DataDirInUse { folder: std::path::PathBuf },
    #[error("{0}")]
    SchemaTooNew(String),
    #[error("use --tls-cert and --tls-key")]
    Tls(#[from] http::TlsError),
    #[error(transparent)]
    Broker(#[from] embedded::BrokerError),
}

/// Where everything is, once it is ready.
#[derive(Debug, Clone)]
pub struct Ready {
    pub http: SocketAddr,
    /// Of the embedded broker; absent where there is none.
    pub mqtt: Option<SocketAddr>,
    pub store: StoreId,
    /// Where the first owner is made, with the code for it; absent once there is one.
    pub setup: Option<String>,
}

impl Ready {
    /// The one line on standard output that says so.
    pub fn line(&self) -> String {
        let Self {
            http,
            mqtt,
            store,
            setup,
        } = self;
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
    let _lock = lock_data_dir(&config.data)?;
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| StartError::Listen {
            address: config.listen,
            source,
        })?;
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

    let stop = CancellationToken::new();
    let backpressure = Backpressure::default();
    let live = EventBus::default();
    let decoder = Decoder::default();
    let thumbnails = Arc::new(Notify::new());
    let metrics = Metrics::default();
    check_disk_space(&config, &store, &backpressure).await;

    let target = session_target(&config, broker.as_deref());
    let looked_at = target.clone();
    let (pictures, words) = (Arc::new(Queue::default()), Arc::new(Queue::default()));
    let ways = Arc::new(config.ways.clone());
    let other_cameras: Vec<Filter> = ways
        .filters()
        .map(|filter| Filter {
            filter: filter.to_owned(),
            // Pictures of Keepsake's own cameras come in all the same.
            required: false,
        })
        .collect();
    let frames = MqttSession::start(
        &session::client_id("frames", store.id()),
        [Filter::of_every_device(&[MessageKind::Frame]), other_cameras].concat(),
        target.clone(),
        pictures.clone(),
        stop.clone(),
    );
    let control = MqttSession::start(
        &session::client_id("control", store.id()),
        Filter::of_every_device(&[
            MessageKind::Have,
            MessageKind::Status,
            MessageKind::Event,
            MessageKind::Reply,
        ]),
        target,
        words.clone(),
        stop.clone(),
    );
    let outboxes = Outboxes::default();
    let announcer = Announcer::new(
        store.clone(),
        Downlink::new(control.clone(), outboxes.clone()),
        backpressure.clone(),
        config.capture_bytes_max,
    );
    let queues = [pictures.clone(), words.clone()];
    let mut tasks = tokio::task::JoinSet::new();
    for (queue, waits_for_space) in [(pictures, true), (words, false)] {
        let intake = IngestWorker {
            queue,
            store: store.clone(),
            backpressure: backpressure.clone(),
            events: live.clone(),
            control: control.clone(),
            outboxes: outboxes.clone(),
            announcer: announcer.clone(),
            capture_bytes_max: config.capture_bytes_max,
            external: ways.clone(),
            waits_for_space,
            thumbnails: thumbnails.clone(),
            metrics: metrics.clone(),
        };
        tasks.spawn(intake.run(stop.clone()));
    }
    tasks.spawn(announcer.clone().run(stop.clone()));
    tasks.spawn(thumbnail::run(
        store.clone(),
        decoder.clone(),
        live.clone(),
        thumbnails.clone(),
        stop.clone(),
    ));
    tasks.spawn(watch_health(
        config.clone(),
        store.clone(),
        backpressure.clone(),
        live.clone(),
        stop.clone(),
    ));
    let own_broker = config.external_broker.is_none();
    let broker_warnings = if own_broker {
        broker_probe::none()
    } else {
        broker_probe::start(looked_at.clone(), store.id(), &frames, stop.clone())
    };
    let http_address = listener.local_addr().context("ask for the port")?;
    let auth_state = Arc::new(http::AuthState::default());
    let scheme = if tls.is_some() { "https" } else { "http" };
    let site = http::AppState {
        store: store.clone(),
        auth_state: auth_state.clone(),
        live,
        backpressure,
        announcer,
        decoder,
        thumbnails,
        sessions: [frames.clone(), control.clone()],
        broker_warnings,
        queues,
        metrics,
        outboxes,
        reading: http::AppState::reading(),
        listening: http::AppState::listening(),
        config: Arc::new(config),
        address: http_address,
        broker: looked_at,
        stop: stop.clone(),
        streams: http::AppState::streams(),
    };
    let mut serving = tokio::spawn(http::serve(listener, tls, site, stop.clone()));
    // Our own broker is here or broken; one elsewhere may be away for as long as it likes, and the page says so.
    let patience = own_broker.then_some(SUBSCRIBE_WAIT);
    let open = async {
        if !own_broker {
            // It may take forever, and start-up must not wait for it: the page and HTTP cameras are served.
            notify_systemd(&[NotifyState::Ready, NotifyState::Status("waiting for the broker")]);
        }
        for session in [&frames, &control] {
            wait_until_subscribed(session, patience).await?;
        }
        // Messages published from now on are received.
        if let Some(broker) = &broker {
            broker.accept_clients();
        }
        let has_owner = auth_state.has_owner(&store).await.unwrap_or(true);
        let setup = (!has_owner).then(|| setup_url(scheme, http_address, auth_state.setup_code()));
        if let Some(link) = &setup {
            tracing::warn!("nobody owns this cloud yet: make the owner at {link}");
        }
        notify_systemd(&[NotifyState::Ready, NotifyState::Status("open to cameras and browsers")]);
        ready(Ready {
            http: http_address,
            mqtt: broker.as_ref().map(|broker| broker.address()),
            store: store.id(),
            setup,
        });
        std::future::pending::<anyhow::Result<()>>().await
    };
    tokio::select! {
        () = shutdown.as_mut() => tracing::info!("stopping"),
        ended = &mut serving => anyhow::bail!("the web server ended: {ended:?}"),
        failed = open => return failed,
    }

    notify_systemd(&[NotifyState::Stopping]);
    stop.cancel();
    let ended = async {
        while tasks.join_next().await.is_some() {}
        let _ = serving.await;
    };
    if tokio::time::timeout(STOP_WAIT, ended).await.is_err() {
        tracing::warn!("some work did not end within {STOP_WAIT:?}");
    }
    frames.disconnect();
    control.disconnect();
    if let Some(broker) = broker {
        broker.stop();
    }
    store.close().await;
    Ok(())
}

/// Opens the store. A server that is away, or not fit to be trusted yet, is waited for; who asks meanwhile is told.
async fn open_store(config: &Config, listener: &TcpListener, tls: Option<http::Tls>) -> anyhow::Result<Store> {
    let place = StoreOptions {
        address: config.database.clone(),
        capture_bytes_max: config.capture_bytes_max,
        allow_unsafe_durability: config.allow_unsafe_durability,
    };
    let waits = matches!(place.address, Address::Server(_));
    let (reason, reasons) = watch::channel("the cloud has not reached its database yet".to_owned());
    let opened = CancellationToken::new();
    let attempts = async {
        let mut wait = STORE_WAIT_MIN;
        let mut last = String::new();
        loop {
            let error = match Store::open(place.clone(), Limits::default()).await {
                Ok(store) => return Ok(store),
                Err(StoreError::SchemaTooNew(version)) => {
                    anyhow::bail!(StartError::SchemaTooNew(StoreError::SchemaTooNew(version).to_string()))
                }
                Err(error) => error,
            };
            let sentence = error.sentence();
            let error = anyhow::Error::from(error).context(format!("open the store {}", place.address));
            if !waits {
                return Err(error);
            }
            let said = format!("{error:#}");
            if said != last {
                tracing::error!("{said}; waiting for it");
                last = said;
            }
            reason.send_replace(sentence);
            // The page says why it cannot be shown, so this is a start; and it may stay like this for as long as it likes.
            notify_systemd(&[
                NotifyState::Ready,
                NotifyState::Watchdog,
                NotifyState::Status("waiting for the database"),
            ]);
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(STORE_WAIT_MAX);
        }
    };
    let waiting = async {
        if waits {
            http::not_ready::wait(listener, tls, reasons, opened.clone()).await;
        } else {
            // A file is there at once or not at all, so the first request can wait.
            std::future::pending::<()>().await;
        }
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

/// Where the first owner is made. With a wildcard address, only the operator knows which address a browser can reach.
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

/// Makes sure that this is the only cloud of this folder, until the file is closed, however this process ends.
fn lock_data_dir(folder: &Path) -> anyhow::Result<Flock<File>> {
    std::fs::create_dir_all(folder)
        .and_then(|()| File::create(folder.join("lock")))
        .with_context(|| format!("prepare the data folder {}", folder.display()))
        .and_then(|file| {
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
                StartError::DataDirInUse {
                    folder: folder.to_owned(),
                }
                .into()
            })
        })
}

/// Prints the ready line; nobody reading it is no reason to stop.
#[expect(clippy::needless_pass_by_value, reason = "made to be handed to run")]
pub fn report_ready(ready: Ready) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", ready.line()).and_then(|()| out.flush());
}

/// Where the sessions of the cloud connect: `own`, or one elsewhere.
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
        Some(user) => Some(MqttLogin {
            user: user.clone(),
            password: elsewhere.password.clone(),
        }),
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

/// Looks at the disk and at who has fallen silent, for as long as the cloud runs.
async fn watch_health(
    config: Config,
    store: Store,
    backpressure: Backpressure,
    live: EventBus,
    stop: CancellationToken,
) {
    let work = async {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tidy = interval(TIDY_EVERY);
        tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut there: Vec<(keepsake_protocol::DeviceId, Presence)> = Vec::new();
        loop {
            tokio::select! {
                _ = look.tick() => {
                    check_disk_space(&config, &store, &backpressure).await;
                    check_store(&store, &backpressure).await;
                    // Both looks are bounded. A database that is away is detected as such, and is not a reason to restart.
                    notify_systemd(&[NotifyState::Watchdog]);
                    if let Ok(now) = store.presences(now_us()).await {
                        for known in now.iter().filter(|known| !there.contains(known)) {
                            live.publish(ChangeEvent::Device(Arc::new(known.0.clone())));
                        }
                        there = now;
                    }
                }
                _ = tidy.tick() => match store.drop_stale_parts(now_us()).await {
                    Ok(0) => {}
                    Ok(dropped) => tracing::info!("dropped {dropped} captures that were never finished"),
                    Err(error) => tracing::warn!("drop old parts: {:#}", anyhow::Error::from(error)),
                },
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// Where systemd has not started us there is nobody to tell.
fn notify_systemd(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        tracing::debug!("tell systemd: {error}");
    }
}

/// Notices that the store is away or unfit also while nobody brings anything, and that it is back.
async fn check_store(store: &Store, backpressure: &Backpressure) {
    let held = backpressure.state().store;
    let found = match &held {
        None => store.check().await,
        // Only a commit proves that it takes something again.
        Some(_) => store.probe(now_us()).await,
    };
    match found {
        // A look proves nothing against a commit that has failed while it waited for its turn.
        Ok(()) if held.is_none() => {}
        Ok(()) => backpressure.set_store(None),
        Err(error) => {
            let reason = Some(error.sentence());
            if reason != held {
                tracing::error!("look at the store: {:#}", anyhow::Error::from(error));
            }
            backpressure.set_store(reason);
        }
    }
}

/// Pauses uploads while the disk and the free pages of the database together have too little room.
async fn check_disk_space(config: &Config, store: &Store, backpressure: &Backpressure) {
    let folder = config.data.clone();
    match tokio::task::spawn_blocking(move || backpressure::disk_space(&folder)).await {
        Ok(Ok((free, total))) => {
            // A database that does not answer is reported by check_store.
            let room = free.saturating_add(store.reusable_bytes().await.unwrap_or(0));
            let (bytes, percent) = (config.free_bytes_min, config.free_percent_min);
            backpressure.set_space(free, backpressure::low_space_reason(room, total, bytes, percent));
        }
        Ok(Err(error)) => tracing::warn!("measure the disk: {error}"),
        Err(error) => tracing::warn!("measure the disk: {error}"),
    }
}
