//! A newer peer may say more than we know, and an older one less; neither stops the conversation. Nothing
//! that a peer sends can break it: a message that is too long, too deep or too large is an error before it costs anything.

use keepsake_protocol::cloud_info::CloudInfo;
use keepsake_protocol::codec::{self, DecodeError, HEADER_BYTES_MAX, JSON_BYTES_MAX};
use keepsake_protocol::command::{Command, CommandReply};
use keepsake_protocol::event::Event;
use keepsake_protocol::inventory::Inventory;
use keepsake_protocol::receipt::Receipt;
use keepsake_protocol::settings::DesiredSettings;
use keepsake_protocol::status::Status;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

type Decode = fn(&[u8]) -> Result<(), DecodeError>;

/// Returns the shortest JSON message of each kind with its decoder.
fn kinds() -> Vec<(&'static str, Value, Decode)> {
    fn as_kind<T: DeserializeOwned>(bytes: &[u8]) -> Result<(), DecodeError> {
        codec::decode::<T>(bytes).map(drop)
    }
    let spool = "1a".repeat(16);
    let store = "c1".repeat(16);
    let boot = "b0".repeat(16);
    let at = json!({"boot": boot, "boottime_us": 1, "wall_us": 2, "synchronised": false});
    vec![
        (
            "have",
            json!({"install": spool, "next": 1, "id": 1, "page": 0, "pages": 1, "captures": []}),
            as_kind::<Inventory>,
        ),
        ("status", json!({"presence": "offline"}), as_kind::<Status>),
        (
            "tombstone",
            json!({"kind": "tombstone", "install": spool, "sequence": 1, "reason": "card-full", "cause": "button"}),
            as_kind::<Event>,
        ),
        ("fault", json!({"kind": "fault", "number": 5, "text": "", "at": at}), as_kind::<Event>),
        (
            "boot",
            json!({"kind": "boot", "boot": boot, "offset_us": 0, "error_us": 0}),
            as_kind::<Event>,
        ),
        ("reply", json!({"id": "c", "stage": "done", "after_us": 0}), as_kind::<CommandReply>),
        ("receipt", json!({"store": store, "install": spool}), as_kind::<Receipt>),
        (
            "command",
            json!({"id": "c", "command": "snap", "sent_us": 0, "expires_us": 1}),
            as_kind::<Command>,
        ),
        ("settings", json!({"version": 1, "values": {}}), as_kind::<DesiredSettings>),
        (
            "cloud",
            json!({"store": store, "started": 1, "capture_bytes_max": 1}),
            as_kind::<CloudInfo>,
        ),
    ]
}

/// Returns the shortest header of a frame of three bytes.
fn header() -> Value {
    json!({
        "install": "1a".repeat(16), "sequence": 1, "hash": "0f".repeat(32), "total": 3,
        "content_type": "image/jpeg", "width": 1, "height": 1, "cause": "button",
        "pressed": {"boot": "b0".repeat(16), "boottime_us": 1, "wall_us": 2, "synchronised": false},
        "captured_after_us": 0, "offset": 0, "len": 3,
    })
}

fn frame(header: &[u8], bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(header.len()).unwrap();
    [&b"KSF1"[..], &length.to_be_bytes(), header, bytes].concat()
}

#[test]
fn unknown_fields_are_ignored() {
    let more = json!({"deep": [1, {"er": null}], "text": "ä"});
    for (kind, mut message, decode) in kinds() {
        decode(message.to_string().as_bytes()).unwrap_or_else(|error| panic!("{kind}: {error}"));
        message["from_the_future"] = more.clone();
        decode(message.to_string().as_bytes()).unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
    let mut header = header();
    header["from_the_future"] = more.clone();
    header["pressed"]["from_the_future"] = more;
    let message = frame(header.to_string().as_bytes(), b"abc");
    assert_eq!(codec::decode_frame(&message).unwrap().bytes, b"abc");
}

#[test]
fn every_required_field_is_required() {
    for (kind, message, decode) in kinds() {
        for field in message.as_object().unwrap().keys() {
            let mut shorter = message.clone();
            shorter.as_object_mut().unwrap().remove(field);
            assert!(decode(shorter.to_string().as_bytes()).is_err(), "{kind} without {field}");
        }
    }
    for field in header().as_object().unwrap().keys() {
        let mut shorter = header();
        shorter.as_object_mut().unwrap().remove(field);
        let message = frame(shorter.to_string().as_bytes(), b"abc");
        assert!(codec::decode_frame(&message).is_err(), "a header without {field}");
    }
}

#[test]
fn a_number_that_does_not_fit_is_an_error() {
    let odd = [
        "1e400",
        "-1e400",
        "99999999999999999999999999",
        "1.5",
        "\"1\"",
        "null",
        &"9".repeat(10_000),
    ];
    for (kind, message, decode) in kinds() {
        for (field, value) in message.as_object().unwrap() {
            if !value.is_number() {
                continue;
            }
            for number in odd {
                let text = message
                    .to_string()
                    .replace(&format!("\"{field}\":{value}"), &format!("\"{field}\":{number}"));
                assert!(decode(text.as_bytes()).is_err(), "{kind} with {field} = {number:.40}");
            }
        }
    }
}

#[test]
fn deep_nesting_is_an_error_and_no_stack_overflow() {
    let depth = JSON_BYTES_MAX / 2 - 64;
    let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for (kind, message, decode) in kinds() {
        for bomb in [nested.as_str(), &nested[..depth], &"{\"a\":".repeat(50_000)] {
            assert!(decode(bomb.as_bytes()).is_err(), "{kind}");
        }
        for (field, value) in message.as_object().unwrap() {
            let text = message
                .to_string()
                .replace(&format!("\"{field}\":{value}"), &format!("\"{field}\":{nested}"));
            assert!(decode(text.as_bytes()).is_err(), "{kind} with {field} nested");
        }
        // In an unknown field it may be skipped or rejected, but there must be no panic.
        let _ = decode(format!("{{\"x\":{}}}", &nested[64..nested.len() - 64]).as_bytes());
    }
}

#[test]
fn a_message_over_the_limit_is_rejected_before_parsing() {
    let padding = " ".repeat(JSON_BYTES_MAX);
    for (kind, message, decode) in kinds() {
        let text = format!("{message}{padding}");
        assert!(
            matches!(decode(text.as_bytes()), Err(DecodeError::TooLong(length)) if length == text.len()),
            "{kind}"
        );
        let just_fits = &text[..JSON_BYTES_MAX];
        decode(just_fits.as_bytes()).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert!(matches!(decode(b""), Err(DecodeError::Empty)), "{kind}");
    }
}

#[test]
fn a_frame_with_a_wrong_length_is_rejected() {
    let with = |field: &str, value: u64| {
        let mut header = header();
        header[field] = value.into();
        frame(header.to_string().as_bytes(), b"abc")
    };
    let good = frame(header().to_string().as_bytes(), b"abc");
    codec::decode_frame(&good).unwrap();

    let too_long = frame(format!("{}{}", header(), " ".repeat(HEADER_BYTES_MAX)).as_bytes(), b"abc");
    let mut endless = good.clone();
    endless[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
    type Expected = fn(&DecodeError) -> bool;
    let cases: [(&str, Vec<u8>, Expected); 11] = [
        ("nothing", vec![], |e| matches!(e, DecodeError::Empty)),
        ("another magic", b"KSF2....".to_vec(), |e| matches!(e, DecodeError::Magic)),
        ("no length", b"KSF1\0\0".to_vec(), |e| matches!(e, DecodeError::Truncated)),
        ("half a header", good[..40].to_vec(), |e| matches!(e, DecodeError::Truncated)),
        ("a header too long", too_long, |e| matches!(e, DecodeError::HeaderTooLong(_))),
        ("a header of 4 GiB", endless, |e| matches!(e, DecodeError::HeaderTooLong(_))),
        ("not JSON", frame(b"{]", b"abc"), |e| matches!(e, DecodeError::Json(_))),
        ("fewer bytes", with("len", 4), |e| matches!(e, DecodeError::Length { .. })),
        ("no bytes", frame(header().to_string().as_bytes(), b""), |e| {
            matches!(e, DecodeError::Length { .. })
        }),
        ("beyond its end", with("offset", u64::MAX), |e| matches!(e, DecodeError::Range { .. })),
        ("a huge total", with("total", u64::MAX), |e| matches!(e, DecodeError::Total(_))),
    ];
    for (what, message, expected) in cases {
        let error = codec::decode_frame(&message).expect_err(what);
        assert!(expected(&error), "{what}: {error}");
    }
}
