//! P1, P2, P4: a database server without space counts as unavailable. The cameras keep everything and know the reason,
//! and once there is space everything arrives without intervention.

use std::thread;
use std::time::Duration;

use keepsake_provision::servers::database::{Database, Kind};
use keepsake_testkit::appliance::can_mount_small_cards;
use keepsake_testkit::{Appliance, Cloud, SOON, Seed, TempDir, audit, capture_keys, eventually, not_run, photos};

const PRESSES: usize = 30;
const PICTURE_BYTES: usize = 1_000_000;
/// The disk of a cloud with SQLite, and the pictures of 4 MiB that fill it.
const DISK_MIB: u32 = 160;
const DISK_PICTURE_BYTES: usize = 4 * 1024 * 1024;
const DISK_PRESSES: usize = 45;

#[test]
fn a_full_mariadb_gets_everything_later() {
    database_is_full("full-mariadb", Kind::MariaDb);
}

#[test]
fn a_full_mysql_gets_everything_later() {
    database_is_full("full-mysql", Kind::MySql);
}

#[test]
fn a_full_disk_has_room_again_when_pictures_are_deleted() {
    let name = "full-sqlite";
    let mut seed = Seed::from_env_or_random(name);
    let folder = TempDir::new(name);
    if let Err(why) = can_mount_small_cards(&folder) {
        not_run(
            "a cloud on a full disk",
            format!("no small file system can be mounted ({why})"),
            "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1) or run the tests as root",
        );
        return;
    }
    let mut cloud = Cloud::new(&folder).on_a_disk_of(DISK_MIB).flag("--free-bytes-min=16777216").started();
    let large = photos::enlarge(&photos::named("cat"), DISK_PICTURE_BYTES, &mut seed);
    let album = photos::album(&folder.join("album"), &[large]);
    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url()).photographing(&album).connected(SOON);
    let saved = camera.press_and_save(DISK_PRESSES, SOON);
    eventually("the cloud says that its disk is nearly full", SOON, || {
        let (status, body) = cloud.api().get("/readyz").ok()?;
        (status == 503 && String::from_utf8_lossy(&body).contains("nearly full")).then_some(())
    });
    // What was on its way when the disk was full still arrives.
    thread::sleep(Duration::from_secs(5));
    let pictures = cloud.api().pictures("porch");
    let fitted = pictures.len();
    assert!((15..DISK_PRESSES).contains(&fitted), "{fitted} of {DISK_PRESSES} fit on {DISK_MIB} MiB");

    for picture in pictures.iter().step_by(2) {
        cloud.api().delete_picture(picture["id"].as_str().unwrap());
    }
    camera.expect_stored(&saved, Duration::from_secs(60));
    let device = cloud
        .api()
        .wait_for_device("porch", SOON, |device| device["waiting"] == 0 && device["held"] == 0);
    assert_eq!((&device["missing"], &device["conflicts"]), (&0.into(), &0.into()), "{device:#}");
    assert_eq!(device["pressed"], DISK_PRESSES, "{device:#}");

    // What is left over goes back to the disk, for other programs there.
    for picture in cloud.api().pictures("porch") {
        cloud.api().delete_picture(picture["id"].as_str().unwrap());
    }
    let free = eventually("the deleted pictures leave the disk", Duration::from_secs(120), || {
        let free = cloud.api().json("/api/v1/system")["free_bytes"].as_u64()?;
        (free > u64::from(DISK_MIB) * 1024 * 1024 * 2 / 3).then_some(free)
    });
    println!("{name}: {fitted} fitted, {free} bytes free in the end");
    camera.stop();
    cloud.stop();
}

fn database_is_full(name: &str, kind: Kind) {
    let mut seed = Seed::from_env_or_random(name);
    let folder = TempDir::new(name);
    let Some(mut database) = Database::or_skip(name, kind, &folder) else {
        return;
    };
    // Everything in one file with a maximum size: the server then reports the error of a full disk.
    let room = |mib: u32| {
        [
            "--innodb-file-per-table=OFF".to_owned(),
            format!("--innodb-data-file-path=ibdata1:12M:autoextend:max:{mib}M"),
        ]
    };
    database.set_flags(&room(30).each_ref().map(String::as_str));
    database.start();
    let mut cloud = Cloud::new(&folder)
        .storing_in(&database.create_schema("keepsake"))
        .flag("--capture-bytes-max=8388608")
        .flag("--bytes=database")
        .started();
    let large = photos::enlarge(&photos::named("cat"), PICTURE_BYTES, &mut seed);
    let album = photos::album(&folder.join("album"), &[large]);
    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url()).photographing(&album).connected(SOON);

    let saved = camera.press_and_save(PRESSES, SOON);
    let why = eventually("the cloud says that there is no room", SOON, || {
        let (status, body) = cloud.api().get("/readyz").ok()?;
        let text = String::from_utf8_lossy(&body).into_owned();
        // A MariaDB at its maximum file size sometimes aborts by an assertion before it reports the error to its
        // client.
        let died = kind == Kind::MariaDb && !database.is_running();
        let why = if died { "does not answer" } else { "no room" };
        (status == 503 && text.contains(why)).then_some(text)
    });
    let stored = || capture_keys(&camera.events(0), "stored").len();
    let fitted = stored();
    assert!((1..PRESSES).contains(&fitted), "{fitted} of {PRESSES} fit into 30 MiB");
    // Long enough for every capture to be retried, and set aside if it were mistaken for an unusable one.
    thread::sleep(Duration::from_secs(20));
    assert!(stored() < PRESSES);

    // A server without any space may take very long to stop, or be gone already.
    database.kill();
    database.set_flags(&room(300).each_ref().map(String::as_str));
    database.start();
    camera.expect_stored(&saved, SOON);
    let device = cloud
        .api()
        .wait_for_device("porch", SOON, |device| device["waiting"] == 0 && device["held"] == 0);
    assert_eq!((&device["missing"], &device["conflicts"]), (&0.into(), &0.into()), "{device:#}");
    let found = audit(&cloud.store(), &camera.saved(), &photos::all(&album));
    assert_eq!(found.stored, PRESSES as u64);
    println!("{name}: {}, {fitted} fitted, {found:?}; {why}", database.version());
    camera.stop();
    cloud.stop();
    database.stop();
}
