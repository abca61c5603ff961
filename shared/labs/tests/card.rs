//! P1 and "no number twice" on a card that fails. The long runs are `cargo xtask chaos --card 500`.

use std::time::Duration;

use keepsake_labs::card;
use keepsake_provision::temp_dir::TempDir;
use keepsake_testkit::seed::Seed;
use keepsake_testkit::{Appliance, Cloud, SOON};
use serde_json::json;

const RUNS: u64 = 20;

#[test]
fn whatever_fails_on_the_card_no_confirmed_capture_is_given_up() {
    let first = Seed::from_env_or_random("card").below(1 << 32);
    let seeds: Vec<u64> = (first..first + RUNS).collect();
    let folder = TempDir::new("card");
    let counts = card::run(&seeds, 4, &folder);
    println!("{counts:?}");
    assert!(counts.violations.is_empty(), "{}", counts.violations.join("\n\n"));
    assert!(counts.failed_calls > 0 && counts.confirmed > 0, "the runs prove nothing");
}

/// An LED that shows "ready" on a card that takes nothing would lie.
#[test]
fn a_dead_card_stays_a_fault_until_a_picture_is_saved() {
    let folder = TempDir::new("dead-card");
    let mut cloud = Cloud::new(&folder).started();
    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url());
    let pattern = format!("{}/frames/*", camera.spool().display());
    card::fail_calls(&mut camera, &card::compile_library(&folder), &format!("open {pattern} {} 0 4", libc::EIO));
    camera.start();
    camera.wait_until_connected(SOON);
    let since = camera.event_count();
    camera.press();
    camera.expect_event(since, SOON, &json!({"event": "refused"}));
    // The five short blinks with the number of the fault, and then the fault itself.
    camera.expect_event(since, SOON, &json!({"event": "light", "pattern": "fault-6"}));
    std::thread::sleep(Duration::from_secs(3));
    let shown = camera.events(since);
    assert!(!shown.iter().any(|event| event["pattern"] == "ready"), "{shown:#?}");
    let is_refused = |camera: &mut Appliance| {
        let since = camera.event_count();
        camera.press();
        camera.expect("an answer", since, SOON, |events| {
            events.iter().find_map(|event| match event["event"].as_str() {
                Some("refused") => Some(true),
                Some("saved") => Some(false),
                _ => None,
            })
        })
    };
    while is_refused(&mut camera) {}
    camera.expect_event(since, SOON, &json!({"event": "light", "pattern": "ready"}));
    camera.stop();
    cloud.stop();
}
