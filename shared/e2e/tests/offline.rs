//! P1, P2, P4: a thousand presses without a broker are a normal day. Every press is answered, memory stays small, two
//! power cuts lose nothing, and once there is a broker everything is uploaded.

use std::collections::BTreeSet;
use std::time::Duration;

use keepsake_provision::process::peak_memory_bytes;
use keepsake_testkit::{Appliance, Cloud, TempDir};
use serde_json::Value;

const PRESSES: usize = 1000;
const MEMORY_MAX: u64 = 48 << 20;

#[test]
fn a_thousand_presses_without_a_broker_are_all_stored_later() {
    let folder = TempDir::new("offline");
    let mut cloud = Cloud::new(&folder);
    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url());
    let mut memory = 0;

    // Three runs, the first two ended by SIGKILL during presses.
    for (run, until) in [PRESSES / 3, PRESSES * 2 / 3, PRESSES].into_iter().enumerate() {
        camera.start();
        let start = camera.event_count();
        while camera.saved().len() < until {
            let presses = (until - camera.saved().len()).min(10);
            camera.press_and_save(presses, Duration::from_secs(60));
        }
        if run < 2 {
            memory = memory.max(peak_memory_bytes(camera.pid()));
            for _ in 0..5 {
                camera.press();
            }
            camera.kill();
        } else {
            every_press_is_answered(&camera, start);
        }
    }
    let confirmed = camera.saved();
    assert!(confirmed.len() >= PRESSES);

    cloud.start();
    let device = cloud.api().wait_for_device("porch", Duration::from_secs(180), |device| {
        device["waiting"] == 0 && device["stored"].as_u64() >= Some(PRESSES as u64)
    });
    assert_eq!(device["missing"], 0, "{device:#}");
    let found = cloud.audit(&confirmed);
    memory = memory.max(peak_memory_bytes(camera.pid()));
    println!("offline: {found:?}, {} MiB at the most", memory >> 20);
    assert!(memory <= MEMORY_MAX, "the camera needed {} MiB (P4)", memory >> 20);
}

/// Checks that every press of this run was answered with two short: safe on the card.
fn every_press_is_answered(camera: &Appliance, start: usize) {
    let numbers = |events: &[Value], kind: &str, field: &str| -> BTreeSet<u64> {
        events.iter()
            .filter(|event| event["event"] == kind)
            // One number, or a list of them.
            .flat_map(|event| match event[field].as_array() {
                Some(all) => all.iter().filter_map(Value::as_u64).collect(),
                None => Vec::from_iter(event[field].as_u64()),
            })
            .collect()
    };
    let pressed = numbers(&camera.events(start), "pressed", "press");
    assert!(pressed.len() >= PRESSES / 3, "{} presses seen", pressed.len());
    camera.expect("an answer to every press", start, Duration::from_secs(30), |events| {
        let kept: Vec<Value> = events
            .iter()
            .filter(|event| event["event"] == "answer" && event["answer"] == "kept")
            .cloned()
            .collect();
        pressed.is_subset(&numbers(&kept, "answer", "presses")).then_some(())
    });
}
