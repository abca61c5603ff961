//! The pages: reads what they show, and has [`super::page`] draw it.

use axum::extract::{Path, Query, State};
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use maud::Markup;
use serde::Deserialize;
use shared::DeviceId;
use shared::command::CommandKind;
use shared::id::PictureId;
use shared::presence::Status;

use super::error::{Answer, Problem};
use super::{Site, json, page};
use crate::now_us;
use crate::store::{self, Page};

/// Entries in each list of a camera's page.
const LISTED: u32 = 50;
/// Pictures in the strip of a camera's page.
const RECENT: u32 = 12;
/// Pictures on one page of the gallery.
const GALLERY: u32 = 100;
const QUARANTINE: u32 = 200;

pub(super) async fn cameras(State(site): State<Site>) -> Response {
    let view = async {
        let devices = site.store.devices(now_us()).await?;
        Ok(page::CamerasView {
            cameras: devices.into_iter().map(camera_view).collect(),
        })
    };
    draw(&site, view.await, page::cameras_page).await
}

pub(super) async fn camera(State(site): State<Site>, Path(device): Path<String>) -> Response {
    draw(&site, device_view(&site, &device).await, page::camera_page).await
}

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    device: Option<String>,
    before: Option<i64>,
    after: Option<i64>,
}

pub(super) async fn gallery(
    State(site): State<Site>,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let view = match asked {
        Ok(Query(asked)) => gallery_view(&site, &asked).await,
        Err(error) => Err(Problem::wrong(error.body_text())),
    };
    draw(&site, view, page::gallery_page).await
}

pub(super) async fn picture(State(site): State<Site>, Path(id): Path<String>) -> Response {
    draw(&site, picture_detail(&site, &id).await, page::picture_page).await
}

pub(super) async fn quarantine(State(site): State<Site>) -> Response {
    let view = async {
        let (rows, _) = site.store.quarantine(None, QUARANTINE).await?;
        Ok(page::QuarantineView {
            rows: rows
                .into_iter()
                .map(|row| page::QuarantineRow {
                    device: row.device,
                    topic: row.topic,
                    reason: row.reason,
                    hash: row.hash,
                    bytes: row.size,
                    times: row.times,
                    last_us: row.last_us,
                })
                .collect(),
        })
    };
    draw(&site, view.await, page::quarantine_page).await
}

pub(super) async fn asset(Path(path): Path<String>) -> Response {
    match page::asset(&path) {
        Some(asset) => (
            [
                (header::CONTENT_TYPE, asset.content_type.to_owned()),
                (header::ETAG, asset.etag),
                (header::CACHE_CONTROL, asset.cache_control.to_owned()),
            ],
            asset.bytes.into_owned(),
        )
            .into_response(),
        None => Problem::not_found("such file").into_response(),
    }
}

/// A page for people, a problem for programs.
pub(super) async fn not_found(State(site): State<Site>, uri: Uri) -> Response {
    let problem = Problem::not_found("such page");
    if uri.path().starts_with("/api/") {
        return problem.into_response();
    }
    draw(&site, Err(problem), |_, (): &()| maud::html! {}).await
}

/// Draws a page, or the page that says why there is none.
async fn draw<V>(
    site: &Site,
    view: Answer<V>,
    with: impl FnOnce(&page::SiteView, &V) -> Markup,
) -> Response {
    let around = around(site).await;
    match view {
        Ok(view) => with(&around, &view).into_response(),
        Err(problem) => {
            let title = problem.status.canonical_reason().unwrap_or("Problem");
            let status = problem.status.as_u16();
            let markup = page::problem_page(&around, status, title, &problem.detail);
            (problem.status, markup).into_response()
        }
    }
}

async fn around(site: &Site) -> page::SiteView {
    let hold = site.gate.now();
    let (http, mqtt) = site.addresses;
    page::SiteView {
        now_us: now_us(),
        store: site.store.id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        http: http.to_string(),
        mqtt: mqtt.to_string(),
        loopback_only: http.ip().is_loopback() && mqtt.ip().is_loopback(),
        hold: hold.reason().map(str::to_owned),
        warnings: site.store.weaknesses(),
        free_bytes: hold.free_bytes,
        // The page must be drawn even when the store is away, to say so.
        quarantined: site.store.quarantine_count().await.unwrap_or(0),
    }
}

async fn device_view(site: &Site, device: &str) -> Answer<page::DeviceView> {
    let store = &site.store;
    let missing = || Problem::not_found("camera of that name");
    let device: DeviceId = device.parse().map_err(|_| missing())?;
    let known = store.device(&device, now_us()).await?.ok_or_else(missing)?;
    let said = known.status.as_ref().and_then(|status| status.said);
    let mut commands = Vec::new();
    for command in store.commands(&device, LISTED).await? {
        commands.push(command_view(store, command).await?);
    }
    let tombstones = store.tombstones(&device, LISTED).await?;
    let faults = store.faults(&device, LISTED).await?;
    let recent = store
        .pictures(Some(&device), Page::Before(None), RECENT)
        .await?;
    Ok(page::DeviceView {
        camera: camera_view(known),
        said,
        commands,
        tombstones: tombstones
            .into_iter()
            .map(|(tombstone, told_us)| page::TombstoneView {
                install: tombstone.install,
                first: tombstone.sequence,
                last: tombstone.last(),
                reason: tombstone.reason,
                cause: tombstone.cause,
                told_us,
                pressed: tombstone.pressed,
            })
            .collect(),
        faults: faults
            .into_iter()
            .map(|(fault, told_us)| page::FaultView {
                number: fault.number,
                text: fault.text,
                told_us,
            })
            .collect(),
        recent: recent.into_iter().map(picture_view).collect(),
    })
}

async fn command_view(store: &store::Store, command: store::Command) -> Answer<page::CommandView> {
    let mut stored = None;
    let mut uploading = None;
    if let Some(capture) = command
        .capture
        .filter(|_| command.command == CommandKind::Snap)
    {
        stored = store
            .pictures_of(capture)
            .await?
            .first()
            .map(|picture| (picture.id(), picture.stored_us));
        if stored.is_none() {
            uploading = store.progress(capture).await?;
        }
    }
    let stages = command.stages.into_iter().filter_map(|reached| {
        let stage = serde_json::Value::from(reached.stage);
        Some(page::StageView {
            stage: serde_json::from_value(stage).ok()?,
            at_us: reached.at_us,
            after_us: reached.after_us,
            text: reached.text,
        })
    });
    Ok(page::CommandView {
        stages: stages.collect(),
        id: command.id,
        command: command.command,
        created_us: command.created_us,
        expires_us: command.expires_us,
        sent_us: command.sent_us,
        uploading,
        stored,
    })
}

async fn gallery_view(site: &Site, asked: &Asked) -> Answer<page::GalleryView> {
    let store = &site.store;
    let device = asked
        .device
        .as_deref()
        .filter(|name| !name.is_empty())
        .map(str::parse::<DeviceId>)
        .transpose()
        .map_err(|error| Problem::wrong(error.to_string()))?;
    let wanted = match asked.after {
        Some(after) => Page::After(after),
        None => Page::Before(asked.before),
    };
    let mut pictures = store.pictures(device.as_ref(), wanted, GALLERY + 1).await?;
    let more = pictures.len() > GALLERY as usize;
    pictures.truncate(GALLERY as usize);
    // Whether there is anything on the side one came from is known from having come from there.
    let (newer, older) = match wanted {
        Page::After(_) => {
            pictures.reverse();
            (more, true)
        }
        Page::Before(before) => (before.is_some(), more),
    };
    let cursor = |picture: Option<&store::Picture>, there: bool| {
        picture.filter(|_| there).map(|picture| picture.arrival)
    };
    let cameras = store.presences(now_us()).await?;
    Ok(page::GalleryView {
        cameras: cameras.into_iter().map(|(device, _)| device).collect(),
        total: store.picture_count(device.as_ref()).await?,
        newer: cursor(pictures.first(), newer),
        older: cursor(pictures.last(), older),
        pictures: pictures.into_iter().map(picture_view).collect(),
        device,
    })
}

async fn picture_detail(site: &Site, id: &str) -> Answer<page::PictureDetailView> {
    let store = &site.store;
    let missing = || Problem::not_found("such picture");
    let id: PictureId = id.parse().map_err(|_| missing())?;
    let all = store.pictures_of(id.capture).await?;
    let (mut found, twins): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|picture| picture.id() == id);
    let picture = found.pop().ok_or_else(missing)?;
    let (device, arrival) = (Some(&picture.device), picture.arrival);
    let newer = store.pictures(device, Page::After(arrival), 1).await?;
    let older = store
        .pictures(device, Page::Before(Some(arrival)), 1)
        .await?;
    Ok(page::PictureDetailView {
        newer: newer.first().map(store::Picture::id),
        older: older.first().map(store::Picture::id),
        twins: twins.iter().map(store::Picture::id).collect(),
        picture: picture_view(picture),
    })
}

fn camera_view(device: store::Device) -> page::CameraView {
    let is_camera =
        device.status.is_some() || device.installs.iter().any(|install| !install.uploads);
    let light = device.status.as_ref().map(|status| status.light.clone());
    let status = device
        .status
        .map_or_else(Status::last_will, |status| *status);
    page::CameraView {
        device: device.id,
        presence: is_camera.then_some(device.presence),
        last_seen_us: device.last_seen_us,
        counters: device.counters,
        conflicts: device.conflicts,
        damaged: device.damaged,
        kept: json::kept(&status),
        coarse: device.installs.iter().any(|install| install.coarse),
        light,
        queue: status.queue,
        faults: status.faults,
        version: status.version,
        health: status.health,
        latest: device.latest.map(picture_view),
        installs: device
            .installs
            .into_iter()
            .map(|install| page::InstallView {
                install: install.install,
                counters: install.counters,
            })
            .collect(),
    }
}

fn picture_view(picture: store::Picture) -> page::PictureView {
    page::PictureView {
        id: picture.id(),
        device: picture.device,
        hash: picture.hash,
        bytes: picture.bytes,
        content_type: picture.content_type,
        width: picture.width,
        height: picture.height,
        cause: picture.cause,
        conflict: picture.conflict,
        damaged: picture.damaged,
        pressed: picture.pressed,
        taken: picture.taken,
        captured_after_us: picture.captured_after_us,
        saved_after_us: picture.saved_after_us,
        sent_after_us: picture.sent_after_us,
        stored_us: picture.stored_us,
        attempt: picture.attempt,
        thumbnail: match picture.thumbnail {
            store::Thumbnail::Pending => page::Thumbnail::Pending,
            store::Thumbnail::Ready => page::Thumbnail::Ready,
            store::Thumbnail::None => page::Thumbnail::None,
        },
        color: picture.color,
    }
}
