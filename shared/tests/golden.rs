//! The bytes of every message of every version ever shipped, in `golden/`: all of them must still be read, and what we
//! write today must be what was written then. A camera in the field keeps its files for years and sends them as they are.
//!
//! A file that is committed is never rewritten. A missing one is made by `KEEPSAKE_GOLDEN=create cargo test -p keepsake-protocol`.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};

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
use serde_json::{Map, Value};

#[test]
fn every_message_ever_shipped_decodes_and_encodes_unchanged() {
    let mut seen = BTreeSet::new();
    let mut check = |golden: Golden| assert!(seen.insert(golden.check()), "two of one name");

    check(Golden::frame("v1-frame", &whole(), PICTURE));
    check(Golden::frame("v1-frame-part", &part(), &PICTURE[3..7]));
    check(Golden::frame("v1-frame-bounded", &bounded(), PICTURE));
    check(Golden::json("v1-have", &have()));
    check(Golden::json("v1-status", &status()));
    check(Golden::json("v1-status-settings", &status_with_settings()));
    check(Golden::json("v1-status-last-will", &Status::last_will()));
    check(Golden::json("v1-event-tombstone", &tombstone()));
    check(Golden::json("v1-event-tombstone-range", &range_tombstone()));
    check(Golden::json("v1-event-fault", &fault()));
    check(Golden::json("v1-event-boot", &clock_offset()));
    check(Golden::json("v1-event-fault-kept", &awaiting_fault()));
    check(Golden::json("v1-event-boot-kept", &awaiting_clock_offset()));
    check(Golden::json("v1-event-boot-guessed", &estimated_clock_offset()));
    check(Golden::json("v1-reply", &reply()));
    check(Golden::json("v1-reply-failed", &failed_reply()));
    check(Golden::json("v1-reply-diagnostics", &diagnostics_reply()));
    check(Golden::json("v1-receipt", &receipt()));
    check(Golden::json("v1-receipt-answer", &inventory_receipt()));
    check(Golden::json("v1-receipt-events", &receipt_of_events()));
    for (name, kind) in [
        ("v1-command-snap", CommandKind::Snap),
        ("v1-command-identify", CommandKind::Identify),
        ("v1-command-restart", CommandKind::Restart),
        ("v1-command-diagnostics", CommandKind::Diagnostics),
    ] {
        check(Golden::json(name, &command(kind)));
    }
    check(Golden::json("v1-settings", &settings()));
    check(Golden::json("v1-settings-marked", &marked_settings()));
    check(Golden::json("v1-cloud", &cloud(None)));
    check(Golden::json("v1-cloud-hold", &cloud(Some("the disk of the cloud is nearly full"))));

    let files: BTreeSet<String> = fs::read_dir(folder())
        .expect("the golden folder is part of the repository")
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, seen, "a golden file that no case reads proves nothing");
}

/// Every word that stands for an enum variant on the wire, spelt out here a second time so that renaming one is noticed.
#[test]
fn the_names_on_the_wire_do_not_change() {
    fn words<T: Serialize>(all: &[T]) -> Vec<String> {
        all.iter().map(|one| serde_json::to_string(one).unwrap().replace('"', "")).collect()
    }
    assert_eq!(
        words(&[Cause::Button, Cause::Command, Cause::Interval, Cause::Test, Cause::Upload]),
        ["button", "command", "interval", "test", "upload"]
    );
    assert_eq!(words(&[ContentType::Jpeg, ContentType::Png]), ["image/jpeg", "image/png"]);
    assert_eq!(
        words(&[
            TombstoneReason::CameraNotFound,
            TombstoneReason::CameraTimedOut,
            TombstoneReason::CameraFailed,
            TombstoneReason::FrameTooLarge,
            TombstoneReason::PowerLostWhileSaving,
            TombstoneReason::CardDamaged,
            TombstoneReason::CardFull,
            TombstoneReason::MadeRoom,
        ]),
        [
            "camera-not-found",
            "camera-timed-out",
            "camera-failed",
            "frame-too-large",
            "power-lost-while-saving",
            "card-damaged",
            "card-full",
            "made-room",
        ]
    );
    assert_eq!(
        words(&[
            CommandStage::Accepted,
            CommandStage::Captured,
            CommandStage::Saved,
            CommandStage::Done,
            CommandStage::Failed,
            CommandStage::Expired
        ]),
        ["accepted", "captured", "saved", "done", "failed", "expired"]
    );
    assert_eq!(words(&[Presence::Online, Presence::Offline]), ["online", "offline"]);
}

/// Does nothing but stop the compiler at a new variant: it needs its word above.
#[expect(dead_code, reason = "it is enough that it compiles")]
fn every_variant_has_its_name(cause: Cause, reason: TombstoneReason, stage: CommandStage, kind: CommandKind) {
    match cause {
        Cause::Button | Cause::Command | Cause::Interval | Cause::Test | Cause::Upload => {}
    }
    match reason {
        TombstoneReason::CameraNotFound
        | TombstoneReason::CameraTimedOut
        | TombstoneReason::CameraFailed
        | TombstoneReason::FrameTooLarge
        | TombstoneReason::PowerLostWhileSaving
        | TombstoneReason::CardDamaged
        | TombstoneReason::CardFull
        | TombstoneReason::MadeRoom => {}
    }
    match stage {
        CommandStage::Accepted
        | CommandStage::Captured
        | CommandStage::Saved
        | CommandStage::Done
        | CommandStage::Failed
        | CommandStage::Expired => {}
    }
    match kind {
        CommandKind::Snap | CommandKind::Identify | CommandKind::Restart | CommandKind::Diagnostics => {}
    }
}

type Check = Box<dyn Fn(&[u8]) -> bool>;

/// One golden file: its name, what we would write today, and whether its bytes still mean what they meant.
struct Golden {
    file: String,
    today: Vec<u8>,
    still_means_the_same: Check,
}

impl Golden {
    fn json<T>(name: &str, message: &T) -> Self
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug + Clone + 'static,
    {
        let expected = message.clone();
        Self {
            file: format!("{name}.json"),
            today: codec::encode(message),
            still_means_the_same: Box::new(move |bytes| codec::decode::<T>(bytes).is_ok_and(|found| found == expected)),
        }
    }

    fn frame(name: &str, header: &FrameHeader, picture: &[u8]) -> Self {
        let (expected, bytes_expected) = (header.clone(), picture.to_vec());
        Self {
            file: format!("{name}.ksf1"),
            today: codec::encode_frame(header, picture),
            still_means_the_same: Box::new(move |bytes| {
                codec::decode_frame(bytes).is_ok_and(|found| found.header == expected && found.bytes == bytes_expected)
            }),
        }
    }

    fn check(self) -> String {
        let path = folder().join(&self.file);
        if !path.exists() {
            assert_eq!(
                std::env::var("KEEPSAKE_GOLDEN").as_deref(),
                Ok("create"),
                "{} is missing; a new message gets its file by KEEPSAKE_GOLDEN=create",
                self.file
            );
            fs::write(&path, &self.today).unwrap();
        }
        let shipped = fs::read(&path).unwrap();
        assert!((self.still_means_the_same)(&shipped), "{} is not read as it was meant", self.file);
        assert!(
            shipped == self.today,
            "{} would be written differently today:\n{}\n{}",
            self.file,
            String::from_utf8_lossy(&shipped),
            String::from_utf8_lossy(&self.today)
        );
        self.file
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

const PICTURE: &[u8] = b"\xff\xd8\xff\xfe\x00\x04-7\xff\xd9";
const INSTALL: SpoolId = SpoolId([0x1a; 16]);

fn sequence(number: u64) -> Sequence {
    number.try_into().unwrap()
}

fn moment() -> ClockReading {
    ClockReading {
        boot: BootId([0xb0; 16]),
        boottime_us: 1_234_567,
        wall_us: 1_795_000_000_000_000,
        synchronised: true,
        error_us: 40_000,
    }
}

fn record() -> CaptureMetadata {
    CaptureMetadata {
        spool: INSTALL,
        sequence: sequence(7),
        hash: Hash::of(PICTURE),
        total: PICTURE.len() as u64,
        content_type: ContentType::Jpeg,
        width: 640,
        height: 480,
        cause: Cause::Button,
        command: None,
        pressed: moment(),
        captured_after_us: 81_000,
        settings_version: 3,
    }
}

fn whole() -> FrameHeader {
    FrameHeader {
        capture: record(),
        offset: 0,
        len: PICTURE.len() as u64,
        attempt: 0,
        saved_after_us: None,
        sent_after_us: None,
        not_before_us: None,
    }
}

fn part() -> FrameHeader {
    FrameHeader {
        capture: CaptureMetadata {
            content_type: ContentType::Png,
            cause: Cause::Command,
            command: Some("c-17".into()),
            pressed: ClockReading { synchronised: false, error_us: 0, wall_us: -1, ..moment() },
            ..record()
        },
        offset: 3,
        len: 4,
        attempt: 2,
        saved_after_us: Some(95_000),
        sent_after_us: Some(101_000),
        not_before_us: None,
    }
}

fn bounded() -> FrameHeader {
    FrameHeader { not_before_us: Some(1_794_999_000_000_000), ..whole() }
}

fn have() -> Inventory {
    Inventory {
        spool: INSTALL,
        next: sequence(12),
        id: 77,
        page: 0,
        pages: 2,
        captures: vec![(sequence(7), HashPrefix([1; 8])), (sequence(11), HashPrefix([0xff; 8]))],
    }
}

fn status() -> Status {
    Status {
        presence: Presence::Online,
        spools: vec![SpoolInventory {
            spool: INSTALL,
            next: sequence(12),
            waiting: [(sequence(7), sequence(7)), (sequence(10), sequence(11))].into_iter().collect(),
            kept: [(sequence(1), sequence(6))].into_iter().collect(),
            coarse: true,
        }],
        queue: Queue {
            waiting: 3,
            waiting_bytes: 240_000,
            oldest: Some(moment()),
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
        reported_at: Some(moment()),
    }
}

fn status_with_settings() -> Status {
    Status {
        settings_version: 4,
        settings: Some(Box::new(SettingsReport {
            revision: 771_204_118,
            rejected: vec![RejectedSetting {
                name: "interval_s".into(),
                reason: "must be 0 or a whole number, 1 to 604800 seconds".into(),
            }],
            trial: Some(TrialStatus { names: vec!["cloud.url".into()], remaining_s: 240 }),
            effective: [("interval_s".to_owned(), 0.into()), ("light.mode".to_owned(), "quiet".into())]
                .into_iter()
                .collect(),
        })),
        ..status()
    }
}

fn tombstone() -> Event {
    Event::Tombstone(Tombstone {
        spool: INSTALL,
        sequence: sequence(8),
        through: None,
        reason: TombstoneReason::CameraNotFound,
        cause: Cause::Button,
        command: None,
        pressed: Some(moment()),
    })
}

fn range_tombstone() -> Event {
    Event::Tombstone(Tombstone {
        spool: INSTALL,
        sequence: sequence(20),
        through: Some(sequence(1019)),
        reason: TombstoneReason::MadeRoom,
        cause: Cause::Interval,
        command: Some("c-18".into()),
        pressed: None,
    })
}

fn fault() -> Event {
    Event::Fault(Fault {
        number: 5,
        text: "the camera does not answer".into(),
        at: moment(),
        spool: None,
    })
}

fn awaiting_fault() -> Event {
    Event::Fault(Fault {
        number: 2,
        text: "no network".into(),
        at: moment(),
        spool: Some(INSTALL),
    })
}

fn clock_offset() -> Event {
    Event::Boot(BootClockOffset {
        boot: BootId([0xb0; 16]),
        offset_us: 1_795_000_000_000_000,
        error_us: 12_000,
        at_us: None,
        estimated: false,
        spool: None,
    })
}

fn awaiting_clock_offset() -> Event {
    Event::Boot(BootClockOffset {
        boot: BootId([0xb0; 16]),
        offset_us: 1_795_000_000_000_000,
        error_us: 12_000,
        at_us: Some(3_600_000_000),
        estimated: false,
        spool: Some(INSTALL),
    })
}

fn estimated_clock_offset() -> Event {
    Event::Boot(BootClockOffset {
        boot: BootId([0xb1; 16]),
        offset_us: 1_794_999_000_000_000,
        error_us: 500_000_000,
        at_us: None,
        estimated: true,
        spool: Some(INSTALL),
    })
}

fn reply() -> CommandReply {
    CommandReply {
        id: "c-17".into(),
        stage: CommandStage::Saved,
        after_us: 95_000,
        capture: Some(CaptureId { spool: INSTALL, sequence: sequence(7) }),
        text: None,
        result: None,
    }
}

fn diagnostics_reply() -> CommandReply {
    CommandReply {
        stage: CommandStage::Done,
        capture: None,
        result: Some(
            [("version".to_owned(), "0.1.0".into()), ("uptime_s".to_owned(), 86_400.into())]
                .into_iter()
                .collect(),
        ),
        ..reply()
    }
}

fn failed_reply() -> CommandReply {
    CommandReply {
        stage: CommandStage::Failed,
        capture: None,
        text: Some("camera not found".into()),
        ..reply()
    }
}

fn receipt() -> Receipt {
    Receipt {
        stored: vec![(sequence(7), HashPrefix([1; 8])), (sequence(8), HashPrefix([2; 8]))],
        ..Receipt::new(StoreId([0xc1; 16]), INSTALL)
    }
}

fn inventory_receipt() -> Receipt {
    Receipt {
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
        ..receipt()
    }
}

fn receipt_of_events() -> Receipt {
    Receipt {
        stored: Vec::new(),
        events: vec![HashPrefix([7; 8]), HashPrefix([8; 8])],
        sent_us: Some(1_795_000_001_000_000),
        ..receipt()
    }
}

fn command(command: CommandKind) -> Command {
    Command {
        id: "c-17".into(),
        command,
        sent_us: 1_795_000_000_000_000,
        expires_us: 1_795_000_030_000_000,
    }
}

fn settings() -> DesiredSettings {
    let values: Map<String, Value> = [
        ("button_debounce_ms".to_owned(), Value::from(30)),
        ("interval".to_owned(), Value::from("10 min")),
        ("light".to_owned(), Value::from(true)),
    ]
    .into_iter()
    .collect();
    DesiredSettings { version: 4, store: None, revision: 0, values }
}

fn marked_settings() -> DesiredSettings {
    DesiredSettings {
        store: Some(StoreId([0xc1; 16])),
        revision: 771_204_118,
        ..settings()
    }
}

fn cloud(hold: Option<&str>) -> CloudInfo {
    CloudInfo {
        store: StoreId([0xc1; 16]),
        started: 1_795_000_000,
        capture_bytes_max: 16 * 1024 * 1024,
        hold: hold.map(str::to_owned),
    }
}
