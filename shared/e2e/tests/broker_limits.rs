//! The cloud looks at a broker elsewhere and says which of its limits will cost pictures, and says nothing of others.

use std::time::Duration;

use keepsake_provision::process::{eventually, free_port};
use keepsake_provision::servers::mosquitto::{Mosquitto, Release};
use keepsake_provision::skip::not_run;
use keepsake_provision::temp_dir::TempDir;
use keepsake_testkit::cloud::Cloud;
use keepsake_testkit::shipped_mosquitto_config::ShippedMosquitto;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_broker_that_drops_large_messages_is_told() {
    says(
        "limits-message-size",
        "message_size_limit 100000",
        "is acknowledged and then dropped",
    );
}

#[test]
fn a_broker_that_cuts_off_large_messages_is_told() {
    says(
        "limits-packet-size",
        "max_packet_size 100000",
        "costs the connection",
    );
}

#[test]
fn a_broker_that_keeps_nothing_is_told() {
    says(
        "limits-retained",
        "retain_available false",
        "retained messages are not kept",
    );
}

#[test]
fn a_broker_that_forgets_the_cloud_is_told_and_one_with_wide_limits_is_not_blamed() {
    let name = "limits-forgets";
    let folder = TempDir::new(name);
    let Some(mut broker) = broker(name, &folder, "") else {
        return;
    };
    broker.start();
    let mut cloud = Cloud::new(&folder).ingesting_through(broker.port());
    cloud.start();
    has_looked(&cloud);
    assert_eq!(warnings(&cloud), Some(Vec::new()));
    broker.kill();
    broker.start();
    warns(&cloud, "forgotten the cloud's session");
    cloud.stop();
    broker.stop();
}

#[test]
fn the_shipped_files_let_the_cloud_look_and_give_it_nothing_to_say() {
    let name = "limits-deployed";
    let folder = TempDir::new(name);
    let mut deployed = match ShippedMosquitto::new(&folder, Release::System) {
        Ok(deployed) => deployed,
        Err(why) => return not_run(name, &why, "install mosquitto 2"),
    };
    let password = deployed.add_user("cloud", "right");
    deployed.broker.start();
    let mut cloud = Cloud::new(&folder)
        .flag(&format!(
            "--ingest-broker=mqtt://cloud@127.0.0.1:{}",
            deployed.plain_port
        ))
        .flag(&format!("--ingest-password-file={}", password.display()));
    cloud.start();
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
    let mut cloud = Cloud::new(&folder).ingesting_through(broker.port());
    cloud.start();
    warns(&cloud, sentence);
    let known = warnings(&cloud).expect("an answer, as just before");
    assert_eq!(known.len(), 1, "{known:?}");
    // It works all the same, and says so: some pictures may be small enough.
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

/// At /readyz, which a monitor reads.
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
