//! The cloud checks an external broker, and warns of the limits that would lose pictures, and of no others.

use keepsake_provision::process::free_port;
use keepsake_provision::servers::mosquitto::{Mosquitto, Release};
use keepsake_testkit::shipped_mosquitto_config::ShippedMosquitto;
use keepsake_testkit::{Cloud, SOON, TempDir, eventually, not_run};
use serde_json::Value;

#[test]
fn a_broker_that_drops_large_messages_is_reported() {
    says("limits-message-size", "message_size_limit 100000", "is acknowledged and then dropped");
}

#[test]
fn a_broker_that_disconnects_on_large_messages_is_reported() {
    says("limits-packet-size", "max_packet_size 100000", "costs the connection");
}

#[test]
fn a_broker_without_persistence_is_reported() {
    says("limits-retained", "retain_available false", "retained messages are not kept");
}

#[test]
fn a_broker_that_drops_sessions_is_reported_and_one_with_wide_limits_is_not() {
    let name = "limits-forgets";
    let folder = TempDir::new(name);
    let Some(mut broker) = broker(name, &folder, "") else {
        return;
    };
    broker.start();
    let mut cloud = Cloud::new(&folder).ingesting_through(broker.port()).started();
    has_looked(&cloud);
    assert_eq!(warnings(&cloud), Some(Vec::new()));
    broker.kill();
    broker.start();
    warns(&cloud, "forgotten the cloud's session");
    cloud.stop();
    broker.stop();
}

#[test]
fn the_shipped_files_let_the_cloud_check_and_cause_no_warning() {
    let name = "limits-deployed";
    let folder = TempDir::new(name);
    let Some(mut deployed) = ShippedMosquitto::or_skip(name, &folder, Release::System) else {
        return;
    };
    let password = deployed.add_user("cloud", "right");
    deployed.broker.start();
    let mut cloud = deployed.local_cloud(&folder, &password).started();
    has_looked(&cloud);
    assert_eq!(warnings(&cloud), Some(Vec::new()));
    cloud.stop();
    deployed.broker.stop();
}

fn says(name: &str, limit: &str, sentence: &str) {
    let folder = TempDir::new(name);
    let Some(mut broker) = broker(name, &folder, limit) else {
        return;
    };
    broker.start();
    let mut cloud = Cloud::new(&folder).ingesting_through(broker.port()).started();
    warns(&cloud, sentence);
    let known = warnings(&cloud).expect("an answer, as just before");
    assert_eq!(known.len(), 1, "{known:?}");
    // It works nevertheless, with a warning: some pictures may be small enough.
    assert_eq!(cloud.api().get("/readyz").expect("an answer").0, 200);
    cloud.stop();
    broker.stop();
}

fn broker(name: &str, folder: &TempDir, limit: &str) -> Option<Mosquitto> {
    let port = free_port();
    let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\n{limit}\n");
    Mosquitto::configured(folder, Release::System, port, |_| text)
        .inspect_err(|why| not_run(name, why, "install mosquitto 2"))
        .ok()
}

fn warns(cloud: &Cloud, sentence: &str) {
    eventually(&format!("a warning that {sentence:?}"), SOON, || {
        let known = warnings(cloud)?;
        known.iter().any(|one| one.contains(sentence)).then_some(())
    });
}

/// Returns the warnings of /readyz, which monitors read.
fn warnings(cloud: &Cloud) -> Option<Vec<String>> {
    let (_, body) = cloud.api().get("/readyz").ok()?;
    let ready: Value = serde_json::from_slice(&body).ok()?;
    let text = |one: &Value| one.as_str().map(str::to_owned);
    ready["warnings"].as_array()?.iter().map(text).collect()
}

fn has_looked(cloud: &Cloud) {
    eventually("the cloud has looked at the broker", SOON, || {
        cloud.log().contains("looked at the broker").then_some(())
    });
}
