//! mosquitto as `cloud/deploy/mosquitto` configures it: cameras upload over TLS with a password or a certificate, are
//! restricted to their own topics, and trust no other broker. A connection fault is reported once, retried forever,
//! and recovers by itself.

use std::fs;
use std::path::Path;
use std::time::Duration;

use keepsake_provision::servers::mosquitto::{self, Release};
use keepsake_testkit::shipped_mosquitto_config::ShippedMosquitto;
use keepsake_testkit::test_ca::{TestCa, Validity};
use keepsake_testkit::{Appliance, Client, Cloud, Outcome, TempDir, count, eventually, not_run};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);

#[test]
fn the_shipped_files_isolate_cameras_with_the_systems_mosquitto() {
    cameras_are_isolated("deployed-system", Release::System);
}

#[test]
fn the_shipped_files_isolate_cameras_with_the_newest_mosquitto() {
    cameras_are_isolated("deployed-newest", Release::Newest);
}

fn cameras_are_isolated(name: &str, release: Release) {
    let folder = TempDir::new(name);
    let Some(mut deployed) = ShippedMosquitto::or_skip(name, &folder, release) else {
        return;
    };
    let porch_password = deployed.add_user("porch", "one for the porch");
    deployed.broker.start();

    let ca = deployed.ca.certificate();
    let mut cloud = cloud_elsewhere(&folder, &deployed);
    cloud.start();

    let mut porch = deployed.password_camera(&folder, "porch", &porch_password);
    let shed_identity = deployed.ca.client("shed");
    let mut shed = camera(&folder, "shed", &url(deployed.certificate_port), &ca)
        .set(&format!("cloud.cert_file={}", shed_identity.certificate.display()))
        .set(&format!("cloud.key_file={}", shed_identity.key.display()));
    porch.start();
    shed.start();

    // A client with the porch's password subscribes to everything, and gets only the porch's messages.
    let mut spy =
        Client::connect_as(deployed.plain_port, "spy", "porch", "one for the porch").expect("a name and its password");
    for filter in ["#", "keepsake/v1/+/down/#", "keepsake/v1/shed/#", "keepsake/v1/shed/down/receipt"] {
        // 2.0 grants a subscription and then delivers nothing.
        let _ = spy.subscribe(filter);
    }
    spy.subscribe("keepsake/v1/porch/down/#").expect("its own");

    let mut confirmed = shed.press_and_save(3, SOON);
    shed.expect_stored(&confirmed, SOON);
    confirmed.extend(porch.press_and_save(3, SOON));
    porch.expect_stored(&confirmed[3..], SOON);
    let found = cloud.audit(&confirmed);
    assert_eq!(found.stored, 6);
    let mut receipts = 0;
    while receipts == 0 {
        let heard = spy.next_publication().expect("the porch's own receipts");
        assert!(heard.topic.starts_with("keepsake/v1/porch/down/"), "{}", heard.topic);
        receipts += u32::from(heard.topic.ends_with("/receipt"));
    }

    // The broker acknowledges it and drops it.
    for topic in ["keepsake/v1/shed/up/event", "keepsake/v1/porch/up/event"] {
        let outcome = spy.publish(topic.as_bytes(), topic.as_bytes()).unwrap();
        assert_eq!(outcome, Outcome::Acknowledged);
    }
    let quarantined = eventually("the porch's nonsense is in quarantine", SOON, || {
        let all = cloud.api().json("/api/v1/quarantine")["quarantine"].clone();
        (!all.as_array()?.is_empty()).then_some(all)
    });
    let devices: Vec<&Value> = quarantined.as_array().unwrap().iter().map(|one| &one["device"]).collect();
    assert_eq!(devices, ["porch"]);

    println!("{name}: {}, {found:?}", deployed.broker.version());
    porch.stop();
    shed.stop();
    cloud.stop();
    deployed.broker.stop();
}

#[test]
fn a_wrong_password_is_reported_once_and_the_right_one_needs_no_restart() {
    let name = "deployed-password";
    let folder = TempDir::new(name);
    let Some(mut deployed) = ShippedMosquitto::or_skip(name, &folder, Release::System) else {
        return;
    };
    let cloud_password = deployed.add_user("cloud", "right");
    let porch_password = deployed.add_user("porch", "right");
    let write_wrong = |file: &Path| fs::write(file, "hunter2\n").unwrap();
    let write_right = |file: &Path| fs::write(file, "right\n").unwrap();
    write_wrong(&cloud_password);
    write_wrong(&porch_password);
    deployed.broker.start();

    let mut cloud = deployed.local_cloud(&folder, &cloud_password);
    cloud.launch();
    cloud.api().wait_until_up(SOON);
    expect_not_ready(&cloud, "the broker refuses the cloud's name or password");

    let mut porch = deployed.password_camera(&folder, "porch", &porch_password);
    porch.start();
    let confirmed = porch.press_and_save(1, SOON);
    expect_reported_once(&porch, "refuses this camera's name or password");

    write_right(&cloud_password);
    write_right(&porch_password);
    porch.expect_stored(&confirmed, SOON);
    for log in [porch.log(), cloud.log()] {
        assert!(!log.contains("hunter2"), "{log}");
    }
    porch.stop();
    cloud.stop();
    deployed.broker.stop();
}

#[test]
fn an_untrusted_broker_gets_nothing() {
    let name = "deployed-untrusted";
    let folder = TempDir::new(name);
    let Some(mut deployed) = ShippedMosquitto::or_skip(name, &folder, Release::System) else {
        return;
    };
    let porch_password = deployed.add_user("porch", "right");
    let ca = folder.join("trusted.crt");
    let right = || fs::copy(deployed.ca.certificate(), &ca).unwrap();
    let stranger = TestCa::new(&folder.join("stranger"), "another CA");
    let remade = TestCa::new(&folder.join("remade"), "Keepsake CA");
    let names = ["localhost", "127.0.0.1"];
    let expired = deployed.ca.server("expired", &names, Validity::Past);
    let early = deployed.ca.server("early", &names, Validity::Future);
    let other = deployed.ca.server("other", &["elsewhere.example"], Validity::Now);
    let good = deployed.ca.server("good", &names, Validity::Now);

    right();
    let mut porch = camera(&folder, "porch", &url(deployed.password_port), &ca)
        .set("cloud.user=porch")
        .set(&format!("cloud.password_file={}", porch_password.display()));
    for (shown, reason) in [
        (&expired, "its certificate expired"),
        (&early, "the clock of this computer, which may be wrong"),
        (&other, "is for elsewhere.example, not for localhost"),
    ] {
        deployed.replace_certificate(shown);
        deployed.broker.start();
        porch.start();
        expect_reported_once(&porch, reason);
        porch.stop();
        deployed.broker.stop();
    }
    // The right certificate, but the camera trusts another CA: fixed while it runs.
    deployed.replace_certificate(&good);
    deployed.broker.start();
    for (trusted, reason) in [(&stranger, "signed by an unknown CA"), (&remade, "was the CA replaced?")] {
        fs::copy(trusted.certificate(), &ca).unwrap();
        porch.start();
        expect_reported_once(&porch, reason);
        right();
        porch.wait_until_connected(SOON);
        porch.stop();
    }

    let mut hasty = camera(&folder, "hasty", &url(deployed.plain_port), &ca);
    hasty.start();
    hasty.press_and_save(1, SOON);
    eventually("the log says that there is no TLS", SOON, || {
        hasty.log().contains("plaintext port?").then_some(())
    });
    hasty.stop();
    let mut nobody = camera(&folder, "nobody", &url(deployed.certificate_port), &ca);
    nobody.start();
    expect_reported_once(&nobody, "requires a client certificate");
    nobody.stop();
    deployed.broker.stop();
}

/// The password and the certificate of one camera cannot end another client's session, whatever its client id.
#[test]
fn a_cameras_credentials_cannot_disconnect_the_cloud_or_another_camera() {
    let name = "deployed-eviction";
    let folder = TempDir::new(name);
    let Some(mut deployed) = ShippedMosquitto::or_skip(name, &folder, Release::System) else {
        return;
    };
    if let Err(why) = mosquitto::publisher() {
        return not_run(name, &why, "install mosquitto-clients");
    }
    deployed.add_user("porch", "of the porch");
    let shed_password = deployed.add_user("shed", "of the shed");
    deployed.broker.start();
    let ca = deployed.ca.certificate();
    let mut cloud = cloud_elsewhere(&folder, &deployed);
    cloud.start();
    let mut shed = deployed.password_camera(&folder, "shed", &shed_password);
    shed.start();
    let mut confirmed = shed.press_and_save(1, SOON);
    shed.expect_stored(&confirmed, SOON);

    let porch = deployed.ca.client("porch");
    let as_client = |port: u16, client_id: &str, credentials: &[&str]| {
        mosquitto::publisher()
            .expect("it was found before")
            .args(["-h", "localhost", "-p", &port.to_string(), "-i", client_id])
            .args(["--cafile", &ca.display().to_string()])
            .args(credentials)
            .args(["-q", "1", "-t", "keepsake/v1/porch/up/none", "-m", "none"])
            .output()
            .expect("run mosquitto_pub")
    };
    let [certificate, key] = [&porch.certificate, &porch.key].map(|file| file.display().to_string());
    let password: &[&str] = &["-u", "porch", "-P", "of the porch"];
    let certificate: &[&str] = &["--cert", &certificate, "--key", &key];
    let store = cloud.api().json("/api/v1/system")["store"].as_str().expect("an id")[..8].to_owned();
    let shed_id = format!("shed.{}", &confirmed[0].spool.to_string()[..8]);
    let own = ["frames", "external", "control"].map(|role| format!("cloud.{role}.{store}"));
    for client_id in own.iter().chain([&shed_id]) {
        for (port, credentials) in [(deployed.password_port, password), (deployed.certificate_port, certificate)] {
            let done = as_client(port, client_id, credentials);
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        let refused = as_client(deployed.cloud_port, client_id, certificate);
        assert!(!refused.status.success(), "the cloud's listener accepts a camera");
    }
    confirmed.extend(shed.press_and_save(1, SOON));
    shed.expect_stored(&confirmed[1..], SOON);
    assert_eq!(count(&shed.run_events(), "disconnected"), 0, "{}", shed.log());
    let sessions = cloud.log().matches("subscribed at the broker").count();
    assert_eq!(sessions, 3, "{}", cloud.log());
    shed.stop();
    cloud.stop();
    deployed.broker.stop();
}

/// A cloud on another computer than the broker's.
fn cloud_elsewhere(folder: &Path, deployed: &ShippedMosquitto) -> Cloud {
    let identity = &deployed.cloud_certificate;
    Cloud::new(folder)
        .flag(&format!("--mqtt-broker-url={}", url(deployed.cloud_port)))
        .flag(&format!("--mqtt-ca-file={}", deployed.ca.certificate().display()))
        .flag(&format!("--mqtt-cert-file={}", identity.certificate.display()))
        .flag(&format!("--mqtt-key-file={}", identity.key.display()))
}

fn camera(folder: &Path, device: &str, url: &str, ca: &Path) -> Appliance {
    Appliance::new(folder, device, url).set(&format!("cloud.ca_file={}", ca.display()))
}

fn url(port: u16) -> String {
    format!("mqtts://localhost:{port}")
}

/// Waits until the camera has reported why it is rejected, and checks that it does not report it again at the next
/// attempts.
fn expect_reported_once(camera: &Appliance, reason: &str) {
    let reports = || {
        let has_reason = |event: &Value| event["text"].as_str().unwrap_or_default().contains(reason);
        let events = camera.run_events();
        events
            .iter()
            .filter(|event| event["event"] == "disconnected" && has_reason(event))
            .count()
    };
    eventually(&format!("the camera reports {reason:?}\n{}", camera.log()), SOON, || {
        (reports() > 0).then_some(())
    });
    // It retries after at most two seconds.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(reports(), 1, "{reason}");
}

fn expect_not_ready(cloud: &Cloud, reason: &str) {
    eventually(&format!("/readyz says {reason:?}"), SOON, || {
        let (status, body) = cloud.api().get("/readyz").ok()?;
        (status == 503 && String::from_utf8_lossy(&body).contains(reason)).then_some(())
    });
}
