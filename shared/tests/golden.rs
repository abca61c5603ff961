//! The bytes of every message of every version ever shipped, in `golden/`: all of them must still be read, and what we
//! write today must be what was written then. A camera in the field keeps its files for years and sends them as they are.
//!
//! A file that is committed is never rewritten. A missing one is made by `KEEPSAKE_GOLDEN=create cargo test -p keepsake-protocol`.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::PathBuf;

use keepsake_protocol::capture::{CaptureMetadata, Cause, ContentType, FrameHeader};
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::cloud_info::CloudInfo;
use keepsake_protocol::codec;
use keepsake_protocol::command::{Command, CommandKind, CommandReply, CommandStage};
use keepsake_protocol::event::{BootClockOffset, Event, Fault, Tombstone, TombstoneReason};
use keepsake_protocol::inventory::Inventory;
use keepsake_protocol::receipt::{InventoryAck, Receipt, Rejection, ResendRequest};
use keepsake_protocol::settings::{DesiredSettings, RejectedSetting, SettingsReport, TrialStatus};
use keepsake_protocol::status::{Health, LedStatus, Presence, Queue, SpoolInventory, Status};
use keepsake_protocol::{BootId, CaptureId, Hash, HashPrefix, Sequence, SpoolId, StoreId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

#[test]
fn every_message_ever_shipped_decodes_and_encodes_unchanged() {
    let mut golden = Golden::default();
    check_frames(&mut golden);
    check_status(&mut golden);
    check_events(&mut golden);
    check_replies(&mut golden);
    check_receipts(&mut golden);
    check_downlink(&mut golden);
    let files: BTreeSet<String> = fs::read_dir(folder())
        .expect("the golden folder is part of the repository")
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, golden.checked, "a golden file that no case reads proves nothing");
}

/// The golden files that have been checked.
#[derive(Default)]
struct Golden {
    checked: BTreeSet<String>,
}

impl Golden {
    fn json<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, name: &str, message: &T) {
        let shipped = self.shipped(format!("{name}.json"), &codec::encode(message));
        assert_eq!(&codec::decode::<T>(&shipped).unwrap(), message, "{name} has another meaning");
    }

    fn frame(&mut self, name: &str, header: &FrameHeader, picture: &[u8]) {
        let shipped = self.shipped(format!("{name}.ksf1"), &codec::encode_frame(header, picture));
        let frame = codec::decode_frame(&shipped).unwrap();
        assert_eq!((&frame.header, frame.bytes), (header, picture), "{name} has another meaning");
    }

    /// Returns the bytes of a golden file, which must be the bytes written today.
    fn shipped(&mut self, file: String, today: &[u8]) -> Vec<u8> {
        let path = folder().join(&file);
        if !path.exists() {
            assert_eq!(
                std::env::var("KEEPSAKE_GOLDEN").as_deref(),
                Ok("create"),
                "{file} is missing; KEEPSAKE_GOLDEN=create makes the file of a new message"
            );
            fs::write(&path, today).unwrap();
        }
        let shipped = fs::read(&path).unwrap();
        let [expected, found] = [&shipped[..], today].map(String::from_utf8_lossy);
        assert!(shipped == today, "{file} would be written differently today:\n{expected}\n{found}");
        assert!(self.checked.insert(file), "two cases with one file");
        shipped
    }
}

fn folder() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden").into()
}

/// Checks the word of every variant on the wire. The second match makes the compiler ask for the word of a new one.
macro_rules! check_words {
    ($type:ident: $($variant:ident = $word:literal),* $(,)?) => {
        for (variant, word) in [$(($type::$variant, $word)),*] {
            assert_eq!(serde_json::to_value(variant).unwrap(), word);
            match variant {
                $($type::$variant => {})*
            }
        }
    };
}

/// Each word is spelt out a second time here, so that renaming a variant is noticed.
#[test]
fn the_names_on_the_wire_do_not_change() {
    check_words!(Cause:
        Button = "button", Command = "command", Interval = "interval", Test = "test", Upload = "upload");
    check_words!(ContentType: Jpeg = "image/jpeg", Png = "image/png");
    check_words!(TombstoneReason:
        CameraNotFound = "camera-not-found",
        CameraTimedOut = "camera-timed-out",
        CameraFailed = "camera-failed",
        FrameTooLarge = "frame-too-large",
        PowerLostWhileSaving = "power-lost-while-saving",
        CardDamaged = "card-damaged",
        CardFull = "card-full",
        MadeRoom = "made-room");
    check_words!(CommandStage:
        Accepted = "accepted", Captured = "captured", Saved = "saved", Done = "done", Failed = "failed",
        Expired = "expired");
    check_words!(CommandKind:
        Snap = "snap", Identify = "identify", Restart = "restart", Diagnostics = "diagnostics");
    check_words!(Presence: Online = "online", Offline = "offline");
}

const PICTURE: &[u8] = b"\xff\xd8\xff\xfe\x00\x04-7\xff\xd9";
const SPOOL: SpoolId = SpoolId([0x1a; 16]);
const STORE: StoreId = StoreId([0xc1; 16]);
const PRESSED: ClockReading = ClockReading {
    boot: BootId([0xb0; 16]),
    boottime_us: 1_234_567,
    wall_us: 1_795_000_000_000_000,
    synchronised: true,
    error_us: 40_000,
};

fn sequence(number: u64) -> Sequence {
    number.try_into().unwrap()
}

fn check_frames(golden: &mut Golden) {
    let whole = FrameHeader {
        capture: CaptureMetadata {
            spool: SPOOL,
            sequence: sequence(7),
            hash: Hash::of(PICTURE),
            total: PICTURE.len() as u64,
            content_type: ContentType::Jpeg,
            width: 640,
            height: 480,
            cause: Cause::Button,
            command: None,
            pressed: PRESSED,
            captured_after_us: 81_000,
            settings_version: 3,
        },
        offset: 0,
        len: PICTURE.len() as u64,
        attempt: 0,
        saved_after_us: None,
        sent_after_us: None,
        not_before_us: None,
    };
    let part = FrameHeader {
        capture: CaptureMetadata {
            content_type: ContentType::Png,
            cause: Cause::Command,
            command: Some("c-17".into()),
            pressed: ClockReading { synchronised: false, error_us: 0, wall_us: -1, ..PRESSED },
            ..whole.capture.clone()
        },
        offset: 3,
        len: 4,
        attempt: 2,
        saved_after_us: Some(95_000),
        sent_after_us: Some(101_000),
        not_before_us: None,
    };
    let bounded = FrameHeader { not_before_us: Some(1_794_999_000_000_000), ..whole.clone() };
    golden.frame("v1-frame", &whole, PICTURE);
    golden.frame("v1-frame-part", &part, &PICTURE[3..7]);
    golden.frame("v1-frame-bounded", &bounded, PICTURE);
}

fn check_status(golden: &mut Golden) {
    let inventory = Inventory {
        spool: SPOOL,
        next: sequence(12),
        id: 77,
        page: 0,
        pages: 2,
        captures: vec![(sequence(7), HashPrefix([1; 8])), (sequence(11), HashPrefix([0xff; 8]))],
    };
    let status = Status {
        presence: Presence::Online,
        spools: vec![SpoolInventory {
            spool: SPOOL,
            next: sequence(12),
            waiting: [(sequence(7), sequence(7)), (sequence(10), sequence(11))].into_iter().collect(),
            kept: [(sequence(1), sequence(6))].into_iter().collect(),
            coarse: true,
        }],
        queue: Queue {
            waiting: 3,
            waiting_bytes: 240_000,
            oldest: Some(PRESSED),
            parked: 1,
            lost: 2,
            bytes_per_s: Some(125_000),
        },
        health: Health {
            card_free: 21_000_000_000,
            card_total: 32_000_000_000,
            temperature_mc: Some(47_200),
        },
        led: LedStatus {
            pattern: "uploading".into(),
            appearance: "even blink, twice a second".into(),
            meaning: "Uploading. Nothing for you to do.".into(),
        },
        faults: vec![4, 5],
        settings_version: 3,
        settings: None,
        version: "0.1.0".into(),
        reported_at: Some(PRESSED),
    };
    let report = SettingsReport {
        revision: 771_204_118,
        rejected: vec![RejectedSetting {
            name: "interval_s".into(),
            reason: "must be 0 or a whole number, 1 to 604800 seconds".into(),
        }],
        trial: Some(TrialStatus { names: vec!["cloud.url".into()], remaining_s: 240 }),
        effective: map(json!({"interval_s": 0, "light.mode": "quiet"})),
    };
    let with_settings = Status {
        settings_version: 4,
        settings: Some(Box::new(report)),
        ..status.clone()
    };
    golden.json("v1-have", &inventory);
    golden.json("v1-status", &status);
    golden.json("v1-status-settings", &with_settings);
    golden.json("v1-status-last-will", &Status::last_will());
}

fn check_events(golden: &mut Golden) {
    let tombstone = Tombstone {
        spool: SPOOL,
        sequence: sequence(8),
        through: None,
        reason: TombstoneReason::CameraNotFound,
        cause: Cause::Button,
        command: None,
        pressed: Some(PRESSED),
    };
    let range = Tombstone {
        spool: SPOOL,
        sequence: sequence(20),
        through: Some(sequence(1019)),
        reason: TombstoneReason::MadeRoom,
        cause: Cause::Interval,
        command: Some("c-18".into()),
        pressed: None,
    };
    let fault = |number, text: &str, spool| Fault { number, text: text.into(), at: PRESSED, spool };
    let offset = BootClockOffset {
        boot: BootId([0xb0; 16]),
        offset_us: 1_795_000_000_000_000,
        error_us: 12_000,
        at_us: None,
        estimated: false,
        spool: None,
    };
    let awaiting = BootClockOffset {
        at_us: Some(3_600_000_000),
        spool: Some(SPOOL),
        ..offset.clone()
    };
    let estimated = BootClockOffset {
        boot: BootId([0xb1; 16]),
        offset_us: 1_794_999_000_000_000,
        error_us: 500_000_000,
        at_us: None,
        estimated: true,
        spool: Some(SPOOL),
    };
    for (name, event) in [
        ("v1-event-tombstone", Event::Tombstone(tombstone)),
        ("v1-event-tombstone-range", Event::Tombstone(range)),
        ("v1-event-fault", Event::Fault(fault(5, "the camera does not answer", None))),
        ("v1-event-fault-kept", Event::Fault(fault(2, "no network", Some(SPOOL)))),
        ("v1-event-boot", Event::Boot(offset)),
        ("v1-event-boot-kept", Event::Boot(awaiting)),
        ("v1-event-boot-guessed", Event::Boot(estimated)),
    ] {
        golden.json(name, &event);
    }
}

fn check_replies(golden: &mut Golden) {
    let saved = CommandReply {
        id: "c-17".into(),
        stage: CommandStage::Saved,
        after_us: 95_000,
        capture: Some(CaptureId { spool: SPOOL, sequence: sequence(7) }),
        text: None,
        result: None,
    };
    let failed = CommandReply {
        stage: CommandStage::Failed,
        capture: None,
        text: Some("camera not found".into()),
        ..saved.clone()
    };
    let diagnostics = CommandReply {
        stage: CommandStage::Done,
        capture: None,
        result: Some(map(json!({"version": "0.1.0", "uptime_s": 86_400}))),
        ..saved.clone()
    };
    golden.json("v1-reply", &saved);
    golden.json("v1-reply-failed", &failed);
    golden.json("v1-reply-diagnostics", &diagnostics);
}

fn check_receipts(golden: &mut Golden) {
    let receipt = Receipt {
        stored: vec![(sequence(7), HashPrefix([1; 8])), (sequence(8), HashPrefix([2; 8]))],
        ..Receipt::new(STORE, SPOOL)
    };
    let answer = Receipt {
        want: vec![
            ResendRequest {
                sequence: sequence(9),
                ranges: vec![(0, 16_384), (32_768, 40_000)],
            },
            ResendRequest { sequence: sequence(10), ranges: vec![] },
        ],
        rejected: vec![Rejection {
            sequence: sequence(11),
            hash: HashPrefix([0xff; 8]),
            reason: "the database does not take it".into(),
            retry_after: 3600,
        }],
        inventory_ack: Some(InventoryAck { id: 77, page: 1 }),
        next: Some(sequence(12)),
        ..receipt.clone()
    };
    let events = Receipt {
        events: vec![HashPrefix([7; 8]), HashPrefix([8; 8])],
        sent_us: Some(1_795_000_001_000_000),
        ..Receipt::new(STORE, SPOOL)
    };
    let with_window = Receipt { window: Some(1_398_101), ..receipt.clone() };
    golden.json("v1-receipt", &receipt);
    golden.json("v1-receipt-window", &with_window);
    golden.json("v1-receipt-answer", &answer);
    golden.json("v1-receipt-events", &events);
}

fn check_downlink(golden: &mut Golden) {
    for (name, command) in [
        ("v1-command-snap", CommandKind::Snap),
        ("v1-command-identify", CommandKind::Identify),
        ("v1-command-restart", CommandKind::Restart),
        ("v1-command-diagnostics", CommandKind::Diagnostics),
    ] {
        let (sent_us, expires_us) = (1_795_000_000_000_000, 1_795_000_030_000_000);
        golden.json(name, &Command { id: "c-17".into(), command, sent_us, expires_us });
    }
    let settings = DesiredSettings {
        version: 4,
        store: None,
        revision: 0,
        values: map(json!({"button_debounce_ms": 30, "interval": "10 min", "light": true})),
    };
    golden.json("v1-settings", &settings);
    let with_revision = DesiredSettings { store: Some(STORE), revision: 771_204_118, ..settings };
    golden.json("v1-settings-marked", &with_revision);
    let info = CloudInfo {
        store: STORE,
        started: 1_795_000_000,
        capture_bytes_max: 16 * 1024 * 1024,
        hold: None,
        window: None,
        message_bytes_max: None,
    };
    let hold = Some("the disk of the cloud is nearly full".to_owned());
    golden.json("v1-cloud", &info);
    golden.json("v1-cloud-hold", &CloudInfo { hold, ..info.clone() });
    let limits = CloudInfo {
        window: Some(65_536),
        message_bytes_max: Some(4_194_304),
        ..info
    };
    golden.json("v1-cloud-limits", &limits);
}

fn map(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).expect("the value is an object")
}
