//! Views that several tests of pages show.

use keepsake_protocol::capture::{Cause, ContentType};
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::command::{CommandKind, CommandStage};
use keepsake_protocol::event::BootClockOffset;
use keepsake_protocol::id::{BootId, CaptureId, DeviceId, Hash, Sequence, SpoolId, StoreId};
use keepsake_protocol::ranges::Ranges;
use keepsake_protocol::status::{Health, LedStatus, Presence, SpoolInventory, Status};

use crate::auth::Role;
use crate::http::ui::language::Language;
use crate::http::ui::views::{CommandView, PageContext, Visitor};
use crate::pictures::capture_time::{CaptureTime, PressEvidence, capture_time, upload_time};
use crate::store::{Command, Counters, Device, Picture, SpoolState, StageReached, Thumbnail};

/// 21 November 2026, 14:32:09 UTC.
pub(crate) const NOW_US: i64 = 1_795_271_529_000_000;
pub(crate) const S: i64 = 1_000_000;
pub(crate) const MIN: i64 = 60 * S;
pub(crate) const HOUR: i64 = 60 * MIN;
pub(crate) const HOSTILE: &str =
    "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&amp; style=\"x\" javascript:1";

pub(crate) fn page() -> PageContext {
    page_in(Language::English)
}

pub(crate) fn page_in(language: Language) -> PageContext {
    PageContext {
        visitor: Visitor { language, here: "/pictures?device=porch".to_owned() },
        now_us: NOW_US,
        store: StoreId([0x5e; 16]),
        version: "0.1.0".to_owned(),
        http: "http://127.0.0.1:5000".to_owned(),
        mqtt: "mqtt://127.0.0.1:1883".to_owned(),
        loopback_only: true,
        hold: None,
        warnings: Vec::new(),
        free_bytes: Some(31_800_000_000),
        quarantined: 0,
        user: Some("ada".to_owned()),
        role: Role::Owner,
        origin: "https://cam.example".to_owned(),
    }
}

pub(crate) fn id(name: &str) -> DeviceId {
    name.parse().unwrap()
}

pub(crate) fn moment(wall_us: i64) -> ClockReading {
    ClockReading {
        boot: BootId([1; 16]),
        boottime_us: 3_900_000_000,
        wall_us,
        synchronised: true,
        error_us: 40_000,
    }
}

pub(crate) fn picture(device: &str, sequence: u64, stored_us: i64) -> Picture {
    let mut picture = Picture {
        arrival: i64::try_from(sequence).unwrap(),
        capture: CaptureId {
            spool: SpoolId([0xa1; 16]),
            sequence: Sequence::try_from(sequence).unwrap(),
        },
        device: id(device),
        hash: Hash::of(format!("{device} {sequence}").as_bytes()),
        bytes: 2_512_345,
        content_type: ContentType::Jpeg,
        width: 640,
        height: 427,
        cause: Cause::Button,
        command: None,
        conflict: false,
        damaged: false,
        pressed: moment(stored_us - 4_100_000),
        taken: upload_time(stored_us),
        captured_after_us: 900_000,
        saved_after_us: Some(1_000_000),
        sent_after_us: Some(1_600_000),
        not_before_us: None,
        settings_version: 0,
        stored_us,
        sort_us: stored_us,
        attempt: 0,
        thumbnail: Thumbnail::Ready,
        color: Some(0x8a_6f_4d),
    };
    picture.taken = taken(&picture, None, &[]);
    picture.sort_us = picture.taken.best_us;
    picture
}

/// Returns the capture time that the store would compute.
pub(crate) fn taken(picture: &Picture, not_before_us: Option<i64>, offsets: &[BootClockOffset]) -> CaptureTime {
    let press = PressEvidence {
        clock: &picture.pressed,
        stored_us: picture.stored_us,
        sent_after_us: picture.sent_after_us,
        not_before_us,
    };
    capture_time(&press, offsets)
}

/// A camera, or the name of uploads where `presence` is absent.
pub(crate) fn camera(name: &str, presence: Option<Presence>) -> Device {
    let counters = Counters { stored: 1204, ..Counters::default() };
    let spool = SpoolId([0xa1; 16]);
    let kept: Ranges = [(Sequence::FIRST, Sequence::try_from(12).unwrap())].into_iter().collect();
    let status = Status {
        presence: Presence::Online,
        spools: vec![SpoolInventory {
            spool,
            next: Sequence::FIRST,
            waiting: Ranges::default(),
            kept,
            coarse: false,
        }],
        led: LedStatus {
            pattern: "ready".to_owned(),
            appearance: "steady".to_owned(),
            meaning: "everything is stored; you can trust it".to_owned(),
        },
        version: "0.1.0".to_owned(),
        health: Health {
            card_free: 21_000_000_000,
            card_total: 32_000_000_000,
            temperature_mc: Some(47_200),
        },
        ..Status::last_will()
    };
    Device {
        id: id(name),
        presence: presence.unwrap_or(Presence::Offline),
        last_seen_us: NOW_US - 2 * S,
        status: presence.map(|_| Box::new(status)),
        status_us: None,
        counters,
        conflicts: 0,
        damaged: 0,
        latest: Some(picture(name, 1204, NOW_US - 2 * S)),
        spools: vec![SpoolState {
            spool,
            uploads: presence.is_none(),
            next: Sequence::FIRST,
            counters,
            coarse: false,
        }],
    }
}

/// Returns the last status of a camera, to change it.
pub(crate) fn status(camera: &mut Device) -> &mut Status {
    camera.status.as_mut().expect("a camera has a status")
}

/// A command that was sent at once, and whose stages came a second after one another.
pub(crate) fn command(command: CommandKind, created_us: i64, stages: &[CommandStage]) -> CommandView {
    let stages = stages.iter().zip(0_u32..).map(|(stage, number)| StageReached {
        stage: *stage,
        at_us: created_us + 200_000 + i64::from(number) * S,
        after_us: Some(u64::from(number) * 1_000_000),
        text: None,
    });
    CommandView {
        command: Command {
            id: format!("c{created_us}"),
            device: id("boat-shed"),
            command,
            created_us,
            expires_us: created_us + 30 * S,
            sent_us: Some(created_us),
            stages: stages.collect(),
            capture: None,
            result: None,
        },
        uploading: None,
        stored: None,
    }
}

/// A cloud that accepts no uploads.
pub(crate) fn on_hold(page: &PageContext) -> PageContext {
    PageContext {
        hold: Some("the cloud's disk is nearly full: 900 MiB free, 1024 MiB are kept free".to_owned()),
        quarantined: 3,
        ..page.clone()
    }
}

/// A cloud whose texts would like to be code.
pub(crate) fn hostile(page: &PageContext) -> PageContext {
    PageContext {
        version: HOSTILE.to_owned(),
        http: HOSTILE.to_owned(),
        mqtt: HOSTILE.to_owned(),
        hold: Some(HOSTILE.to_owned()),
        warnings: vec![HOSTILE.to_owned()],
        ..page.clone()
    }
}

/// Compares HTML with the reviewed file of this name in `snapshots/`, which has one element a line.
pub(crate) fn assert_reviewed(name: &str, html: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let lines = html.replace("><", ">\n<").replace(">\n</", "></");
    settings.bind(|| insta::assert_snapshot!(name, lines));
}
