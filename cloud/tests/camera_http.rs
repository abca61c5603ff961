//! Cameras that come by HTTP, and those who pretend to be one.

mod harness;

use std::time::{Duration, Instant};

use harness::{Camera, Cloud, WAIT, request_bytes};
use keepsake_protocol::capture::FrameHeader;
use keepsake_protocol::{Hash, SpoolId, codec};
use serde_json::{Value, json};
use sqlx::Row;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PORCH: &str = "x-keepsake-device: porch\r\n";

async fn post(cloud: &Cloud, path: &str, headers: &str, body: &[u8]) -> (u16, String, Value) {
    let (status, head, body) = request_bytes(cloud.ready.http, "POST", path, headers, body).await;
    let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
    (status, head, json)
}

async fn frame(cloud: &Cloud, header: &FrameHeader, bytes: &[u8]) -> (u16, Value) {
    let body = codec::encode_frame(header, bytes);
    let (status, _, json) = post(cloud, "/api/v1/frames", PORCH, &body).await;
    (status, json)
}

async fn news(cloud: &Cloud, query: &str) -> Value {
    let path = format!("/api/v1/down?{query}");
    let (status, _, body) = request_bytes(cloud.ready.http, "GET", &path, PORCH, b"").await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

fn header(sequence: u64, bytes: &[u8], start: usize, end: usize) -> FrameHeader {
    harness::frame_header(SpoolId([1; 16]), sequence, bytes, start, end)
}

async fn pictures(cloud: &Cloud) -> i64 {
    sqlx::query("SELECT count(*) FROM picture")
        .fetch_one(&mut cloud.database().await)
        .await
        .unwrap()
        .get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_is_answered_with_its_receipt_and_a_repeat_with_the_same() {
    let cloud = Cloud::start(&[]).await;
    let bytes = harness::photograph(1);
    let whole = header(1, &bytes, 0, bytes.len());
    let (status, first) = frame(&cloud, &whole, &bytes).await;
    assert_eq!(status, 200, "{first}");
    assert_eq!(first["store"], cloud.ready.store.to_string());
    assert_eq!(first["stored"], json!([[1, Hash::of(&bytes).prefix()]]));
    assert_eq!(pictures(&cloud).await, 1);
    let (status, again) = frame(&cloud, &whole, &bytes).await;
    assert_eq!((status, &again["stored"]), (200, &first["stored"]));
    assert_eq!(pictures(&cloud).await, 1);

    // In two parts, the last one first: the one that completes it earns the receipt.
    let bytes = harness::photograph(2);
    let half = bytes.len() / 2;
    let (status, part) = frame(&cloud, &header(2, &bytes, half, bytes.len()), &bytes[half..]).await;
    assert_eq!((status, &part["stored"]), (200, &json!([])));
    let (_, rest) = frame(&cloud, &header(2, &bytes, 0, half), &bytes[..half]).await;
    assert_eq!(rest["stored"], json!([[2, Hash::of(&bytes).prefix()]]));
    assert_eq!(pictures(&cloud).await, 2);
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_of_a_camera_is_told_so() {
    let cloud = Cloud::start(&["--capture-bytes-max", "65536"]).await;
    let bytes = vec![7; 70_000];
    let large = codec::encode_frame(&header(1, &bytes, 0, 1000), &bytes[..1000]);
    let whole_large = codec::encode_frame(&header(1, &bytes, 0, bytes.len()), &bytes);
    let mut wrong = header(1, b"abc", 0, 3);
    wrong.capture.hash = Hash::of(b"abd");
    let wrong = codec::encode_frame(&wrong, b"abc");
    for (path, headers, body, expected) in [
        ("/api/v1/frames", "", &b"x"[..], 400),
        ("/api/v1/frames", "x-keepsake-device: a/b\r\n", b"x", 400),
        ("/api/v1/frames?device=cloud", "", b"x", 400),
        ("/api/v1/frames", PORCH, b"", 422),
        ("/api/v1/frames", PORCH, b"KSF1", 422),
        ("/api/v1/frames?device=porch", "", b"<html>", 422),
        ("/api/v1/frames", PORCH, &wrong, 422),
        ("/api/v1/frames", PORCH, &whole_large, 413),
        ("/api/v1/up/status", PORCH, b"{}", 422),
        ("/api/v1/up/status", PORCH, &[b' '; 300_000], 413),
        ("/api/v1/up/have", PORCH, b"[1]", 422),
        ("/api/v1/up/frame", PORCH, b"x", 404),
        ("/api/v1/up/receipt", PORCH, b"{}", 404),
        ("/api/v1/up/weather", PORCH, b"{}", 404),
    ] {
        let (status, head, problem) = post(&cloud, path, headers, body).await;
        assert_eq!(status, expected, "{path} {problem}");
        assert!(head.contains("application/problem+json"), "{head}");
        assert!(problem["detail"].is_string(), "{path} {problem}");
    }
    // A part of a picture that is too large is told in the words of the protocol: the camera parks it.
    let (status, _, refused) = post(&cloud, "/api/v1/frames", PORCH, &large).await;
    assert_eq!(status, 200);
    assert_eq!(refused["refused"][0]["sequence"], 1, "{refused}");
    assert_eq!(pictures(&cloud).await, 0);
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_disconnects_midway_changes_nothing() {
    let cloud = Cloud::start(&[]).await;
    let bytes = harness::photograph(1);
    let body = codec::encode_frame(&header(1, &bytes, 0, bytes.len()), &bytes);
    let head = format!(
        "POST /api/v1/frames HTTP/1.1\r\nhost: {}\r\n{PORCH}content-length: {}\r\n\r\n",
        cloud.ready.http,
        body.len()
    );
    // Half of it, then gone; all of it, then gone before the answer.
    for sent in [body.len() / 2, body.len()] {
        let mut stream = tokio::net::TcpStream::connect(cloud.ready.http).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body[..sent]).await.unwrap();
        drop(stream);
        if sent < body.len() {
            assert_eq!(pictures(&cloud).await, 0);
        }
    }
    let (status, receipt) = frame(&cloud, &header(1, &bytes, 0, bytes.len()), &bytes).await;
    assert_eq!((status, &receipt["stored"][0][0]), (200, &json!(1)));
    assert_eq!(pictures(&cloud).await, 1);
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_cloud_asks_to_come_again_and_still_hears_the_rest() {
    let cloud = Cloud::start(&["--free-bytes-min", "1152921504606846976"]).await;
    let (status, head, problem) = post(&cloud, "/api/v1/frames", PORCH, b"KSF1").await;
    assert_eq!(status, 503, "{problem}");
    assert!(head.to_ascii_lowercase().contains("retry-after: "), "{head}");
    let answer = news(&cloud, "wait_s=0").await;
    assert_eq!(answer["down"][0]["about"], "cloud");
    assert!(answer["down"][0]["message"]["hold"].is_string(), "{answer}");
    let status = codec::encode(&keepsake_protocol::status::Status::last_will());
    let (status, _, answer) = post(&cloud, "/api/v1/up/status", PORCH, &status).await;
    assert_eq!((status, answer), (200, json!({"down": []})));
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_and_the_answer_names_what_is_there() {
    let cloud = Cloud::start(&[]).await;
    let bytes = harness::photograph(1);
    frame(&cloud, &header(1, &bytes, 0, bytes.len()), &bytes).await;
    let prefix = Hash::of(&bytes).prefix();
    let have = json!({
        "install": SpoolId([1; 16]), "next": 3, "id": 7, "page": 0, "pages": 1,
        "captures": [[1, prefix], [2, "0123456789abcdef"]],
    });
    let have = have.to_string();
    let (status, _, answer) = post(&cloud, "/api/v1/up/have", PORCH, have.as_bytes()).await;
    assert_eq!(status, 200, "{answer}");
    let receipt = &answer["down"][0];
    assert_eq!(receipt["about"], "receipt");
    assert_eq!(receipt["message"]["stored"], json!([[1, prefix]]));
    assert_eq!(receipt["message"]["answers"], json!({"id": 7, "page": 0}));
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_reaches_a_camera_that_waits_and_is_told_until_it_has_it() {
    let cloud = Cloud::start(&[]).await;
    let first = news(&cloud, "wait_s=0").await;
    assert_eq!(first["down"][0]["about"], "cloud");
    let mut mark = first["next"].as_str().unwrap().to_owned();
    let status = json!({"presence": "online"}).to_string();
    let (status, _, answer) = post(&cloud, "/api/v1/up/status", PORCH, status.as_bytes()).await;
    assert_eq!(status, 200, "{answer}");
    // Nothing new: the question stays open for as long as it says. What the cloud is may be told again before that.
    loop {
        let asked = Instant::now();
        let answer = news(&cloud, &format!("after={mark}&wait_s=1")).await;
        mark = answer["next"].as_str().unwrap().to_owned();
        if answer["down"] == json!([]) {
            assert!(asked.elapsed() >= Duration::from_secs(1));
            break;
        }
        assert_eq!(answer["down"][0]["about"], "cloud", "{answer}");
    }

    let listening = async { news(&cloud, &format!("after={mark}&wait_s=30")).await };
    let asking = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let ask = br#"{"command":"identify"}"#;
        let (status, _, command) = post(&cloud, "/api/v1/devices/porch/commands", "", ask).await;
        assert_eq!(status, 202, "{command}");
        command["id"].clone()
    };
    let both = async { tokio::join!(listening, asking) };
    let (answer, id) = tokio::time::timeout(WAIT, both).await.unwrap();
    assert_eq!(answer["down"][0]["about"], "command");
    assert_eq!(answer["down"][0]["message"]["id"], id);
    let mark = answer["next"].as_str().unwrap();
    // Its answer got lost: it is told again, and only once it asks for what comes after it, no more.
    let again = news(&cloud, "wait_s=0").await;
    assert!(again.to_string().contains("identify"), "{again}");
    let mark_again = again["next"].as_str().unwrap();
    assert_ne!(mark, mark_again, "the cloud was answer again as well");
    let after = news(&cloud, &format!("after={mark_again}&wait_s=0")).await;
    assert_eq!(after["down"], json!([]));
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_may_change_from_http_to_mqtt_and_is_heard_on_both() {
    let cloud = Cloud::start(&[]).await;
    news(&cloud, "wait_s=0").await;
    let mut camera = Camera::connect(&cloud, "porch", 1).await;
    let bytes = harness::photograph(1);
    camera.send(1, &bytes).await;
    camera.stored(&[(1, Hash::of(&bytes))]).await;
    let (_, again) = frame(&cloud, &header(1, &bytes, 0, bytes.len()), &bytes).await;
    assert_eq!(again["stored"][0][0], 1, "{again}");
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_cloud_lets_those_go_who_wait_for_news() {
    let cloud = Cloud::start(&[]).await;
    let first = news(&cloud, "wait_s=0").await;
    let head = format!(
        "GET /api/v1/down?after={}&wait_s=30 HTTP/1.1\r\nhost: {}\r\n{}{PORCH}\r\n",
        first["next"].as_str().unwrap(),
        cloud.ready.http,
        harness::authorization(cloud.ready.http),
    );
    let mut stream = tokio::net::TcpStream::connect(cloud.ready.http).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    // Until the question is open; a request that is not read yet would not be answered either.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    cloud.stop().await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}
