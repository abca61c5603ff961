//! The connection to a cloud by HTTP: events come out, messages go in. The only file that names hyper.
//!
//! A message that MQTT carries on `up/…` is a request here, and its response carries the messages of `down/…`; other
//! messages of the cloud are fetched by long polling. A connection in the sense of `link` is a
//! client with its own pool, from the first answer of the cloud to the first failure that a second try does not heal.
//!
//! Intermediaries are not trusted: the page of a captive portal, a redirect, a truncated response or another status does
//! not count as an answer of the cloud, and only a receipt that decodes is forwarded (P2). A request whose response was
//! lost is repeated; the cloud recognises it by number and hash (P3).

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use keepsake_protocol::downlink::{DEVICE_HEADER, DOWNLINK_BYTES_MAX, Down};
use keepsake_protocol::receipt::Receipt;
use keepsake_protocol::topic::MessageKind;
use tokio::sync::{Mutex, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::error::display_chain;
use crate::transport::{self, DisconnectReason, Publisher, SendError, TransportEvent, TransportSettings};

/// Messages that may wait for their request. The drain bounds the bytes; this only has to be more than enough.
const REQUESTS_MAX: usize = 1024;
/// Requests with captures at one time: the next ones travel while the cloud commits the first.
const UPLOADS_MAX: usize = 4;
/// Bytes of captures in requests at one time, in KiB, so that a slow line is not shared by many; a larger part goes alone.
const UPLOAD_KIB_MAX: u32 = 256;
/// The cloud answers within 30 s; the rest is for a slow line.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(90);
/// The longest time for which the cloud may hold a poll open, seconds. Most proxies let a connection be idle for longer.
const POLL_WAIT_S: u64 = 25;
/// The shortest such time; it becomes shorter where a proxy closes the connection earlier.
const POLL_WAIT_S_MIN: u64 = 4;
/// Number of failed attempts in a row after which the connection counts as lost.
const ATTEMPTS_MAX: u32 = 3;
const RETRY_DELAY: Duration = Duration::from_millis(200);
/// So often a question for news may be put off, and the connection is lost.
const POSTPONEMENTS_MAX: u32 = 6;
/// The cloud says when to come again; within these bounds it is believed.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// An idle connection is closed before most proxies close it without a word.
const IDLE_FOR: Duration = Duration::from_secs(20);

/// Connects, and connects again, until `stop` says so.
pub(crate) async fn run(
    settings: TransportSettings,
    events: mpsc::Sender<TransportEvent>,
    stop: watch::Receiver<bool>,
) {
    let connect = || connection(&settings, &events);
    transport::reconnect_loop(connect, settings.reconnect, events.clone(), stop).await;
}

/// One connection, from its first answer to its last.
async fn connection(settings: &TransportSettings, events: &mpsc::Sender<TransportEvent>) -> Disconnect {
    let client = match ApiClient::new(settings) {
        Ok(client) => Arc::new(client),
        Err(text) => return (DisconnectReason::TlsUntrusted, text),
    };
    // What stands is told at once; that it can be read proves that the cloud is there.
    let next = match handshake(&client, events).await {
        Ok(next) => next,
        Err(end) => return end,
    };
    let (frames, frame_queue) = Queue::new();
    let (control, control_queue) = Queue::new();
    let open = watch::Sender::new(0_usize);
    let (abandon, mut abandoned) = watch::channel(false);
    let publisher = Arc::new(HttpConnection { frames, control, open: open.clone(), abandon });
    if events.send(TransportEvent::Connected(publisher)).await.is_err() {
        return stopping();
    }
    // Whichever ends first ends the connection, and dropping the set ends the others.
    let mut work = JoinSet::new();
    work.spawn(poll_downlink(client.clone(), events.clone(), next));
    for queue in [control_queue].into_iter().chain(std::iter::repeat_n(frame_queue, UPLOADS_MAX)) {
        work.spawn(deliver_all(client.clone(), events.clone(), queue, open.clone()));
    }
    tokio::select! {
        ended = work.join_next() => match ended {
            Some(Ok(end)) => end,
            Some(Err(_)) | None => unreachable_because("a part of the connection broke"),
        },
        _ = abandoned.wait_for(|abandoned| *abandoned) => unreachable_because("given up"),
    }
}

/// Why a connection ended.
type Disconnect = (DisconnectReason, String);

fn unreachable_because(text: impl Into<String>) -> Disconnect {
    (DisconnectReason::Unreachable, text.into())
}

fn stopping() -> Disconnect {
    unreachable_because("stopping")
}

/// One message on its way, and whether anybody waits for the word that it was taken.
struct Outgoing {
    kind: MessageKind,
    payload: Bytes,
    token: Option<u64>,
}

/// Messages that wait for their request, and the room for those on their way.
struct Queue {
    messages: Mutex<mpsc::Receiver<Outgoing>>,
    /// KiB.
    room: Semaphore,
}

impl Queue {
    fn new() -> (mpsc::Sender<Outgoing>, Arc<Self>) {
        let (sender, messages) = mpsc::channel(REQUESTS_MAX);
        let (messages, room) = (Mutex::new(messages), Semaphore::new(UPLOAD_KIB_MAX as usize));
        (sender, Arc::new(Self { messages, room }))
    }
}

/// One connection as its [`Publisher`] sees it.
struct HttpConnection {
    frames: mpsc::Sender<Outgoing>,
    control: mpsc::Sender<Outgoing>,
    /// Messages handed over and not yet answered.
    open: watch::Sender<usize>,
    abandon: watch::Sender<bool>,
}

impl Publisher for HttpConnection {
    fn publish(&self, kind: MessageKind, payload: Vec<u8>, token: Option<u64>) -> Result<(), SendError> {
        // Captures and tombstones have a way of their own, so that presence never waits behind pictures.
        let way = if token.is_some() { &self.frames } else { &self.control };
        let outgoing = Outgoing { kind, payload: payload.into(), token };
        self.open.send_modify(|open| *open += 1);
        way.try_send(outgoing).map_err(|_| {
            self.open.send_modify(|open| *open -= 1);
            SendError
        })
    }

    fn finish(&self, patience: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let mut open = self.open.subscribe();
            let _ = tokio::time::timeout(patience, open.wait_for(|open| *open == 0)).await;
            self.abandon();
        })
    }

    fn abandon(&self) {
        self.abandon.send_replace(true);
    }
}

/// The first question of a connection. Returns from where on to listen.
async fn handshake(client: &ApiClient, events: &mpsc::Sender<TransportEvent>) -> Result<Option<String>, Disconnect> {
    let response = match client.request(Method::GET, "/api/v1/down?wait_s=0", None).await {
        Ok(response) => response,
        Err(error) => return Err(error.into_disconnect()),
    };
    let down = parse_downlink(&response)?;
    if !down.messages.iter().any(|message| message.parsed_kind() == Some(MessageKind::Cloud)) {
        return Err(unreachable_because("what answers there does not say which cloud it is"));
    }
    forward(down, events).await
}

/// Asks for news for as long as the connection lives.
async fn poll_downlink(
    client: Arc<ApiClient>,
    events: mpsc::Sender<TransportEvent>,
    mut next: Option<String>,
) -> Disconnect {
    let mut wait_s = POLL_WAIT_S;
    let (mut failed, mut postponed) = (0, 0);
    loop {
        let after = next.as_deref().unwrap_or("");
        let path = format!("/api/v1/down?wait_s={wait_s}&after={after}");
        match client.request(Method::GET, &path, None).await {
            Ok(response) => {
                (failed, postponed) = (0, 0);
                let handed_on = async { forward(parse_downlink(&response)?, &events).await };
                match handed_on.await {
                    Ok(cursor) => next = cursor,
                    Err(end) => return end,
                }
            }
            // A cloud answers this even while it holds. Who puts it off for long is something before it.
            Err(RequestError::RetryAfter(wait)) if postponed + 1 < POSTPONEMENTS_MAX => {
                postponed += 1;
                tokio::time::sleep(wait).await;
            }
            Err(RequestError::Unreachable(_)) if failed + 1 < ATTEMPTS_MAX => {
                failed += 1;
                // Something in between may not like a connection on which nothing happens.
                wait_s = (wait_s / 2).max(POLL_WAIT_S_MIN);
                tokio::time::sleep(RETRY_DELAY * failed).await;
            }
            Err(error) => return error.into_disconnect(),
        }
    }
}

/// Delivers the messages of one queue, beside other tasks that do the same.
async fn deliver_all(
    client: Arc<ApiClient>,
    events: mpsc::Sender<TransportEvent>,
    queue: Arc<Queue>,
    open: watch::Sender<usize>,
) -> Disconnect {
    loop {
        let next = queue.messages.lock().await.recv().await;
        let Some(outgoing) = next else {
            return stopping();
        };
        let kib = u32::try_from(outgoing.payload.len().div_ceil(1024)).unwrap_or(u32::MAX);
        // Nobody closes it, so this only waits.
        let _room = queue.room.acquire_many(kib.min(UPLOAD_KIB_MAX)).await;
        if let Err(end) = deliver(&client, &events, &outgoing).await {
            return end;
        }
        open.send_modify(|open| *open -= 1);
    }
}

/// Makes the request of one message until it is answered, and hands on what the answer says.
async fn deliver(
    client: &ApiClient,
    events: &mpsc::Sender<TransportEvent>,
    outgoing: &Outgoing,
) -> Result<(), Disconnect> {
    let path = match outgoing.kind {
        MessageKind::Frame => "/api/v1/frames".to_owned(),
        kind => format!("/api/v1/up/{}", kind.name()),
    };
    let mut failed = 0;
    let response = loop {
        let body = Some(outgoing.payload.clone());
        match client.request(Method::POST, &path, body).await {
            Ok(response) => break Ok(response),
            Err(RequestError::Rejected(text)) => break Err(text),
            // The engine gives up a connection on which nothing is taken for long.
            Err(RequestError::RetryAfter(wait)) => tokio::time::sleep(wait).await,
            Err(RequestError::Unreachable(_)) if failed + 1 < ATTEMPTS_MAX => {
                failed += 1;
                tokio::time::sleep(RETRY_DELAY * failed).await;
            }
            Err(error) => return Err(error.into_disconnect()),
        }
    };
    let done = match response {
        Ok(response) => {
            if outgoing.kind == MessageKind::Frame {
                // Read here only to know that it is one; what it says is for the engine to judge.
                keepsake_protocol::codec::decode::<Receipt>(&response)
                    .map_err(|_| unreachable_because("what answers there gives no receipts"))?;
                send_message(events, MessageKind::Receipt, response).await?;
            } else {
                forward(parse_downlink(&response)?, events).await?;
            }
            outgoing.token.map(|token| TransportEvent::Acknowledged { token })
        }
        Err(text) => {
            if outgoing.token.is_none() {
                tracing::warn!(kind = outgoing.kind.path(), text, "not taken");
            }
            outgoing.token.map(|token| TransportEvent::Rejected { token, text })
        }
    };
    if let Some(done) = done {
        events.send(done).await.map_err(|_| stopping())?;
    }
    Ok(())
}

fn parse_downlink(response: &Bytes) -> Result<Down, Disconnect> {
    serde_json::from_slice(response).map_err(|_| unreachable_because("what answers there is not a Keepsake cloud"))
}

/// Hands on what was told; words of a later version are passed over.
async fn forward(down: Down, events: &mpsc::Sender<TransportEvent>) -> Result<Option<String>, Disconnect> {
    for message in &down.messages {
        if let Some(kind) = message.parsed_kind() {
            let payload = Bytes::copy_from_slice(message.message.get().as_bytes());
            send_message(events, kind, payload).await?;
        }
    }
    // It goes into an address as it is.
    let sound = |cursor: &String| {
        let harmless = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
        cursor.len() <= 64 && cursor.bytes().all(harmless)
    };
    Ok(down.next.filter(sound))
}

async fn send_message(
    events: &mpsc::Sender<TransportEvent>,
    kind: MessageKind,
    payload: Bytes,
) -> Result<(), Disconnect> {
    let message = TransportEvent::Message { kind, payload };
    events.send(message).await.map_err(|_| stopping())
}

/// Why a request has no answer that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
enum RequestError {
    /// The cloud does not accept the identity of this camera.
    Unauthorized(String),
    /// The server cannot prove who it is.
    TlsUntrusted(String),
    /// Nobody of ours is there.
    Unreachable(String),
    /// The cloud is there, and asks to come again.
    RetryAfter(Duration),
    /// The cloud, or something before it, does not take this message as it is.
    Rejected(String),
}

impl RequestError {
    fn into_disconnect(self) -> Disconnect {
        match self {
            Self::Unauthorized(text) => (DisconnectReason::Unauthorized, text),
            Self::TlsUntrusted(text) => (DisconnectReason::TlsUntrusted, text),
            Self::Unreachable(text) | Self::Rejected(text) => unreachable_because(text),
            Self::RetryAfter(_) => unreachable_because("the cloud takes nothing now"),
        }
    }
}

/// A client of one cloud, in the name of one camera.
struct ApiClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: String,
    device: HeaderValue,
    authorization: Option<HeaderValue>,
}

impl ApiClient {
    /// An error is a sentence about certificates or a token that cannot be used.
    fn new(settings: &TransportSettings) -> Result<Self, String> {
        let cloud = &settings.cloud;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(cloud.connect_timeout()));
        let trust = match cloud.tls() {
            Some(files) => keepsake_tls::client(&files, Arc::new(settings.certificate_time.clone()))
                .map_err(|error| display_chain(&error))?,
            None => keepsake_tls::trusting_nobody(),
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(Arc::unwrap_or_clone(trust))
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(UPLOADS_MAX + 2)
            .pool_timer(TokioTimer::new())
            .build(connector);
        let bearer = format!("Bearer {}", cloud.token);
        let mut authorization =
            HeaderValue::from_str(&bearer).map_err(|_| "cloud.token holds a character that no token has".to_owned())?;
        authorization.set_sensitive(true);
        Ok(Self {
            client,
            url: cloud.url.to_string().trim_end_matches('/').to_owned(),
            device: HeaderValue::from_str(settings.device.as_str())
                .expect("a device name has only letters, digits and . _ -"),
            authorization: (!cloud.token.is_empty()).then_some(authorization),
        })
    }

    /// One request and its whole answer, within [`RESPONSE_TIMEOUT`].
    async fn request(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<Bytes, RequestError> {
        let asking = async {
            let mut request = Request::builder()
                .method(method)
                .uri(format!("{}{path}", self.url))
                .header(DEVICE_HEADER, &self.device)
                .header(USER_AGENT, concat!("keepsake/", env!("CARGO_PKG_VERSION")));
            if let Some(authorization) = &self.authorization {
                request = request.header(AUTHORIZATION, authorization);
            }
            if body.is_some() {
                request = request.header(CONTENT_TYPE, "application/octet-stream");
            }
            let request = request
                .body(Full::new(body.unwrap_or_default()))
                .map_err(|error| RequestError::Unreachable(format!("make a request: {error}")))?;
            let response = self.client.request(request).await.map_err(|error| classify_error(&error))?;
            let status = response.status();
            let retry_after = response.headers().get(RETRY_AFTER).cloned();
            let body = Limited::new(response.into_body(), DOWNLINK_BYTES_MAX).collect();
            // An answer that breaks off is none, whatever its status.
            let body = body
                .await
                .map_err(|error| RequestError::Unreachable(format!("read the answer: {error}")))?
                .to_bytes();
            check_status(status, retry_after.as_ref(), &body).map(|()| body)
        };
        tokio::time::timeout(RESPONSE_TIMEOUT, asking)
            .await
            .unwrap_or_else(|_| Err(RequestError::Unreachable("no answer in time".to_owned())))
    }
}

fn classify_error(error: &hyper_util::client::legacy::Error) -> RequestError {
    match keepsake_tls::classify(error) {
        Some(keepsake_tls::TlsFailure::Untrusted(text)) => {
            RequestError::TlsUntrusted(format!("the cloud is not believed: {text}"))
        }
        Some(keepsake_tls::TlsFailure::Refused(text)) => RequestError::Unauthorized(text),
        Some(keepsake_tls::TlsFailure::Failed(text)) => RequestError::Unreachable(text),
        // What went wrong at the socket is deep inside.
        None => RequestError::Unreachable(display_chain(error)),
    }
}

/// Classifies a status. Only 200 is an answer: our cloud never redirects, and never answers 204.
fn check_status(status: StatusCode, retry_after: Option<&HeaderValue>, body: &Bytes) -> Result<(), RequestError> {
    let text = || format!("{status}: {}", detail(body));
    match status.as_u16() {
        200 => Ok(()),
        401 | 403 => Err(RequestError::Unauthorized(text())),
        429 | 503 => {
            let seconds = retry_after.and_then(|after| after.to_str().ok()?.parse().ok());
            let wait = Duration::from_secs(seconds.unwrap_or(5));
            Err(RequestError::RetryAfter(wait.clamp(RETRY_MIN, RETRY_MAX)))
        }
        // About this message alone: too large for something in between, or not understood.
        400 | 411 | 413 | 415 | 422 | 507 => Err(RequestError::Rejected(text())),
        _ => Err(RequestError::Unreachable(text())),
    }
}

/// Returns the detail of a problem document, or nothing if the body is another page.
fn detail(body: &Bytes) -> String {
    #[derive(serde::Deserialize)]
    struct Problem {
        detail: String,
    }
    let problem = serde_json::from_slice::<Problem>(body);
    problem.map_or_else(
        |_| "no Keepsake cloud says that".to_owned(),
        |problem| problem.detail.chars().take(200).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, retry_after: Option<&'static str>, body: &'static str) -> Result<(), RequestError> {
        let status = StatusCode::from_u16(status).unwrap();
        let retry_after = retry_after.map(HeaderValue::from_static);
        check_status(status, retry_after.as_ref(), &Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn only_200_is_an_answer() {
        for status in [201, 202, 204, 206, 301, 302, 304, 307, 308, 404, 405, 407, 408, 421, 500, 502, 504] {
            let judged = judged(status, None, "<html>");
            assert!(matches!(judged, Err(RequestError::Unreachable(_))), "{status}: {judged:?}");
        }
        assert_eq!(judged(200, None, ""), Ok(()));
    }

    #[test]
    fn a_refusal_is_about_the_camera_or_about_one_message() {
        for status in [401, 403] {
            let judged = judged(status, None, r#"{"detail":"No such token."}"#);
            let Err(RequestError::Unauthorized(text)) = judged else {
                panic!("{status}: {judged:?}");
            };
            assert!(text.ends_with("No such token."), "{text}");
        }
        for status in [400, 411, 413, 415, 422, 507] {
            let judged = judged(status, None, "<html>");
            assert!(matches!(judged, Err(RequestError::Rejected(_))), "{status}: {judged:?}");
        }
    }

    #[test]
    fn the_cloud_says_when_to_come_again_within_bounds() {
        for (header, seconds) in [
            (None, 5),
            (Some("2"), 2),
            (Some("0"), 1),
            (Some("999999"), 60),
            (Some("Fri, 31 Dec 1999 23:59:59 GMT"), 5),
        ] {
            let later = Err(RequestError::RetryAfter(Duration::from_secs(seconds)));
            assert_eq!(judged(503, header, ""), later, "{header:?}");
            assert_eq!(judged(429, header, ""), later, "{header:?}");
        }
    }
}
