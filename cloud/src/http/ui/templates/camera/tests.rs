//! The page of a camera with views that show every state.

use keepsake_protocol::capture::Cause;
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::command::CommandStage;
use keepsake_protocol::event::{Fault, Tombstone, TombstoneReason};
use keepsake_protocol::id::SpoolId;
use keepsake_protocol::status::{Health, LedStatus, Presence, Queue};

use super::*;
use crate::http::ui::templates::fixtures::{
    HOSTILE, HOUR, MIN, NOW_US, S, camera, command, hostile, moment, page, picture, status, taken,
};
use crate::http::ui::templates::settings::tests::{hostile_settings, settings};
use crate::store::{Counters, SpoolState, StageReached};

/// The pages with views that show every state.
pub(in crate::http::ui::templates) fn pages(page: &PageContext) -> Vec<(&'static str, Markup)> {
    let mut still = device();
    still.commands.remove(0);
    status(&mut still.camera).faults.clear();
    still.camera.counters = Counters { stored: 311, ..Counters::default() };
    still.camera.conflicts = 0;
    still.camera.spools.truncate(1);
    vec![
        ("camera", camera_page(page, &device())),
        ("camera-still", camera_page(page, &still)),
        ("camera-hostile", camera_page(&hostile(page), &hostile_device())),
        ("camera-new", camera_page(page, &new_device(Some(Presence::Online)))),
        ("camera-upload", camera_page(page, &new_device(None))),
    ]
}

pub(in crate::http::ui::templates) fn device() -> DeviceView {
    use CommandStage::{Accepted, Captured, Done, Saved};
    let mut camera = camera("boat-shed", Some(Presence::Online));
    camera.counters = Counters { stored: 311, failed: 5, held: 38, ..Counters::default() };
    camera.conflicts = 1;
    camera.status_us = Some(NOW_US - 50 * MIN);
    camera.latest = Some(picture("boat-shed", 311, NOW_US - 17 * S));
    camera.spools.push(SpoolState {
        spool: SpoolId([0x0b; 16]),
        counters: Counters { stored: 4, ..Counters::default() },
        ..camera.spools[0].clone()
    });
    let reported = status(&mut camera);
    reported.queue = Queue {
        waiting: 38,
        waiting_bytes: 96_000_000,
        oldest: Some(moment(NOW_US - 164 * MIN)),
        parked: 1,
        lost: 0,
        bytes_per_s: Some(180_000),
    };
    reported.faults = vec![5];
    reported.led = LedStatus {
        pattern: "uploading".to_owned(),
        appearance: "even blink, twice a second".to_owned(),
        meaning: "Uploading. Nothing for you to do; pictures are safe on the card meanwhile.".to_owned(),
    };
    reported.reported_at = Some(moment(NOW_US - 2 * S));
    let tombstone = |first: u64, last: u64, reason| {
        let tombstone = Tombstone {
            spool: SpoolId([0xa1; 16]),
            sequence: first.try_into().unwrap(),
            through: Some(last.try_into().unwrap()),
            reason,
            cause: Cause::Button,
            command: None,
            pressed: Some(moment(NOW_US - 6 * MIN)),
        };
        (tombstone, NOW_US - 5 * MIN)
    };
    let fault = |number, text: &str, ago_us| {
        let at = moment(NOW_US - ago_us);
        (Fault { number, text: text.to_owned(), at, spool: None }, NOW_US - ago_us)
    };
    DeviceView {
        camera,
        commands: vec![
            CommandView {
                uploading: Some((1_530_000, 2_510_000)),
                ..command(CommandKind::Snap, NOW_US - 3_100_000, &[Accepted, Captured, Saved])
            },
            command(CommandKind::Identify, NOW_US - HOUR, &[Accepted, Done]),
            CommandView {
                stored: Some((picture("boat-shed", 300, NOW_US).id(), NOW_US - 2 * HOUR + 4_100_000)),
                ..command(CommandKind::Snap, NOW_US - 2 * HOUR, &[])
            },
            command(CommandKind::Snap, NOW_US - 20 * HOUR, &[]),
        ],
        tombstones: vec![
            tombstone(320, 320, TombstoneReason::CameraNotFound),
            tombstone(316, 319, TombstoneReason::CameraNotFound),
            tombstone(200, 200, TombstoneReason::PowerLostWhileSaving),
        ],
        faults: vec![
            fault(5, "no video device answered under /dev/video*", 5 * MIN),
            fault(3, "connection refused", 3 * HOUR),
        ],
        recent: (1..=12_u32)
            .map(|n| picture("boat-shed", 312 - u64::from(n), NOW_US - i64::from(n) * MIN))
            .collect(),
        settings: Some(settings()),
    }
}

fn new_device(presence: Option<Presence>) -> DeviceView {
    let mut camera = camera("jetty", presence);
    camera.counters = Counters::default();
    camera.latest = None;
    camera.spools.retain(|spool| spool.uploads);
    DeviceView {
        camera,
        commands: Vec::new(),
        tombstones: Vec::new(),
        faults: Vec::new(),
        recent: Vec::new(),
        settings: None,
    }
}

pub(in crate::http::ui::templates) fn hostile_device() -> DeviceView {
    let mut view = device();
    let reported = status(&mut view.camera);
    reported.led = LedStatus {
        pattern: HOSTILE.to_owned(),
        appearance: HOSTILE.to_owned(),
        meaning: HOSTILE.to_owned(),
    };
    reported.version = HOSTILE.to_owned();
    reported.faults = vec![0, 5, 255];
    reported.queue.oldest = Some(moment(i64::MIN));
    reported.queue.waiting_bytes = u64::MAX;
    reported.queue.bytes_per_s = Some(1);
    reported.reported_at = Some(ClockReading {
        error_us: u64::MAX,
        boottime_us: u64::MAX,
        ..moment(i64::MAX)
    });
    reported.health = Health {
        card_free: u64::MAX,
        card_total: u64::MAX,
        temperature_mc: Some(i64::MIN),
    };
    for (fault, _) in &mut view.faults {
        fault.text = HOSTILE.to_owned();
    }
    view.settings = Some(hostile_settings());
    view.commands[0].command.result = Some(hostile_result());
    for CommandView { command, .. } in &mut view.commands {
        command.id = HOSTILE.to_owned();
        command.created_us = i64::MIN;
        command.expires_us = i64::MAX;
        command.stages.push(StageReached {
            stage: CommandStage::Failed,
            at_us: i64::MAX,
            after_us: Some(u64::MAX),
            text: Some(HOSTILE.to_owned()),
        });
    }
    view.commands[0].command.created_us = NOW_US;
    view.camera.counters = Counters {
        stored: u64::MAX,
        deleted: 1,
        failed: u64::MAX,
        held: u64::MAX,
        missing: u64::MAX,
    };
    if let Some(latest) = &mut view.camera.latest {
        latest.pressed = moment(i64::MIN);
        latest.captured_after_us = u64::MAX;
        latest.stored_us = i64::MAX;
    }
    view.recent[0].stored_us = i64::MAX;
    view.recent[0].pressed = moment(i64::MIN);
    view.recent[0].taken = taken(&view.recent[0], None, &[]);
    view
}

/// Diagnostics may be anything.
fn hostile_result() -> serde_json::Map<String, serde_json::Value> {
    let deep = (0..40).fold(serde_json::json!(HOSTILE), |inner, _| serde_json::json!({ HOSTILE: [inner] }));
    [
        (HOSTILE.to_owned(), HOSTILE.into()),
        ("up_for_s".to_owned(), u64::MAX.into()),
        ("temperature_mc".to_owned(), 1.5.into()),
        ("free_bytes".to_owned(), serde_json::json!(-1)),
        (String::new(), deep),
    ]
    .into_iter()
    .collect()
}

#[test]
fn a_camera_that_is_away_is_not_asked() {
    let mut view = device();
    view.camera.presence = Presence::Offline;
    let html = camera_page(&page(), &view).into_string();
    // Snap, identify, restart and diagnostics.
    assert_eq!(html.matches(" id=\"ask-").count(), 4, "{html}");
    assert_eq!(html.matches(" disabled").count(), 4, "{html}");
    assert!(html.contains("The camera is offline. Commands are available again"));
}

#[test]
fn a_viewer_sees_no_button_that_only_an_operator_may_press() {
    let owner = page();
    let viewer = PageContext { role: Role::Viewer, ..page() };
    let camera = |page| camera_page(page, &device()).into_string();
    for button in ["ask-snap", "ask-identify", "ask-diagnostics", "ask-restart"] {
        assert!(camera(&owner).contains(button), "{button}");
        assert!(!camera(&viewer).contains(button), "{button}");
    }
}

#[test]
fn the_time_of_a_report_is_that_of_its_numbers() {
    let mut view = new_device(Some(Presence::Online));
    view.camera.last_seen_us = NOW_US - S;
    view.camera.status_us = Some(NOW_US - 50 * MIN);
    assert_eq!(view.camera.reported_us(), NOW_US - 50 * MIN);
    view.camera.status_us = None;
    assert_eq!(view.camera.reported_us(), NOW_US - S);
}
