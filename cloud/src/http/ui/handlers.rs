//! The pages: reads what they show, and has [`crate::http::ui::templates`] draw it.

use axum::extract::{Form, Path, Query};
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use keepsake_protocol::command::CommandKind;
use keepsake_protocol::id::PictureId;
use maud::Markup;
use serde::Deserialize;

use crate::auth::Role;
use crate::http::api::{devices, settings};
use crate::http::app_state::AppState;
use crate::http::auth::principal::Principal;
use crate::http::auth::request_context::RequestContext;
use crate::http::error::{HttpResult, Problem, is_page};
use crate::http::settings_progress::SettingsProgress;
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
    let cameras = state.store.devices(now_us()).await.map_err(Problem::from);
    draw(&state, cameras, |page, cameras| templates::cameras_page(page, cameras)).await
}

pub(crate) async fn camera(state: RequestContext, Path(device): Path<String>) -> Response {
    draw(&state, device_view(&state, &device).await, templates::camera_page).await
}

pub(crate) async fn settings(state: RequestContext, Path(device): Path<String>) -> Response {
    let view = async {
        let (camera, desired) = settings::find(&state, &device).await?;
        let view = settings_view(&camera, desired);
        view.ok_or_else(|| Problem::not_found("setting that this camera accepts"))
    };
    draw(&state, view.await, templates::settings_page).await
}

/// Saves the form. If it is invalid, it is shown again as it was typed, with the reason.
pub(crate) async fn save_settings(
    state: RequestContext,
    Path(device): Path<String>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let saved = async {
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
        let mut view =
            settings_view(&camera, desired).ok_or_else(|| Problem::not_found("setting that this camera accepts"))?;
        view.submitted = fields;
        view.problem = Some(problem.detail.clone());
        Ok(Some((problem, view)))
    };
    match saved.await {
        Ok(None) => Redirect::to(&format!("/cameras/{device}")).into_response(),
        Ok(Some((problem, view))) => problem.with_body(templates::settings_page(&page_context(&state).await, &view)),
        Err(problem) => draw(&state, Err(problem), templates::settings_page).await,
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct GalleryQuery {
    device: Option<String>,
    before: Option<PictureCursor>,
    after: Option<PictureCursor>,
}

pub(crate) async fn gallery(state: RequestContext, Query(asked): Query<GalleryQuery>) -> Response {
    draw(&state, gallery_view(&state, &asked).await, templates::gallery_page).await
}

pub(crate) async fn picture(state: RequestContext, Path(id): Path<String>) -> Response {
    draw(&state, picture_detail(&state, &id).await, templates::picture_page).await
}

pub(crate) async fn quarantine(state: RequestContext) -> Response {
    let rows = state.store.quarantine(None, QUARANTINE).await.map_err(Problem::from);
    draw(&state, rows, |page, (rows, _)| templates::quarantine_page(page, rows)).await
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
    let page = page_context(state).await;
    match view {
        Ok(view) => with(&page, &view).into_response(),
        Err(problem) => problem.with_body(templates::problem_page(&page, problem.status, &problem.detail)),
    }
}

pub(crate) async fn page_context(state: &RequestContext) -> templates::PageContext {
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
            Principal::User { name, .. } => Some(name.clone()),
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
    let camera = devices::find(state, device).await?;
    let device = camera.id.clone();
    let mut commands = Vec::new();
    for command in store.commands(&device, LISTED).await? {
        commands.push(command_view(store, command).await?);
    }
    Ok(templates::DeviceView {
        settings: settings_view(&camera, store.settings(&device).await?),
        camera,
        commands,
        tombstones: store.tombstones(&device, LISTED).await?,
        faults: store.faults(&device, LISTED).await?,
        recent: store.pictures(Some(&device), PageQuery::Before(None), RECENT).await?,
    })
}

/// Returns `None` for a camera that never reported settings, unless some are desired all the same.
fn settings_view(camera: &store::Device, desired: Option<store::DeviceSettings>) -> Option<templates::SettingsView> {
    let status = camera.last_status();
    if status.settings.is_none() && desired.is_none() {
        return None;
    }
    Some(templates::SettingsView {
        device: camera.id.clone(),
        progress: SettingsProgress::of(desired.as_ref(), status),
        desired,
        camera_version: status.settings_version,
        report: status.settings.as_deref().cloned().unwrap_or_default(),
        submitted: Vec::new(),
        problem: None,
    })
}

async fn command_view(store: &store::Store, command: store::Command) -> HttpResult<templates::CommandView> {
    let mut stored = None;
    let mut uploading = None;
    if let Some(capture) = command.capture.filter(|_| command.command == CommandKind::Snap) {
        stored = store.pictures_of(capture).await?.first().map(|picture| (picture.id(), picture.stored_us));
        if stored.is_none() {
            uploading = store.progress(capture);
        }
    }
    Ok(templates::CommandView { command, uploading, stored })
}

async fn gallery_view(state: &AppState, asked: &GalleryQuery) -> HttpResult<templates::GalleryView> {
    let store = &state.store;
    let device = devices::filter(asked.device.as_deref())?;
    let wanted = match asked.after {
        Some(after) => PageQuery::After(after),
        None => PageQuery::Before(asked.before),
    };
    let mut pictures = store.pictures(device.as_ref(), wanted, GALLERY + 1).await?;
    let more = pictures.len() > GALLERY as usize;
    pictures.truncate(GALLERY as usize);
    // The side from which the reader came has pictures.
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
        pending_thumbnails: state.metrics.pending_thumbnails(),
        newer: cursor(pictures.first(), newer),
        older: cursor(pictures.last(), older),
        pictures,
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
        picture,
    })
}
