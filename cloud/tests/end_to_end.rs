//! The way of a picture through broker, ingest, store and API, with cameras that are a bare MQTT client.

mod harness;

use std::time::Duration;

use harness::{Camera, Cloud, FORM, WAIT, eventually, image_form, photograph, request, request_bytes};
use keepsake_protocol::cloud_info::CloudInfo;
use keepsake_protocol::command::{Command, CommandKind, CommandReply, CommandStage};
use keepsake_protocol::event::TombstoneReason;
use keepsake_protocol::inventory::Inventory;
use keepsake_protocol::receipt::Receipt;
use keepsake_protocol::topic::MessageKind;
use keepsake_protocol::{Hash, Sequence, codec};
use sqlx::Executor;

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_committed_before_its_receipt_and_shown_afterwards() {
    let cloud = Cloud::start(&[]).await;
    let mut porch = Camera::connect(&cloud, "porch", 1).await;
    let mut database = cloud.database().await;
    porch.online(21, &[(1, 20)]).await;
    let pictures: Vec<Vec<u8>> = (1..=20).map(photograph).collect();
    for (at, bytes) in pictures.iter().enumerate() {
        porch.send(at as u64 + 1, bytes).await;
    }
    let mut receipts = 0;
    while receipts < 20 {
        let receipt: Receipt = porch.next(MessageKind::Receipt).await;
        assert_eq!(receipt.store, cloud.ready.store);
        for (sequence, prefix) in receipt.stored {
            // The observer has a connection of its own, so it sees only what is committed.
            let hash: Vec<u8> = sqlx::query_scalar(
                "SELECT fate.hash FROM fate JOIN picture USING (spool, sequence, hash) \
                 JOIN picture_bytes USING (arrival) WHERE fate.sequence = ?",
            )
            .bind(i64::try_from(sequence.get()).unwrap())
            .fetch_one(&mut database)
            .await
            .unwrap();
            assert_eq!(hash[..8], prefix.0);
            receipts += 1;
        }
    }
    let devices = cloud.json("/api/v1/devices").await;
    let porch = &devices["devices"][0];
    assert_eq!(porch["presence"], "online");
    for (name, expected) in [("pressed", 20), ("stored", 20), ("held", 0), ("missing", 0)] {
        assert_eq!(porch[name], expected, "{name}");
    }
    let listed = cloud.json("/api/v1/pictures?device=porch&limit=15").await;
    assert_eq!(listed["pictures"].as_array().unwrap().len(), 15);
    let next = listed["next"].as_str().unwrap();
    let rest = cloud.json(&format!("/api/v1/pictures?device=porch&before={next}")).await;
    assert_eq!(rest["pictures"].as_array().unwrap().len(), 5);
    assert_eq!(rest["next"], serde_json::Value::Null);
    let id = rest["pictures"][4]["id"].as_str().unwrap();
    let path = format!("/api/v1/pictures/{id}/image");
    let (status, head, bytes) = request_bytes(cloud.ready.http, "GET", &path, "", b"").await;
    assert_eq!((status, bytes == pictures[0]), (200, true));
    let etag = format!("\"{}\"", Hash::of(&pictures[0]));
    assert!(head.contains(&etag) && head.contains("nosniff"), "{head}");
    let known = format!("if-none-match: {etag}\r\n");
    let (status, _) = request(cloud.ready.http, "GET", &path, &known, b"").await;
    assert_eq!(status, 304);
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nothing_can_be_committed_there_is_no_receipt_and_cameras_hold() {
    let cloud = Cloud::start(&[]).await;
    let mut porch = Camera::connect(&cloud, "porch", 1).await;
    porch.online(2, &[(1, 1)]).await;
    let first: CloudInfo = porch.next(MessageKind::Cloud).await;
    assert_eq!(first.hold, None);
    // Someone else holds the database: nothing can be committed.
    let mut other = cloud.database().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let bytes = photograph(1);
    porch.send(1, &bytes).await;
    let hold = loop {
        let (topic, payload) = tokio::time::timeout(WAIT, porch.received.recv()).await.unwrap().unwrap();
        assert!(!topic.ends_with("/down/receipt"), "a receipt of nothing");
        if topic.ends_with("/down/cloud") {
            let cloud: CloudInfo = codec::decode(&payload).unwrap();
            assert_eq!(cloud.started, first.started);
            if let Some(hold) = cloud.hold {
                break hold;
            }
        }
    };
    assert!(hold.contains("database"), "{hold}");
    let (status, body) = cloud.get("/readyz").await;
    assert_eq!(status, 503);
    assert!(body.contains("database"), "{body}");
    assert_eq!(cloud.get("/healthz").await.0, 200);
    other.execute("ROLLBACK").await.unwrap();
    porch.stored(&[(1, Hash::of(&bytes))]).await;
    eventually(async || (cloud.get("/readyz").await.0 == 200).then_some(())).await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nearly_full_disk_takes_no_pictures_and_hears_everything_else() {
    let everything = u64::MAX.to_string();
    let cloud = Cloud::start(&["--free-bytes-min", &everything]).await;
    let mut porch = Camera::connect(&cloud, "porch", 1).await;
    porch.send(1, &photograph(1)).await;
    porch.online(2, &[(1, 1)]).await;
    let info: CloudInfo = porch.next(MessageKind::Cloud).await;
    assert!(info.hold.unwrap().contains("disk is nearly full"));
    let hash = porch.say_tombstone(2, None, TombstoneReason::CardFull).await;
    let receipt: Receipt = porch.next(MessageKind::Receipt).await;
    assert_eq!(receipt.stored, [(2.try_into().unwrap(), hash.prefix())]);
    let (status, body) = cloud.get("/readyz").await;
    assert_eq!(status, 503);
    assert!(body.contains("disk is nearly full"), "{body}");
    let pictures = cloud.json("/api/v1/pictures").await;
    assert_eq!(pictures["pictures"], serde_json::json!([]));
    assert!(cloud.get("/").await.1.contains("disk is nearly full"));
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_picture_the_store_cannot_take_does_not_stop_the_others() {
    let cloud = Cloud::start(&[]).await;
    let mut porch = Camera::connect(&cloud, "porch", 1).await;
    cloud
        .database()
        .await
        .execute(
            "CREATE TRIGGER poison BEFORE INSERT ON picture WHEN NEW.sequence = 2 \
             BEGIN SELECT RAISE(ABORT, 'poisoned'); END",
        )
        .await
        .unwrap();
    let pictures: Vec<Vec<u8>> = (1..=3).map(photograph).collect();
    for (at, bytes) in pictures.iter().enumerate() {
        porch.send(at as u64 + 1, bytes).await;
    }
    let (mut stored, mut refused) = (Vec::new(), Vec::new());
    while stored.len() < 2 || refused.is_empty() {
        let receipt: Receipt = porch.next(MessageKind::Receipt).await;
        stored.extend(receipt.stored);
        refused.extend(receipt.rejected);
    }
    stored.sort();
    let numbers: Vec<u64> = stored.iter().map(|(number, _)| number.get()).collect();
    assert_eq!(numbers, [1, 3]);
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].hash, Hash::of(&pictures[1]).prefix());
    // Its bytes are not at fault.
    assert_eq!(cloud.json("/api/v1/quarantine").await["count"], 0);
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_and_interleaved_parts_arrive_with_one_message_in_flight() {
    let cloud = Cloud::start(&["--mqtt-inflight-max", "1"]).await;
    let mut cameras = Vec::new();
    for (n, name) in [(1, "porch"), (2, "shed"), (3, "jetty")] {
        cameras.push(Camera::connect(&cloud, name, n).await);
    }
    let large: Vec<u8> = (0..8 * 1024 * 1024_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    cameras[0].send(1, &large).await;
    let pictures: Vec<Vec<u8>> = (1..=3).map(photograph).collect();
    const PART: usize = 16 * 1024;
    for start in (0..pictures[0].len()).step_by(PART) {
        for (camera, bytes) in cameras.iter().zip(&pictures) {
            let end = (start + PART).min(bytes.len());
            camera.send_part(2, bytes, start, end).await;
        }
    }
    for (camera, bytes) in cameras.iter_mut().zip(&pictures) {
        let mut wanted = vec![(2, Hash::of(bytes))];
        if camera.device.as_str() == "porch" {
            wanted.push((1, Hash::of(&large)));
        }
        camera.stored(&wanted).await;
    }
    let listed = cloud.json("/api/v1/pictures").await;
    assert_eq!(listed["pictures"].as_array().unwrap().len(), 4);
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tombstones_and_have_are_answered() {
    let cloud = Cloud::start(&[]).await;
    let mut porch = Camera::connect(&cloud, "porch", 1).await;
    let number = |n: u64| Sequence::try_from(n).unwrap();
    let hash = porch.say_tombstone(1, Some(3), TombstoneReason::CameraNotFound).await;
    porch.stored(&[(1, hash)]).await;
    let bytes = photograph(4);
    porch.send_part(4, &bytes, 0, 1000).await;
    let captures = cloud.folder.path().join("parts/porch");
    eventually(async || {
        let capture = std::fs::read_dir(&captures).ok()?.next()?.ok()?;
        (std::fs::read_dir(capture.path()).ok()?.count() == 1).then_some(())
    })
    .await;
    let have = Inventory {
        spool: porch.spool,
        next: number(5),
        id: 77,
        page: 0,
        pages: 1,
        captures: vec![(number(1), hash.prefix()), (number(4), Hash::of(&bytes).prefix())],
    };
    porch.say(MessageKind::Have, codec::encode(&have)).await;
    let answer: Receipt = porch.next(MessageKind::Receipt).await;
    assert_eq!(answer.inventory_ack.unwrap().id, 77);
    assert_eq!(answer.stored, [(number(1), hash.prefix())]);
    assert_eq!(answer.want[0].sequence, number(4));
    assert_eq!(answer.want[0].ranges, [(1000, bytes.len() as u64)]);
    assert_eq!(answer.next, Some(number(4)));
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_reaches_the_camera_that_is_there_and_its_stages_are_told() {
    let cloud = Cloud::start(&[]).await;
    let mut porch = Camera::connect(&cloud, "porch", 1).await;
    porch.online(1, &[]).await;
    let _: CloudInfo = porch.next(MessageKind::Cloud).await;
    let path = "/api/v1/devices/porch/commands";
    let json = "content-type: application/json\r\n";
    let (status, answer) = request(cloud.ready.http, "POST", path, json, br#"{"command":"snap"}"#).await;
    assert_eq!(status, 202, "{answer}");
    let command: Command = porch.next(MessageKind::Command).await;
    assert_eq!(command.command, CommandKind::Snap);
    assert!(command.lifetime_us() > 50_000_000);
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["id"], command.id.as_str());
    assert_eq!(answer["stage"], "sent");
    for stage in [CommandStage::Accepted, CommandStage::Captured] {
        let reply = CommandReply {
            id: command.id.clone(),
            stage,
            after_us: 5,
            capture: None,
            text: None,
            result: None,
        };
        porch.say(MessageKind::Reply, codec::encode(&reply)).await;
    }
    let captured = eventually(async || {
        let latest = cloud.json(path).await["commands"][0].take();
        (latest["stage"] == "captured").then_some(latest)
    })
    .await;
    assert_eq!(captured["stages"].as_array().unwrap().len(), 3);
    assert_eq!(cloud.send("POST", path, br#"{"command":"explode"}"#).await.0, 400);
    let nobody = "/api/v1/devices/nobody/commands";
    assert_eq!(cloud.send("POST", nobody, br#"{"command":"restart"}"#).await.0, 404);
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_waits_for_a_camera_that_is_away_and_a_will_says_that_it_is() {
    let cloud = Cloud::start(&[]).await;
    let mut porch = Camera::connect(&cloud, "porch", 1).await;
    porch.online(1, &[]).await;
    let _: CloudInfo = porch.next(MessageKind::Cloud).await;
    let presence = async |wanted: &str| {
        eventually(async || {
            let devices = cloud.json("/api/v1/devices").await;
            (devices["devices"][0]["presence"] == wanted).then_some(())
        })
        .await;
    };
    presence("online").await;
    porch.vanish();
    presence("offline").await;
    let (status, answer) = cloud.send("POST", "/api/v1/devices/porch/commands", br#"{"command":"identify"}"#).await;
    assert_eq!(status, 202);
    assert!(answer.contains(r#""stage":"waiting""#), "{answer}");
    let mut porch = Camera::connect(&cloud, "porch", 1).await;
    porch.online(1, &[]).await;
    let command: Command = porch.next(MessageKind::Command).await;
    assert_eq!(command.command, CommandKind::Identify);
    // It is gone again before it could say that it has it.
    porch.vanish();
    let mut porch = Camera::connect(&cloud, "porch", 1).await;
    porch.online(1, &[]).await;
    let again: Command = porch.next(MessageKind::Command).await;
    assert_eq!(again.id, command.id);
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_a_picture_like_any_other() {
    let cloud = Cloud::start(&[]).await;
    let bytes = photograph(1);
    let form = |field: &str, bytes: &[u8]| image_form(field, "a.jpg", bytes);
    let send = async |path: &str, body: Vec<u8>| request(cloud.ready.http, "POST", path, FORM, &body).await;
    let (status, body) = send("/upload", form("image", &bytes)).await;
    assert_eq!(status, 201, "{body}");
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    let id = answer["id"].as_str().unwrap();
    let picture = cloud.json(&format!("/api/v1/pictures/{id}")).await;
    assert_eq!(picture["device"], "camera");
    assert_eq!(picture["cause"], "upload");
    assert_eq!(picture["hash"], Hash::of(&bytes).to_string());
    let (status, body) = send("/upload?device=lab", form("image", &bytes)).await;
    assert_eq!(status, 201, "{body}");
    for (path, body, expected) in [
        ("/upload", form("picture", &bytes), 400),
        ("/upload", form("image", b"not a picture"), 415),
        ("/upload?device=a%2Fb", form("image", &bytes), 400),
    ] {
        let (status, body) = send(path, body).await;
        assert_eq!(status, expected, "{body}");
    }
    // The page of another web site cannot do it.
    let elsewhere = format!("{FORM}origin: http://evil.example\r\n");
    let body = form("image", &bytes);
    let (status, ..) = harness::request_bare(cloud.ready.http, "POST", "/upload", &elsewhere, &body).await;
    assert_eq!(status, 403);
    // The small version is made after the commit.
    let picture = eventually(async || {
        let picture = cloud.json(&format!("/api/v1/pictures/{id}")).await;
        (picture["thumbnail"] == "ready").then_some(picture)
    })
    .await;
    assert_eq!(picture["damaged"], false);
    let path = format!("/api/v1/pictures/{id}/thumbnail");
    let (status, _, small) = request_bytes(cloud.ready.http, "GET", &path, "", b"").await;
    assert_eq!((status, small.starts_with(&[0xff, 0xd8])), (200, true));
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_tells_what_came_since_and_ends_with_the_cloud() {
    use tokio::io::{AsyncBufReadExt, BufReader};

    let cloud = Cloud::start(&[]).await;
    let mut porch = Camera::connect(&cloud, "porch", 1).await;
    let (one, two) = (photograph(1), photograph(2));
    porch.send(1, &one).await;
    porch.stored(&[(1, Hash::of(&one))]).await;
    let mut lines = BufReader::new(cloud.open_stream(0).await).lines();
    let mut until = async |wanted: &str| {
        let found = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains(wanted) {
                    return true;
                }
            }
            false
        };
        tokio::time::timeout(WAIT, found).await.unwrap()
    };
    assert!(until(&Hash::of(&one).to_string()).await);
    assert!(until("id: 1").await);
    porch.send(2, &two).await;
    assert!(until(&Hash::of(&two).to_string()).await);
    assert!(until("id: 2").await);
    assert!(until("event: device").await);
    let started = std::time::Instant::now();
    cloud.stop().await;
    assert!(started.elapsed() < Duration::from_secs(5), "an open stream kept it");
    assert!(!until("never").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_knows_more_than_a_restored_store_is_told_of_new_pictures() {
    use tokio::io::AsyncReadExt;

    let cloud = Cloud::start(&[]).await;
    let mut porch = Camera::connect(&cloud, "porch", 1).await;
    let (one, two) = (photograph(1), photograph(2));
    porch.send(1, &one).await;
    porch.stored(&[(1, Hash::of(&one))]).await;
    let mut stream = cloud.open_stream(4711).await;
    let mut heard = vec![0; 12];
    stream.read_exact(&mut heard).await.unwrap();
    porch.send(2, &two).await;
    let sent = async {
        let mut read = [0; 4096];
        while !String::from_utf8_lossy(&heard).contains("id: 2\n") {
            let length = stream.read(&mut read).await.unwrap();
            heard.extend_from_slice(&read[..length]);
        }
    };
    tokio::time::timeout(Duration::from_secs(5), sent).await.unwrap();
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_api_refuses_it_says_why() {
    let cloud = Cloud::start(&[]).await;
    let commands = "/api/v1/devices/camera/commands";
    for (method, path, headers, body, expected) in [
        ("GET", "/api/v1/nothing", "", 0, 404),
        ("GET", "/api/v1/pictures?limit=many", "", 0, 400),
        ("DELETE", "/api/v1/devices", "", 0, 405),
        ("POST", "/upload", "", 0, 400),
        ("POST", "/upload?device=a&device=b", FORM, 0, 400),
        ("POST", commands, "", 3_000_000, 413),
        ("GET", "/api/v1/devices/%ff/commands", "", 0, 400),
        ("GET", "/api/v1/pictures/%ff/image", "", 0, 400),
    ] {
        let body = vec![b'x'; body];
        let (status, head, body) = request_bytes(cloud.ready.http, method, path, headers, &body).await;
        assert_eq!(status, expected, "{path}");
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        assert!(head.contains("application/problem+json"), "{path}: {head}");
        assert_eq!(problem["status"], expected, "{path}");
        assert!(problem["detail"].as_str().is_some_and(|text| !text.is_empty()));
    }
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_drawn() {
    let cloud = Cloud::start(&[]).await;
    let mut porch = Camera::connect(&cloud, "porch", 1).await;
    let bytes = photograph(1);
    porch.online(2, &[(1, 1)]).await;
    porch.send(1, &bytes).await;
    porch.stored(&[(1, Hash::of(&bytes))]).await;
    let id = cloud.json("/api/v1/pictures").await["pictures"][0]["id"].clone();
    let picture = format!("/pictures/{}", id.as_str().unwrap());
    for path in [
        "/",
        "/cameras/porch",
        "/pictures",
        "/pictures?device=porch&before=5.1",
        "/pictures?after=0.0",
        picture.as_str(),
        "/quarantine",
    ] {
        let (status, head, body) = request_bytes(cloud.ready.http, "GET", path, "", b"").await;
        assert_eq!(status, 200, "{path}");
        assert!(head.contains("content-security-policy: default-src 'none'"));
        let page = String::from_utf8(body).unwrap();
        assert!(page.contains("Keepsake"), "{path}");
    }
    for path in ["/cameras/nobody", "/pictures/x", "/elsewhere", "/api/v1/x"] {
        assert_eq!(cloud.get(path).await.0, 404, "{path}");
    }
    assert_eq!(cloud.get("/api/v1/pictures?limit=0").await.0, 400);
    assert_eq!(cloud.get("/api/v1/pictures?device=a/b").await.0, 400);
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_cloud_knows_every_capture() {
    let cloud = Cloud::start(&[]).await;
    let store = cloud.ready.store;
    let bytes = photograph(1);
    let mut porch = Camera::connect(&cloud, "porch", 1).await;
    porch.send(1, &bytes).await;
    porch.stored(&[(1, Hash::of(&bytes))]).await;
    drop(porch);
    let folder = cloud.stop().await;
    let cloud = Cloud::start_in(folder, &[]).await;
    assert_eq!(cloud.ready.store, store);
    let mut porch = Camera::connect(&cloud, "porch", 1).await;
    // Known from the store, so it is told about the cloud before it says anything.
    let _: CloudInfo = porch.next(MessageKind::Cloud).await;
    porch.send(1, &bytes).await;
    porch.stored(&[(1, Hash::of(&bytes))]).await;
    let listed = cloud.json("/api/v1/pictures").await;
    assert_eq!(listed["pictures"].as_array().unwrap().len(), 1);
    cloud.stop().await;
}
