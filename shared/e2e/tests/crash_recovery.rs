//! P1, P2, P3, P5: whichever program is killed at any time, every confirmed capture is in the database exactly once,
//! and no message was acknowledged and no receipt was sent before its commit. With MQTT and with HTTP.

use std::thread;
use std::time::Duration;

use keepsake_provision::temp_dir::TempDir;
use keepsake_testkit::appliance::Appliance;
use keepsake_testkit::cloud::Cloud;
use keepsake_testkit::http_proxy::HttpProxy;
use keepsake_testkit::ledger::{Audit, audit};
use keepsake_testkit::mqtt_proxy::MqttProxy;
use keepsake_testkit::photos;
use keepsake_testkit::receipt_observer::ReceiptObserver;
use keepsake_testkit::seed::Seed;

const PRESSES: usize = 300;

#[test]
fn every_picture_is_stored_once_over_kills() {
    kill_and_restart("kills", &[], Proxy::mqtt);
}

#[test]
fn every_picture_in_parts_is_stored_once_over_kills() {
    let small = ["cloud.part_bytes_max=16384"];
    kill_and_restart("kills-parts", &small, Proxy::mqtt);
}

#[test]
fn every_http_picture_is_stored_once_over_kills() {
    kill_and_restart("kills-http", &[], Proxy::http);
}

#[test]
fn every_http_picture_in_parts_is_stored_once_over_kills() {
    let small = ["cloud.part_bytes_max=16384"];
    kill_and_restart("kills-http-parts", &small, Proxy::http);
}

/// The proxy between camera and cloud, which checks every acknowledgement and receipt, and sometimes cuts the
/// connection.
enum Proxy {
    Mqtt(MqttProxy, Option<ReceiptObserver>),
    Http(HttpProxy),
}

impl Proxy {
    fn mqtt(cloud: &mut Cloud) -> Self {
        let proxy = MqttProxy::start(cloud.mqtt_port(), cloud.database());
        cloud.ingest_through(proxy.port());
        Self::Mqtt(proxy, None)
    }

    fn http(cloud: &mut Cloud) -> Self {
        Self::Http(HttpProxy::start(cloud.http_port(), cloud.database()))
    }

    fn url(&self, cloud: &Cloud) -> String {
        match self {
            Self::Mqtt(..) => cloud.mqtt_url(),
            Self::Http(web) => web.url(),
        }
    }

    fn watch(&mut self, cloud: &Cloud) {
        if let Self::Mqtt(_, observer) = self {
            let watching = ReceiptObserver::start(cloud.mqtt_port(), cloud.database());
            watching.wait_until_subscribed(Duration::from_secs(20));
            *observer = Some(watching);
        }
    }

    fn cut(&self) {
        match self {
            Self::Mqtt(proxy, _) => proxy.cut(),
            Self::Http(web) => web.cut(),
        }
    }

    fn verdict(self) -> String {
        match self {
            Self::Mqtt(proxy, observer) => {
                let receipts = observer.expect("it watched").verdict();
                let acknowledged = proxy.verdict();
                format!("{receipts} receipts and {acknowledged} acknowledgements checked")
            }
            Self::Http(web) => format!("{} receipts checked", web.verdict()),
        }
    }
}

fn kill_and_restart(name: &str, settings: &[&str], start_proxy: fn(&mut Cloud) -> Proxy) {
    let mut seed = Seed::from_env_or_random(name);
    let folder = TempDir::new(name);
    let mut cloud = Cloud::new(&folder);
    let mut proxy = start_proxy(&mut cloud);
    let mut camera = Appliance::new(&folder, "porch", &proxy.url(&cloud));
    for setting in settings {
        camera.change(setting);
    }
    cloud.start();
    if let Proxy::Http(_) = proxy {
        camera.change(&cloud.camera_token("porch"));
    }
    proxy.watch(&cloud);
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
            proxy.cut();
        }
        if seed.one_in(6) {
            thread::sleep(seed.duration_up_to(Duration::from_millis(150)));
            cloud.kill();
            kills += 1;
        } else if !cloud.is_running() && seed.one_in(2) {
            restart(&mut seed, &mut kills, &mut cloud, Cloud::launch_only, Cloud::kill);
            cloud.start();
        }
        if !camera.is_running() {
            restart(&mut seed, &mut kills, &mut camera, Appliance::launch, Appliance::kill);
            camera.start();
        } else if kills == before {
            camera.expect("every press saved", since, Duration::from_secs(60), |said| {
                let saved = said.iter().filter(|event| event["event"] == "saved");
                (saved.count() >= presses).then_some(())
            });
        }
    }
    if !cloud.is_running() {
        cloud.start();
    }

    let (confirmed, found) = check_counts(&cloud, &camera, pressed);
    let checked = proxy.verdict();
    println!("{name}: {pressed} pressed, {confirmed} confirmed, {kills} kills, {found:?}, {checked}",);
    camera.stop();
    cloud.stop();
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
    let found = audit(&cloud.store(), &confirmed, &photos::all(&photos::folder()));
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
