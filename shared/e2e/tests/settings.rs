//! Settings and commands from the cloud, in the real programs: applied, tried, rolled back, and answered.

use std::time::{Duration, Instant};

use keepsake_provision::process::free_port;
use keepsake_testkit::{Appliance, Cloud, SOON, TempDir, capture_keys, count};
use serde_json::json;

#[test]
fn settings_of_the_cloud_apply_without_a_restart() {
    let folder = TempDir::new("settings");
    let cloud = Cloud::new(&folder).started();
    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url())
        // A drawn scene has the requested size.
        .set("simulated.photos=")
        .connected(SOON);
    let api = cloud.api();
    api.wait_for_device("porch", SOON, |device| device["presence"] == "online");
    camera.press_and_save(1, SOON);

    api.set_settings("porch", &json!({"camera.width": 320, "camera.height": 240}));
    let settled = api.wait_for_settings("porch", "applied", SOON);
    assert_eq!(settled["camera"]["effective"]["camera.width"], 320);
    camera.press_and_save(1, SOON);
    let small = json!({"camera.width": 320, "camera.height": 240, "picture.quality": 30});
    api.set_settings("porch", &small);
    api.wait_for_settings("porch", "applied", SOON);
    camera.press_and_save(1, SOON);
    api.wait_for_device("porch", SOON, |device| device["stored"] == 3);
    let pictures = api.pictures("porch");
    let widths: Vec<_> = pictures.iter().map(|one| one["width"].as_u64().unwrap()).collect();
    assert!(widths[0] > 320 && widths[1..] == [320, 320], "{widths:?}");
    let bytes: Vec<_> = pictures.iter().map(|one| one["bytes"].as_u64().unwrap()).collect();
    assert!(bytes[2] < bytes[1], "{bytes:?}");

    // Interval pictures start, and stop.
    let since = camera.event_count();
    api.set_settings("porch", &json!({"capture_interval_s": 1}));
    camera.expect("pictures by themselves", since, SOON, |events| {
        (capture_keys(events, "saved").len() >= 2).then_some(())
    });
    api.set_settings("porch", &json!({}));
    let settled = api.wait_for_settings("porch", "applied", SOON);
    assert_eq!(settled["camera"]["effective"]["capture_interval_s"], 0);
    let since = camera.event_count();
    // Long enough for two more, if there were any.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(capture_keys(&camera.events(since), "saved").len(), 0);
    assert_eq!(count(&camera.events(0), "restarting"), 0);

    // A setting it cannot apply is reported, and the others apply; also after a power cut.
    camera.change("light.mode=off");
    camera.kill();
    camera.start();
    api.set_settings("porch", &json!({"light.mode": "heartbeat", "picture.width_max": 100}));
    let partly = api.wait_for_settings("porch", "partly", SOON);
    let rejected = partly["camera"]["rejected"].as_array().unwrap();
    assert_eq!(rejected.len(), 1, "{partly:#}");
    assert_eq!(rejected[0]["name"], "light.mode");
    let since = camera.event_count();
    camera.press_and_save(1, SOON);
    camera.expect_event(since, SOON, &json!({"event": "stored"}));
    let last = api.pictures("porch").pop().unwrap();
    assert_eq!(last["width"], 100);
}

#[test]
fn a_broken_connection_setting_is_rolled_back_even_after_a_power_cut() {
    let folder = TempDir::new("trial");
    let cloud = Cloud::new(&folder).started();
    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url())
        .with_a_file()
        .set("cloud.trial_timeout_s=8")
        .connected(SOON);
    let api = cloud.api();
    api.wait_for_device("porch", SOON, |device| device["presence"] == "online");

    // No one listens there.
    let nowhere = format!("mqtt://127.0.0.1:{}", free_port());
    let since = camera.event_count();
    api.set_settings("porch", &json!({"cloud.url": nowhere, "light.mode": "heartbeat"}));
    camera.expect("a new start", since, SOON, |events| {
        let at = events.iter().position(|one| one["event"] == "restarting")?;
        events[at..].iter().any(|one| one["event"] == "ready").then_some(())
    });
    // Pressed while it has no connection, and then the power is cut.
    let mut pressed = camera.press_and_save(1, SOON);
    camera.kill();
    let since = camera.event_count();
    camera.start();
    pressed.extend(camera.press_and_save(1, SOON));
    let settled = api.wait_for_settings("porch", "partly", SOON);
    let rejected = &settled["camera"]["rejected"][0];
    assert_eq!(rejected["name"], "cloud.url", "{settled:#}");
    assert_eq!(settled["camera"]["effective"]["cloud.url"], cloud.mqtt_url().as_str());
    // Settings other than the connection were never on trial.
    assert_eq!(settled["camera"]["effective"]["light.mode"], "heartbeat");
    camera.expect_event(since, SOON, &json!({"event": "connected"}));
    camera.expect_stored(&pressed, SOON);
    let found = cloud.audit(&pressed);
    assert_eq!(found.stored, 2);
}

#[test]
fn a_working_connection_setting_is_kept() {
    let folder = TempDir::new("confirmed");
    let cloud = Cloud::new(&folder).started();
    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url())
        .with_a_file()
        .set("cloud.trial_timeout_s=20")
        .connected(SOON);
    let api = cloud.api();
    api.wait_for_device("porch", SOON, |device| device["presence"] == "online");
    let other = cloud.mqtt_url().replace("127.0.0.1", "localhost");
    let since = camera.event_count();
    api.set_settings("porch", &json!({"cloud.url": other, "cloud.keep_alive_s": 20}));
    camera.expect_event(since, SOON, &json!({"event": "restarting"}));
    let settled = api.wait_for_settings("porch", "applied", SOON);
    assert_eq!(settled["camera"]["effective"]["cloud.url"], other.as_str());
    // Kept for good: the next start needs no trial, and nothing is rolled back.
    camera.kill();
    let since = camera.event_count();
    camera.start();
    camera.wait_until_connected(SOON);
    let settled = api.wait_for_settings("porch", "applied", SOON);
    assert_eq!(settled["camera"]["effective"]["cloud.keep_alive_s"], 20);
    assert_eq!(count(&camera.events(since), "restarting"), 0);
}

#[test]
fn a_restart_command_restarts_and_is_answered_once() {
    let folder = TempDir::new("restart");
    let cloud = Cloud::new(&folder).started();
    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url()).connected(SOON);
    let api = cloud.api();
    api.wait_for_device("porch", SOON, |device| device["presence"] == "online");
    let since = camera.event_count();
    camera.press_and_store(1, SOON);
    let command = api.send_command("porch", "restart");
    let done = api.wait_for_command("porch", command["id"].as_str().unwrap(), "done", SOON);
    let stages: Vec<_> = done["stages"].as_array().unwrap().iter().map(|one| one["stage"].clone()).collect();
    assert_eq!(stages, ["sent", "accepted", "done"]);
    // The same process id, another program: it was ready again, and takes pictures.
    let events = camera.events(since);
    assert_eq!((count(&events, "restarting"), count(&events, "ready")), (1, 1));
    let place = |kind: &str| events.iter().position(|event| event["event"] == kind);
    assert!(
        place("answer").is_some_and(|at| Some(at) < place("restarting")),
        "a press is answered first: {events:#?}"
    );
    camera.press_and_store(1, SOON);
    // It is over: neither the next connection nor the next start repeats it.
    assert!(!camera.spool().join("restart.json").exists());
    let since = camera.event_count();
    camera.kill();
    camera.start();
    camera.wait_until_connected(SOON);
    let command = api.send_command("porch", "diagnostics");
    let command = api.wait_for_command("porch", command["id"].as_str().unwrap(), "done", SOON);
    let result = &command["result"];
    // If it died before the receipt was noted on the card, it has to ask for it first.
    let waiting = result["spool"]["waiting"].as_u64();
    assert!(waiting.is_some_and(|waiting| waiting <= 1), "{result:#}");
    assert_eq!(result["line"]["connections"], 1);
    assert!(result["machine"]["up_for_s"].as_u64().unwrap() > 0);
    assert!(result.to_string().len() < 16 * 1024);
    assert_eq!(count(&camera.events(since), "restarting"), 0);
}

#[test]
fn uploads_respect_the_bandwidth_limit() {
    const RATE: u64 = 100_000;
    let folder = TempDir::new("rate");
    let cloud = Cloud::new(&folder).started();
    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url()).connected(SOON);
    let api = cloud.api();
    api.wait_for_device("porch", SOON, |device| device["presence"] == "online");
    api.set_settings("porch", &json!({"cloud.rate_bytes_per_s": RATE}));
    api.wait_for_settings("porch", "applied", SOON);
    let began = Instant::now();
    let pressed = camera.press_and_save(8, SOON);
    camera.expect_stored(&pressed, Duration::from_secs(120));
    let took = began.elapsed();
    let bytes: u64 = api.pictures("porch").iter().map(|one| one["bytes"].as_u64().unwrap()).sum();
    // One second of credit, and the last message may exceed it: one part is at most 256 KiB.
    let at_least = bytes.saturating_sub(RATE + 256 * 1024) * 1000 / RATE;
    assert!(at_least > 1000, "{bytes} bytes prove nothing");
    assert!(took.as_millis() >= u128::from(at_least), "{bytes} bytes in {took:?}");
}
