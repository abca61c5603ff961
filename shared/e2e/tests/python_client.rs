//! P1 to P3 with an independent camera: `fixtures/camera.py` is written from docs/protocol.md alone, so it shows that
//! the document is sufficient.

use std::path::PathBuf;

use keepsake_testkit::mqtt_proxy::HostileBroker;
use keepsake_testkit::python_client::ReferenceClient;
use keepsake_testkit::{Cloud, SOON, Seed, TempDir, audit, count, eventually, photos};
use serde_json::{Value, json};

/// More than any disk has.
const NO_ROOM: &str = "--free-bytes-min=1152921504606846976";
const ROOM: &str = "--free-bytes-min=1";

#[test]
fn the_reference_client_uploads_whole_pictures_and_parts() {
    let folder = TempDir::new("python");
    let cloud = Cloud::new(&folder).started();
    let Some(mut camera) = camera(&folder, cloud.mqtt_port()) else {
        return;
    };
    camera.start();
    camera.expect_some(1, "connected", 0, SOON);
    for photo in ["cat", "rocket", "deep-field"] {
        camera.press(&jpeg(photo));
    }
    camera.expect_some(3, "stored", 0, SOON);
    camera.fail();
    camera.expect_some(4, "stored", 0, SOON);
    camera.stop();
    assert_eq!(count(&camera.events(0), "sent"), 3, "each in one message");

    // The same camera on a slow link.
    let mut camera = camera.with("--part-bytes=16384");
    camera.start();
    camera.press(&jpeg("deep-field"));
    camera.expect_some(5, "stored", 0, SOON);
    let sent = count(&camera.events(0), "sent");
    assert!(sent > 3 + 3, "in parts: {sent}");

    let api = cloud.api();
    let device = api.wait_for_device("porch", SOON, |device| {
        device["stored"] == 4 && device["failed"] == 1 && device["waiting"] == 0
    });
    assert_eq!(device["pressed"], 5, "{device:#}");
    assert_eq!(device["missing"], 0, "{device:#}");
    assert_eq!(device["presence"], "online");
    let quarantined = api.json("/api/v1/quarantine");
    assert_eq!(quarantined["count"], 0, "all was understood: {quarantined:#}");
    let pictures = api.pictures("porch");
    assert!(pictures.iter().all(|picture| picture["width"].as_u64() > Some(100)), "{pictures:#?}");
    let found = cloud.audit(&camera.saved());
    assert_eq!((found.stored, found.tombstones), (4, 1));

    // It disconnects without a goodbye, and the broker publishes its last will; later it ends cleanly.
    camera.kill();
    api.wait_for_device("porch", SOON, |device| device["presence"] == "offline");
    camera.start();
    api.wait_for_device("porch", SOON, |device| device["presence"] == "online");
    camera.stop();
    api.wait_for_device("porch", SOON, |device| device["presence"] == "offline");
}

/// After an interruption the cloud requests the missing bytes, and a restored one the pictures that had a receipt.
#[test]
fn the_reference_client_uploads_what_the_cloud_requests() {
    let folder = TempDir::new("python-want");
    let mut cloud = Cloud::new(&folder).started();
    let Some(camera) = camera(&folder, cloud.mqtt_port()) else {
        return;
    };
    let mut camera = camera.with("--part-bytes=1024");
    camera.start();
    camera.expect_some(1, "connected", 0, SOON);
    // In a thousand parts, so that there is time to kill it between the first commit and the last.
    let mut seed = Seed::from_env_or_random("python-want");
    let large = photos::enlarge(&photos::named("deep-field"), 1_000_000, &mut seed);
    let album = photos::album(&folder.join("album"), &[&large, &photos::named("cat")]);
    camera.press(&album.join("0.jpg"));
    // Earlier messages may still arrive, and the cloud can only request the rest of a capture it has begun to
    // receive.
    let store = cloud.store();
    eventually("some parts are committed", SOON, || (store.part_count() > 0).then_some(()));
    camera.kill();
    assert_eq!(count(&camera.events(0), "stored"), 0, "it was to be killed in the middle");

    let since = camera.event_count();
    camera.start();
    camera.expect_some(1, "stored", since, SOON);
    let wanted = camera.expect_some(1, "wanted", since, SOON);
    assert!(wanted[0]["ranges"].is_array(), "ranges, not all of it: {wanted:?}");
    let bytes: u64 = camera
        .events(since)
        .iter()
        .filter(|event| event["event"] == "sent")
        .filter_map(|event| event["len"].as_u64())
        .sum();
    let total = large.len() as u64;
    assert!((1..total).contains(&bytes), "{bytes} of {total} sent again");
    camera.stop();

    // A cloud restored from last night's backup requests pictures that had a receipt.
    let backup = folder.join("backup");
    cloud.back_up(&backup);
    camera.start();
    camera.press(&jpeg("cat"));
    camera.expect_some(2, "stored", 0, SOON);
    cloud.stop();
    let since = camera.event_count();
    cloud.restore(&backup);
    camera.expect_some(1, "wanted", since, SOON);
    camera.expect_some(1, "stored", since, SOON);
    let device = cloud.api().wait_for_device("porch", SOON, |device| device["stored"] == 2);
    assert_eq!(device["missing"], 0, "{device:#}");
    audit(&cloud.store(), &camera.saved(), &photos::all(&album));
}

/// `hold` keeps everything on the card, and so does every receipt that does not match exactly.
#[test]
fn the_reference_client_keeps_everything_without_a_receipt() {
    let folder = TempDir::new("python-hold");
    let mut cloud = Cloud::new(&folder).flag(NO_ROOM).started();
    // The embedded broker lets no one else publish for the cloud; another broker may.
    let between = HostileBroker::start(cloud.mqtt_port());
    let Some(mut camera) = camera(&folder, between.port()) else {
        return;
    };
    camera.start();
    let hold = camera.expect_some(1, "hold", 0, SOON);
    assert!(hold[0]["reason"].is_string(), "{hold:?}");
    camera.press(&jpeg("cat"));
    camera.expect_some(1, "saved", 0, SOON);
    let saved = camera.saved()[0];
    let spool = saved.spool.to_string();
    let store = cloud.store_id();

    let receipt = |store: &str, sequence: u64, hash: &str| {
        let receipt = json!({"store": store, "install": spool, "stored": [[sequence, hash]]});
        let topic = "keepsake/v1/porch/down/receipt";
        assert_eq!(between.inject(topic, receipt.to_string().as_bytes()), 1);
    };
    let hash = saved.hash.to_string();
    receipt(&store, 1, "0123456789abcdef");
    receipt(&store, 2, &hash);
    camera.expect_some(2, "mismatch", 0, SOON);
    receipt("77777777777777777777777777777777", 1, &hash);
    camera.expect_some(1, "foreign", 0, SOON);
    let device = cloud.api().wait_for_device("porch", SOON, |device| device["held"] == 1);
    assert_eq!((&device["stored"], &device["missing"]), (&json!(0), &json!(0)), "{device:#}");
    let events = camera.events(0);
    assert_eq!(
        (count(&events, "sent"), count(&events, "stored")),
        (0, 0),
        "nothing went out: {events:#?}"
    );

    cloud.stop();
    cloud = cloud.flag(ROOM).started();
    let stored: Vec<Value> = camera.expect_some(1, "stored", 0, SOON);
    assert_eq!(stored[0]["sequence"], 1);
    // It also executes commands.
    let since = camera.event_count();
    cloud.api().snap("porch");
    camera.expect_some(1, "stored", since, SOON);
    let commands = "/api/v1/devices/porch/commands";
    eventually("the command is done", SOON, || {
        (cloud.api().json(commands)["commands"][0]["stage"] == "done").then_some(())
    });
    let found = cloud.audit(&camera.saved());
    assert_eq!(found.stored, 2);
}

fn camera(folder: &TempDir, mqtt_port: u16) -> Option<ReferenceClient> {
    let photo = format!("--photo={}", jpeg("rocket").display());
    let what = "a camera written from docs/protocol.md in Python";
    Some(ReferenceClient::or_skip(what, folder, "porch", mqtt_port)?.with(&photo))
}

fn jpeg(name: &str) -> PathBuf {
    photos::folder().join(format!("{name}.jpg"))
}
