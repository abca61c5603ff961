//! Views that several tests of pages show.

use keepsake_protocol::capture::{Cause, ContentType};
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::event::BootClockOffset;
use keepsake_protocol::id::{BootId, CaptureId, DeviceId, Hash, PictureId, Sequence, SpoolId, StoreId};
use keepsake_protocol::status::{Health, LedStatus, Presence, Queue};

use crate::auth::Role;
use crate::http::ui::language::Language;
use crate::http::ui::views::{
    CameraView, Counters, PageContext, PictureView, SignedInUser, SpoolView, Thumbnail, Visitor,
};
use crate::pictures::capture_time::{CaptureTime, PressEvidence};

/// 21 November 2026, 14:32:09 UTC.
pub(crate) const NOW_US: i64 = 1_795_271_529_000_000;
pub(crate) const S: i64 = 1_000_000;
pub(crate) const MIN: i64 = 60 * S;
pub(crate) const HOUR: i64 = 60 * MIN;
pub(crate) const HOSTILE: &str =
    "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&amp; style=\"x\" javascript:1";

pub(crate) fn visitor(language: Language) -> Visitor {
    Visitor { language, here: "/pictures?device=porch".to_owned() }
}

pub(crate) fn page() -> PageContext {
    site_in(Language::English)
}

pub(crate) fn site_in(language: Language) -> PageContext {
    PageContext {
        visitor: visitor(language),
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
        user: Some(SignedInUser { name: "ada".to_owned(), role: Role::Owner }),
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

pub(crate) fn picture(device: &str, sequence: u64, stored_us: i64) -> PictureView {
    let hash = Hash::of(format!("{device} {sequence}").as_bytes());
    let mut picture = PictureView {
        id: PictureId {
            capture: CaptureId {
                spool: SpoolId([0xa1; 16]),
                sequence: Sequence::try_from(sequence).unwrap(),
            },
            hash: hash.prefix(),
        },
        device: id(device),
        hash,
        bytes: 2_512_345,
        content_type: ContentType::Jpeg,
        width: 640,
        height: 427,
        cause: Cause::Button,
        conflict: false,
        damaged: false,
        pressed: moment(stored_us - 4_100_000),
        taken: crate::pictures::capture_time::upload_time(stored_us),
        captured_after_us: 900_000,
        saved_after_us: Some(1_000_000),
        sent_after_us: Some(1_600_000),
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
pub(crate) fn taken(picture: &PictureView, not_before_us: Option<i64>, lines: &[BootClockOffset]) -> CaptureTime {
    let press = PressEvidence {
        clock: &picture.pressed,
        stored_us: picture.stored_us,
        sent_after_us: picture.sent_after_us,
        not_before_us,
    };
    crate::pictures::capture_time::capture_time(&press, lines)
}

pub(crate) fn camera(name: &str, presence: Option<Presence>) -> CameraView {
    CameraView {
        device: id(name),
        presence,
        last_seen_us: NOW_US - 2 * S,
        status_us: None,
        counters: Counters { stored: 1204, ..Counters::default() },
        conflicts: 0,
        damaged: 0,
        queue: Queue::default(),
        kept: 12,
        coarse: false,
        light: Some(LedStatus {
            pattern: "ready".to_owned(),
            appearance: "steady".to_owned(),
            meaning: "everything is stored; you can trust it".to_owned(),
        }),
        faults: Vec::new(),
        version: "0.1.0".to_owned(),
        health: Health {
            card_free: 21_000_000_000,
            card_total: 32_000_000_000,
            temperature_mc: Some(47_200),
        },
        latest: Some(picture(name, 1204, NOW_US - 2 * S)),
        installs: vec![SpoolView {
            install: SpoolId([0xa1; 16]),
            counters: Counters { stored: 1204, ..Counters::default() },
        }],
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
