//! Honest time, end to end: whatever the clock of a camera showed, the stated time of each picture contains the true
//! one.

use std::fs;
use std::time::Duration;

use keepsake_testkit::api::Api;
use keepsake_testkit::clock::SimulatedClock;
use keepsake_testkit::{Appliance, CaptureKey, Cloud, SOON, TempDir, eventually};
use serde_json::Value;

const HOUR: Duration = Duration::from_secs(3600);
const DAY_US: i64 = 24 * 3600 * 1_000_000;
const S: i64 = 1_000_000;

/// A capture, and the true times before and after its press.
struct Pressed {
    capture: CaptureKey,
    from_us: i64,
    to_us: i64,
}

fn press(camera: &mut Appliance, clock: &SimulatedClock, n: usize) -> Vec<Pressed> {
    (0..n)
        .map(|_| {
            let from_us = clock.true_us();
            let saved = camera.press_and_save(1, SOON);
            Pressed { capture: saved[0], from_us, to_us: clock.true_us() }
        })
        .collect()
}

fn expect_stored(camera: &Appliance, all: &[Pressed]) {
    let captures: Vec<CaptureKey> = all.iter().map(|pressed| pressed.capture).collect();
    camera.expect_stored(&captures, SOON);
}

/// Waits until the camera, which checks its clock once a second, has seen the last change.
fn wait_for_clock_check() {
    std::thread::sleep(Duration::from_millis(2200));
}

/// Returns the boot lines and faults on the card that have no receipt yet, and the known boots.
fn notes(camera: &Appliance) -> Value {
    let text = fs::read_to_string(camera.spool().join("notes")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn wait_for_receipts_of_events(camera: &Appliance) {
    eventually("receipts for all events", SOON, || {
        notes(camera)["events"].as_array()?.is_empty().then_some(())
    });
}

fn wait_for_boot_lines(camera: &Appliance, lines: usize) {
    eventually("boot lines on the card", SOON, || {
        let notes = notes(camera);
        let waiting = notes["events"].as_array()?.iter();
        let boots = waiting.filter(|event| event.as_str().is_some_and(|json| json.contains(r#""kind":"boot""#)));
        (boots.count() >= lines).then_some(())
    });
}

fn capture_time(api: &Api, pressed: &Pressed) -> Value {
    let all = api.pictures("porch");
    let picture = all
        .iter()
        .find(|picture| {
            picture["sequence"] == pressed.capture.sequence && picture["spool"] == pressed.capture.spool.to_string()
        })
        .expect("the picture is stored");
    picture["taken"].clone()
}

/// Checks that the stated time of each picture contains the true one, and returns the stated times.
#[track_caller]
fn check_intervals(api: &Api, all: &[Pressed]) -> Vec<Value> {
    let stated: Vec<Value> = all.iter().map(|pressed| capture_time(api, pressed)).collect();
    for (pressed, time) in all.iter().zip(&stated) {
        let latest = time["latest_us"].as_i64().unwrap();
        let earliest = time["earliest_us"].as_i64().unwrap_or(i64::MIN);
        let contains = earliest <= pressed.to_us && pressed.from_us <= latest;
        assert!(contains, "{time} does not contain {} to {}", pressed.from_us, pressed.to_us);
    }
    stated
}

fn width_us(time: &Value) -> i64 {
    time["latest_us"].as_i64().unwrap() - time["earliest_us"].as_i64().unwrap()
}

#[test]
fn a_camera_that_never_saw_the_time_lies_between_what_the_cloud_knows() {
    let folder = TempDir::new("time-never");
    let mut cloud = Cloud::new(&folder);
    let clock = SimulatedClock::new(&folder, Duration::ZERO);
    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url()).by_the_clock(&clock).started();
    let mut all = press(&mut camera, &clock, 2);
    cloud.start();
    expect_stored(&camera, &all);
    all.extend(press(&mut camera, &clock, 2));
    expect_stored(&camera, &all);

    let stated = check_intervals(&cloud.api(), &all);
    assert!(stated.iter().all(|time| time["state"] == "estimated"));
    // By then it knows the cloud's clock, and an upload takes no longer than that.
    assert!(width_us(&stated[3]) < 30 * S, "{}", stated[3]);
}

#[test]
fn the_time_learnt_an_hour_later_corrects_fifty_pictures_and_survives_a_power_cut() {
    let folder = TempDir::new("time-later");
    let mut cloud = Cloud::new(&folder);
    let mut clock = SimulatedClock::new(&folder, HOUR);
    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url()).by_the_clock(&clock).started();
    let all = press(&mut camera, &clock, 50);
    clock.advance(HOUR);
    clock.synchronize(0);
    wait_for_boot_lines(&camera, 1);
    // The program ends before anything is reported.
    camera.kill();
    cloud.start();
    camera.start();
    expect_stored(&camera, &all);
    wait_for_receipts_of_events(&camera);
    let stated = check_intervals(&cloud.api(), &all);
    for time in &stated {
        assert_eq!(time["state"], "corrected");
        // 500 millionths of an hour to either side, and the error that the camera reported.
        assert!(width_us(time) < 5 * S, "{time}");
    }
}

#[test]
fn stored_pictures_are_corrected_too() {
    let folder = TempDir::new("time-stored");
    let cloud = Cloud::new(&folder).started();
    let mut clock = SimulatedClock::new(&folder, Duration::ZERO);
    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url()).by_the_clock(&clock).started();
    let all = press(&mut camera, &clock, 3);
    expect_stored(&camera, &all);
    let before = check_intervals(&cloud.api(), &all);
    assert!(before.iter().all(|time| time["state"] == "estimated"));

    clock.synchronize(0);
    eventually("all of them corrected", SOON, || {
        let after = all.iter().map(|pressed| capture_time(&cloud.api(), pressed));
        after.into_iter().all(|time| time["state"] == "corrected").then_some(())
    });
    let after = check_intervals(&cloud.api(), &all);
    assert!(after.iter().all(|time| width_us(time) < S), "{after:?}");
}

#[test]
fn a_clock_set_back_by_a_day_is_not_trusted() {
    let folder = TempDir::new("time-back");
    let cloud = Cloud::new(&folder).started();
    let mut clock = SimulatedClock::new(&folder, Duration::ZERO);
    clock.synchronize(0);
    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url()).by_the_clock(&clock).started();
    wait_for_clock_check();
    let mut all = press(&mut camera, &clock, 2);
    clock.synchronize(-DAY_US);
    wait_for_clock_check();
    all.extend(press(&mut camera, &clock, 2));
    expect_stored(&camera, &all);
    eventually("receipts for both lines", SOON, || {
        let notes = notes(&camera);
        let lines = notes["history"]["boots"][0]["lines"].as_array()?.len();
        (lines == 2 && notes["events"].as_array()?.is_empty()).then_some(())
    });
    for time in check_intervals(&cloud.api(), &all) {
        assert_eq!(time["state"], "estimated");
        assert_eq!(time["contradicted"], true);
    }

    // One day back from the start of the next boot: its clock is consistent in itself, but not with the notes on the
    // card.
    camera.stop();
    clock.boot();
    clock.synchronize(-DAY_US);
    camera.start();
    wait_for_clock_check();
    let next = press(&mut camera, &clock, 1);
    expect_stored(&camera, &next);
    let stated = check_intervals(&cloud.api(), &next);
    assert_eq!(stated[0]["contradicted"], true);
}

#[test]
fn two_boots_without_time_lie_between_the_two_that_had_it() {
    let folder = TempDir::new("time-boots");
    let mut cloud = Cloud::new(&folder);
    let mut clock = SimulatedClock::new(&folder, 5 * HOUR);
    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url()).by_the_clock(&clock);
    let mut all = Vec::new();

    clock.synchronize(0);
    camera.start();
    wait_for_clock_check();
    all.extend(press(&mut camera, &clock, 1));
    let known_us = clock.true_us();
    for _ in 0..2 {
        camera.stop();
        clock.advance(HOUR);
        clock.boot();
        camera.start();
        all.extend(press(&mut camera, &clock, 2));
    }
    // The last boot without time.
    camera.kill();
    clock.advance(HOUR);
    clock.boot();
    let begun_us = clock.true_us();
    camera.start();
    clock.synchronize(0);
    wait_for_boot_lines(&camera, 4);
    all.extend(press(&mut camera, &clock, 1));
    clock.advance(2 * HOUR);
    cloud.start();
    expect_stored(&camera, &all);
    wait_for_receipts_of_events(&camera);

    let stated = check_intervals(&cloud.api(), &all);
    let states: Vec<&str> = stated.iter().filter_map(|time| time["state"].as_str()).collect();
    assert_eq!(
        states,
        ["synchronised", "estimated", "estimated", "estimated", "estimated", "synchronised"]
    );
    // Not before the time that was known last, and not after the boot that knew it again.
    for time in &stated[1..5] {
        assert!(time["earliest_us"].as_i64().unwrap() >= known_us - 10 * S, "{time}");
        assert!(time["latest_us"].as_i64().unwrap() <= begun_us + 10 * S, "{time}");
    }
}
