//! P2, P4, P6: large pictures, many cameras, one message at a time, and a missing camera.

use std::time::Duration;

use keepsake_protocol::capture::FrameHeader;
use keepsake_protocol::{Hash, SpoolId, codec};
use keepsake_testkit::witnesses::MqttWitnesses;
use keepsake_testkit::{
    Appliance, CaptureKey, Client, Cloud, Outcome, SOON, Seed, TempDir, audit, capture_keys, eventually, photos,
};
use serde_json::json;

/// The shortest scenario, one press and the answer of the light: `cargo verify --quick` runs it.
#[test]
fn a_press_is_stored_and_the_light_confirms_it() {
    let folder = TempDir::new("press");
    let cloud = Cloud::new(&folder).started();
    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url()).started();
    // Without a connection the answer would rightly be "safe on the card".
    camera.wait_until_connected(SOON);
    let since = camera.event_count();
    let saved = camera.press_and_save(1, SOON);
    let order = camera.expect("the long light", since, SOON, |events| {
        let at = |kind: &str| events.iter().position(|event| event["event"] == kind);
        let long = events
            .iter()
            .position(|event| event["event"] == "answer" && event["answer"] == "stored")?;
        Some([at("saved")?, at("stored")?, long])
    });
    assert!(order.is_sorted(), "saved, receipt, light: {order:?}");

    let api = cloud.api();
    let pictures = api.pictures("porch");
    assert_eq!(pictures.len(), 1);
    let id = pictures[0]["id"].as_str().expect("an id");
    let bytes = api.image(id);
    assert_eq!(Hash::of(&bytes).prefix(), saved[0].hash, "the picture on the page");
    let found = cloud.audit(&saved);
    assert_eq!(found.stored, 1);

    // The other direction: the dashboard requests a picture, the camera takes it.
    let since = camera.event_count();
    api.snap("porch");
    let snapped = camera.expect_event(since, SOON, &json!({"event": "stored"}));
    assert_eq!(snapped["sequence"], 2);
    let device = api.device("porch").expect("the device");
    assert_eq!((&device["pressed"], &device["stored"]), (&2.into(), &2.into()));
    assert_eq!(device["presence"], "online");
    camera.stop();
    api.wait_for_device("porch", SOON, |device| device["presence"] == "offline");
}

/// Captures of 8 MB and the small parts of three cameras, through a broker that keeps one message in flight: none
/// needs a broker that holds a whole capture, and none is acknowledged before it is committed.
#[test]
fn captures_of_8_mb_and_small_parts_arrive_one_message_at_a_time() {
    const PRESSES: usize = 3;
    let mut seed = Seed::from_env_or_random("flow");
    let folder = TempDir::new("flow");
    let mut cloud = Cloud::new(&folder).flag("--mqtt-inflight-max=1");
    let port = cloud.mqtt_port();
    let witnesses = MqttWitnesses::start(&mut cloud, port);

    let real = photos::all(&photos::folder());
    let mut photos = Vec::new();
    let mut cameras: Vec<Appliance> = [
        ("large", 8_000_000, 262_144),
        ("one", 400_000, 16_384),
        ("two", 400_000, 16_384),
        ("three", 400_000, 16_384),
    ]
    .into_iter()
    .map(|(name, bytes, part_bytes_max)| {
        let photo = photos::enlarge(&real[photos.len()], bytes, &mut seed);
        let album = photos::album(&folder.join(format!("album-{name}")), &[&photo]);
        photos.push(photo);
        Appliance::new(&folder, name, &cloud.mqtt_url())
            .photographing(&album)
            .set(&format!("cloud.part_bytes_max={part_bytes_max}"))
            .connected(SOON)
    })
    .collect();
    // All at once, so that their parts interleave.
    for _ in 0..PRESSES {
        for camera in &mut cameras {
            camera.press();
        }
    }

    let mut confirmed: Vec<CaptureKey> = Vec::new();
    for camera in &mut cameras {
        let stored = camera.expect("all stored", 0, Duration::from_secs(120), |events| {
            let stored = capture_keys(events, "stored");
            (stored.len() >= PRESSES).then_some(stored)
        });
        assert_eq!(stored.len(), PRESSES);
        confirmed.extend(camera.saved());
        camera.stop();
    }
    assert_eq!(confirmed.len(), 4 * PRESSES);
    let found = audit(&cloud.store(), &confirmed, &photos);
    assert_eq!((found.stored, found.conflicts), (4 * PRESSES as u64, 0));
    let (receipts, acknowledged) = witnesses.verdict();
    assert!(
        acknowledged > 3 * PRESSES as u64 * 24,
        "pictures of 400 kB in parts of 16 KiB are more than {acknowledged} messages"
    );
    println!("flow: {found:?}, {receipts} receipts, {acknowledged} acknowledgements looked into");
}

/// Three cameras, one part of each in turn: no capture is complete before all of them nearly are, and the broker
/// delivers the next message only when the one before it is committed.
#[test]
fn interleaved_parts_of_three_cameras_become_three_pictures() {
    const PART: usize = 16_384;
    let mut seed = Seed::from_env_or_random("turns");
    let folder = TempDir::new("turns");
    let mut cloud = Cloud::new(&folder).flag("--mqtt-inflight-max=1");
    let port = cloud.mqtt_port();
    let witnesses = MqttWitnesses::start(&mut cloud, port);

    let photos: Vec<Vec<u8>> = photos::all(&photos::folder())
        .iter()
        .take(3)
        .map(|photo| photos::enlarge(photo, 400_000, &mut seed))
        .collect();
    let mut cameras: Vec<(Client, String, FrameHeader)> = Vec::new();
    for (number, photo) in (1_u8..).zip(&photos) {
        let device = format!("turn-{number}");
        let spool = SpoolId([number; 16]);
        let id = format!("{device}.{}", &spool.to_string()[..8]);
        let client = Client::connect(port, &id).unwrap();
        let header = serde_json::from_value(photos::frame_header(spool, 1, photo)).unwrap();
        cameras.push((client, device, header));
    }
    for start in (0..).step_by(PART) {
        let mut sent = 0;
        for ((client, device, header), photo) in cameras.iter_mut().zip(&photos) {
            if start >= photo.len() {
                continue;
            }
            let bytes = &photo[start..(start + PART).min(photo.len())];
            header.offset = start as u64;
            header.len = bytes.len() as u64;
            let topic = format!("keepsake/v1/{device}/up/frame");
            let message = codec::encode_frame(header, bytes);
            let outcome = client.publish(topic.as_bytes(), &message).unwrap();
            assert_eq!(outcome, Outcome::Acknowledged);
            sent += 1;
        }
        if sent == 0 {
            break;
        }
    }
    let all: Vec<CaptureKey> = cameras
        .iter()
        .map(|(_, _, header)| CaptureKey {
            spool: header.capture.spool,
            sequence: 1,
            hash: header.capture.hash.prefix(),
        })
        .collect();
    eventually("three pictures", SOON, || (cloud.store().picture_count() == 3).then_some(()));
    eventually("three receipts", SOON, || (witnesses.observer.receipt_count() >= 3).then_some(()));
    audit(&cloud.store(), &all, &photos);
    let turns = witnesses.proxy.device_changes();
    assert!(turns > 60, "the parts were not mixed: {turns} turns");
    witnesses.verdict();
}

/// A press is never silently nothing: without a camera it becomes a tombstone with the reason, which arrives too.
#[test]
fn five_presses_without_a_camera_are_five_tombstones() {
    let folder = TempDir::new("missing");
    let cloud = Cloud::new(&folder).started();
    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url())
        .set("simulated.camera_missing_presses=5")
        .started();
    for press in 1..=5 {
        let since = camera.event_count();
        camera.press();
        camera.expect_event(since, SOON, &json!({"event": "tombstone", "sequence": press}));
        camera.expect_event(since, SOON, &json!({"event": "answer", "answer": "failed"}));
    }
    let saved = camera.press_and_save(1, SOON);
    assert_eq!(saved[0].sequence, 6);
    let device = cloud
        .api()
        .wait_for_device("porch", SOON, |device| device["failed"] == 5 && device["stored"] == 1);
    assert_eq!(device["pressed"], 6, "{device:#}");
    assert_eq!(device["missing"], 0, "{device:#}");
    let tombstones = cloud.store().tombstones().unwrap();
    assert!(tombstones.iter().all(|one| one.reason == "camera-not-found"), "{tombstones:?}");
    cloud.audit(&saved);
    // The tombstones have their receipts too: nothing waits.
    cloud.api().wait_for_device("porch", SOON, |device| device["waiting"] == 0);
}

/// A picture that the cloud would refuse for its size is made smaller before it is saved.
#[test]
fn a_picture_above_the_cloud_limit_is_resized_on_the_camera() {
    const MOST: usize = 65_536;
    let folder = TempDir::new("smaller");
    let cloud = Cloud::new(&folder).flag(&format!("--capture-bytes-max={MOST}")).started();
    // The first one fits as it is: with its receipt the camera also learns the cloud's limit.
    let photos = ["cat", "deep-field", "coffee", "astronaut"].map(photos::named);
    let album = photos::album(&folder.join("album"), &photos);
    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url()).photographing(&album).started();
    camera.press_and_store(1, SOON);
    camera.press_and_store(3, SOON);
    let api = cloud.api();
    for picture in api.pictures("porch") {
        let bytes = api.image(picture["id"].as_str().unwrap());
        assert!(bytes.len() <= MOST, "{} bytes", bytes.len());
        assert_eq!(picture["damaged"], false, "{picture:#}");
        assert!(picture["width"].as_u64() > Some(100), "{picture:#}");
    }
    let device = api.wait_for_device("porch", SOON, |device| device["stored"] == 4);
    assert_eq!(device["missing"], 0, "{device:#}");
}

/// A cloud without space asks the cameras to keep everything, reports it, and gets everything later.
#[test]
fn a_full_cloud_gets_everything_later() {
    let folder = TempDir::new("hold");
    let mut cloud = Cloud::new(&folder).flag("--free-bytes-min=1152921504606846976").started();
    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url()).connected(SOON);
    let since = camera.event_count();
    let saved = camera.press_and_save(3, SOON);
    camera.expect("two short for every press", since, SOON, |events| {
        let kept = events.iter().filter(|event| event["event"] == "answer" && event["answer"] == "kept");
        let presses: usize = kept.filter_map(|event| event["presses"].as_array().map(Vec::len)).sum();
        (presses >= 3).then_some(())
    });
    let (status, why) = cloud.api().get("/readyz").unwrap();
    assert_eq!(status, 503, "{}", String::from_utf8_lossy(&why));
    assert_eq!(cloud.store().picture_count(), 0, "nothing goes into a full store");
    cloud.stop();

    cloud = cloud.flag("--free-bytes-min=1").started();
    camera.expect_stored(&saved, SOON);
    let found = cloud.audit(&camera.saved());
    assert_eq!(found.stored, 3);
}
