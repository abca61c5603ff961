//! P3, P4: hostile messages on any topic do not stop the service; they are shown with the reason, and the next good
//! picture is stored.

use std::io::Write;
use std::net::TcpStream;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use keepsake_protocol::cloud_info::CloudInfo;
use keepsake_protocol::receipt::Receipt;
use keepsake_protocol::topic::{MessageKind, ROOT};
use keepsake_protocol::{SpoolId, StoreId, codec};
use keepsake_testkit::mqtt_proxy::HostileBroker;
use keepsake_testkit::{
    Appliance, Client, Cloud, Outcome, SOON, Seed, TempDir, audit, capture_keys, eventually, photos,
};
use serde_json::{Value, json};

const MESSAGES: usize = 100;

#[test]
fn a_hundred_hostile_messages_on_every_topic_change_nothing_for_the_others() {
    let mut seed = Seed::from_env_or_random("hostile");
    let folder = TempDir::new("hostile");
    let mut cloud = Cloud::new(&folder).started();
    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url()).started();
    camera.press_and_store(1, SOON);

    let mut sender = Sender::new(&cloud);
    // The broker lets only the cloud write the others.
    for kind in kinds("up/") {
        let topic = format!("{ROOT}/evil/{}", kind.path());
        for message in hostile_messages(kind, &mut seed) {
            sender.send(topic.as_bytes(), &message);
        }
        assert!(cloud.is_running(), "after {topic}");
    }
    for topic in hostile_topics() {
        sender.send(&topic, b"{}");
    }
    raw_noise(cloud.mqtt_port(), &mut seed);
    println!("hostile: {} acknowledged, {} closed", sender.acknowledged, sender.closed);
    assert!(sender.acknowledged > MESSAGES, "most messages must reach the ingest");

    let known = codec::decode_frame(b"not a frame at all").unwrap_err().to_string();
    sender.send(b"keepsake/v1/evil/up/frame", b"not a frame at all");
    let quarantine = eventually("the reason on /api/v1/quarantine", SOON, || {
        let shown = cloud.api().json("/api/v1/quarantine").to_string();
        shown.contains(&known).then_some(shown)
    });
    assert!(quarantine.contains("evil"), "it says whose: {quarantine}");

    let (status, body) = cloud.api().get("/readyz").unwrap();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    camera.press_and_store(1, SOON);
    let device = cloud.api().wait_for_device("porch", SOON, |device| device["stored"] == 2);
    assert_eq!(device["pressed"], 2, "{device:#}");
    assert_eq!(device["missing"], 0, "{device:#}");
    assert!(cloud.is_running() && camera.is_running());
}

/// The other direction: a camera does not trust a message just because a broker delivers it.
#[test]
fn a_hundred_hostile_messages_on_every_topic_to_a_camera_do_not_stop_it() {
    let mut seed = Seed::from_env_or_random("hostile-down");
    let folder = TempDir::new("hostile-down");
    let cloud = Cloud::new(&folder).started();
    let intruder = HostileBroker::start(cloud.mqtt_port());
    let mut camera = Appliance::new(&folder, "porch", &intruder.url()).started();
    camera.press_and_store(1, SOON);

    for kind in kinds("down/") {
        let topic = format!("{ROOT}/porch/{}", kind.path());
        for message in hostile_messages(kind, &mut seed) {
            // Messages that a real cloud could send are the subject of the next test.
            if kind == MessageKind::Cloud && codec::decode::<CloudInfo>(&message).is_ok() {
                continue;
            }
            // A camera may answer an oversized message by closing the connection; then it reconnects.
            eventually("the camera is there", SOON, || (intruder.inject(&topic, &message) > 0).then_some(()));
        }
        camera.press_and_store(1, SOON);
    }
    for topic in hostile_topics() {
        intruder.inject(&topic, b"{}");
    }
    camera.press_and_store(1, SOON);
    assert!(camera.is_running());
    let log = camera.log();
    assert!(!log.contains("panicked"), "the camera panicked:\n{log}");
    let device = cloud.api().wait_for_device("porch", SOON, |device| {
        device["stored"] == 2 + kinds("down/").len() && device["waiting"] == 0
    });
    assert_eq!(device["missing"], 0, "{device:#}");
    cloud.audit(&camera.saved());
}

/// P2: a camera belongs to the first cloud it met. Another cloud's messages free nothing on the card, and get
/// nothing.
#[test]
fn another_cloud_on_the_broker_gets_nothing_and_frees_nothing() {
    let folder = TempDir::new("another-cloud");
    let mut cloud = Cloud::new(&folder).started();
    let intruder = HostileBroker::start(cloud.mqtt_port());
    let mut camera = Appliance::new(&folder, "porch", &intruder.url()).started();
    camera.press_and_store(1, SOON);

    let since = camera.event_count();
    let another = StoreId([0xaa; 16]);
    let info = CloudInfo {
        store: another,
        started: 1,
        capture_bytes_max: 1 << 20,
        hold: None,
        window: None,
        message_bytes_max: None,
    };
    // Only the other cloud answers.
    intruder.withhold(true);
    intruder.inject("keepsake/v1/porch/down/cloud", &codec::encode(&info));
    camera.expect_event(since, SOON, &json!({"event": "warning"}));
    let saved = camera.press_and_save(1, SOON)[0];
    camera.expect_event(since, SOON, &json!({"answer": "kept"}));
    let forged = Receipt {
        stored: vec![(saved.sequence.try_into().unwrap(), saved.hash)],
        ..Receipt::new(another, saved.spool)
    };
    intruder.inject("keepsake/v1/porch/down/receipt", &codec::encode(&forged));
    let next = camera.press_and_save(1, SOON)[0];
    assert!(
        capture_keys(&camera.events(since), "stored").is_empty(),
        "the word of another cloud is no receipt"
    );

    // The right cloud is back, and gets the pictures that were kept for it.
    cloud.stop();
    intruder.withhold(false);
    cloud.start();
    camera.expect_stored(&[saved, next], SOON);

    // What another cloud has left on the broker holds no camera whose own cloud answers.
    intruder.inject("keepsake/v1/porch/down/cloud", &codec::encode(&info));
    camera.press_and_store(1, SOON);
    cloud.api().wait_for_device("porch", SOON, |device| device["faults"] == json!([]));
    cloud.audit(&camera.saved());
}

/// A small file that decompresses to a quarter of a gigabyte: its hash is right, so it is stored; nothing unpacks it.
#[test]
fn a_decompression_bomb_is_stored_and_not_unpacked() {
    const SIDE: u32 = 16_384;
    let folder = TempDir::new("bomb");
    let cloud = Cloud::new(&folder).started();
    let bomb = bomb_of_zeros(SIDE);
    let mut header = header_for(&bomb);
    header["content_type"] = json!("image/png");
    header["width"] = json!(SIDE);
    header["height"] = json!(SIDE);
    let mut sender = Sender::new(&cloud);
    sender.send(b"keepsake/v1/evil/up/frame", &frame(&header, &bomb));
    assert_eq!(sender.acknowledged, 1);
    let pictures = eventually("the thumbnail decided", SOON, || {
        let pictures = cloud.api().pictures("evil");
        (pictures.len() == 1 && pictures[0]["thumbnail"] != "pending").then_some(pictures)
    });
    let id = pictures[0]["id"].as_str().unwrap();
    assert_eq!(cloud.api().image(id), bomb, "its bytes are stored unchanged");

    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url()).started();
    let saved = camera.press_and_store(1, SOON);
    let mut photos = photos::all(&photos::folder());
    photos.push(bomb);
    audit(&cloud.store(), &saved, &photos);
    let memory = keepsake_provision::process::peak_memory_bytes(cloud.pid());
    assert!(memory < 256 << 20, "the bomb was unpacked: {} MiB (P4)", memory >> 20);
}

/// Returns the kinds of messages that a camera writes (`up/`) or reads (`down/`).
fn kinds(direction: &str) -> Vec<MessageKind> {
    let all = MessageKind::ALL.into_iter();
    all.filter(|kind| kind.path().starts_with(direction)).collect()
}

/// Sends, and reconnects when the broker closes the connection.
struct Sender {
    port: u16,
    client: Option<Client>,
    acknowledged: usize,
    closed: usize,
}

impl Sender {
    fn new(cloud: &Cloud) -> Self {
        Self {
            port: cloud.mqtt_port(),
            client: None,
            acknowledged: 0,
            closed: 0,
        }
    }

    fn send(&mut self, topic: &[u8], payload: &[u8]) {
        let port = self.port;
        let client = self
            .client
            .get_or_insert_with(|| eventually("the broker lets us in", SOON, || Client::connect(port, "hostile").ok()));
        let shown = String::from_utf8_lossy(topic).into_owned();
        match client.publish(topic, payload) {
            Ok(Outcome::Acknowledged) => self.acknowledged += 1,
            Ok(Outcome::Closed) => {
                self.closed += 1;
                self.client = None;
            }
            Err(error) => panic!("{} bytes on {shown} are stuck: {error}", payload.len()),
        }
    }
}

/// Returns a hundred messages for one topic: known errors, then valid ones with a few bytes changed.
fn hostile_messages(kind: MessageKind, seed: &mut Seed) -> Vec<Vec<u8>> {
    let valid = valid(kind);
    let good = encode(kind, &valid);
    let mut all: Vec<Vec<u8>> = vec![
        vec![],
        b"\0".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"\"\"".to_vec(),
        b"{}".to_vec(),
        b"\xff\xfe\xfd not UTF-8".to_vec(),
        b"{\"install\":\"\xc3\x28\"}".to_vec(),
        b"KSF1".to_vec(),
        b"KSF1\xff\xff\xff\xff".to_vec(),
        b"KSF1\0\0\0\0".to_vec(),
        b"KSF2\0\0\0\x02{}x".to_vec(),
        [&b"KSF1\0\x01\0\0"[..], &vec![b' '; 65_536]].concat(),
        vec![b'['; 200_000],
        b"{\"a\":".repeat(40_000),
        format!("{{\"x\":{}}}", "9".repeat(200_000)).into_bytes(),
        vec![b' '; codec::JSON_BYTES_MAX + 1],
        vec![b'{'; 2 << 20],
        good[..good.len() / 2].to_vec(),
        [&good[..], &good[..]].concat(),
    ];
    if kind == MessageKind::Frame {
        all.extend(hostile_frames());
    }
    for (field, value) in [
        ("install", json!("..")),
        ("install", json!("#")),
        ("install", json!("../../../../etc/passwd")),
        ("store", json!("+")),
        ("sequence", json!(0)),
        ("sequence", json!(-1)),
        ("sequence", json!(1_u64 << 53)),
        ("next", json!(1e300)),
        ("captures", json!([[1, "x"], [2]])),
        ("page", json!(7)),
        ("kind", json!("reboot")),
        ("through", json!(1_u64 << 52)),
        (
            "installs",
            json!(vec![json!({"install": "00".repeat(16), "next": 1, "waiting": [], "kept": []}); 500]),
        ),
        ("faults", json!([300])),
        ("id", json!("x".repeat(5000))),
        ("version", json!(u64::MAX)),
        ("started", json!(null)),
        ("presence", json!("undead")),
    ] {
        let mut message = valid.clone();
        message[field] = value;
        all.push(encode(kind, &message));
    }
    while all.len() < MESSAGES {
        let mut message = good.clone();
        for _ in 0..=seed.below(8) {
            let at = usize::try_from(seed.below(message.len() as u64)).unwrap();
            message[at] = seed.number().to_le_bytes()[0];
        }
        all.push(message);
    }
    // A message that happens to be valid would rightly change something.
    all.retain(|message| *message != good);
    all
}

fn hostile_frames() -> Vec<Vec<u8>> {
    let with = |field: &str, value: Value| {
        let mut header = header_for(b"abc");
        header[field] = value;
        frame(&header, b"abc")
    };
    let mut part = header_for(b"abcdef");
    part["offset"] = json!(3);
    part["len"] = json!(3);
    let mut liar = header_for(b"abc");
    liar["hash"] = json!("00".repeat(32));
    vec![
        frame(&liar, b"abc"),
        frame(&part, b"abc"),
        frame(&part, b"xyz"),
        frame(&header_for(b"abc"), b""),
        frame(&header_for(b"abc"), b"ab"),
        frame(&header_for(b"abc"), &vec![0; 1 << 20]),
        with("offset", json!(3)),
        with("offset", json!(u64::MAX)),
        with("len", json!(u64::MAX)),
        with("total", json!(0)),
        with("total", json!(u64::MAX)),
        with("total", json!(codec::CAPTURE_BYTES_MAX)),
        with("total", json!(codec::CAPTURE_BYTES_MAX + 1)),
        with("content_type", json!("text/html")),
        with("cause", json!("<script>")),
        with("command", json!("x".repeat(3000))),
        with("captured_after_us", json!(-5)),
        vec![0; usize::try_from(codec::CAPTURE_BYTES_MAX).unwrap() + (2 << 20)],
    ]
}

/// Returns a valid message of this kind, or the header of a frame of `abc`.
fn valid(kind: MessageKind) -> Value {
    let spool = "0e".repeat(16);
    let store = "0c".repeat(16);
    match kind {
        MessageKind::Frame => header_for(b"abc"),
        MessageKind::Have => {
            json!({"install": spool, "next": 1, "id": 1, "page": 0, "pages": 1, "captures": []})
        }
        MessageKind::Status => json!({"presence": "online", "installs": []}),
        MessageKind::Event => {
            json!({"kind": "tombstone", "install": spool, "sequence": 1, "reason": "card-full", "cause": "button"})
        }
        MessageKind::Reply => json!({"id": "c", "stage": "done", "after_us": 0}),
        MessageKind::Receipt => {
            json!({"store": store, "install": spool, "stored": [[1, "0f".repeat(8)]]})
        }
        MessageKind::Command => {
            json!({"id": "c", "command": "restart", "sent_us": 1, "expires_us": 0})
        }
        MessageKind::Settings => json!({"version": 1, "values": {}}),
        MessageKind::Cloud => json!({"store": store, "started": 1, "capture_bytes_max": 1}),
    }
}

fn encode(kind: MessageKind, message: &Value) -> Vec<u8> {
    if kind == MessageKind::Frame {
        return frame(message, b"abc");
    }
    message.to_string().into_bytes()
}

fn header_for(bytes: &[u8]) -> Value {
    photos::frame_header(SpoolId([0x0e; 16]), 1, bytes)
}

fn frame(header: &Value, bytes: &[u8]) -> Vec<u8> {
    let header = header.to_string();
    let length = u32::try_from(header.len()).unwrap().to_be_bytes();
    [&b"KSF1"[..], &length, header.as_bytes(), bytes].concat()
}

/// Returns topics that are not ours, or not valid.
fn hostile_topics() -> Vec<Vec<u8>> {
    [
        "",
        "/",
        "#",
        "keepsake/v1/#",
        "keepsake/v1/+/up/frame",
        "keepsake/v1/../up/frame",
        "keepsake/v1//up/frame",
        "keepsake/v1/cloud/up/frame",
        "keepsake/v1/a/b/up/frame",
        "keepsake/v1/evil/up/frame/more",
        "keepsake/v1/evil/up",
        "keepsake/v2/evil/up/frame",
        "keepsake/v1/evil\0/up/frame",
        "keepsake/v1/\u{202e}live/up/frame",
        "$SYS/broker/version",
        "camera/image",
        "camera/../image",
    ]
    .into_iter()
    .map(|topic| topic.as_bytes().to_vec())
    .chain([
        b"keepsake/v1/\xff\xfe/up/frame".to_vec(),
        b"keepsake/v1/".iter().copied().chain([b'a'; 60_000]).collect(),
    ])
    .collect()
}

/// Sends bytes that are not MQTT, and client ids that have crashed brokers before.
fn raw_noise(port: u16, seed: &mut Seed) {
    for client_id in ["", "a/b", "#", "+", "$SYS", "a\0b", &"x".repeat(5000), "cloud", "porch"] {
        for _ in 0..2 {
            drop(Client::connect(port, client_id));
        }
    }
    for length in [1, 2, 10, 100, 10_000] {
        for first in [0x00, 0x10, 0x32, 0xf0] {
            let Ok(mut socket) = TcpStream::connect(("127.0.0.1", port)) else {
                panic!("the broker does not listen any more");
            };
            let mut noise = seed.bytes(length);
            noise[0] = first;
            let _ = socket.write_all(&noise);
        }
    }
}

/// Returns a PNG of `side` times `side` grey pixels, all zero.
fn bomb_of_zeros(side: u32) -> Vec<u8> {
    let pixels = vec![0; usize::try_from(side * side).unwrap()];
    let mut png = Vec::new();
    PngEncoder::new_with_quality(&mut png, CompressionType::Best, FilterType::NoFilter)
        .write_image(&pixels, side, side, ExtendedColorType::L8)
        .unwrap();
    assert!(png.len() < pixels.len() / 500, "{} bytes are no bomb", png.len());
    png
}
