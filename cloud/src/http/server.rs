//! Accepts HTTP and HTTPS connections, with global, per-address and idle limits.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::login_throttle::Network;
use crate::config::{CONNECTIONS_MAX, CONNECTIONS_OF_ONE_MAX};
use crate::http::auth::client_info::Peer;

/// A client that has not finished its header by then is cut off; without it, idle ones would use up all connections.
const HEADER_WAIT: Duration = Duration::from_secs(10);
/// The same for the handshake of TLS.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
/// The interval between checks of the certificate files.
const CERTIFICATE_EVERY: Duration = Duration::from_secs(5);
/// Requests under way at once in one connection of HTTP/2.
const HTTP2_STREAMS_MAX: u32 = 64;
/// All names and values of one request in HTTP/2, bytes; HTTP/1 has a bound of its own.
const HTTP2_HEADER_BYTES_MAX: u32 = 32 * 1024;
/// A connection of HTTP/2 that does not answer a ping for so long is gone.
const HTTP2_PING_WAIT: Duration = Duration::from_secs(20);

/// Accepts connections until it is stopped, then lets open requests end.
pub(crate) async fn accept(listener: &TcpListener, tls: Option<Tls>, routes: Router, stop: CancellationToken) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let of_one = Arc::new(AddressLimiter::default());
    let tasks = TaskTracker::new();
    if let Some(tls) = tls.clone() {
        tasks.spawn(tls.watch_files(stop.clone()));
    }
    loop {
        let Ok(place) = connections.clone().acquire_owned().await else {
            break;
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Mostly no more file descriptors: waiting is all that helps.
                tracing::warn!("accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let Some(one) = of_one.enter(address) else {
            tracing::debug!(%address, "too many connections from one address");
            continue;
        };
        let service = TowerToHyperService::new(routes.clone());
        let peer = Peer { address: address.ip(), tls: tls.is_some() };
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(peer);
            service.call(request)
        });
        let (stop, tls) = (stop.clone(), tls.clone());
        tasks.spawn(async move {
            let _places = (place, one);
            let _ = stream.set_nodelay(true);
            let ended = match tls {
                None => serve(stream, false, service, stop).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok((stream, http2)) => serve(stream, http2, service, stop).await,
                    Err(error) => {
                        tracing::debug!(%address, "TLS: {error}");
                        return;
                    }
                },
            };
            if let Err(error) = ended {
                tracing::debug!(%address, "connection: {error}");
            }
        });
    }
    tasks.close();
    tasks.wait().await;
}

/// Serves the requests of one connection; when it is stopped, lets the open ones end.
async fn serve<S>(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    http2: bool,
    service: S,
    stop: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: Service<hyper::Request<Incoming>, Response = axum::response::Response>,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let builder = auto::Builder::new(TokioExecutor::new());
    // The version is known. To look for it in the first bytes would be to wait for them without a limit.
    let mut builder = if http2 {
        builder.http2_only()
    } else {
        builder.http1_only()
    };
    // Without a timer hyper waits for a header for ever.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_WAIT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_header_list_size(HTTP2_HEADER_BYTES_MAX)
        .keep_alive_interval(HTTP2_PING_WAIT)
        .keep_alive_timeout(HTTP2_PING_WAIT);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

/// Counts the connections of each address.
#[derive(Debug, Default)]
struct AddressLimiter {
    open: Mutex<HashMap<Network, usize>>,
}

/// A place that is free again when it is dropped.
#[derive(Debug)]
struct ConnectionPermit {
    of: Arc<AddressLimiter>,
    network: Option<Network>,
}

impl AddressLimiter {
    fn enter(self: &Arc<Self>, address: SocketAddr) -> Option<ConnectionPermit> {
        let ip = address.ip().to_canonical();
        let network = (!ip.is_loopback()).then(|| Network::from(ip));
        if let Some(network) = network {
            let mut open = self.open.lock();
            let count = open.entry(network).or_default();
            if *count >= CONNECTIONS_OF_ONE_MAX {
                return None;
            }
            *count += 1;
        }
        Some(ConnectionPermit { of: self.clone(), network })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let Some(network) = self.network else {
            return;
        };
        let mut open = self.of.open.lock();
        if let Some(count) = open.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                open.remove(&network);
            }
        }
    }
}

/// The certificate, as it is in its files at the moment.
#[derive(Debug, Clone)]
pub struct Tls {
    files: Arc<(PathBuf, PathBuf)>,
    now: Arc<watch::Sender<Arc<ServerConfig>>>,
}

/// The reason why TLS is not available.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("read the {what} in {file}")]
    File {
        what: &'static str,
        file: PathBuf,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("there is no certificate in {0}")]
    Empty(PathBuf),
    #[error("certificate and key do not go together")]
    Pair(#[source] rustls::Error),
}

impl Tls {
    /// Reads certificate chain and private key, PEM files.
    ///
    /// # Errors
    /// [`TlsError`]: one of them is not there, is something else, or belongs to another one.
    pub fn read(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let now = read(cert, key)?;
        Ok(Self {
            files: Arc::new((cert.to_owned(), key.to_owned())),
            now: Arc::new(watch::Sender::new(Arc::new(now))),
        })
    }

    /// Returns the stream, and true if HTTP/2 was negotiated.
    async fn accept(&self, stream: TcpStream) -> std::io::Result<(tokio_rustls::server::TlsStream<TcpStream>, bool)> {
        let acceptor = TlsAcceptor::from(self.now.borrow().clone());
        let stream = tokio::time::timeout(HANDSHAKE_WAIT, acceptor.accept(stream)).await??;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((stream, http2))
    }

    /// Reads the files again when they have changed; as long as they cannot be read, the old ones hold.
    async fn watch_files(self, stop: CancellationToken) {
        let mut known = self.changed_at().await;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(CERTIFICATE_EVERY) => {}
            }
            let found = self.changed_at().await;
            if found == known {
                continue;
            }
            let files = self.files.clone();
            let work = move || read(&files.0, &files.1);
            match tokio::task::spawn_blocking(work).await {
                Ok(Ok(new)) => {
                    tracing::info!("the certificate has changed and is in use");
                    self.now.send_replace(Arc::new(new));
                    known = found;
                }
                // Certificate and key are rarely replaced in the same moment, so this may be the moment between.
                Ok(Err(error)) => {
                    let error = anyhow::Error::from(error);
                    tracing::warn!("the certificate has changed and cannot be used: {error:#}");
                }
                Err(_) => {}
            }
        }
    }

    async fn changed_at(&self) -> [Option<(SystemTime, u64)>; 2] {
        let of = async |file: &Path| {
            let meta = tokio::fs::metadata(file).await.ok()?;
            Some((meta.modified().ok()?, meta.len()))
        };
        [of(&self.files.0).await, of(&self.files.1).await]
    }
}

fn read(cert: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let file = |what, file: &Path| {
        let file = file.to_owned();
        move |source| TlsError::File { what, file, source }
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(file("certificate", cert))?;
    if chain.is_empty() {
        return Err(TlsError::Empty(cert.to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(file("private key", key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Pair)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
