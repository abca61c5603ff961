//! Pure: pictures of cameras that know nothing of Keepsake. Which topics bring them, whose each is, and what of a
//! message is the picture.
//!
//! `camera/image` and `camera/{name}/image` carry a JPEG or PNG, raw or as base64; so do the topics that the owner has
//! named, whatever the camera behind them publishes to. Such a camera gets no receipt and keeps nothing, so delivery is
//! at least once: what the broker brings again, or kept from earlier, is told from a new picture by its hash.

use std::collections::BTreeMap;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use keepsake_protocol::capture::ContentType;
use keepsake_protocol::topic::ROOT;
use keepsake_protocol::{DeviceId, Hash};

use crate::ingest::operation::{IngestOp, Message, QuarantineEntry};
use crate::pictures::orientation::dimensions;

/// The camera of pictures that name none.
pub const DEVICE_DEFAULT: &str = "camera";
/// The lab's topics, without and with a name.
const LAB_PLAIN: &str = "camera/image";
const LAB_NAMED: &str = "camera/+/image";
/// Tells whether any client of the embedded broker may publish on `topic` where anonymous upload is allowed.
pub(crate) fn is_anonymous_topic(topic: &str) -> bool {
    topic == LAB_PLAIN || matches(LAB_NAMED, topic).is_some()
}

/// Patterns an owner may set.
pub const PATTERNS_MAX: usize = 64;
/// The longest filter and the longest name in a pattern, bytes.
const TEXT_MAX: usize = 256;

/// Every topic that is listened to beside Keepsake's own.
#[derive(Debug, Clone, Default)]
pub struct ExternalTopics {
    patterns: Vec<TopicPattern>,
}

/// A filter, and what the cameras are called that publish there: `{1}` stands for what its first `+` has met.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TopicPattern {
    filter: String,
    name: String,
}

/// An invalid pattern, as the end of a sentence that begins with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicPatternError {
    #[error("topic_patterns: {0} patterns, at most {PATTERNS_MAX} are allowed")]
    TooMany(usize),
    #[error(
        "topic pattern {0:?}: not a filter of MQTT; `+` stands for one whole level, `#` for all that follow, at the end"
    )]
    Filter(String),
    #[error("topic pattern {0:?}: it would hear {1}, which has a meaning already")]
    Overlap(String, String),
    #[error("topic pattern {0:?}: the name {1:?} has {{{2}}}, and there are {3} `+` in the filter")]
    Placeholder(String, String, usize, usize),
    #[error(
        "topic pattern {0:?}: {1:?} is not a camera name: A-Z a-z 0-9 . _ - and {{1}}, {{2}} … for what a `+` has met"
    )]
    Name(String, String),
}

impl ExternalTopics {
    /// `lab`: whether the lab's topics are open. `patterns`: filter to name, as the settings have them.
    ///
    /// # Errors
    /// [`TopicPatternError`] for an invalid pattern, or one that overlaps with another pattern or with Keepsake's own
    /// topics.
    pub fn new(lab: bool, patterns: &BTreeMap<String, String>) -> Result<Self, TopicPatternError> {
        if patterns.len() > PATTERNS_MAX {
            return Err(TopicPatternError::TooMany(patterns.len()));
        }
        let lab_patterns = [(LAB_PLAIN, DEVICE_DEFAULT), (LAB_NAMED, "{1}")];
        let own = format!("{ROOT}/#");
        let mut taken: Vec<&str> = vec![&own, LAB_PLAIN, LAB_NAMED];
        for (filter, name) in patterns {
            check_filter(filter)?;
            check_name(filter, name)?;
            if let Some(other) = taken.iter().find(|other| overlap(filter, other)) {
                return Err(TopicPatternError::Overlap(filter.clone(), (*other).to_owned()));
            }
            taken.push(filter);
        }
        let owners = patterns.iter().map(|(filter, name)| (&**filter, &**name));
        let all = lab_patterns.into_iter().filter(|_| lab).chain(owners);
        Ok(Self {
            patterns: all
                .map(|(filter, name)| TopicPattern { filter: filter.to_owned(), name: name.to_owned() })
                .collect(),
        })
    }

    /// Returns the filters to subscribe to.
    pub fn filters(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(|pattern| &*pattern.filter)
    }

    pub fn matches_topic(&self, topic: &str) -> bool {
        self.patterns.iter().any(|pattern| matches(&pattern.filter, topic).is_some())
    }

    /// Returns the operation of a message if its topic is one of these. Decodes and hashes, so call it off the async
    /// threads.
    ///
    /// `again`: the broker says that it may have brought it before. `bytes_max`: of a picture.
    pub fn decode(&self, message: &Message, again: bool, bytes_max: u64) -> Option<IngestOp> {
        let (pattern, met) = self
            .patterns
            .iter()
            .find_map(|pattern| matches(&pattern.filter, &message.topic).map(|met| (pattern, met)))?;
        let device = device(&pattern.name, &met);
        let understood = device.clone().and_then(|device| Ok((device, picture(&message.payload, bytes_max)?)));
        Some(match understood {
            Ok((device, (bytes, content_type))) => {
                let (width, height) = dimensions(&bytes, content_type).unwrap_or_default();
                IngestOp::Upload {
                    device,
                    hash: Hash::of(&bytes),
                    bytes: bytes.into(),
                    content_type,
                    width,
                    height,
                    maybe_repeat: again || message.retained,
                }
            }
            Err(reason) => IngestOp::Quarantine(QuarantineEntry {
                device: device.ok(),
                topic: message.topic.clone(),
                reason,
                hash: Hash::of(&message.payload),
                bytes: message.payload.clone(),
            }),
        })
    }
}

/// Returns the name with the matched levels inserted; characters that a camera name cannot have become dashes.
fn device(name: &str, met: &[&str]) -> Result<DeviceId, String> {
    let mut filled = name.to_owned();
    for (at, met) in met.iter().enumerate() {
        filled = filled.replace(&format!("{{{}}}", at + 1), met);
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let sound: String = filled.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    let sound = sound.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let end = sound.floor_char_boundary(64);
    sound[..end].parse().map_err(|error| {
        let shown: String = filled.chars().take(64).collect();
        format!("no camera can be called {shown:?}: {error}")
    })
}

/// The picture in a payload: raw, or base64 with any white space, also as a `data:` URL.
fn picture(payload: &Bytes, bytes_max: u64) -> Result<(Bytes, ContentType), String> {
    let too_large = |bytes: usize| format!("a picture of {bytes} bytes, this cloud takes at most {bytes_max}");
    if let Some(content_type) = ContentType::sniff(payload) {
        if payload.len() as u64 > bytes_max {
            return Err(too_large(payload.len()));
        }
        return Ok((payload.clone(), content_type));
    }
    let neither = "neither a JPEG nor a PNG, nor one of them as base64";
    let text = std::str::from_utf8(payload).map_err(|_| neither.to_owned())?;
    let text = text.trim();
    let text = match text.strip_prefix("data:") {
        Some(rest) => {
            let (kind, data) = rest.split_once(',').ok_or(neither)?;
            if !kind.ends_with(";base64") {
                return Err("a data: URL that is not base64".to_owned());
            }
            data
        }
        None => text,
    };
    let compact: Vec<u8> = text.bytes().filter(|c| !c.is_ascii_whitespace()).collect();
    if compact.len() as u64 / 4 * 3 > bytes_max.saturating_add(3) {
        return Err(too_large(compact.len() / 4 * 3));
    }
    let bytes = BASE64.decode(compact).map_err(|_| neither.to_owned())?;
    let content_type = ContentType::sniff(&bytes).ok_or(neither)?;
    if bytes.len() as u64 > bytes_max {
        return Err(too_large(bytes.len()));
    }
    Ok((bytes.into(), content_type))
}

/// With or without its padding, as the many senders have it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn check_filter(filter: &str) -> Result<(), TopicPatternError> {
    let sound = |c: char| !c.is_control();
    let mut levels = filter.split('/').peekable();
    let mut good = !filter.is_empty()
        && filter.len() <= TEXT_MAX
        && filter.chars().all(sound)
        // `$SYS` and `$share` are no cameras.
        && !filter.starts_with('$');
    while let Some(level) = levels.next() {
        good &= match level {
            "+" => true,
            "#" => levels.peek().is_none(),
            other => !other.contains(['+', '#']),
        };
    }
    if good {
        Ok(())
    } else {
        Err(TopicPatternError::Filter(filter.to_owned()))
    }
}

fn check_name(filter: &str, name: &str) -> Result<(), TopicPatternError> {
    let plus = filter.split('/').filter(|level| *level == "+").count();
    let no_name = || TopicPatternError::Name(filter.to_owned(), name.to_owned());
    if name.len() > TEXT_MAX {
        return Err(no_name());
    }
    let mut example = String::new();
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('{') {
        let (number, after) = after.split_once('}').ok_or_else(no_name)?;
        let number: usize = number.parse().map_err(|_| no_name())?;
        if number == 0 || number > plus {
            return Err(TopicPatternError::Placeholder(filter.to_owned(), name.to_owned(), number, plus));
        }
        example.push_str(before);
        example.push('x');
        rest = after;
    }
    example.push_str(rest);
    example.parse::<DeviceId>().map(drop).map_err(|_| no_name())
}

/// Returns the level that each `+` of the filter matches, or `None` if the topic does not match.
fn matches<'t>(filter: &str, topic: &'t str) -> Option<Vec<&'t str>> {
    let mut met = Vec::new();
    let mut topic = topic.split('/');
    for level in filter.split('/') {
        match level {
            "#" => return Some(met),
            "+" => met.push(topic.next()?),
            exact => {
                if topic.next()? != exact {
                    return None;
                }
            }
        }
    }
    topic.next().is_none().then_some(met)
}

/// Returns true if a topic matches both filters. A broker may then bring one message twice, or to either.
fn overlap(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.split('/'), b.split('/'));
    loop {
        match (a.next(), b.next()) {
            (None, None) | (Some("#"), _) | (_, Some("#")) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some(x), Some(y)) => {
                if x != y && x != "+" && y != "+" {
                    return false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const JPEG: &[u8] = b"\xff\xd8\xff\xe0 not much of a picture";

    fn topics(patterns: &[(&str, &str)]) -> Result<ExternalTopics, TopicPatternError> {
        let owned = |(filter, name): &(&str, &str)| ((*filter).to_owned(), (*name).to_owned());
        ExternalTopics::new(true, &patterns.iter().map(owned).collect())
    }

    fn message(topic: &str, payload: &[u8]) -> Message {
        Message {
            topic: topic.to_owned(),
            payload: Bytes::copy_from_slice(payload),
            retained: false,
        }
    }

    #[test]
    fn the_name_of_the_camera_is_in_the_topic() {
        let topics = topics(&[
            ("frigate/+/snapshot", "{1}"),
            ("tele/garage/cam", "garage"),
            ("site/+/cam/+/#", "{2}.{1}"),
        ])
        .unwrap();
        for (topic, device) in [
            ("camera/image", Some("camera")),
            ("camera/porch/image", Some("porch")),
            ("camera/Front Door/image", Some("Front-Door")),
            ("camera/_x/image", Some("x")),
            ("frigate/yard/snapshot", Some("yard")),
            ("tele/garage/cam", Some("garage")),
            ("site/north/cam/7/jpeg/full", Some("7.north")),
            ("camera", None),
            ("camera/a/b/image", None),
            ("camera/porch/image/x", None),
            ("frigate/snapshot", None),
            ("keepsake/v1/porch/up/frame", None),
        ] {
            let read = topics.decode(&message(topic, JPEG), false, 1000);
            let found = match &read {
                Some(IngestOp::Upload { device, .. }) => Some(device.as_str()),
                None => None,
                Some(_) => panic!("{topic}"),
            };
            assert_eq!(found, device, "{topic}");
            assert_eq!(topics.matches_topic(topic), device.is_some(), "{topic}");
        }
    }

    #[test]
    fn a_name_that_no_camera_can_have_goes_to_quarantine() {
        let topics = topics(&[]).unwrap();
        for topic in ["camera/cloud/image", "camera//image", "camera/ß/image", "camera/---/image"] {
            let Some(IngestOp::Quarantine(suspect)) = topics.decode(&message(topic, JPEG), false, 1000) else {
                panic!("{topic}");
            };
            assert!(suspect.reason.contains("no camera can be called"), "{}", suspect.reason);
            assert_eq!(suspect.device, None);
        }
    }

    #[test]
    fn a_picture_may_come_raw_or_as_base64_and_nothing_else_is_one() {
        let topics = topics(&[]).unwrap();
        let base64 = BASE64.encode(JPEG);
        let broken: String = base64
            .as_bytes()
            .chunks(7)
            .map(|piece| format!("{}\r\n", std::str::from_utf8(piece).unwrap()))
            .collect();
        let taken = |payload: &[u8]| match topics.decode(&message("camera/porch/image", payload), false, 100) {
            Some(IngestOp::Upload { bytes, hash, .. }) => {
                assert_eq!((&bytes.data[..], hash), (JPEG, Hash::of(JPEG)));
                None
            }
            Some(IngestOp::Quarantine(suspect)) => {
                assert_eq!(suspect.device.unwrap().as_str(), "porch");
                Some(suspect.reason)
            }
            _ => panic!("neither"),
        };
        assert_eq!(taken(JPEG), None);
        assert_eq!(taken(base64.as_bytes()), None);
        assert_eq!(taken(base64.trim_end_matches('=').as_bytes()), None);
        assert_eq!(taken(broken.as_bytes()), None);
        assert_eq!(taken(format!(" data:image/jpeg;base64,{broken}").as_bytes()), None);
        let large = [JPEG, &[0; 100]].concat();
        for (payload, says) in [
            (b"".as_slice(), "neither a JPEG"),
            (b"hello", "neither a JPEG"),
            (b"\xff\xfe\x00", "neither a JPEG"),
            (BASE64.encode("<svg/>").as_bytes(), "neither a JPEG"),
            (b"data:image/jpeg,%ff%d8", "not base64"),
            (&large, "takes at most 100"),
            (BASE64.encode(&large).as_bytes(), "takes at most 100"),
            (BASE64.encode(&large[..101]).as_bytes(), "takes at most 100"),
        ] {
            let reason = taken(payload).unwrap();
            assert!(reason.contains(says), "{reason}");
        }
    }

    #[test]
    fn what_the_broker_brings_again_or_has_kept_may_be_a_repeat() {
        let topics = topics(&[]).unwrap();
        for (retained, again, repeat) in [(false, false, false), (true, false, true), (false, true, true)] {
            let message = Message { retained, ..message("camera/image", JPEG) };
            let Some(IngestOp::Upload { maybe_repeat: again, .. }) = topics.decode(&message, again, 1000) else {
                panic!("not taken");
            };
            assert_eq!(again, repeat);
        }
    }

    #[test]
    fn a_pattern_that_cannot_be_is_refused() {
        let refused = |patterns: &[(&str, &str)], says: &str| {
            let error = topics(patterns).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        };
        for filter in ["", "a#", "a/#/b", "a+/b", "$SYS/broker", "$share/x/a", "a/\n"] {
            refused(&[(filter, "x")], "not a filter");
        }
        for filter in [
            "#",
            "+/#",
            "keepsake/v1/porch/up/frame",
            "keepsake/+/x/#",
            "+/v1/+/up/frame",
            "keepsake/#",
        ] {
            refused(&[(filter, "x")], "it would hear keepsake/v1/#");
        }
        for filter in ["camera/image", "+/image", "camera/+/image", "camera/#"] {
            refused(&[(filter, "x")], "it would hear camera/");
        }
        refused(&[("a/+", "x"), ("+/b", "y")], "has a meaning already");
        refused(&[("a/+", "{2}")], "there are 1 `+`");
        refused(&[("a/+", "{0}")], "has {0}");
        for name in ["", "a b", "{x}", "{1", "cloud", "-{1}"] {
            refused(&[("a/+", name)], "is not a camera name");
        }
        let many: Vec<String> = (0..=PATTERNS_MAX).map(|n| format!("a/{n}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|filter| (&**filter, "x")).collect();
        refused(&many, "at most 64");
        assert!(topics(&many[..PATTERNS_MAX]).is_ok());
        assert!(topics(&[("a/b", "x"), ("a/c", "y"), ("a", "z"), ("keepsake/v2/#", "w")]).is_ok());
    }

    #[test]
    fn a_closed_lab_is_not_heard_and_the_owners_patterns_are() {
        let patterns = BTreeMap::from([("a/b".to_owned(), "x".to_owned())]);
        let topics = ExternalTopics::new(false, &patterns).unwrap();
        assert!(!topics.matches_topic("camera/image") && topics.matches_topic("a/b"));
        assert_eq!(topics.filters().collect::<Vec<_>>(), ["a/b"]);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read(name in ".*", payload: Vec<u8>, text in "[A-Za-z0-9+/=]{0,200}", raw: bool) {
            let topics = topics(&[]).unwrap();
            let payload = if raw { payload } else { text.into_bytes() };
            let _ = topics.decode(&message(&format!("camera/{name}/image"), &payload), false, 100);
            let _ = ExternalTopics::new(true, &BTreeMap::from([(name.clone(), name)]));
        }
    }
}
