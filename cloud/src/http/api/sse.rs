//! `GET /api/v1/live`: changes as server-sent events, so that pages need not poll.
//!
//! `picture`: a stored picture as in the API. With an `id` (its arrival) it is new; `Last-Event-ID` brings all after it
//! from the store, or all new ones if it is higher than any there. Without an `id`, a picture that was sent before has
//! changed, such as its thumbnail.
//! `beat`: every 15 s without another event.
//! `device`: a camera as in the API, at most four times a second.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use keepsake_protocol::DeviceId;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::http::api::dto;
use crate::http::app_state::AppState;
use crate::http::auth::credentials;
use crate::http::auth::request_context::RequestContext;
use crate::http::error::{HttpResult, Problem};
use crate::now_us;
use crate::ops::event_bus::ChangeEvent;
use crate::store::StoreError;

/// Changes within this time are sent together.
const GATHER: Duration = Duration::from_millis(250);
const BEAT: Duration = Duration::from_secs(15);
/// Pictures read at once.
const PAGE: u32 = 100;

pub(crate) async fn live(context: RequestContext, headers: HeaderMap) -> HttpResult<Response> {
    let secret = credentials::sent_credential(&context.state, &headers, context.caller);
    let RequestContext { state, principal, .. } = context;
    let revoked = credentials::until_revoked(state.clone(), principal, secret);
    let Ok(permit) = state.streams.clone().try_acquire_owned() else {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Too many live connections."));
    };
    // Subscribing first and reading afterwards misses nothing in between.
    let changes = state.live.subscribe();
    let last_event_id = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok())
        .and_then(|id| id.parse().ok());
    // A store restored from an older copy gives out lower numbers than the page has heard of.
    let newest = state.store.last_arrival().await?;
    let sent_up_to = last_event_id.map_or(newest, |last: i64| last.min(newest));
    let stop = state.stop.clone().cancelled_owned();
    let stream = EventStream {
        state,
        changes,
        sent_up_to,
        ready: VecDeque::new(),
        changed: BTreeSet::new(),
        devices: BTreeSet::new(),
        behind: true,
        _permit: permit,
    };
    let events = stream::unfold(stream, async |mut stream| {
        stream.next().await.map(|event| (Ok::<_, Infallible>(event), stream))
    });
    // An open stream would keep a stopping server from ever ending.
    let events = events.take_until(Box::pin(stop)).take_until(Box::pin(revoked));
    // An event and not a comment, as scripts cannot see comments, and a page should notice a dead connection.
    let beat = KeepAlive::new().interval(BEAT).event(Event::default().event("beat").data("{}"));
    let sse = Sse::new(events).keep_alive(beat);
    Ok(([("x-accel-buffering", "no")], sse).into_response())
}

struct EventStream {
    state: AppState,
    changes: Receiver<ChangeEvent>,
    /// All pictures up to this arrival were sent.
    sent_up_to: i64,
    ready: VecDeque<Event>,
    changed: BTreeSet<i64>,
    devices: BTreeSet<DeviceId>,
    /// There is more in the store than was read.
    behind: bool,
    _permit: OwnedSemaphorePermit,
}

impl EventStream {
    /// The next event, or nothing when there will be no more: the browser comes again and says where it was.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.behind {
                self.read().await.ok()?;
                continue;
            }
            if self.changes.is_empty() {
                let change = self.changes.recv().await;
                self.note(change)?;
                tokio::time::sleep(GATHER).await;
            }
            while !self.changes.is_empty() {
                let change = self.changes.recv().await;
                self.note(change)?;
            }
            self.read().await.ok()?;
        }
    }

    fn note(&mut self, change: Result<ChangeEvent, RecvError>) -> Option<()> {
        match change {
            // They are in the store, after the last one sent.
            Ok(ChangeEvent::Pictures) => Some(()),
            Ok(ChangeEvent::Picture(arrival)) => {
                self.changed.insert(arrival);
                Some(())
            }
            Ok(ChangeEvent::Device(device)) => {
                self.devices.insert(device.as_ref().clone());
                Some(())
            }
            // Which cameras were missed is unknown: ending the stream makes the page reload everything.
            Err(RecvError::Lagged(_) | RecvError::Closed) => None,
        }
    }

    /// Reads what has changed.
    async fn read(&mut self) -> Result<(), StoreError> {
        let store = &self.state.store;
        let from = self.sent_up_to;
        loop {
            let page = store.pictures_arrived_after(self.sent_up_to, PAGE).await?;
            self.behind = page.len() == PAGE as usize;
            for picture in page {
                self.sent_up_to = picture.arrival;
                let id = picture.arrival.to_string();
                self.ready.push_back(event("picture", &dto::Picture::from(picture)).id(id));
            }
            // The rest is read once these are sent, so that a page that was away for long takes no more memory.
            if !self.behind || self.ready.len() >= 1000 {
                break;
            }
        }
        for arrival in std::mem::take(&mut self.changed) {
            if arrival > from {
                continue;
            }
            if let Some(picture) = store.picture_at(arrival).await? {
                self.ready.push_back(event("picture", &dto::Picture::from(picture)));
            }
        }
        for device in std::mem::take(&mut self.devices) {
            if let Some(device) = store.device(&device, now_us()).await? {
                self.ready.push_back(event("device", &dto::Device::from(device)));
            }
        }
        Ok(())
    }
}

fn event(name: &'static str, data: &impl Serialize) -> Event {
    let json = serde_json::to_string(data).expect("the API's own types have no map with odd keys");
    Event::default().event(name).data(json)
}
