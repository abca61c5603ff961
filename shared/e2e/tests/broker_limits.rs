//! The cloud checks an external broker, and warns of the limits that would lose pictures, and of no others.

use keepsake_protocol::codec::FRAME_OVERHEAD_MAX;
use keepsake_provision::process::free_port;
use keepsake_provision::servers::mosquitto::{Mosquitto, Release};
use keepsake_testkit::shipped_mosquitto_config::ShippedMosquitto;
use keepsake_testkit::{Client, Cloud, SOON, TempDir, eventually, not_run};
use serde_json::Value;

#[test]
fn a_broker_that_drops_large_messages_is_reported() {
    expect_one_warning("limits-message-size", "message_size_limit 100000", "is acknowledged and then dropped");
}

#[test]
fn a_broker_that_disconnects_on_large_messages_is_reported() {
    expect_one_warning("limits-packet-size", "max_packet_size 100000", "costs the connection");
}

#[test]
fn a_broker_without_persistence_is_reported() {
    expect_one_warning("limits-retained", "retain_available false", "retained messages are not kept");
}

#[test]
fn a_broker_that_drops_sessions_is_reported_and_one_with_wide_limits_is_not() {
    let name = "limits-forgets";
    let folder = TempDir::new(name);
    let Some((mut broker, mut cloud)) = broker_and_cloud(name, &folder, "") else {
        return;
    };
    expect_no_warning(&cloud);
    broker.kill();
    broker.start();
    wait_for_warning(&cloud, "forgotten the cloud's session");
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
    expect_no_warning(&cloud);
    cloud.stop();
    deployed.broker.stop();
}

fn expect_one_warning(name: &str, limit: &str, sentence: &str) {
    let folder = TempDir::new(name);
    let Some((mut broker, mut cloud)) = broker_and_cloud(name, &folder, limit) else {
        return;
    };
    wait_for_warning(&cloud, sentence);
    let known = warnings(&cloud).expect("an answer, as just before");
    assert_eq!(known.len(), 1, "{known:?}");
    // It works nevertheless, with a warning: some pictures may be small enough.
    assert_eq!(cloud.api().get("/readyz").expect("an answer").0, 200);
    cloud.stop();
    broker.stop();
}

/// Starts a mosquitto with this line in its configuration, and a cloud that uses it.
fn broker_and_cloud(name: &str, folder: &TempDir, limit: &str) -> Option<(Mosquitto, Cloud)> {
    let port = free_port();
    let nodelay = if limit.contains("tcp_nodelay") {
        ""
    } else {
        "set_tcp_nodelay true"
    };
    let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\n{nodelay}\n{limit}\n");
    let mut broker = Mosquitto::configured(folder, Release::System, port, |_| text)
        .inspect_err(|why| not_run(name, why, "install mosquitto 2"))
        .ok()?;
    broker.start();
    Some((broker, Cloud::new(folder).ingesting_through(port).started()))
}

fn wait_for_warning(cloud: &Cloud, sentence: &str) {
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

fn expect_no_warning(cloud: &Cloud) {
    eventually("the cloud has checked the broker", SOON, || {
        cloud.log().contains("looked at the broker").then_some(())
    });
    assert_eq!(warnings(cloud), Some(Vec::new()));
}

#[test]
fn a_broker_that_holds_small_packets_back_is_reported() {
    let delayed = "small packets are held back";
    for (name, setting, expected) in [
        ("limits-nagle", "set_tcp_nodelay false", true),
        ("limits-nodelay", "set_tcp_nodelay true", false),
    ] {
        let folder = TempDir::new(name);
        let Some((mut broker, mut cloud)) = broker_and_cloud(name, &folder, setting) else {
            return;
        };
        eventually("the cloud has checked the broker", SOON, || {
            cloud.log().contains("looked at the broker").then_some(())
        });
        let known = warnings(&cloud).expect("an answer");
        assert_eq!(known.iter().any(|one| one.contains(delayed)), expected, "{setting}: {known:?}");
        cloud.stop();
        broker.stop();
    }
}

#[test]
fn cameras_are_told_the_largest_message_that_the_broker_carries() {
    for (name, limit, expected) in [
        ("limits-largest", "set_tcp_nodelay true", 4 * 1024 * 1024),
        ("limits-largest-packet", "max_packet_size 2000000", 1_900_000),
        ("limits-largest-message", "message_size_limit 600000", 256 * 1024),
    ] {
        let folder = TempDir::new(name);
        let Some((mut broker, mut cloud)) = broker_and_cloud(name, &folder, limit) else {
            return;
        };
        let mut client = Client::connect(broker.port(), "observer").expect("mosquitto lets clients in");
        client
            .subscribe("keepsake/v1/porch/down/cloud")
            .expect("mosquitto lets clients subscribe");
        // The cloud tells every camera that it has heard of.
        client
            .publish(b"keepsake/v1/porch/up/status", br#"{"presence":"offline"}"#)
            .expect("mosquitto takes a status");
        let told = loop {
            let message = client.next_publication().expect("the cloud announces itself");
            let info: Value = serde_json::from_slice(&message.payload).expect("JSON");
            if let Some(bytes) = info["message_bytes_max"].as_u64() {
                break bytes;
            }
        };
        let header = u64::try_from(FRAME_OVERHEAD_MAX).expect("a few KiB");
        assert_eq!(told, expected + header, "{limit}");
        cloud.stop();
        broker.stop();
    }
}
