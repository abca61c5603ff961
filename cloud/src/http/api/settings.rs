//! `/api/v1/devices/{device}/settings`: the desired settings of a camera, and which of them it applied.
//!
//! Values are checked against the table that the camera uses, and saved all or none, so a camera is only sent what it
//! can accept. A client that changes settings names the version it has read; if they changed meanwhile, nothing is saved.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use keepsake_protocol::DeviceId;
use keepsake_protocol::settings::schema::{SETTINGS, Scope, Setting, ValueKind};
use keepsake_protocol::settings::{RejectedSetting, TrialStatus};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::http::api::devices;
use crate::http::app_state::AppState;
use crate::http::error::{HttpResult, Problem};
use crate::http::settings_progress::SettingsProgress;
use crate::now_us;
use crate::store::{Device, DeviceSettings, SettingsUpdate};

/// All settings together are far shorter, bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Replaces a secret in both directions: it is never shown, and sending this back keeps it.
pub(crate) const HIDDEN: &str = "(hidden)";

#[derive(Debug, Serialize)]
pub(crate) struct Settings {
    device: DeviceId,
    version: u64,
    changed_us: Option<i64>,
    state: SettingsProgress,
    values: Map<String, Value>,
    camera: Option<CameraSettings>,
    known: Vec<SettingInfo>,
}

#[derive(Debug, Serialize)]
struct CameraSettings {
    version: u64,
    said_us: i64,
    rejected: Vec<RejectedSetting>,
    trial: Option<Trial>,
    effective: Map<String, Value>,
}

/// Connection settings on trial.
#[derive(Debug, Serialize)]
struct Trial {
    names: Vec<String>,
    remaining_s: u64,
}

impl From<&TrialStatus> for Trial {
    fn from(trial: &TrialStatus) -> Self {
        Self { names: trial.names.clone(), remaining_s: trial.remaining_s }
    }
}

/// A setting that the cloud can change.
#[derive(Debug, Serialize)]
struct SettingInfo {
    name: &'static str,
    kind: &'static str,
    default: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<u64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    unit: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    choices: &'static [&'static str],
    /// It is tried, and given up again unless a connection with it is confirmed.
    connection: bool,
    description: &'static str,
}

#[derive(Debug, Deserialize)]
struct SettingsRequest {
    version: Option<u64>,
    values: Map<String, Value>,
}

pub(crate) async fn get(State(state): State<AppState>, Path(device): Path<String>) -> HttpResult<Response> {
    let (camera, desired) = find(&state, &device).await?;
    Ok(settings_response(&camera, desired.as_ref()))
}

pub(crate) async fn put(
    State(state): State<AppState>,
    Path(device): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> HttpResult<Response> {
    let (camera, before) = find(&state, &device).await?;
    if body.len() > BODY_BYTES_MAX {
        let text = format!("Settings are at most {BODY_BYTES_MAX} bytes.");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text));
    }
    let wanted: SettingsRequest = serde_json::from_slice(&body).map_err(|error| {
        Problem::bad_request(format!(
            "Expected {{\"version\": 1, \"values\": {{\"capture_interval_s\": 60}}}}: {error}."
        ))
    })?;
    let version = before.as_ref().map_or(0, |before| before.version);
    let if_match = headers.get(header::IF_MATCH).map(version_of);
    let based_on = match (if_match, wanted.version) {
        (Some(Some(tag)), _) if tag != version => {
            return Err(version_conflict(StatusCode::PRECONDITION_FAILED, version));
        }
        (Some(None), _) => {
            return Err(Problem::bad_request("If-Match must be one version in quotes."));
        }
        (Some(Some(tag)), _) => tag,
        (None, Some(version)) => version,
        (None, None) => {
            return Err(Problem::new(
                StatusCode::PRECONDITION_REQUIRED,
                "Say which version you looked at: \"version\" beside \"values\", or If-Match.",
            ));
        }
    };
    let desired = change(&state, &camera, before.as_ref(), based_on, wanted.values).await?;
    let (camera, _) = find(&state, &device).await?;
    Ok(settings_response(&camera, Some(&desired)))
}

/// Checks, stores and publishes settings from the API or a page.
pub(crate) async fn change(
    state: &AppState,
    camera: &Device,
    before: Option<&DeviceSettings>,
    based_on: u64,
    wanted: Map<String, Value>,
) -> HttpResult<DeviceSettings> {
    let values = validate(wanted, before)?;
    let status = camera.last_status();
    let is_ahead = SettingsProgress::of(before, status) == SettingsProgress::Ahead;
    let ahead = is_ahead.then_some(status.settings_version);
    let changed = state.store.update_settings(&camera.id, based_on, ahead, &values, now_us()).await?;
    match changed {
        SettingsUpdate::To(desired) => {
            state.announcer.send_settings(&camera.id).await;
            Ok(desired)
        }
        SettingsUpdate::Conflict(version) => Err(version_conflict(StatusCode::CONFLICT, version)),
    }
}

pub(crate) async fn find(state: &AppState, device: &str) -> HttpResult<(Device, Option<DeviceSettings>)> {
    let camera = devices::find(state, device).await?;
    let desired = state.store.settings(&camera.id).await?;
    Ok((camera, desired))
}

/// Returns the values of a form. An empty field is left out, but an empty secret keeps its value, because pages never
/// show it.
pub(crate) fn values_from_form(fields: &[(String, String)], before: Option<&DeviceSettings>) -> Map<String, Value> {
    let mut values = Map::new();
    for (name, text) in fields {
        let Some(setting) = Setting::find(name) else {
            continue;
        };
        let kept = before.is_some_and(|before| before.values.contains_key(name));
        let value = match setting.kind {
            _ if setting.secret && text.is_empty() && kept => HIDDEN.into(),
            _ if text.is_empty() => continue,
            ValueKind::Integer { .. } | ValueKind::OptionalInteger { .. } | ValueKind::IntegerEnum { .. } => {
                text.trim().parse::<u64>().map_or_else(|_| text.as_str().into(), Value::from)
            }
            ValueKind::Bool => text.parse::<bool>().map_or_else(|_| text.as_str().into(), Value::from),
            ValueKind::Choice(_) | ValueKind::Text(_) => text.as_str().into(),
        };
        values.insert(name.clone(), value);
    }
    values
}

/// Returns the values to store, or a problem that names every invalid one.
fn validate(wanted: Map<String, Value>, before: Option<&DeviceSettings>) -> HttpResult<Map<String, Value>> {
    let mut values = Map::new();
    let mut wrong = Vec::new();
    for (name, value) in wanted {
        let Some(setting) = Setting::find(&name) else {
            wrong.push(format!("{} is not a setting", shortened(&name)));
            continue;
        };
        if setting.scope == Scope::Local {
            wrong.push(format!("{name} can only be set on the camera"));
        } else if value.is_null() {
            // The same as leaving it out.
        } else if setting.secret && value == HIDDEN {
            if let Some(kept) = before.and_then(|before| before.values.get(&name)) {
                values.insert(name, kept.clone());
            }
        } else if let Err(what) = setting.check((&value).into()) {
            wrong.push(format!("{name} {what}"));
        } else {
            values.insert(name, value);
        }
    }
    if wrong.is_empty() {
        Ok(values)
    } else {
        const NAMED_MAX: usize = 20;
        let more = wrong.len().saturating_sub(NAMED_MAX);
        wrong.truncate(NAMED_MAX);
        if more > 0 {
            wrong.push(format!("and {more} more"));
        }
        let text = format!("Nothing was changed: {}.", wrong.join("; "));
        Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, text))
    }
}

fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut short: String = text.chars().take(CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn version_conflict(status: StatusCode, version: u64) -> Problem {
    let text = format!("These settings have changed since (now version {version}). Reload and try again.");
    Problem::new(status, text)
}

/// Parses a version in quotes, as in `ETag`.
fn version_of(tag: &HeaderValue) -> Option<u64> {
    let tag = tag.to_str().ok()?.trim();
    tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

fn settings_response(device: &Device, desired: Option<&DeviceSettings>) -> Response {
    let version = desired.map_or(0, |desired| desired.version);
    let status = device.last_status();
    let settings = Settings {
        device: device.id.clone(),
        version,
        changed_us: desired.map(|desired| desired.changed_us),
        state: SettingsProgress::of(desired, status),
        values: desired.map(shown).unwrap_or_default(),
        camera: status.settings.as_deref().map(|report| CameraSettings {
            version: status.settings_version,
            said_us: device.status_us.unwrap_or_default(),
            rejected: report.rejected.clone(),
            trial: report.trial.as_ref().map(Trial::from),
            effective: report.effective.clone(),
        }),
        known: all_settings(),
    };
    let tag = HeaderValue::from_str(&format!("\"{version}\"")).expect("a number in quotes is a valid header value");
    ([(header::ETAG, tag)], Json(settings)).into_response()
}

/// The values without their secrets.
fn shown(desired: &DeviceSettings) -> Map<String, Value> {
    let mut values = desired.values.clone();
    for (name, value) in &mut values {
        if Setting::find(name).is_some_and(|setting| setting.secret) {
            *value = HIDDEN.into();
        }
    }
    values
}

fn all_settings() -> Vec<SettingInfo> {
    let remote = SETTINGS.iter().filter(|setting| setting.scope != Scope::Local);
    remote
        .map(|setting| {
            let (kind, bounds, unit, choices): (_, _, _, &[&str]) = match setting.kind {
                ValueKind::Integer { min, max, unit } => ("integer", Some((min, max)), unit, &[]),
                ValueKind::OptionalInteger { min, max, unit } => ("optional-integer", Some((min, max)), unit, &[]),
                ValueKind::IntegerEnum { of, unit } => ("integer-enum", None, unit, of),
                ValueKind::Bool => ("bool", None, "", &[]),
                ValueKind::Choice(of) => ("choice", None, "", of),
                ValueKind::Text(_) => ("text", None, "", &[]),
            };
            SettingInfo {
                name: setting.key,
                kind,
                default: setting.default.into(),
                min: bounds.map(|(min, _)| min),
                max: bounds.map(|(_, max)| max),
                unit,
                choices,
                connection: setting.scope == Scope::Connection,
                description: setting.description,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_invalid_value_is_named_and_a_secret_is_kept_unseen() {
        let values = |json: Value| match json {
            Value::Object(map) => map,
            _ => panic!("an object"),
        };
        let before = DeviceSettings {
            version: 1,
            revision: 1,
            values: values(json!({"cloud.password": "sesame"})),
            changed_us: 0,
        };
        let kept = validate(
            values(json!({"cloud.password": HIDDEN, "capture_interval_s": null, "light.mode": "heartbeat"})),
            Some(&before),
        );
        assert_eq!(kept.unwrap(), values(json!({"cloud.password": "sesame", "light.mode": "heartbeat"})));
        assert!(!format!("{:?}", shown(&before)).contains("sesame"));
        let wrong = validate(
            values(json!({"capture_interval_s": -1, "device": "x", "nonsense": 1, "light.mode": "heartbeat"})),
            None,
        );
        let Problem { status, detail, .. } = wrong.unwrap_err();
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        for says in ["capture_interval_s must be 0 or", "device can only be set", "nonsense is not a setting"] {
            assert!(detail.contains(says), "{detail}");
        }
    }
}
