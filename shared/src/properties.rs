//! Properties of every possible message: it decodes to itself, and any other bytes cause at most an error, never a
//! panic.

use proptest::collection::vec;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::capture::FrameHeader;
use crate::cloud_info::CloudInfo;
use crate::codec::{self, JSON_BYTES_MAX};
use crate::command::{Command, CommandReply};
use crate::event::{BootClockOffset, Event};
use crate::inventory::Inventory;
use crate::ranges::Ranges;
use crate::receipt::Receipt;
use crate::settings::DesiredSettings;
use crate::status::Status;
use crate::topic::{self, MessageKind, Topic};
use crate::{DeviceId, Sequence};

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

/// Checks that a message decodes to itself, and that a damaged one is read without a panic.
macro_rules! round_trips {
    ($($name:ident: $message:ty;)*) => {
        proptest! {$(
            #[test]
            fn $name(message: $message, damage in damage()) {
                let bytes = codec::encode(&message);
                prop_assert!(bytes.len() <= JSON_BYTES_MAX);
                prop_assert_eq!(codec::decode(&bytes).ok(), Some(message));
                read_as_everything(&damaged(bytes, &damage));
            }
        )*}
    };
}

round_trips! {
    have_decodes_to_itself: Inventory;
    status_decodes_to_itself: Status;
    event_decodes_to_itself: Event;
    reply_decodes_to_itself: CommandReply;
    receipt_decodes_to_itself: Receipt;
    command_decodes_to_itself: Command;
    settings_decode_to_themselves: DesiredSettings;
    cloud_decodes_to_itself: CloudInfo;
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
    fn the_arithmetic_on_moments_holds_for_all_of_them(line: BootClockOffset, command: Command) {
        for boottime_us in [0, line.error_us, u64::MAX] {
            let (earliest_us, latest_us) = line.wall_interval(boottime_us);
            prop_assert!(earliest_us <= latest_us);
        }
        prop_assert!(command.expires_us > command.sent_us || command.lifetime_us() == 0);
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
        for kind in MessageKind::ALL {
            let text = format!("{}/{name}/{}", topic::ROOT, kind.path());
            match name.parse::<DeviceId>() {
                Ok(device) => {
                    let topic = Topic::new(&device, kind);
                    prop_assert_eq!(topic.to_string(), text.clone());
                    prop_assert_eq!(text.split('/').count(), 5);
                    prop_assert!(!text.contains(['+', '#', '\0', '$', ' ']));
                    prop_assert_eq!(text.parse::<Topic>(), Ok(topic));
                    let up = kind.path().starts_with("up/");
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
        let ranges: Ranges = pairs.iter().map(|(first, last)| (number(*first), number(*last))).collect();
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
        (any::<prop::sample::Index>(), prop::sample::select(b"{}[]\",:-0e".to_vec()))
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
                let copy = bytes[at..(at + n).min(bytes.len())].to_vec();
                bytes.splice(at..at, copy);
            }
            Damage::CutOff(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
    bytes
}

fn number(number: u64) -> Sequence {
    number.try_into().unwrap()
}

impl Arbitrary for Sequence {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        prop_oneof![1..100_u64, 1..=Sequence::MAX.get()].prop_map(number).boxed()
    }
}

impl Arbitrary for Ranges {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        let pairs = vec(any::<(Sequence, Sequence)>(), 0..20);
        pairs.prop_map(|pairs| pairs.into_iter().collect()).boxed()
    }
}

/// Returns so few that a whole message stays below its limit.
pub(crate) fn few<T: Arbitrary>() -> impl Strategy<Value = Vec<T>> {
    vec(any::<T>(), 0..5)
}

pub(crate) fn values() -> impl Strategy<Value = serde_json::Map<String, Value>> {
    let value = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    prop::collection::btree_map("[a-z_]{1,12}", value, 0..8).prop_map(|values| values.into_iter().collect())
}

fn device() -> impl Strategy<Value = DeviceId> {
    "[A-Za-z0-9][A-Za-z0-9._-]{0,63}".prop_filter_map("reserved", |name| name.parse::<DeviceId>().ok())
}

/// Returns names that an attacker would try, and ordinary ones.
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

/// Returns a frame whose header fits its bytes.
fn frame() -> impl Strategy<Value = (FrameHeader, Vec<u8>)> {
    let bytes = vec(any::<u8>(), 1..300);
    (any::<FrameHeader>(), 0..1000_u64, bytes, 0..1000_u64).prop_map(|(mut header, offset, bytes, rest)| {
        header.offset = offset;
        header.len = bytes.len() as u64;
        header.capture.total = offset + header.len + rest;
        (header, bytes)
    })
}

/// Returns any JSON, with the names of our own fields among its keys.
fn json() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "install", "sequence", "hash", "store", "stored", "want", "ranges", "kind", "pressed", "installs", "waiting",
        "next", "captures", "values", "id", "x",
    ]);
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[0-9a-f]{32}".prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    scalar.prop_recursive(5, 60, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::from),
            vec((key.clone(), inner), 0..8).prop_map(|pairs| pairs.into_iter().collect()),
        ]
    })
}
