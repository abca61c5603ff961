//! Cameras that come by HTTP: `POST /api/v1/frames`, `POST /api/v1/up/{leaf}`, `GET /api/v1/down`.
//!
//! A request carries what MQTT would carry on `up/…`, goes through the same queue into the same transaction, and is
//! answered after the commit with what the cloud would have said on `down/…` (P2). A client that disconnects meanwhile changes
//! nothing: what is in the queue is committed, and the receipt waits in the outbox. What does not fit is not taken
//! (P4): 503 with `Retry-After`, and the camera keeps it.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::{Extension, Json};
use bytes::BytesMut;
use futures_util::StreamExt;
use keepsake_protocol::codec::{FRAME_OVERHEAD_MAX, JSON_BYTES_MAX};
use keepsake_protocol::downlink::{DEVICE_HEADER, Down, DownlinkBatch, POLL_WAIT_S_MAX};
use keepsake_protocol::topic::{MessageKind, Topic};
use keepsake_protocol::{DeviceId, receipt::Receipt};
use serde::Deserialize;
use tokio::sync::oneshot;

use crate::downlink::outbox::Cursor;
use crate::http::app_state::AppState;
use crate::http::auth::principal::Principal;
use crate::http::error::{HttpResult, Problem};
use crate::ingest::operation::Message;
use crate::ingest::queue::{Delivery, IngestResponse};

/// The longest wait for a commit. The camera waits longer, so it gets this answer and not a broken connection.
const COMMIT_WAIT: Duration = Duration::from_secs(30);
/// A body that brings nothing for so long has ended without its end.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// The Retry-After while uploads are paused, seconds.
const HOLD_RETRY_S: u64 = 10;
/// The Retry-After while a queue is full, seconds.
const FULL_RETRY_S: u64 = 2;

#[derive(Debug, Deserialize)]
pub(crate) struct UplinkQuery {
    device: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct DownlinkQuery {
    device: Option<String>,
    /// The mark of the last answer; absent at first.
    after: Option<String>,
    /// The longest wait for a message, seconds, 0 to 30; 30 if absent.
    wait_s: Option<u64>,
}

/// `POST /api/v1/frames`: the payload of `up/frame`, answered with its receipt.
pub(crate) async fn upload_frame(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Query(from): Query<UplinkQuery>,
    headers: HeaderMap,
    body: Body,
) -> HttpResult<Json<Receipt>> {
    let device = device_of(&principal, &headers, from.device.as_deref())?;
    let verdict = enqueue_and_wait(&state, &device, MessageKind::Frame, &headers, body).await?;
    receipts(verdict)?
        .pop()
        .map(Json)
        // Whatever a frame becomes, it is answered with a receipt or not at all.
        .ok_or_else(|| Problem::unavailable("The frame was not accepted.", HOLD_RETRY_S))
}

/// `POST /api/v1/up/{leaf}`: the payload of every other `up/…`, answered with the receipts it earned.
pub(crate) async fn send_message(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Path(leaf): Path<String>,
    Query(from): Query<UplinkQuery>,
    headers: HeaderMap,
    body: Body,
) -> HttpResult<Json<Down>> {
    let words = [MessageKind::Have, MessageKind::Status, MessageKind::Event, MessageKind::Reply];
    let leaf = words
        .into_iter()
        .find(|word| word.name() == leaf)
        .ok_or_else(|| Problem::not_found("such thing to say: have, status, event and reply are"))?;
    let device = device_of(&principal, &headers, from.device.as_deref())?;
    let verdict = enqueue_and_wait(&state, &device, leaf, &headers, body).await?;
    let receipts = receipts(verdict)?;
    let messages = receipts.iter().map(|receipt| DownlinkBatch {
        kind: MessageKind::Receipt.name().to_owned(),
        message: serde_json::value::to_raw_value(receipt).expect("a receipt becomes JSON"),
    });
    Ok(Json(Down { messages: messages.collect(), next: None }))
}

/// `GET /api/v1/down`: what there is to tell, as soon as there is something.
pub(crate) async fn poll_downlink(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Query(asked): Query<DownlinkQuery>,
    headers: HeaderMap,
) -> HttpResult<Json<Down>> {
    let device = device_of(&principal, &headers, asked.device.as_deref())?;
    let full = |_| Problem::unavailable("Too many cameras are waiting for messages.", FULL_RETRY_S);
    let _place = state.listening.clone().try_acquire_owned().map_err(full)?;
    let many =
        |error: crate::downlink::outbox::TooMany| Problem::unavailable(format!("There are {error}."), HOLD_RETRY_S);
    let context = state.outboxes.open(&device).map_err(many)?;
    let mark = asked.after.as_deref().and_then(Cursor::parse);
    if context.is_first(mark) {
        state.announcer.announce(&device).await;
    }
    let wait_s = asked.wait_s.unwrap_or(POLL_WAIT_S_MAX).min(POLL_WAIT_S_MAX);
    let news = tokio::select! {
        news = context.next_batch(mark, Duration::from_secs(wait_s)) => news,
        () = state.stop.cancelled() => return Err(stopping()),
    };
    Ok(Json(news))
}

/// Returns the camera of the request, if the principal may act for it.
fn device_of(principal: &Principal, headers: &HeaderMap, asked: Option<&str>) -> HttpResult<DeviceId> {
    let named = headers.get(DEVICE_HEADER);
    let name = named.map(|name| name.to_str().unwrap_or(""));
    let own = match principal {
        Principal::Camera { device, .. } => Some(device.as_str()),
        Principal::Anonymous | Principal::User { .. } | Principal::ApiToken { .. } | Principal::AnonymousUpload => None,
    };
    let Some(name) = name.or(asked).or(own) else {
        return Err(Problem::bad_request(format!(
            "Name the camera in the header {DEVICE_HEADER} or with ?device=."
        )));
    };
    let device = name
        .parse()
        .map_err(|error: keepsake_protocol::id::IdError| Problem::bad_request(format!("{name:?}: {error}.")))?;
    if principal.may_act_for(&device) {
        return Ok(device);
    }
    Err(Problem::new(StatusCode::FORBIDDEN, format!("This API token is not valid for {device}.")))
}

/// Puts one message into the queue and waits for what became of it.
async fn enqueue_and_wait(
    state: &AppState,
    device: &DeviceId,
    leaf: MessageKind,
    headers: &HeaderMap,
    body: Body,
) -> HttpResult<IngestResponse> {
    let is_frame = leaf == MessageKind::Frame;
    let hold = state.backpressure.state();
    let reason = if is_frame { hold.reason() } else { hold.store.as_deref() };
    if let Some(reason) = reason {
        let why = format!("Uploads are paused: {reason}.");
        return Err(Problem::unavailable(why, HOLD_RETRY_S));
    }
    let most = if is_frame {
        let picture = usize::try_from(state.config.capture_bytes_max).unwrap_or(usize::MAX);
        picture.saturating_add(FRAME_OVERHEAD_MAX)
    } else {
        JSON_BYTES_MAX
    };
    let payload = read(headers, body, most).await?;
    let (responder, answer) = oneshot::channel();
    let delivery = Delivery {
        message: Message {
            topic: Topic::new(device, leaf).to_string(),
            payload,
            retained: false,
        },
        ack: None,
        responder: Some(responder),
    };
    let [pictures, words] = &state.queues;
    let queue = if is_frame { pictures } else { words };
    if queue.put(delivery).is_err() {
        return Err(Problem::unavailable("Ingest queue full.", FULL_RETRY_S));
    }
    tokio::select! {
        answer = tokio::time::timeout(COMMIT_WAIT, answer) => match answer {
            Ok(Ok(verdict)) => Ok(verdict),
            Ok(Err(_)) => Err(stopping()),
            Err(_) => Err(Problem::unavailable("Commit pending; the receipt will follow.", HOLD_RETRY_S)),
        },
        () = state.stop.cancelled() => Err(stopping()),
    }
}

/// Reads a body of at most `most` bytes.
async fn read(headers: &HeaderMap, body: Body, most: usize) -> HttpResult<Bytes> {
    let too_large = || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("The message is longer than {most} bytes."));
    let declared = headers.get(header::CONTENT_LENGTH);
    let declared: Option<usize> = declared.and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    let mut pieces = body.into_data_stream();
    loop {
        let piece = match tokio::time::timeout(SILENCE_MAX, pieces.next()).await {
            Ok(None) => return Ok(bytes.freeze()),
            Ok(Some(Ok(piece))) => piece,
            Ok(Some(Err(_))) => return Err(Problem::bad_request("Request body truncated.")),
            Err(_) => {
                return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "Request body too slow."));
            }
        };
        if bytes.len() + piece.len() > most {
            return Err(too_large());
        }
        bytes.extend_from_slice(&piece);
    }
}

fn receipts(verdict: IngestResponse) -> HttpResult<Vec<Receipt>> {
    match verdict {
        IngestResponse::Receipts(receipts) => Ok(receipts),
        IngestResponse::Quarantined(reason) => {
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("Kept in quarantine: {reason}.")))
        }
    }
}

fn stopping() -> Problem {
    Problem::unavailable("The cloud is stopping.", FULL_RETRY_S)
}
