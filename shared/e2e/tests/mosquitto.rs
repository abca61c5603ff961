//! P1, P2, P3, P5 with mosquitto, killed and restarted with saved state or without: every confirmed picture is in the
//! database exactly once. No message was acknowledged and no receipt was sent before its commit.

use std::thread;
use std::time::Duration;

use keepsake_provision::servers::mosquitto::{Mosquitto, Persistence};
use keepsake_testkit::witnesses::MqttWitnesses;
use keepsake_testkit::{Appliance, Cloud, Seed, TempDir, eventually};

const PRESSES: usize = 100;
const KILLS: usize = 3;

#[test]
fn a_killed_mosquitto_without_persistence_loses_no_picture() {
    killed_and_restarted("mosquitto-forgets", Persistence::Off);
}

#[test]
fn a_killed_mosquitto_with_old_state_loses_no_picture() {
    killed_and_restarted("mosquitto-old-state", Persistence::EverySecond);
}

fn killed_and_restarted(name: &str, persistence: Persistence) {
    let mut seed = Seed::from_env_or_random(name);
    let folder = TempDir::new(name);
    let Some(mut broker) = Mosquitto::or_skip(name, &folder, persistence) else {
        return;
    };
    broker.start();
    let mut cloud = Cloud::new(&folder);
    let witnesses = MqttWitnesses::start(&mut cloud, broker.port());
    let mut camera = Appliance::new(&folder, "porch", &broker.url()).connected(Duration::from_secs(20));

    // One kill in each third of the presses, and none in the remaining ones.
    let third = PRESSES / KILLS;
    let mut kill_at: Vec<usize> = (0..KILLS).map(|n| n * third + some(&mut seed, third - 10)).collect();
    while camera.saved().len() < PRESSES {
        let saved = camera.saved().len();
        if kill_at.first().is_some_and(|at| *at <= saved) {
            kill_at.remove(0);
            if persistence == Persistence::EverySecond {
                eventually("mosquitto saves its state", Duration::from_secs(20), || {
                    broker.has_saved_state().then_some(())
                });
            }
            // While these presses are being processed.
            for _ in 0..some(&mut seed, 6) {
                camera.press();
            }
            thread::sleep(seed.duration_up_to(Duration::from_millis(200)));
            broker.kill();
            camera.press_and_save(some(&mut seed, 6), Duration::from_secs(20));
            thread::sleep(seed.duration_up_to(Duration::from_millis(700)));
            broker.start();
        }
        let presses = some(&mut seed, 5).min(PRESSES.saturating_sub(camera.saved().len()));
        camera.press_and_save(presses, Duration::from_secs(20));
    }
    assert!(kill_at.is_empty(), "not killed at {kill_at:?}");

    let confirmed = camera.saved();
    camera.expect_stored(&confirmed, Duration::from_secs(60));
    let device = cloud.api().wait_for_device("porch", Duration::from_secs(30), |device| {
        device["waiting"] == 0 && device["stored"].as_u64() >= Some(PRESSES as u64)
    });
    assert_eq!(device["missing"], 0, "{device:#}");
    assert_eq!(device["conflicts"], 0, "{device:#}");
    let found = cloud.audit(&confirmed);
    assert_eq!(found.stored, confirmed.len() as u64);
    let (receipts, acknowledged) = witnesses.verdict();
    println!(
        "{name}: {}, {} confirmed, {KILLS} kills, {found:?}, {receipts} receipts and {acknowledged} acknowledgements looked into",
        broker.version(),
        confirmed.len()
    );
    camera.stop();
    cloud.stop();
    broker.stop();
}

/// Returns a number from 1 to `most`.
fn some(seed: &mut Seed, most: usize) -> usize {
    1 + usize::try_from(seed.below(most as u64)).expect("below a number of presses")
}
