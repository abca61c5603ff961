//! P4 and P5 with more unacknowledged pictures than the queue of the cloud takes: the broker is made to wait. No
//! connection is dropped, hardly a picture is sent twice, and a camera does not wait behind the flood.
//!
//! mosquitto 2.0.11 sends up to `max_inflight_messages` more at every acknowledgement, so no broker's window bounds
//! what comes.

use std::time::Duration;

use keepsake_provision::process::eventually;
use keepsake_provision::servers::mosquitto::Mosquitto;
use keepsake_provision::skip::not_run;
use keepsake_provision::temp_dir::TempDir;
use keepsake_testkit::SOON;
use keepsake_testkit::appliance::Appliance;
use keepsake_testkit::cloud::Cloud;
use keepsake_testkit::mqtt_client::Client;
use keepsake_testkit::photos;
use keepsake_testkit::seed::Seed;

/// 180 MB, nearly three times the queue.
const PICTURES: u32 = 1200;
const PICTURE_BYTES: usize = 150_000;

#[test]
fn a_backlog_larger_than_the_queue_is_stored_over_one_connection() {
    let name = "backlog";
    let folder = TempDir::new(name);
    let Some((mut broker, mut cloud)) = broker_and_cloud(name, &folder) else {
        return;
    };
    // The broker keeps for the cloud what comes while it is away.
    cloud.start();
    cloud.stop();
    publish_pictures(name, broker.port());
    let mut camera = Appliance::new(&folder, "shed", &broker.url()).started();
    let press = camera.press_and_save(1, SOON);
    let log_before = cloud.log().len();
    cloud.start();
    camera.expect_stored(&press, SOON);
    let before_the_press = stored(&cloud);
    assert!(
        before_the_press < u64::from(PICTURES) / 2,
        "the press waited for {before_the_press} pictures of another camera"
    );
    expect_all_stored(name, &cloud, log_before, &broker);
    camera.stop();
    cloud.stop();
    broker.stop();
}

#[test]
fn a_burst_larger_than_the_queue_is_stored_over_one_connection() {
    let name = "burst";
    let folder = TempDir::new(name);
    let Some((mut broker, mut cloud)) = broker_and_cloud(name, &folder) else {
        return;
    };
    cloud.start();
    let log_before = cloud.log().len();
    publish_pictures(name, broker.port());
    expect_all_stored(name, &cloud, log_before, &broker);
    cloud.stop();
    broker.stop();
}

/// Starts a mosquitto, and returns it with a cloud that is to use it.
fn broker_and_cloud(name: &str, folder: &TempDir) -> Option<(Mosquitto, Cloud)> {
    let mut broker = Mosquitto::with_shipped_limits(folder)
        .inspect_err(|why| not_run(name, why, "install mosquitto 2"))
        .ok()?;
    broker.start();
    let cloud = Cloud::new(folder).ingesting_through(broker.port());
    Some((broker, cloud))
}

/// Publishes all pictures as a third-party camera.
fn publish_pictures(name: &str, port: u16) {
    let mut seed = Seed::from_env_or_random(name);
    let photo = photos::all(&photos::folder()).swap_remove(0);
    let mut camera = Client::connect(port, "foreign").expect("mosquitto lets clients in");
    let mut picture = photos::enlarge(&photo, PICTURE_BYTES, &mut seed);
    for number in 0..PICTURES {
        // In the noise of the first segment, so that no two are the same.
        picture[8..12].copy_from_slice(&number.to_be_bytes());
        camera.publish(b"camera/porch/image", &picture).expect("mosquitto takes a picture");
    }
}

fn stored(cloud: &Cloud) -> u64 {
    cloud.api().device("porch").map_or(0, |device| device["stored"].as_u64().unwrap_or(0))
}

/// `log_before`: the length of the cloud's log before it could read the pictures.
fn expect_all_stored(name: &str, cloud: &Cloud, log_before: usize, broker: &Mosquitto) {
    eventually("all pictures are stored", Duration::from_secs(240), || {
        (stored(cloud) == u64::from(PICTURES)).then_some(())
    });
    let log = cloud.log().split_off(log_before);
    assert!(
        !log.contains("no connection to the broker") && !log.contains("connection dropped"),
        "{log}"
    );
    let repeats = cloud.repeats();
    println!("{name}: {}, {PICTURES} pictures, {repeats} sent twice", broker.version());
    assert!(repeats * 100 < u64::from(PICTURES), "{repeats} of {PICTURES} pictures were sent twice");
}
