//! P1, P2, P3, P5: whichever program is killed at any time, every confirmed capture is in the database exactly once,
//! and no message was acknowledged and no receipt was sent before its commit. With MQTT and with HTTP.

use std::thread;
use std::time::Duration;

use keepsake_testkit::witnesses::Witnesses;
use keepsake_testkit::{Appliance, Audit, Cloud, SOON, Seed, TempDir, count};

const PRESSES: usize = 300;

#[test]
fn every_picture_is_stored_once_over_kills() {
    kill_and_restart("kills", true, &[]);
}

#[test]
fn every_picture_in_parts_is_stored_once_over_kills() {
    kill_and_restart("kills-parts", true, &["cloud.part_bytes_max=16384"]);
}

#[test]
fn every_http_picture_is_stored_once_over_kills() {
    kill_and_restart("kills-http", false, &[]);
}

#[test]
fn every_http_picture_in_parts_is_stored_once_over_kills() {
    kill_and_restart("kills-http-parts", false, &["cloud.part_bytes_max=16384"]);
}

fn kill_and_restart(name: &str, with_mqtt: bool, settings: &[&str]) {
    let mut seed = Seed::from_env_or_random(name);
    let folder = TempDir::new(name);
    let mut cloud = Cloud::new(&folder);
    let broker_port = with_mqtt.then_some(cloud.mqtt_port());
    let witnesses = Witnesses::start(&mut cloud, broker_port);
    let mut camera = Appliance::new(&folder, "porch", &witnesses.url());
    for setting in settings {
        camera.change(setting);
    }
    if !with_mqtt {
        camera.change(&cloud.camera_token("porch"));
    }
    camera.start();

    let (mut pressed, mut kills) = (0, 0);
    while camera.saved().len() < PRESSES {
        let since = camera.event_count();
        let presses = 1 + usize::try_from(seed.below(8)).expect("below 8");
        for _ in 0..presses {
            camera.press();
        }
        pressed += presses;
        let before = kills;
        if seed.one_in(5) {
            // While these presses are being processed.
            thread::sleep(seed.duration_up_to(Duration::from_millis(150)));
            camera.kill();
            kills += 1;
        }
        if seed.one_in(8) {
            // An acknowledgement from before must not count for a message from after.
            thread::sleep(seed.duration_up_to(Duration::from_millis(50)));
            witnesses.cut();
        }
        if seed.one_in(6) {
            thread::sleep(seed.duration_up_to(Duration::from_millis(150)));
            cloud.kill();
            kills += 1;
        } else if !cloud.is_running() && seed.one_in(2) {
            restart(&mut seed, &mut kills, &mut cloud, Cloud::launch, |cloud| cloud.kill());
            cloud.start();
        }
        if !camera.is_running() {
            restart(&mut seed, &mut kills, &mut camera, Appliance::launch, |camera| camera.kill());
            camera.start();
        } else if kills == before {
            camera.expect("every press saved", since, SOON, |events| {
                (count(events, "saved") >= presses).then_some(())
            });
        }
    }
    if !cloud.is_running() {
        cloud.start();
    }

    let (confirmed, found) = check_counts(&cloud, &camera, pressed);
    let (receipts, acknowledgements) = witnesses.verdict();
    println!(
        "{name}: {pressed} pressed, {confirmed} confirmed, {kills} kills, {found:?}, checked {receipts} receipts and \
         {acknowledgements} acknowledgements"
    );
}

/// Waits until everything has arrived, compares camera, cloud and database, and returns the number of confirmed
/// captures and the audit.
fn check_counts(cloud: &Cloud, camera: &Appliance, pressed: usize) -> (usize, Audit) {
    let device = cloud.api().wait_for_device("porch", Duration::from_secs(180), |device| {
        device["waiting"] == 0 && device["held"] == 0 && device["pressed"].as_u64() >= Some(PRESSES as u64)
    });
    assert_eq!(device["missing"], 0, "{device:#}");
    assert_eq!(device["conflicts"], 0, "{device:#}");

    let confirmed = camera.saved();
    let found = cloud.audit(&confirmed);
    assert_eq!(device["stored"], found.stored, "{device:#}");
    assert!(
        found.stored + found.tombstones <= pressed as u64,
        "{pressed} presses cannot make {found:?}"
    );
    (confirmed.len(), found)
}

/// Starts a program again, and sometimes kills it once more while it starts.
fn restart<T>(seed: &mut Seed, kills: &mut u64, program: &mut T, launch: fn(&mut T), kill: fn(&mut T)) {
    if seed.one_in(4) {
        launch(program);
        thread::sleep(seed.duration_up_to(Duration::from_millis(200)));
        kill(program);
        *kills += 1;
    }
}
