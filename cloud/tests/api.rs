//! The API as docs/api.md describes it.

mod harness;

use harness::{Camera, Cloud, eventually, photograph, request_bytes};
use keepsake_cloud::args::{Args, BytesCommand, Command};
use keepsake_cloud::config::Config;
use keepsake_protocol::Hash;
use keepsake_protocol::event::TombstoneReason;
use keepsake_protocol::topic::MessageKind;
use serde_json::Value;

/// A cloud with pictures `1..=count` of a camera called porch.
async fn with_pictures(count: u32) -> (Cloud, Camera) {
    let cloud = Cloud::start(&[]).await;
    let mut porch = Camera::connect(&cloud, "porch", 1).await;
    porch.online(u64::from(count) + 1, &[(1, count.into())]).await;
    let mut wanted = Vec::new();
    for number in 1..=count {
        let bytes = photograph(number);
        porch.send(number.into(), &bytes).await;
        wanted.push((number.into(), Hash::of(&bytes)));
    }
    porch.stored(&wanted).await;
    (cloud, porch)
}

async fn newest(cloud: &Cloud) -> String {
    let listed = cloud.json("/api/v1/pictures?limit=1").await;
    listed["pictures"][0]["id"].as_str().unwrap().to_owned()
}

/// Moves the bytes of all pictures of a running cloud.
async fn move_bytes(cloud: &Cloud, to: &str) {
    let args = ["cloud", "--data", cloud.folder.path().to_str().unwrap()];
    let config = Config::load(&<Args as clap::Parser>::parse_from(args)).unwrap();
    let command = BytesCommand::Move { to: Some(to.to_owned()), keep_days: 0, rate: None };
    keepsake_cloud::commands::run(&Command::Bytes(command), &config).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_picture_can_be_asked_for_wherever_its_bytes_are() {
    let (cloud, _porch) = with_pictures(1).await;
    for place in ["database", "folder:pictures", "folder:elsewhere"] {
        move_bytes(&cloud, place).await;
        ask_for_parts(&cloud).await;
    }
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_bytes_are_never_sent_and_are_counted() {
    let (cloud, _porch) = with_pictures(1).await;
    let path = format!("/api/v1/pictures/{}/image", newest(&cloud).await);
    move_bytes(&cloud, "folder:pictures").await;
    let file = harness::files(&cloud.folder.path().join("pictures"), "jpg").remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let changed = cloud.get(&path).await;
    std::fs::remove_file(&file).unwrap();
    let missing = cloud.get(&path).await;
    for (status, body) in [changed, missing] {
        assert_eq!(status, 404, "{body}");
        assert!(body.contains("missing or damaged"), "{body}");
    }
    let (_, metrics) = cloud.get("/metrics").await;
    assert!(metrics.contains("keepsake_lost_reads_total 2\n"), "{metrics}");
}

async fn ask_for_parts(cloud: &Cloud) {
    let whole = photograph(1);
    let path = format!("/api/v1/pictures/{}/image", newest(cloud).await);
    let (status, head, bytes) = request_bytes(cloud.ready.http, "HEAD", &path, "", b"").await;
    assert_eq!((status, bytes.len()), (200, 0));
    assert!(head.contains(&format!("content-length: {}", whole.len())), "{head}");
    let total = whole.len();
    let etag = format!("\"{}\"", Hash::of(&whole));
    let last = format!("bytes={}-", total - 7);
    let beyond = format!("bytes={total}-");
    let here = format!("bytes=0-9\r\nif-range: {etag}");
    for (range, status, expected) in [
        ("bytes=0-9", 206, &whole[..10]),
        ("bytes=5-5", 206, &whole[5..6]),
        (&last, 206, &whole[total - 7..]),
        ("bytes=-3", 206, &whole[total - 3..]),
        (&here, 206, &whole[..10]),
        ("bytes=0-9\r\nif-range: \"another\"", 200, &whole[..]),
        ("bytes=0-1,4-5", 200, &whole[..]),
        ("lines=0-9", 200, &whole[..]),
        ("bytes=9-3", 200, &whole[..]),
    ] {
        let headers = format!("range: {range}\r\n");
        let (found, head, bytes) = request_bytes(cloud.ready.http, "GET", &path, &headers, b"").await;
        assert_eq!(found, status, "{range}");
        assert!(bytes == expected, "{range}: {} bytes", bytes.len());
        assert!(head.contains("accept-ranges: bytes"), "{head}");
        assert!(head.contains(&etag) && head.contains("immutable"), "{head}");
        let says_which = head.contains(&format!("/{total}")) && head.contains("content-range");
        assert_eq!(says_which, status == 206, "{head}");
    }
    let headers = format!("range: {beyond}\r\n");
    let (status, head, _) = request_bytes(cloud.ready.http, "GET", &path, &headers, b"").await;
    assert_eq!(status, 416);
    assert!(head.contains(&format!("content-range: bytes */{total}")), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_picture_is_counted_and_never_stored_again() {
    let (cloud, mut porch) = with_pictures(3).await;
    let id = newest(&cloud).await;
    let path = format!("/api/v1/pictures/{id}");
    let number: u32 = id.split('-').nth(1).unwrap().parse().unwrap();
    assert_eq!(cloud.send("DELETE", &path, b"").await.0, 204);
    for gone in [path.clone(), format!("{path}/image"), format!("{path}/thumbnail")] {
        assert_eq!(cloud.get(&gone).await.0, 404, "{gone}");
    }
    assert_eq!(cloud.send("DELETE", &path, b"").await.0, 404);
    // The camera has not heard of it and brings it again: its receipt is due all the same.
    let bytes = photograph(number);
    porch.send(number.into(), &bytes).await;
    porch.stored(&[(number.into(), Hash::of(&bytes))]).await;
    assert_eq!(cloud.get(&path).await.0, 404);
    let counters = cloud.json("/api/v1/counters").await;
    for (name, expected) in [("pressed", 3), ("stored", 2), ("deleted", 1), ("missing", 0)] {
        assert_eq!(counters[name], expected, "{counters}");
    }
    let porch = cloud.json("/api/v1/devices/porch").await;
    assert_eq!((&porch["deleted"], &porch["id"]), (&1.into(), &"porch".into()));
    assert_eq!(cloud.get("/api/v1/devices/nobody").await.0, 404);
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_camera_told_is_listed_page_by_page() {
    let (cloud, mut porch) = with_pictures(1).await;
    for sequence in 2..=8 {
        let hash = porch.say_tombstone(sequence, None, TombstoneReason::CameraNotFound).await;
        // One at a time, so that each has a commit and a moment of its own.
        porch.stored(&[(sequence, hash)]).await;
    }
    let mut heard = Vec::new();
    let mut path = "/api/v1/devices/porch/events?limit=3".to_owned();
    loop {
        let page = cloud.json(&path).await;
        let events = page["events"].as_array().unwrap().clone();
        assert!(events.len() <= 3, "{page}");
        heard.extend(events.iter().map(|event| event["sequence"].as_u64().unwrap()));
        assert!(events.iter().all(|event| event["kind"] == "tombstone"));
        let Some(next) = page["next"].as_i64() else {
            break;
        };
        path = format!("/api/v1/devices/porch/events?limit=3&before={next}");
    }
    assert_eq!(heard, [8, 7, 6, 5, 4, 3, 2]);
    for (wrong, status) in [("porch/events?limit=0", 400), ("porch/events?before=x", 400), ("nobody/events", 404)] {
        assert_eq!(cloud.get(&format!("/api/v1/devices/{wrong}")).await.0, status, "{wrong}");
    }
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_quarantine_can_be_read_and_let_go() {
    let (cloud, porch) = with_pictures(1).await;
    porch.say(MessageKind::Frame, b"<script>alert(1)</script>".to_vec()).await;
    let listed = eventually(async || {
        let listed = cloud.json("/api/v1/quarantine").await;
        (listed["count"] == 1).then_some(listed)
    })
    .await;
    assert_eq!(listed["next"], Value::Null);
    let path = format!("/api/v1/quarantine/{}", listed["quarantine"][0]["id"].as_str().unwrap());
    let bytes_path = format!("{path}/bytes");
    let (status, head, bytes) = request_bytes(cloud.ready.http, "GET", &bytes_path, "", b"").await;
    assert_eq!((status, &bytes[..]), (200, &b"<script>alert(1)</script>"[..]));
    assert!(head.contains("application/octet-stream") && head.contains("attachment"), "{head}");
    assert_eq!(cloud.send("DELETE", &path, b"").await.0, 204);
    assert_eq!(cloud.send("DELETE", &path, b"").await.0, 404);
    assert_eq!(cloud.get(&bytes_path).await.0, 404);
    assert_eq!(cloud.json("/api/v1/quarantine").await["count"], 0);
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_say_what_the_counters_say() {
    let (cloud, _porch) = with_pictures(4).await;
    let (status, head, text) = request_bytes(cloud.ready.http, "GET", "/metrics", "", b"").await;
    let text = String::from_utf8(text).unwrap();
    assert_eq!(status, 200);
    assert!(head.contains("application/openmetrics-text"), "{head}");
    for line in [
        "keepsake_pictures_total 4",
        "keepsake_messages_total{outcome=\"stored\"} 4",
        "keepsake_captures{camera=\"porch\",fate=\"stored\"} 4",
        "keepsake_captures{camera=\"porch\",fate=\"missing\"} 0",
        "keepsake_store_up 1",
        "keepsake_hold{reason=\"store\"} 0",
        "keepsake_quarantine 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let bytes: usize = (1..=4).map(|number| photograph(number).len()).sum();
    assert!(text.contains(&format!("keepsake_picture_bytes_total {bytes}\n")), "{text}");
    cloud.stop().await;
}
