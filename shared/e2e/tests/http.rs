//! The same promises with a camera that uploads over HTTP, where only web traffic gets through.

use keepsake_testkit::http_proxy::{HttpFault, HttpProxy};
use keepsake_testkit::test_ca::{TestCa, Validity};
use keepsake_testkit::{Appliance, Cloud, SOON, TempDir, capture_keys, count, eventually};
use serde_json::json;

/// P2: pictures, tombstones, counters, presence and commands work, and a command arrives within moments.
#[test]
fn an_http_camera_works_like_any_other() {
    let folder = TempDir::new("http");
    let cloud = Cloud::new(&folder).started();
    let web = HttpProxy::start(cloud.http_port(), cloud.database());
    let mut camera = Appliance::new(&folder, "porch", &web.url())
        .set(&cloud.camera_token("porch"))
        .set("simulated.camera_missing_presses=1")
        .connected(SOON);
    // The first press finds no camera, which is reported too.
    camera.press();
    camera.press_and_store(3, SOON);

    let since = camera.event_count();
    let command = cloud.api().snap("porch");
    assert_eq!(command["stage"], "sent", "not sent at once: {command:#}");
    let snapped = camera.expect_event(since, SOON, &json!({"event": "stored"}));
    assert_eq!(snapped["sequence"], 5);
    let device = cloud.api().wait_for_device("porch", SOON, |device| {
        device["stored"] == 4 && device["failed"] == 1 && device["waiting"] == 0
    });
    assert_eq!(device["missing"], 0, "{device:#}");
    assert_eq!(device["presence"], "online", "{device:#}");
    let path = "/api/v1/devices/porch/commands";
    let commands = eventually("the command done", SOON, || {
        let commands = cloud.api().json(path);
        commands.to_string().contains("\"done\"").then_some(commands)
    });
    assert!(commands.to_string().contains("\"accepted\""), "{commands:#}");

    cloud.audit(&camera.saved());
    camera.stop();
    cloud.api().wait_for_device("porch", SOON, |device| device["presence"] == "offline");
    assert!(web.verdict() >= 5);
}

/// The setup of a public address: TLS with our own certificate, and no upload without a token for the camera.
#[test]
fn an_https_camera_needs_its_own_token() {
    let folder = TempDir::new("https");
    let mut cloud = Cloud::new(&folder).started();
    let [porch_token, shed_token] = ["porch", "shed"].map(|name| cloud.api().camera_token(name));
    cloud.stop();
    let authority = TestCa::new(&folder.join("authority"), "Keepsake CA");
    let server = authority.server("server", &["localhost"], Validity::Now);
    let mut cloud = cloud
        .flag(&format!("--tls-cert={}", server.certificate.display()))
        .flag(&format!("--tls-key={}", server.key.display()))
        .flag("--anonymous-upload=off");
    cloud.start();

    let url = format!("https://localhost:{}", cloud.http_port());
    let mut porch =
        Appliance::new(&folder, "porch", &url).set(&format!("cloud.ca_file={}", authority.certificate().display()));
    let mut saved = Vec::new();
    for wrong in ["", &shed_token] {
        porch.change(&format!("cloud.token={wrong}"));
        let since = porch.event_count();
        porch.start();
        saved.extend(porch.press_and_save(1, SOON));
        porch.expect_event(since, SOON, &json!({"pattern": "fault-4"}));
        porch.stop();
    }
    assert_eq!(cloud.store().picture_count(), 0, "stored without its key");
    porch.change(&format!("cloud.token={porch_token}"));
    porch.start();
    saved.extend(porch.press_and_save(1, SOON));
    porch.expect_stored(&saved[2..], SOON);
    eventually("all are stored", SOON, || (cloud.store().picture_count() == 3).then_some(()));
    cloud.audit(&porch.saved());
}

/// P2, P3: whatever a proxy does to an answer, no picture leaves the card because of it and none is stored twice.
#[test]
fn only_a_complete_receipt_frees_a_picture() {
    let folder = TempDir::new("http-faults");
    let cloud = Cloud::new(&folder).started();
    let web = HttpProxy::start(cloud.http_port(), cloud.database());
    let mut camera = Appliance::new(&folder, "porch", &web.url())
        .set(&cloud.camera_token("porch"))
        .connected(SOON);
    let mut saved = Vec::new();
    for fault in [
        HttpFault::Page,
        HttpFault::Nothing,
        HttpFault::Redirect,
        HttpFault::Halve,
        HttpFault::CutInTheMiddle,
        HttpFault::Lose,
    ] {
        let before = web.faults_injected();
        web.inject(fault, "/api/v1/frames");
        let since = camera.event_count();
        saved.extend(camera.press_and_save(1, SOON));
        eventually("a damaged answer", SOON, || (web.faults_injected() > before).then_some(()));
        // Two short: the camera knows that it is not in the cloud.
        camera.expect_event(since, SOON, &json!({"event": "answer", "answer": "kept"}));
        let stored = capture_keys(&camera.events(since), "stored");
        assert_eq!(stored, [], "{fault:?} counted as a receipt");
        web.stop_faults();
        camera.expect_stored(&saved, SOON);
    }
    // These three were committed before the answer was damaged, and were uploaded again.
    let found = cloud.audit(&saved);
    assert_eq!((found.stored, found.conflicts), (6, 0));
    web.verdict();
}

/// A capture too large for a proxy in between stays, and blocks nothing.
#[test]
fn a_rejected_part_waits_and_blocks_nothing() {
    let folder = TempDir::new("http-413");
    let cloud = Cloud::new(&folder).started();
    let web = HttpProxy::start(cloud.http_port(), cloud.database());
    let mut camera = Appliance::new(&folder, "porch", &web.url())
        .set(&cloud.camera_token("porch"))
        .set("backoff.initial_s=2")
        .connected(SOON);
    web.inject(HttpFault::TooLarge, "/api/v1/frames");
    let first = camera.press_and_save(1, SOON);
    cloud.api().wait_for_device("porch", SOON, |device| device["waiting"] == 1);
    eventually("an answer with 413", SOON, || (web.faults_injected() > 0).then_some(()));
    web.stop_faults();
    camera.press_and_store(1, SOON);
    camera.expect_stored(&first, SOON);
    assert_eq!(count(&camera.events(0), "connected"), 1, "413 is no reason to reconnect");
}

/// A cloud restored from last night's backup requests what it lost, over HTTP too.
#[test]
fn a_restored_cloud_gets_back_what_it_lost() {
    let folder = TempDir::new("http-restored");
    let mut cloud = Cloud::new(&folder).started();
    let mut camera = Appliance::new(&folder, "porch", &cloud.http_url())
        .set(&cloud.camera_token("porch"))
        .started();
    camera.press_and_store(2, SOON);
    let backup = folder.join("backup");
    cloud.back_up(&backup);
    camera.press_and_store(3, SOON);
    cloud.kill();
    cloud.restore(&backup);
    let device = cloud.api().wait_for_device("porch", SOON, |device| device["stored"] == 5);
    assert_eq!(device["missing"], 0, "{device:#}");
    cloud.audit(&camera.saved());
}

/// A cloud without space gets nothing for now, and everything later.
#[test]
fn an_http_camera_holds_on_request() {
    let folder = TempDir::new("http-hold");
    let mut cloud = Cloud::new(&folder).flag("--free-bytes-min=1152921504606846976").started();
    let web = HttpProxy::start(cloud.http_port(), cloud.database());
    let mut camera = Appliance::new(&folder, "porch", &web.url())
        .set(&cloud.camera_token("porch"))
        .connected(SOON);
    let since = camera.event_count();
    let saved = camera.press_and_save(3, SOON);
    camera.expect_event(since, SOON, &json!({"event": "answer", "answer": "kept"}));
    let frames = |web: &HttpProxy| {
        let requests = web.requests();
        requests.iter().filter(|line| line.contains("/api/v1/frames")).count()
    };
    assert_eq!(frames(&web), 0, "nothing is sent to a cloud that holds");
    cloud.stop();
    cloud = cloud.flag("--free-bytes-min=1");
    cloud.start();
    camera.expect_stored(&saved, SOON);
    assert!(frames(&web) >= 3);
    web.verdict();
}
