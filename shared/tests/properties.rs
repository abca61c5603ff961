//! Properties of every possible message: it survives the way there and back, and whatever else comes is an error
//! at the most, never a panic.

use keepsake_protocol::capture::{CaptureMetadata, Cause, ContentType, FrameHeader};
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::cloud_info::CloudInfo;
use keepsake_protocol::codec::{self, JSON_BYTES_MAX};
use keepsake_protocol::command::{Command, CommandKind, CommandReply, CommandStage};
use keepsake_protocol::event::{BootClockOffset, Event, Fault, Tombstone, TombstoneReason};
use keepsake_protocol::inventory::Inventory;
use keepsake_protocol::presence::{Health, LedStatus, Presence, Queue, SpoolInventory, Status};
use keepsake_protocol::ranges::Ranges;
use keepsake_protocol::receipt::{InventoryAck, Receipt, Rejection, ResendRequest};
use keepsake_protocol::settings::{DesiredSettings, RejectedSetting, SettingsReport, TrialStatus};
use keepsake_protocol::topic::{self, MessageKind, Topic};
use keepsake_protocol::{BootId, CaptureId, DeviceId, Hash, HashPrefix, Sequence, SpoolId, StoreId};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads the bytes as every kind of message there is.
fn read_as_everything(bytes: &[u8]) {
    fn read<T: DeserializeOwned>(bytes: &[u8]) {
        let _ = codec::decode::<T>(bytes);
    }
    read::<Inventory>(bytes);
    read::<Status>(bytes);
    read::<Event>(bytes);
    read::<CommandReply>(bytes);
    read::<Receipt>(bytes);
    read::<Command>(bytes);
    read::<DesiredSettings>(bytes);
    read::<CloudInfo>(bytes);
    if let Ok(frame) = codec::decode_frame(bytes) {
        let (header, len) = (&frame.header, frame.bytes.len() as u64);
        assert_eq!(header.len, len);
        assert!(len > 0 && header.offset + len <= header.capture.total);
        assert!(header.capture.total <= codec::CAPTURE_BYTES_MAX);
    }
}

/// There and back; and what was damaged on the way is read without a panic.
macro_rules! round_trips {
    ($($name:ident: $strategy:expr;)*) => {
        proptest! {$(
            #[test]
            fn $name(message in $strategy, damage in damage()) {
                let bytes = codec::encode(&message);
                prop_assert!(bytes.len() <= JSON_BYTES_MAX);
                prop_assert_eq!(codec::decode(&bytes).ok(), Some(message));
                read_as_everything(&damaged(bytes, &damage));
            }
        )*}
    };
}

round_trips! {
    have_survives_the_way: have();
    status_survives_the_way: status();
    event_survives_the_way: event();
    reply_survives_the_way: reply();
    receipt_survives_the_way: receipt();
    command_survives_the_way: command();
    settings_survive_the_way: settings();
    cloud_survives_the_way: cloud();
}

proptest! {
    #[test]
    fn a_frame_decodes_to_itself((header, bytes) in frame(), damage in damage()) {
        let message = codec::encode_frame(&header, &bytes);
        prop_assert!(message.len() <= codec::FRAME_OVERHEAD_MAX + bytes.len());
        let read = codec::decode_frame(&message).unwrap();
        prop_assert_eq!(read.header, header);
        prop_assert_eq!(read.bytes, &bytes[..]);
        read_as_everything(&damaged(message, &damage));
    }

    #[test]
    fn any_bytes_decode_without_a_panic(bytes in vec(any::<u8>(), 0..2000)) {
        read_as_everything(&bytes);
    }

    #[test]
    fn any_bytes_after_a_valid_prefix_decode_without_a_panic(
        length in prop_oneof![0..5000_u32, any::<u32>()],
        bytes in vec(any::<u8>(), 0..200),
    ) {
        read_as_everything(&[&b"KSF1"[..], &length.to_be_bytes(), &bytes].concat());
    }

    #[test]
    fn any_json_decodes_without_a_panic(value in json()) {
        read_as_everything(value.to_string().as_bytes());
    }

    /// A client that may choose its device name still cannot speak for another device or on another topic.
    #[test]
    fn a_name_cannot_forge_a_topic(name in odd_name(), other in device()) {
        for leaf in MessageKind::ALL {
            let text = format!("{}/{name}/{}", topic::ROOT, leaf.path());
            match name.parse::<DeviceId>() {
                Ok(device) => {
                    let topic = Topic::new(&device, leaf);
                    prop_assert_eq!(topic.to_string(), text.clone());
                    prop_assert_eq!(text.split('/').count(), 5);
                    prop_assert!(!text.contains(['+', '#', '\0', '$', ' ']));
                    prop_assert_eq!(text.parse::<Topic>(), Ok(topic));
                    let up = leaf.path().starts_with("up/");
                    prop_assert_eq!(topic::may_publish(&device, &text), up);
                    prop_assert_eq!(topic::may_publish(&other, &text), up && other == device);
                }
                Err(_) => {
                    prop_assert!(text.parse::<Topic>().is_err(), "{text}");
                    prop_assert!(!topic::may_publish(&other, &text));
                }
            }
        }
    }

    /// A topic that is read is written the same: there is one spelling, so a filter of the broker cannot be slipped past.
    #[test]
    fn a_topic_has_one_spelling(text in "keepsake/v1/[a-z+#/.$]{0,12}/(up|down)/[a-z/]{0,10}") {
        if let Ok(topic) = text.parse::<Topic>() {
            prop_assert_eq!(topic.to_string(), text);
        }
    }

    #[test]
    fn ranges_contain_exactly_what_was_inserted(all in vec((1..60_u64, 0..6_u64), 0..20)) {
        let pairs: Vec<_> = all.iter().map(|(first, more)| (*first, first + more)).collect();
        let ranges: Ranges = pairs
            .iter()
            .map(|(first, last)| (number(*first), number(*last)))
            .collect();
        for sequence in 1..80 {
            let inside = pairs.iter().any(|(first, last)| (*first..=*last).contains(&sequence));
            prop_assert_eq!(ranges.contains(number(sequence)), inside, "{}", sequence);
        }
        let mut coarse = ranges.clone();
        coarse.coarsen(3);
        prop_assert!(coarse.iter().count() <= 3);
        for (first, last) in ranges.iter() {
            prop_assert!(coarse.contains(first) && coarse.contains(last));
        }
    }
}

/// Damage to bytes: one changed, some cut out, some doubled, the end cut off.
#[derive(Debug, Clone)]
enum Damage {
    Change(prop::sample::Index, u8),
    Remove(prop::sample::Index, usize),
    Double(prop::sample::Index, usize),
    CutOff(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let one = prop_oneof![
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, to)| Damage::Change(at, to)),
        // Bytes that mean something in JSON do more harm than others.
        (
            any::<prop::sample::Index>(),
            prop::sample::select(b"{}[]\",:-0e".to_vec())
        )
            .prop_map(|(at, to)| Damage::Change(at, to)),
        (any::<prop::sample::Index>(), 1..30_usize).prop_map(|(at, n)| Damage::Remove(at, n)),
        (any::<prop::sample::Index>(), 1..30_usize).prop_map(|(at, n)| Damage::Double(at, n)),
        any::<prop::sample::Index>().prop_map(Damage::CutOff),
    ];
    vec(one, 1..6)
}

fn damaged(mut bytes: Vec<u8>, damage: &[Damage]) -> Vec<u8> {
    for one in damage {
        if bytes.is_empty() {
            break;
        }
        match one {
            Damage::Change(at, to) => {
                let at = at.index(bytes.len());
                bytes[at] = *to;
            }
            Damage::Remove(at, n) => {
                let at = at.index(bytes.len());
                bytes.drain(at..(at + n).min(bytes.len()));
            }
            Damage::Double(at, n) => {
                let at = at.index(bytes.len());
                let again = bytes[at..(at + n).min(bytes.len())].to_vec();
                bytes.splice(at..at, again);
            }
            Damage::CutOff(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
    bytes
}

fn number(number: u64) -> Sequence {
    number.try_into().unwrap()
}

fn sequence() -> impl Strategy<Value = Sequence> {
    prop_oneof![1..100_u64, 1..=Sequence::MAX.get()].prop_map(number)
}

fn install() -> impl Strategy<Value = SpoolId> {
    any::<[u8; 16]>().prop_map(SpoolId)
}

fn store() -> impl Strategy<Value = StoreId> {
    any::<[u8; 16]>().prop_map(StoreId)
}

fn prefix() -> impl Strategy<Value = HashPrefix> {
    any::<[u8; 8]>().prop_map(HashPrefix)
}

fn device() -> impl Strategy<Value = DeviceId> {
    "[A-Za-z0-9][A-Za-z0-9._-]{0,63}".prop_filter_map("reserved", |name| name.parse::<DeviceId>().ok())
}

/// Names a hostile person would try, and quite ordinary ones.
fn odd_name() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,70}",
        "[A-Za-z0-9._-]{0,66}",
        "[a-c/+#$. \0]{0,12}",
        prop::sample::select(vec![
            "..",
            ".",
            "#",
            "+",
            "$SYS",
            "cloud",
            "Cloud",
            "a/up/frame",
            "a/../b",
            "a\u{0}b",
            "a\u{202e}b",
            "/",
            "//",
            "%2f",
            "a\n",
            "",
        ])
        .prop_map(str::to_owned),
    ]
}

fn cause() -> impl Strategy<Value = Cause> {
    prop::sample::select(vec![
        Cause::Button,
        Cause::Command,
        Cause::Interval,
        Cause::Test,
        Cause::Upload,
    ])
}

fn command_id() -> impl Strategy<Value = String> {
    "[ -~]{1,64}"
}

fn moment() -> impl Strategy<Value = ClockReading> {
    (
        any::<[u8; 16]>(),
        any::<u64>(),
        any::<i64>(),
        any::<bool>(),
        any::<u64>(),
    )
        .prop_map(|(boot, boottime_us, wall_us, synchronised, error_us)| ClockReading {
            boot: BootId(boot),
            boottime_us,
            wall_us,
            synchronised,
            error_us,
        })
}

fn frame() -> impl Strategy<Value = (FrameHeader, Vec<u8>)> {
    let record = (
        (install(), sequence(), any::<[u8; 32]>(), cause(), any::<bool>()),
        (any::<u32>(), any::<u32>(), any::<u64>(), any::<u64>()),
        (option::of(command_id()), moment()),
    );
    let times = (
        any::<u32>(),
        option::of(any::<u64>()),
        option::of(any::<u64>()),
        option::of(any::<i64>()),
    );
    (record, times, 0..1000_u64, vec(any::<u8>(), 1..300), 0..1000_u64).prop_map(
        |(record, (attempt, saved_after_us, sent_after_us, not_before_us), offset, bytes, rest)| {
            let ((install, sequence, hash, cause, png), sizes, (command, pressed)) = record;
            let (width, height, captured_after_us, settings_version) = sizes;
            let header = FrameHeader {
                capture: CaptureMetadata {
                    spool: install,
                    sequence,
                    hash: Hash(hash),
                    total: offset + bytes.len() as u64 + rest,
                    content_type: if png { ContentType::Png } else { ContentType::Jpeg },
                    width,
                    height,
                    cause,
                    command,
                    pressed,
                    captured_after_us,
                    settings_version,
                },
                offset,
                len: bytes.len() as u64,
                attempt,
                saved_after_us,
                sent_after_us,
                not_before_us,
            };
            (header, bytes)
        },
    )
}

fn have() -> impl Strategy<Value = Inventory> {
    let captures = vec((sequence(), prefix()), 0..50);
    (install(), sequence(), any::<[u32; 3]>(), captures).prop_map(|(install, next, [id, page, pages], captures)| {
        Inventory {
            spool: install,
            next,
            id,
            page,
            pages,
            captures,
        }
    })
}

fn ranges() -> impl Strategy<Value = Ranges> {
    vec((sequence(), sequence()), 0..20).prop_map(|pairs| pairs.into_iter().collect())
}

fn status() -> impl Strategy<Value = Status> {
    let held = (install(), sequence(), ranges(), ranges(), any::<bool>()).prop_map(
        |(install, next, waiting, kept, coarse)| SpoolInventory {
            spool: install,
            next,
            waiting,
            kept,
            coarse,
        },
    );
    let queue = (any::<[u64; 4]>(), option::of(moment()), option::of(any::<u64>())).prop_map(
        |([waiting, waiting_bytes, parked, lost], oldest, bytes_per_s)| Queue {
            waiting,
            waiting_bytes,
            oldest,
            parked,
            lost,
            bytes_per_s,
        },
    );
    let health =
        (any::<[u64; 2]>(), option::of(any::<i64>())).prop_map(|([card_free, card_total], temperature_mc)| Health {
            card_free,
            card_total,
            temperature_mc,
        });
    let light = (".{0,20}", ".{0,20}", ".{0,80}").prop_map(|(pattern, looks, means)| LedStatus {
        pattern,
        appearance: looks,
        meaning: means,
    });
    (
        any::<bool>(),
        vec(held, 0..4),
        queue,
        health,
        light,
        vec(any::<u8>(), 0..8),
        (
            any::<u64>(),
            option::of(settings_state()),
            ".{0,20}",
            option::of(moment()),
        ),
    )
        .prop_map(
            |(online, installs, queue, health, light, faults, (settings_version, settings, version, said))| Status {
                presence: if online { Presence::Online } else { Presence::Offline },
                spools: installs,
                queue,
                health,
                led: light,
                faults,
                settings_version,
                settings,
                version,
                reported_at: said,
            },
        )
}

fn event() -> impl Strategy<Value = Event> {
    let reason = prop::sample::select(vec![
        TombstoneReason::CameraNotFound,
        TombstoneReason::CameraTimedOut,
        TombstoneReason::CameraFailed,
        TombstoneReason::FrameTooLarge,
        TombstoneReason::PowerLostWhileSaving,
        TombstoneReason::CardDamaged,
        TombstoneReason::CardFull,
        TombstoneReason::MadeRoom,
    ]);
    let tombstone = (
        (install(), sequence(), option::of(sequence())),
        (reason, cause(), option::of(command_id()), option::of(moment())),
    )
        .prop_map(|((install, sequence, through), (reason, cause, command, pressed))| {
            Event::Tombstone(Tombstone {
                spool: install,
                sequence,
                through,
                reason,
                cause,
                command,
                pressed,
            })
        });
    let fault = (any::<u8>(), ".{0,80}", moment(), option::of(install())).prop_map(|(number, text, at, install)| {
        Event::Fault(Fault {
            number,
            text,
            at,
            spool: install,
        })
    });
    let boot = (
        any::<[u8; 16]>(),
        (any::<i64>(), any::<u64>(), option::of(any::<u64>())),
        any::<bool>(),
        option::of(install()),
    )
        .prop_map(|(boot, (offset_us, error_us, at_us), guessed, install)| {
            let line = BootClockOffset {
                boot: BootId(boot),
                offset_us,
                error_us,
                at_us,
                estimated: guessed,
                spool: install,
            };
            // The arithmetic on moments from outside must hold for all of them.
            for boottime_us in [0, error_us, u64::MAX] {
                let (earliest_us, latest_us) = line.wall_interval(boottime_us);
                assert!(earliest_us <= latest_us);
            }
            Event::Boot(line)
        });
    prop_oneof![tombstone, fault, boot]
}

fn reply() -> impl Strategy<Value = CommandReply> {
    let stage = prop::sample::select(vec![
        CommandStage::Accepted,
        CommandStage::Captured,
        CommandStage::Saved,
        CommandStage::Done,
        CommandStage::Failed,
        CommandStage::Expired,
    ]);
    let capture = (install(), sequence()).prop_map(|(install, sequence)| CaptureId {
        spool: install,
        sequence,
    });
    (
        command_id(),
        stage,
        any::<u64>(),
        option::of(capture),
        option::of(".{0,80}"),
    )
        .prop_map(|(id, stage, after_us, capture, text)| CommandReply {
            id,
            stage,
            after_us,
            capture,
            text,
            result: None,
        })
}

fn receipt() -> impl Strategy<Value = Receipt> {
    let want =
        (sequence(), vec(any::<(u64, u64)>(), 0..5)).prop_map(|(sequence, ranges)| ResendRequest { sequence, ranges });
    let refused =
        (sequence(), prefix(), ".{0,40}", any::<u64>()).prop_map(|(sequence, hash, reason, retry_after)| Rejection {
            sequence,
            hash,
            reason,
            retry_after,
        });
    let answer = any::<(u32, u32)>().prop_map(|(id, page)| InventoryAck { id, page });
    (
        store(),
        install(),
        vec((sequence(), prefix()), 0..20),
        vec(want, 0..5),
        vec(refused, 0..5),
        (option::of(answer), option::of(sequence())),
        vec(prefix(), 0..5),
        option::of(any::<i64>()),
    )
        .prop_map(
            |(store, install, stored, want, refused, (answers, next), events, said_us)| Receipt {
                store,
                spool: install,
                stored,
                want,
                rejected: refused,
                inventory_ack: answers,
                next,
                events,
                sent_us: said_us,
            },
        )
}

fn command() -> impl Strategy<Value = Command> {
    let kind = prop::sample::select(vec![
        CommandKind::Snap,
        CommandKind::Identify,
        CommandKind::Restart,
        CommandKind::Diagnostics,
    ]);
    (command_id(), kind, any::<i64>(), any::<i64>()).prop_map(|(id, command, sent_us, expires_us)| {
        let command = Command {
            id,
            command,
            sent_us,
            expires_us,
        };
        // The arithmetic on moments from outside must hold for all of them.
        assert!(expires_us > sent_us || command.lifetime_us() == 0);
        command
    })
}

fn values() -> impl Strategy<Value = serde_json::Map<String, Value>> {
    let value = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    prop::collection::btree_map("[a-z_]{1,12}", value, 0..8).prop_map(|values| values.into_iter().collect())
}

fn settings() -> impl Strategy<Value = DesiredSettings> {
    (any::<u64>(), option::of(store()), any::<u64>(), values()).prop_map(|(version, store, mark, values)| {
        DesiredSettings {
            version,
            store,
            revision: mark,
            values,
        }
    })
}

fn settings_state() -> impl Strategy<Value = Box<SettingsReport>> {
    let rejected = ("[a-z_.]{1,12}", ".{0,40}").prop_map(|(name, reason)| RejectedSetting { name, reason });
    let trying = (vec("[a-z_.]{1,12}", 0..4), any::<u64>()).prop_map(|(names, for_s)| TrialStatus {
        names,
        remaining_s: for_s,
    });
    (any::<u64>(), vec(rejected, 0..4), option::of(trying), values()).prop_map(|(mark, rejected, trying, in_force)| {
        Box::new(SettingsReport {
            revision: mark,
            rejected,
            trial: trying,
            effective: in_force,
        })
    })
}

fn cloud() -> impl Strategy<Value = CloudInfo> {
    (store(), any::<u64>(), any::<u64>(), option::of(".{0,80}")).prop_map(
        |(store, started, capture_bytes_max, hold)| CloudInfo {
            store,
            started,
            capture_bytes_max,
            hold,
        },
    )
}

/// Any JSON at all, with the names of our own fields among its keys.
fn json() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "install", "sequence", "hash", "store", "stored", "want", "ranges", "kind", "pressed", "installs", "waiting",
        "next", "captures", "values", "id", "x",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[0-9a-f]{32}".prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::from),
            vec((key.clone(), inner), 0..8).prop_map(|pairs| {
                pairs
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            }),
        ]
    })
}
