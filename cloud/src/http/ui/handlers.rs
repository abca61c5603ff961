//! The pages: reads what they show, and has [`crate::http::ui::templates`] draw it.

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, Query};
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use keepsake_protocol::DeviceId;
use keepsake_protocol::command::CommandKind;
use keepsake_protocol::id::PictureId;
use keepsake_protocol::settings::schema::{SETTINGS, Scope, ValueKind};
use keepsake_protocol::status::Status;
use maud::Markup;
use serde::Deserialize;

use crate::auth::Role;
use crate::http::api::settings::SettingsProgress;
use crate::http::api::{dto, settings};
use crate::http::app_state::AppState;
use crate::http::auth::principal::Principal;
use crate::http::auth::request_context::RequestContext;
use crate::http::error::{HttpResult, Problem, is_page};
use crate::http::ui::templates;
use crate::now_us;
use crate::store;
use crate::store::{PageQuery, PictureCursor};

/// Entries in each list of a camera's page.
const LISTED: u32 = 50;
/// Pictures in the strip of a camera's page.
const RECENT: u32 = 12;
/// Pictures on one page of the gallery.
const GALLERY: u32 = 100;
const QUARANTINE: u32 = 200;

pub(crate) async fn cameras(state: RequestContext) -> Response {
    let view = async {
        let devices = state.store.devices(now_us()).await?;
        Ok(templates::CamerasView { cameras: devices.into_iter().map(camera_view).collect() })
    };
    draw(&state, view.await, templates::cameras_page).await
}

pub(crate) async fn camera(state: RequestContext, Path(device): Path<String>) -> Response {
    draw(&state, device_view(&state, &device).await, templates::camera_page).await
}

pub(crate) async fn settings(state: RequestContext, Path(device): Path<String>) -> Response {
    let view = async {
        let (camera, desired) = settings::find(&state, &device).await?;
        let view = settings_view(&camera, desired.as_ref());
        view.ok_or_else(|| Problem::not_found("setting that this camera accepts"))
    };
    draw(&state, view.await, templates::settings_page).await
}

/// The form of the page: an empty field is no wish. What cannot be saved is shown again as it was typed, with the reason.
pub(crate) async fn save_settings(
    state: RequestContext,
    Path(device): Path<String>,
    form: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Response {
    let saved = async {
        let Form(fields) = form.map_err(|error| Problem::bad_request(error.body_text()))?;
        let (camera, desired) = settings::find(&state, &device).await?;
        let version = fields.iter().find(|(name, _)| name == "version");
        let version = version
            .and_then(|(_, text)| text.parse().ok())
            .ok_or_else(|| Problem::bad_request("The form does not name the version of the settings."))?;
        let values = settings::values_from_form(&fields, desired.as_ref());
        let changed = settings::change(&state, &camera, desired.as_ref(), version, values).await;
        let Err(problem) = changed else {
            return Ok(None);
        };
        let view = settings_view(&camera, desired.as_ref())
            .ok_or_else(|| Problem::not_found("setting that this camera accepts"))?;
        Ok(Some((problem.status, submitted_values(view, &fields, problem.detail))))
    };
    match saved.await {
        Ok(None) => Redirect::to(&format!("/cameras/{device}")).into_response(),
        Ok(Some((status, view))) => {
            let mut response = draw(&state, Ok(view), templates::settings_page).await;
            *response.status_mut() = status;
            response
        }
        Err(problem) => draw(&state, Err(problem), templates::settings_page).await,
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct GalleryQuery {
    device: Option<String>,
    before: Option<PictureCursor>,
    after: Option<PictureCursor>,
}

pub(crate) async fn gallery(
    state: RequestContext,
    asked: Result<Query<GalleryQuery>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let view = match asked {
        Ok(Query(asked)) => gallery_view(&state, &asked).await,
        Err(error) => Err(Problem::bad_request(error.body_text())),
    };
    draw(&state, view, templates::gallery_page).await
}

pub(crate) async fn picture(state: RequestContext, Path(id): Path<String>) -> Response {
    draw(&state, picture_detail(&state, &id).await, templates::picture_page).await
}

pub(crate) async fn quarantine(state: RequestContext) -> Response {
    let view = async {
        let (rows, _) = state.store.quarantine(None, QUARANTINE).await?;
        Ok(templates::QuarantineView {
            rows: rows
                .into_iter()
                .map(|row| templates::QuarantineRow {
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
    draw(&state, view.await, templates::quarantine_page).await
}

pub(crate) async fn asset(Path(path): Path<String>) -> Response {
    match templates::asset(&path) {
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
pub(crate) async fn not_found(state: RequestContext, uri: Uri) -> Response {
    let problem = Problem::not_found("such page");
    if !is_page(uri.path()) {
        return problem.into_response();
    }
    draw(&state, Err(problem), |_, (): &()| maud::html! {}).await
}

/// Draws a page, or the page that says why there is none.
pub(crate) async fn draw<V>(
    state: &RequestContext,
    view: HttpResult<V>,
    with: impl FnOnce(&templates::PageContext, &V) -> Markup,
) -> Response {
    let around = around(state).await;
    match view {
        Ok(view) => with(&around, &view).into_response(),
        Err(problem) => {
            let markup = templates::problem_page(&around, problem.status, &problem.detail);
            (problem.status, markup).into_response()
        }
    }
}

async fn around(state: &RequestContext) -> templates::PageContext {
    let hold = state.backpressure.state();
    let scheme = if state.config.tls.is_some() { "https" } else { "http" };
    templates::PageContext {
        visitor: state.visitor.clone(),
        now_us: now_us(),
        store: state.store.id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        http: format!("{scheme}://{}", state.address),
        mqtt: state.broker.url(),
        loopback_only: state.address.ip().is_loopback() && state.broker.is_loopback(),
        hold: hold.reason().map(str::to_owned),
        warnings: state.store.weaknesses(),
        free_bytes: hold.free_bytes,
        // The page must be drawn even when the store is away, to say so.
        quarantined: state.store.quarantine_count().await.unwrap_or(0),
        user: match &state.principal {
            Principal::User { name, role, .. } => Some(templates::SignedInUser { name: name.clone(), role: *role }),
            Principal::Anonymous
            | Principal::ApiToken { .. }
            | Principal::Camera { .. }
            | Principal::AnonymousUpload => None,
        },
        role: state.principal.role().unwrap_or(Role::Viewer),
        origin: state.caller.origin(&state.host),
    }
}

async fn device_view(state: &AppState, device: &str) -> HttpResult<templates::DeviceView> {
    let store = &state.store;
    let missing = || Problem::not_found("camera with that name");
    let device: DeviceId = device.parse().map_err(|_| missing())?;
    let known = store.device(&device, now_us()).await?.ok_or_else(missing)?;
    let said = known.status.as_ref().and_then(|status| status.reported_at);
    let mut commands = Vec::new();
    for command in store.commands(&device, LISTED).await? {
        commands.push(command_view(store, command).await?);
    }
    let desired = store.settings(&device).await?;
    let settings = settings_view(&known, desired.as_ref());
    let tombstones = store.tombstones(&device, LISTED).await?;
    let faults = store.faults(&device, LISTED).await?;
    let recent = store.pictures(Some(&device), PageQuery::Before(None), RECENT).await?;
    Ok(templates::DeviceView {
        camera: camera_view(known),
        said,
        commands,
        tombstones: tombstones
            .into_iter()
            .map(|(tombstone, told_us)| templates::TombstoneView {
                install: tombstone.spool,
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
            .map(|(fault, told_us)| templates::FaultView { number: fault.number, text: fault.text, told_us })
            .collect(),
        recent: recent.into_iter().map(picture_view).collect(),
        settings,
    })
}

/// `None` for a camera that never said that it takes settings, unless there are some all the same.
fn settings_view(camera: &store::Device, desired: Option<&store::DeviceSettings>) -> Option<templates::SettingsView> {
    let (camera_version, said) = settings::said(camera);
    if said.is_none() && desired.is_none() {
        return None;
    }
    let rejected = said.map(|said| said.rejected.as_slice()).unwrap_or_default();
    let current = |name: &str| {
        let value = said?.effective.get(name)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (!text.is_empty()).then(|| text.chars().take(100).collect())
    };
    let wished = |name: &str| desired.and_then(|desired| desired.values.get(name));
    let fields = SETTINGS
        .iter()
        .filter(|setting| setting.scope != Scope::Local)
        .map(|setting| templates::FieldView {
            name: setting.key,
            what: setting.description,
            connection: setting.scope == Scope::Connection,
            kind: match setting.kind {
                _ if setting.secret => templates::FieldKind::Token,
                ValueKind::Integer { min, max, unit } => {
                    templates::FieldKind::Number { min, max, or_zero: false, unit }
                }
                ValueKind::OptionalInteger { min, max, unit } => {
                    templates::FieldKind::Number { min, max, or_zero: true, unit }
                }
                ValueKind::Bool => templates::FieldKind::Choice(&["true", "false"]),
                ValueKind::Choice(of) | ValueKind::IntegerEnum { of, .. } => templates::FieldKind::Choice(of),
                ValueKind::Text(_) => templates::FieldKind::Text,
            },
            value: match wished(setting.key) {
                Some(_) if setting.secret => String::new(),
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
                None => String::new(),
            },
            is_set: wished(setting.key).is_some(),
            current: current(setting.key),
            rejected: rejected
                .iter()
                .find(|rejected| rejected.name == setting.key)
                .map(|rejected| rejected.reason.clone()),
        })
        .collect();
    Some(templates::SettingsView {
        device: camera.id.clone(),
        version: desired.map_or(0, |desired| desired.version),
        changed_us: desired.map(|desired| desired.changed_us),
        camera_version,
        state: match settings::progress(desired, camera_version, said) {
            SettingsProgress::None => templates::SettingsState::None,
            SettingsProgress::Waiting => templates::SettingsState::Waiting,
            SettingsProgress::Applied => templates::SettingsState::Applied,
            SettingsProgress::Partly => templates::SettingsState::Partly,
            SettingsProgress::Ahead => templates::SettingsState::Ahead { version: camera_version },
            SettingsProgress::Trying => {
                let trying = said.and_then(|said| said.trial.clone());
                templates::SettingsState::Trying {
                    for_s: trying.as_ref().map_or(0, |trying| trying.remaining_s),
                    names: trying.map(|trying| trying.names).unwrap_or_default(),
                }
            }
        },
        rejected: rejected.iter().map(|rejected| (rejected.name.clone(), rejected.reason.clone())).collect(),
        fields,
        problem: None,
    })
}

fn submitted_values(
    mut view: templates::SettingsView,
    fields: &[(String, String)],
    problem: String,
) -> templates::SettingsView {
    for field in &mut view.fields {
        if let templates::FieldKind::Token = field.kind {
            continue;
        }
        if let Some((_, text)) = fields.iter().find(|(name, _)| name == field.name) {
            field.value.clone_from(text);
        }
    }
    view.problem = Some(problem);
    view
}

async fn command_view(store: &store::Store, command: store::Command) -> HttpResult<templates::CommandView> {
    let mut stored = None;
    let mut uploading = None;
    if let Some(capture) = command.capture.filter(|_| command.command == CommandKind::Snap) {
        stored = store.pictures_of(capture).await?.first().map(|picture| (picture.id(), picture.stored_us));
        if stored.is_none() {
            uploading = store.progress(capture).await?;
        }
    }
    let stages = command.stages.into_iter().filter_map(|reached| {
        let stage = serde_json::Value::from(reached.stage);
        Some(templates::StageView {
            stage: serde_json::from_value(stage).ok()?,
            at_us: reached.at_us,
            after_us: reached.after_us,
            text: reached.text,
        })
    });
    Ok(templates::CommandView {
        stages: stages.collect(),
        id: command.id,
        command: command.command,
        created_us: command.created_us,
        expires_us: command.expires_us,
        sent_us: command.sent_us,
        uploading,
        stored,
        result: command.result,
    })
}

async fn gallery_view(state: &AppState, asked: &GalleryQuery) -> HttpResult<templates::GalleryView> {
    let store = &state.store;
    let device = asked
        .device
        .as_deref()
        .filter(|name| !name.is_empty())
        .map(str::parse::<DeviceId>)
        .transpose()
        .map_err(|error| Problem::bad_request(error.to_string()))?;
    let wanted = match asked.after {
        Some(after) => PageQuery::After(after),
        None => PageQuery::Before(asked.before),
    };
    let mut pictures = store.pictures(device.as_ref(), wanted, GALLERY + 1).await?;
    let more = pictures.len() > GALLERY as usize;
    pictures.truncate(GALLERY as usize);
    // Whether there is anything on the side one came from is known from having come from there.
    let (newer, older) = match wanted {
        PageQuery::After(_) => {
            pictures.reverse();
            (more, true)
        }
        PageQuery::Before(before) => (before.is_some(), more),
    };
    let cursor = |picture: Option<&store::Picture>, there: bool| picture.filter(|_| there).map(store::Picture::cursor);
    let cameras = store.presences(now_us()).await?;
    Ok(templates::GalleryView {
        cameras: cameras.into_iter().map(|(device, _)| device).collect(),
        total: store.picture_count(device.as_ref()).await?,
        newer: cursor(pictures.first(), newer),
        older: cursor(pictures.last(), older),
        pictures: pictures.into_iter().map(picture_view).collect(),
        device,
    })
}

async fn picture_detail(state: &AppState, id: &str) -> HttpResult<templates::PictureDetailView> {
    let store = &state.store;
    let missing = || Problem::not_found("such picture");
    let id: PictureId = id.parse().map_err(|_| missing())?;
    let all = store.pictures_of(id.capture).await?;
    let (mut found, twins): (Vec<_>, Vec<_>) = all.into_iter().partition(|picture| picture.id() == id);
    let picture = found.pop().ok_or_else(missing)?;
    let (device, cursor) = (Some(&picture.device), picture.cursor());
    let newer = store.pictures(device, PageQuery::After(cursor), 1).await?;
    let older = store.pictures(device, PageQuery::Before(Some(cursor)), 1).await?;
    Ok(templates::PictureDetailView {
        newer: newer.first().map(store::Picture::id),
        older: older.first().map(store::Picture::id),
        twins: twins.iter().map(store::Picture::id).collect(),
        picture: picture_view(picture),
    })
}

fn camera_view(device: store::Device) -> templates::CameraView {
    let is_camera = device.status.is_some() || device.installs.iter().any(|install| !install.uploads);
    let light = device.status.as_ref().map(|status| status.led.clone());
    let status = device.status.map_or_else(Status::last_will, |status| *status);
    templates::CameraView {
        device: device.id,
        presence: is_camera.then_some(device.presence),
        last_seen_us: device.last_seen_us,
        status_us: device.status_us,
        counters: device.counters,
        conflicts: device.conflicts,
        damaged: device.damaged,
        kept: dto::retained(&status),
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
            .map(|install| templates::SpoolView { install: install.install, counters: install.counters })
            .collect(),
    }
}

fn picture_view(picture: store::Picture) -> templates::PictureView {
    templates::PictureView {
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
        sort_us: picture.sort_us,
        attempt: picture.attempt,
        thumbnail: match picture.thumbnail {
            store::Thumbnail::Pending => templates::Thumbnail::Pending,
            store::Thumbnail::Ready => templates::Thumbnail::Ready,
            store::Thumbnail::None => templates::Thumbnail::None,
        },
        color: picture.color,
    }
}
