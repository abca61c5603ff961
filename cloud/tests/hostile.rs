//! A hundred hostile messages on every topic: the service goes on, quarantine shows the reason, and the next good
//! picture is stored.

mod harness;

use std::collections::BTreeMap;
use std::time::Duration;

use harness::{Camera, Cloud, WAIT, photograph};
use keepsake_protocol::topic::{MessageKind, ROOT};
use keepsake_protocol::{Hash, SpoolId, codec};
use rumqttc::{PublishOptions, QoS};

/// A frame with this header, whatever it is.
fn frame(header: &str, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(header.len()).unwrap();
    [b"KSF1".as_slice(), &length.to_be_bytes(), header.as_bytes(), bytes].concat()
}

fn nested(open: &str, close: &str, depth: usize) -> String {
    format!("{}{}", open.repeat(depth), close.repeat(depth))
}

/// Messages and what quarantine must say of each.
fn frames(good: &str, picture: &[u8]) -> Vec<(Vec<u8>, &'static str)> {
    let with = |from: &str, to: &str| {
        let header = good.replacen(from, to, 1);
        assert_ne!(header, good, "{from} is in the header");
        frame(&header, picture)
    };
    let total = format!("\"total\":{}", picture.len());
    let len = format!("\"len\":{}", picture.len());
    let whole = frame(good, picture);
    let mut wrong_byte = whole.clone();
    *wrong_byte.last_mut().unwrap() ^= 1;
    let huge_header = [b"KSF1".as_slice(), &u32::MAX.to_be_bytes(), b"{}"].concat();
    vec![
        (Vec::new(), "empty message"),
        (b"KSF1".to_vec(), "truncated inside the header"),
        (whole[..6].to_vec(), "truncated inside the header"),
        (whole[..100].to_vec(), "truncated inside the header"),
        (whole[..whole.len() - 1].to_vec(), "bytes follow"),
        ([whole.as_slice(), b"x"].concat(), "bytes follow"),
        (frame(good, b""), "bytes follow"),
        (wrong_byte, "do not have the hash"),
        (huge_header, "header of 4294967295 bytes"),
        (frame(&" ".repeat(4097), b"x"), "header of 4097 bytes"),
        (b"KSF2whatever".to_vec(), "does not start with KSF1"),
        (vec![0xff; 5 * 1024 * 1024], "does not start with KSF1"),
        (frame("\u{fffd}", b"x"), "not the JSON"),
        ([b"KSF1\0\0\0\x04".as_slice(), &[0xff, 0xfe, 0x80, 0x80], b"x"].concat(), "not the JSON"),
        (frame(&nested("[", "]", 2000), b"x"), "not the JSON"),
        (frame("{}", b"x"), "not the JSON"),
        (frame("null", b"x"), "not the JSON"),
        (with("\"offset\":0", "\"offset\":1"), "lie outside a picture"),
        (with("\"offset\":0", "\"offset\":18446744073709551615"), "lie outside a picture"),
        (with("\"offset\":0", "\"offset\":-1"), "not the JSON"),
        (with(&len, "\"len\":18446744073709551615"), "bytes follow"),
        (with(&total, "\"total\":1"), "lie outside a picture"),
        (with(&total, "\"total\":18446744073709551615"), "a picture of 18446744073709551615 bytes"),
        (with("\"sequence\":9", "\"sequence\":0"), "a sequence is"),
        (with("\"sequence\":9", "\"sequence\":9007199254740992"), "a sequence is"),
        (with("image/jpeg", "text/html"), "not the JSON"),
        (with("\"install\":\"", "\"install\":\"../"), "hexadecimal"),
        (with("\"install\":\"", "\"install\":\"#"), "hexadecimal"),
        (with("\"hash\":\"", "\"hash\":\"ZZ"), "hexadecimal"),
        (
            with(
                "\"cause\":\"button\"",
                &format!("\"cause\":\"button\",\"command\":\"{}\"", "x".repeat(65)),
            ),
            "command id",
        ),
    ]
}

/// Messages that are wrong on every topic that carries JSON.
fn words() -> Vec<(Vec<u8>, &'static str)> {
    let many = |n: usize| format!("[{}]", vec!["[1,1]"; n].join(","));
    vec![
        (Vec::new(), "empty message"),
        (b"{".to_vec(), "not the JSON"),
        (b"nonsense".to_vec(), "not the JSON"),
        (vec![0xff, 0xfe, 0x00], "not the JSON"),
        (b"{\"a\":\"\xff\"}".to_vec(), "not the JSON"),
        (nested("[", "]", 100_000).into_bytes(), "not the JSON"),
        (nested("{\"a\":", "}", 20_000).into_bytes(), "not the JSON"),
        (vec![b' '; 256 * 1024 + 1], "at most 262144 are allowed"),
        (vec![b'1'; 2 * 1024 * 1024], "at most 262144 are allowed"),
        (b"[]".to_vec(), "not the JSON"),
        (b"1e999999".to_vec(), "not the JSON"),
        (many(40_000).into_bytes(), "not the JSON"),
        (b"\"\\ud800\"".to_vec(), "not the JSON"),
        (b"{\"presence\":\"../../etc\"}".to_vec(), "not the JSON"),
        (b"{\"id\":\"\",\"install\":\"#\"}".to_vec(), "not the JSON"),
    ]
}

/// Messages that are JSON of the right form, and not plausible.
fn unbelievable(leaf: MessageKind) -> Vec<(Vec<u8>, &'static str)> {
    let spool = SpoolId([3; 16]);
    let pairs = vec!["[1,\"0000000000000000\"]"; 1001].join(",");
    let all: Vec<(String, &'static str)> = match leaf {
        MessageKind::Have => vec![
            (
                format!(
                    r#"{{"install":"{spool}","next":1,"id":1,"page":0,"pages":1,"captures":[{pairs}]}}"#
                ),
                "at most 1000",
            ),
            (
                format!(
                    r#"{{"install":"{spool}","next":1,"id":1,"page":7,"pages":7,"captures":[]}}"#
                ),
                "page 7 of 7",
            ),
        ],
        MessageKind::Status => {
            let held = |n: u128| {
                format!(r#"{{"install":"{n:032x}","next":1,"waiting":[],"kept":[]}}"#)
            };
            let spools: Vec<String> = (0..65).map(held).collect();
            let ranges = vec!["[1,1]"; 501].join(",");
            vec![
                (
                    format!(r#"{{"presence":"online","installs":[{}]}}"#, spools.join(",")),
                    "65 spools",
                ),
                (
                    format!(
                        r#"{{"presence":"online","installs":[{{"install":"{spool}","next":1,"waiting":[{ranges}],"kept":[]}}]}}"#
                    ),
                    "more than 500 ranges",
                ),
            ]
        }
        MessageKind::Event => [(5, 4), (1, 100_001), (1, 9_007_199_254_740_991_u64)]
            .into_iter()
            .map(|(first, last)| {
                (
                    format!(
                        r#"{{"kind":"tombstone","install":"{spool}","sequence":{first},"through":{last},"reason":"card-full","cause":"button"}}"#
                    ),
                    "a tombstone for",
                )
            })
            .collect(),
        MessageKind::Reply => vec![(
            format!(r#"{{"id":"{}","stage":"done","after_us":1}}"#, "x".repeat(65)),
            "1 to 64 characters",
        )],
        MessageKind::Frame | MessageKind::Receipt | MessageKind::Command | MessageKind::Settings | MessageKind::Cloud => Vec::new(),
    };
    all.into_iter().map(|(json, reason)| (json.into_bytes(), reason)).collect()
}

/// Noise that begins like a message, the same in every run.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let length = 1 + seed % 700;
    let noise = (0..length).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    });
    let begin: &[u8] = match seed % 3 {
        0 => b"KSF1\0\0\0\x10",
        1 => b"{\"presence\":",
        _ => b"",
    };
    begin.iter().copied().chain(noise).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_hostile_messages_on_every_topic_change_nothing() {
    let cloud = Cloud::start(&[]).await;
    let mut porch = Camera::connect(&cloud, "porch", 1).await;
    let stranger = stranger(&cloud).await;
    let picture = photograph(9);
    let header = serde_json::to_string(&porch.header(9, &picture, 0, picture.len())).unwrap();
    let leaves = [
        MessageKind::Frame,
        MessageKind::Have,
        MessageKind::Status,
        MessageKind::Event,
        MessageKind::Reply,
    ];
    let mut expected: BTreeMap<(String, String), &'static str> = BTreeMap::new();
    for leaf in leaves {
        let mut messages = if leaf == MessageKind::Frame {
            frames(&header, &picture)
        } else {
            words()
        };
        messages.extend(unbelievable(leaf));
        let mut seed = 0;
        while messages.len() < 100 {
            seed += 1;
            messages.push((noise(seed), ""));
        }
        // Every topic of a camera of its own, so that each has room for all of its reasons.
        let device = format!("{:?}", leaf).to_lowercase();
        let topic = format!("{ROOT}/{device}/{}", leaf.path());
        for (payload, reason) in messages {
            expected.insert((device.clone(), Hash::of(&payload).to_string()), reason);
            let options = PublishOptions::new(QoS::AtLeastOnce);
            let client = &stranger.client;
            client.publish(topic.clone(), payload, options).await.unwrap();
        }
    }
    // Names that are none: nobody's quarantine.
    for device in ["..", "cloud", "-", "a b", "ä", "%23", "x".repeat(65).as_str()] {
        let payload = format!("in the name of {device}");
        let hash = Hash::of(payload.as_bytes()).to_string();
        expected.insert((String::new(), hash), "not a Keepsake topic");
        let topic = format!("{ROOT}/{device}/up/frame");
        let options = PublishOptions::new(QoS::AtLeastOnce);
        stranger.client.publish(topic, payload, options).await.unwrap();
    }

    let mut database = cloud.database().await;
    let mut found: BTreeMap<(String, String), String> = BTreeMap::new();
    let quarantined = async {
        while found.len() < expected.len() {
            let rows: Vec<(String, Vec<u8>, String)> = sqlx::query_as("SELECT device, hash, reason FROM quarantine")
                .fetch_all(&mut database)
                .await
                .unwrap();
            found = rows
                .into_iter()
                .map(|(device, hash, reason)| ((device, hex::encode(hash)), reason))
                .collect();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if tokio::time::timeout(WAIT, quarantined).await.is_err() {
        let lost: Vec<_> = expected.iter().filter(|(key, _)| !found.contains_key(*key)).collect();
        panic!("not in quarantine: {lost:?}");
    }
    for (key, reason) in &expected {
        assert!(found[key].contains(reason), "{key:?}: {}", found[key]);
        assert!(!found[key].is_empty());
    }
    // The API shows them, and nothing of all that was stored.
    let shown = cloud.json("/api/v1/quarantine").await;
    assert_eq!(shown["count"], expected.len());
    assert_eq!(cloud.json("/api/v1/pictures").await["pictures"], serde_json::json!([]));
    assert_eq!(cloud.get("/quarantine").await.0, 200);

    // A decompression bomb has right bytes: it is stored, not drawn, and does no harm.
    let bomb = bomb();
    let mut header = porch.header(8, &bomb, 0, bomb.len());
    header.capture.content_type = keepsake_protocol::capture::ContentType::Png;
    porch.say(MessageKind::Frame, codec::encode_frame(&header, &bomb)).await;
    porch.send(9, &picture).await;
    porch.stored(&[(8, Hash::of(&bomb)), (9, Hash::of(&picture))]).await;
    let judged = async {
        loop {
            let listed = cloud.json("/api/v1/pictures").await;
            let by_number = |number: u64| {
                let mut all = listed["pictures"].as_array().unwrap().iter();
                all.find(|one| one["sequence"] == number).unwrap().clone()
            };
            let (bomb, good) = (by_number(8), by_number(9));
            if bomb["thumbnail"] == "none" && good["thumbnail"] == "ready" {
                return (bomb, good);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (bomb, good) = tokio::time::timeout(WAIT, judged).await.unwrap();
    assert_eq!((&bomb["damaged"], &good["damaged"]), (&false.into(), &false.into()));
    assert_eq!(cloud.get("/readyz").await.0, 200);
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_too_large_for_this_cloud_is_refused_and_not_lost() {
    let cloud = Cloud::start(&["--capture-bytes-max", "65536"]).await;
    let mut porch = Camera::connect(&cloud, "porch", 1).await;
    let large = vec![7; 65537];
    porch.send(1, &large).await;
    let receipt: keepsake_protocol::receipt::Receipt = porch.next(MessageKind::Receipt).await;
    assert_eq!(receipt.stored, []);
    assert_eq!(receipt.rejected[0].hash, Hash::of(&large).prefix());
    assert!(receipt.rejected[0].reason.contains("65536"));
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_speak_for_the_cloud_or_for_another_camera() {
    let cloud = Cloud::start(&[]).await;
    let mut porch = Camera::connect(&cloud, "porch", 1).await;
    let shed = Camera::connect(&cloud, "shed", 2).await;
    let picture = photograph(1);
    let options = PublishOptions::new(QoS::AtLeastOnce);
    let forged = keepsake_protocol::receipt::Receipt {
        stored: vec![(1.try_into().unwrap(), Hash::of(&picture).prefix())],
        ..keepsake_protocol::receipt::Receipt::new(keepsake_protocol::StoreId([9; 16]), porch.spool)
    };
    let stranger = stranger(&cloud).await;
    for client in [&shed.client, &stranger.client] {
        let topic = format!("{ROOT}/porch/down/receipt");
        client.publish(topic, codec::encode(&forged), options).await.unwrap();
    }
    let header = porch.header(1, &picture, 0, picture.len());
    let topic = format!("{ROOT}/porch/up/frame");
    let frame = codec::encode_frame(&header, &picture);
    shed.client.publish(topic, frame, options).await.unwrap();
    // What porch says itself comes after all that.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(cloud.json("/api/v1/pictures").await["pictures"], serde_json::json!([]));
    porch.send(1, &picture).await;
    let receipt: keepsake_protocol::receipt::Receipt = porch.next(MessageKind::Receipt).await;
    assert_eq!(receipt.store, cloud.ready.store);
    cloud.stop().await;
}

/// A client that is no camera.
async fn stranger(cloud: &Cloud) -> Camera {
    let (device, spool) = ("stranger".parse().unwrap(), SpoolId([6; 16]));
    Camera::connect_as(cloud, "stranger", device, spool, "nothing").await
}

/// A small PNG that claims to be 60000 by 60000 pixels.
fn bomb() -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    let at = png.len() - 4;
    png.extend_from_slice(&60_000_u32.to_be_bytes());
    png.extend_from_slice(&60_000_u32.to_be_bytes());
    png.extend_from_slice(&[16, 6, 0, 0, 0]);
    let crc = crc32fast::hash(&png[at..]);
    png.extend_from_slice(&crc.to_be_bytes());
    png.extend_from_slice(b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82");
    png
}

#[tokio::test(flavor = "multi_thread")]
async fn one_upload_does_not_use_up_the_memory_of_all() {
    use tokio::io::AsyncWriteExt;

    let cloud = Cloud::start(&[]).await;
    let http = cloud.ready.http;
    let token = br#"{"name": "other", "role": "operator"}"#;
    let json = "content-type: application/json\r\n";
    let (status, made) = harness::request(http, "POST", "/api/v1/tokens", json, token).await;
    assert_eq!(status, 201, "{made}");
    let other: serde_json::Value = serde_json::from_str(&made).unwrap();
    let other = format!("{}authorization: Bearer {}\r\n", harness::FORM, other["token"].as_str().unwrap());
    let form = harness::image_form("image", "one.jpg", &photograph(1));

    // The owner announces almost all that one sender may use, and sends nothing of it.
    let mut greedy = tokio::net::TcpStream::connect(http).await.unwrap();
    let head = format!(
        "POST /upload HTTP/1.1\r\nhost: {http}\r\n{}{}content-length: 68100000\r\n\r\n",
        harness::FORM,
        harness::authorization(http)
    );
    greedy.write_all(head.as_bytes()).await.unwrap();
    harness::eventually(async || {
        let (status, said) = harness::request(http, "POST", "/upload", harness::FORM, &form).await;
        (status == 503 && said.contains("Too many concurrent uploads")).then_some(())
    })
    .await;
    // Requests without a body, and those of another sender, are answered.
    assert_eq!(cloud.get("/api/v1/pictures").await.0, 200);
    let (status, _, _) = harness::request_bare(http, "POST", "/upload", &other, &form).await;
    assert_eq!(status, 201);
    drop(greedy);
    harness::eventually(async || {
        let (status, _) = harness::request(http, "POST", "/upload", harness::FORM, &form).await;
        (status == 201).then_some(())
    })
    .await;
    cloud.stop().await;
}
