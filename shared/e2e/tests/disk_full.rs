//! P1, P4: a full card is a state with a policy: presses are answered, nothing hangs, no confirmed picture is
//! removed, and receipts make space again.

use std::fs;
use std::sync::Arc;

use keepsake_testkit::api::Api;
use keepsake_testkit::appliance::{can_mount_small_cards, on_a_small_card};
use keepsake_testkit::process::{Program, free_port};
use keepsake_testkit::{Appliance, Cloud, SOON, TempDir, capture_keys, count, eventually, not_run, programs};
use serde_json::Value;

const CARD_MIB: u32 = 12;

#[test]
fn a_full_card_refuses_presses_until_receipts_make_room() {
    let folder = TempDir::new("full-refuse");
    let mut cloud = Cloud::new(&folder);
    let Some(mut camera) = camera_with_a_small_card(&folder, &cloud) else {
        return;
    };
    camera.start();
    let mut refused = 0;
    let mut presses = 0;
    while refused < 20 {
        presses += 1;
        assert!(presses < 500, "a card of {CARD_MIB} MiB is never full");
        if answer_to_one_press(&mut camera)["event"] == "refused" {
            refused += 1;
        }
    }
    let kept = camera.saved();
    assert!(kept.len() > 20, "only {} pictures fit on the card", kept.len());
    assert!(camera.is_running());

    cloud.start();
    camera.expect_stored(&kept, SOON);
    let answer = answer_to_one_press(&mut camera);
    assert_eq!(answer["event"], "saved", "room again after the receipts: {answer}");
    camera.expect_stored(&camera.saved(), SOON);
    // Presses that found too little space for a picture left their reason, which arrives too.
    let device = cloud
        .api()
        .wait_for_device("porch", SOON, |device| device["waiting"] == 0 && device["held"] == 0);
    assert_eq!(device["missing"], 0, "{device:#}");
    let found = cloud.audit(&camera.saved());
    assert_eq!(found.stored, camera.saved().len() as u64);
    assert_eq!(device["failed"], found.tombstones, "{device:#}");
    println!("full: {} fitted, {refused} refused, {found:?}", kept.len());
}

#[test]
fn a_full_card_evicts_the_oldest_if_configured_and_reports_it() {
    let folder = TempDir::new("full-drop");
    let mut cloud = Cloud::new(&folder);
    let Some(camera) = camera_with_a_small_card(&folder, &cloud) else {
        return;
    };
    let mut camera = camera.set("spool.when_full=drop-oldest");
    camera.start();
    for _ in 0..250 {
        let answer = answer_to_one_press(&mut camera);
        assert_eq!(answer["event"], "saved", "the newest has room: {answer}");
    }
    cloud.start();
    let device = cloud
        .api()
        .wait_for_device("porch", SOON, |device| device["waiting"] == 0 && device["pressed"] == 250);
    assert_eq!(device["missing"], 0, "given up is reported, not missing: {device:#}");
    let newest = &camera.saved()[220..];
    let found = cloud.audit(newest);
    let tombstones = cloud.store().tombstones().unwrap();
    let given_up: u64 = tombstones.iter().map(|one| one.last - one.first + 1).sum();
    assert_eq!(found.stored + given_up, 250, "{found:?} {tombstones:?}");
    assert!(given_up > 50, "{given_up} given up");
    assert!(tombstones.iter().all(|one| one.reason == "made-room"), "{tombstones:?}");
    println!("full: {} stored, {given_up} given up", found.stored);
}

/// Not one free byte, as after a crash of another program: a camera that does not start would never upload.
#[test]
fn a_camera_starts_without_a_free_byte_on_its_card() {
    let folder = TempDir::new("full-start");
    let cloud = Cloud::new(&folder);
    let Some(camera) = camera_with_a_small_card(&folder, &cloud) else {
        return;
    };
    // The card vanishes with the process that mounted it, so all starts happen inside one.
    let script = r#"
        run() { printf '%s' "$keys" | timeout -s TERM "$1" "$appliance" run --simulated --events --spool "$spool" --device full --set spool.reserve_bytes=1048576; }
        keys='
' run 2 >/dev/null
        dd if=/dev/zero of="$spool/everything" bs=4096 2>/dev/null
        keys='
' run 3
        rm "$spool/everything"
        keys='
' run 2
    "#;
    let output = camera.run_script_on_its_card(script);
    let events: Vec<Value> = output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(count(&events, "ready"), 2, "{output}");
    assert_eq!(count(&events, "refused"), 1, "the press on the full card is answered: {output}");
    let saved: Vec<u64> = capture_keys(&events, "saved").iter().map(|capture| capture.sequence).collect();
    assert_eq!(saved, [2], "and its number is not wasted: {output}");
}

/// A cloud that does not start cannot tell why. With room again it works without intervention.
#[test]
fn a_cloud_starts_on_a_full_disk_and_tells_why_it_is_not_ready() {
    let folder = TempDir::new("full-cloud");
    if small_cards_are_missing(&folder) {
        return;
    }
    let (disk, room, port) = (folder.join("disk"), folder.join("room"), free_port());
    fs::create_dir(&disk).unwrap();
    // The disk vanishes with the process that mounted it, so all starts happen inside one.
    let script = r#"
        run="$cloud --data $disk --listen 127.0.0.1:$port --mqtt-listen 127.0.0.1:0 --free-bytes-min=1 --free-percent-min=0"
        $run > "$disk.out" & first=$!
        until grep -q ready "$disk.out"; do sleep 0.1; done
        kill $first
        wait $first
        dd if=/dev/zero of="$disk/everything" bs=4096 2>/dev/null
        (until test -e "$room"; do sleep 0.1; done; rm "$disk/everything") &
        exec $run
    "#;
    let mut command = on_a_small_card(8, &disk);
    command
        .args(["sh", "-c", script])
        .env("cloud", programs::cloud())
        .env("port", port.to_string())
        .envs([("disk", &disk), ("room", &room)]);
    let cloud = Program::start(command, &Arc::default(), &folder.join("cloud.log"));
    let api = Api::new(&format!("127.0.0.1:{port}"));
    let why = eventually("the reason on /readyz", SOON, || {
        let (status, body) = api.get("/readyz").ok()?;
        (status == 503).then(|| String::from_utf8_lossy(&body).into_owned())
    });
    assert!(why.contains("the disk of the cloud's database is full"), "{why}");
    fs::write(&room, "").unwrap();
    eventually("ready once there is room", SOON, || {
        api.get("/readyz").ok().filter(|(status, _)| *status == 200)
    });
    assert!(cloud.stop(SOON).success());
}

fn small_cards_are_missing(folder: &TempDir) -> bool {
    let missing = can_mount_small_cards(folder);
    if let Err(why) = &missing {
        not_run(
            "a full card",
            format!("no small file system can be mounted ({why})"),
            "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1) or run the tests as root",
        );
    }
    missing.is_err()
}

fn camera_with_a_small_card(folder: &TempDir, cloud: &Cloud) -> Option<Appliance> {
    if small_cards_are_missing(folder) {
        return None;
    }
    let camera = Appliance::new(folder, "porch", &cloud.mqtt_url())
        .on_a_card_of(CARD_MIB)
        .set("spool.reserve_bytes=1048576");
    Some(camera)
}

/// Presses once and waits for the result: saved, refused, or a tombstone. Never nothing.
fn answer_to_one_press(camera: &mut Appliance) -> Value {
    let since = camera.event_count();
    camera.press();
    camera.expect("an answer to the press", since, SOON, |events| {
        events
            .iter()
            .find(|event| ["saved", "refused", "tombstone"].iter().any(|kind| event["event"] == *kind))
            .cloned()
    })
}
