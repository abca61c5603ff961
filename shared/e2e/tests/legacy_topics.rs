//! Other MQTT clients can publish pictures unchanged: the lab's own script, `mosquitto_pub`, and any program that
//! publishes JPEGs to its own topic; with the embedded broker and with mosquitto.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keepsake_protocol::Hash;
use keepsake_provision::servers::mosquitto::{self, Mosquitto, Persistence};
use keepsake_provision::servers::python::Python;
use keepsake_testkit::mqtt_client::Packet;
use keepsake_testkit::mqtt_proxy::forward_packets;
use keepsake_testkit::python_client::fixture;
use keepsake_testkit::tcp_proxy::TcpProxy;
use keepsake_testkit::{Client, Cloud, Outcome, Seed, TempDir, eventually, not_run, photos, temp_dir};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn the_embedded_broker_accepts_pictures_of_other_clients() {
    let folder = TempDir::new("lab-way-embedded");
    let cloud = Cloud::new(&folder);
    let port = cloud.mqtt_port();
    accepts_pictures_of_other_clients("lab-way-embedded", cloud, port);
}

#[test]
fn mosquitto_accepts_pictures_of_other_clients() {
    let name = "lab-way-mosquitto";
    let folder = TempDir::new(name);
    let Some(mut broker) = Mosquitto::or_skip(name, &folder, Persistence::Off) else {
        return;
    };
    broker.start();
    let cloud = Cloud::new(&folder).ingesting_through(broker.port());
    accepts_pictures_of_other_clients(name, cloud, broker.port());
    broker.stop();
}

fn accepts_pictures_of_other_clients(name: &str, cloud: Cloud, port: u16) {
    let mut cloud = cloud
        .flag("--anonymous-upload=loopback")
        .flag("--topic-pattern=frigate/+/snapshot={1}")
        .flag("--capture-bytes-max=1000000");
    cloud.start();
    let photos = photos();

    if let Some(python) = Python::or_skip(name) {
        let mut script = python.script(&fixture("lab/send_image_mqtt.py"));
        run_successfully(script.arg(&photos[0]).args(["--port", &port.to_string()]));
        wait_for_pictures(&cloud, "camera", &photos[..1]);
    }

    let publish = |topic: &str, payload: &[&str]| {
        let mut command = match mosquitto::publisher() {
            Ok(command) => command,
            Err(why) => {
                not_run(name, &why, "install mosquitto-clients");
                return false;
            }
        };
        let port = port.to_string();
        let to = ["-h", "127.0.0.1", "-p", &port, "-t", topic];
        run_successfully(command.args(to).args(payload));
        true
    };
    let file = |at: usize| photos[at].to_str().expect("a path of ASCII").to_owned();
    if publish("camera/porch/image", &["-f", &file(1)]) {
        wait_for_pictures(&cloud, "porch", &photos[1..2]);
        publish("camera/porch/image", &["-q", "1", "-f", &file(2)]);
        wait_for_pictures(&cloud, "porch", &photos[1..3]);
        publish("frigate/yard/snapshot", &["-q", "1", "-f", &file(3)]);
        wait_for_pictures(&cloud, "yard", &photos[3..4]);
        // Anything that is not a picture is quarantined for its owner, and stops nothing else.
        publish("camera/porch/image", &["-q", "1", "-m", "hello"]);
        publish("camera/cloud/image", &["-q", "1", "-f", &file(3)]);
        publish("camera/Side Door/image", &["-q", "1", "-f", &file(4)]);
        wait_for_pictures(&cloud, "Side-Door", &photos[4..5]);
        let quarantine = cloud.api().json("/api/v1/quarantine");
        let reasons: BTreeSet<&str> = quarantine["quarantine"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|one| one["reason"].as_str())
            .collect();
        assert_eq!(reasons.len(), 2, "{reasons:?}");
        for says in ["neither a JPEG nor a PNG", "no camera can be called \"cloud\""] {
            assert!(reasons.iter().any(|reason| reason.contains(says)), "{reasons:?}");
        }
    }
}

#[test]
fn a_retained_picture_is_stored_once_however_often_it_is_delivered() {
    let name = "lab-way-retained";
    let folder = TempDir::new(name);
    let Some(mut broker) = Mosquitto::or_skip(name, &folder, Persistence::Off) else {
        return;
    };
    broker.start();
    let mut cloud = Cloud::new(&folder).ingesting_through(broker.port());
    let photos = photos();
    let bytes = |at: usize| std::fs::read(&photos[at]).unwrap();
    let mut sender = Client::connect(broker.port(), "doorbell").unwrap();
    let topic = b"camera/doorbell/image";
    assert_eq!(sender.publish_with(topic, &bytes(0), true).unwrap(), Outcome::Acknowledged);
    cloud.start();
    wait_for_pictures(&cloud, "doorbell", &photos[..1]);
    for round in 1..=2 {
        cloud.stop();
        cloud.start();
        sender.publish(topic, &bytes(round)).unwrap();
        wait_for_pictures(&cloud, "doorbell", &photos[..=round]);
    }
    // The same picture taken again is another one.
    sender.publish(topic, &bytes(0)).unwrap();
    wait_for_pictures(&cloud, "doorbell", &[&photos[..1], &photos[..3]].concat());
    cloud.stop();
    broker.stop();
}

/// The number of lost acknowledgements.
const LOST: usize = 3;

#[test]
fn a_picture_with_a_lost_acknowledgement_is_stored_once() {
    let name = "lab-way-lost";
    let folder = TempDir::new(name);
    let Some(mut broker) = Mosquitto::or_skip(name, &folder, Persistence::Off) else {
        return;
    };
    broker.start();
    let lost = Arc::new(AtomicUsize::new(0));
    let proxy = losing_acknowledgements(broker.port(), lost.clone());
    let mut cloud = Cloud::new(&folder).ingesting_through(proxy.port()).started();
    let photos = photos();
    let mut sender = Client::connect(broker.port(), "doorbell").unwrap();
    for (at, photo) in photos[..2].iter().enumerate() {
        let bytes = std::fs::read(photo).unwrap();
        sender.publish(b"camera/doorbell/image", &bytes).unwrap();
        wait_for_pictures(&cloud, "doorbell", &photos[..=at]);
    }
    eventually("the broker has delivered it repeatedly", SOON, || {
        (lost.load(Ordering::SeqCst) == LOST).then_some(())
    });
    sender.publish(b"camera/doorbell/image", &std::fs::read(&photos[2]).unwrap()).unwrap();
    wait_for_pictures(&cloud, "doorbell", &photos[..3]);
    cloud.stop();
    broker.stop();
}

/// Starts a proxy before the broker whose connections break at each of the first acknowledgements.
fn losing_acknowledgements(broker_port: u16, lost: Arc<AtomicUsize>) -> TcpProxy {
    TcpProxy::start(broker_port, move |cloud, broker| {
        let to_broker = |packet: &Packet| {
            let count = |n| (n < LOST).then_some(n + 1);
            if packet.acknowledges().is_some() && lost.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count).is_ok() {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            packet.write(broker)
        };
        forward_packets(cloud, broker, |packet| packet.write(cloud), to_broker)
    })
}

const SNAPSHOTS: usize = 60;

#[test]
fn a_killed_cloud_loses_no_snapshot_that_the_broker_has_and_doubles_none() {
    let name = "lab-way-killed";
    let mut seed = Seed::from_env_or_random(name);
    let folder = TempDir::new(name);
    let Some(mut broker) = Mosquitto::or_skip(name, &folder, Persistence::Off) else {
        return;
    };
    broker.start();
    let mut cloud = Cloud::new(&folder).ingesting_through(broker.port());
    // From now on its session exists, and the broker keeps what it misses.
    cloud.start();
    let photo = std::fs::read(&photos()[0]).unwrap();
    let mut sender = Client::connect(broker.port(), "doorbell").unwrap();
    let mut sent = Vec::new();
    for n in 0..SNAPSHOTS {
        let picture = photos::enlarge(&photo, photo.len() + 1000 + n, &mut seed);
        sent.push(Hash::of(&picture).to_string());
        let outcome = sender.publish(b"camera/doorbell/image", &picture).unwrap();
        assert_eq!(outcome, Outcome::Acknowledged);
        if n % 20 == 10 {
            std::thread::sleep(seed.duration_up_to(Duration::from_millis(100)));
            cloud.kill();
            cloud.launch();
        }
    }
    sent.sort();
    let stored = || {
        let mut hashes = hashes_of(&cloud, "doorbell")?;
        hashes.sort();
        Some(hashes)
    };
    eventually("every snapshot is stored", Duration::from_secs(60), || {
        (stored()?.len() >= SNAPSHOTS).then_some(())
    });
    assert_eq!(stored(), Some(sent));
    println!("{name}: {SNAPSHOTS} snapshots, 3 kills, 0 lost, 0 doubled");
    cloud.stop();
    broker.stop();
}

fn photos() -> Vec<PathBuf> {
    let mut photos = temp_dir::files(&photos::folder());
    photos.retain(|file| file.extension().is_some_and(|kind| kind == "jpg"));
    assert!(photos.len() >= 5);
    photos
}

fn run_successfully(command: &mut Command) {
    let done = command.stdin(Stdio::null()).output().expect("a program that runs");
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {error}");
}

/// Waits until exactly these pictures of the camera are in the cloud.
fn wait_for_pictures(cloud: &Cloud, device: &str, photos: &[PathBuf]) {
    let hash = |photo: &PathBuf| Hash::of(&std::fs::read(photo).unwrap()).to_string();
    let mut expected: Vec<String> = photos.iter().map(hash).collect();
    expected.sort();
    eventually(&format!("{} pictures of {device}", photos.len()), SOON, || {
        (hashes_of(cloud, device)?.len() >= expected.len()).then_some(())
    });
    let mut stored = hashes_of(cloud, device).expect("an answer, as just before");
    stored.sort();
    assert_eq!(stored, expected, "pictures of {device}");
}

fn hashes_of(cloud: &Cloud, device: &str) -> Option<Vec<String>> {
    let (status, body) = cloud.api().get(&format!("/api/v1/pictures?device={device}&limit=500")).ok()?;
    if status != 200 {
        return None;
    }
    let page: serde_json::Value = serde_json::from_slice(&body).ok()?;
    let hash = |picture: &serde_json::Value| picture["hash"].as_str().map(str::to_owned);
    page["pictures"].as_array()?.iter().map(hash).collect()
}
