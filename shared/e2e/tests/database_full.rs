//! P1, P2, P4: a database server that has no room for another picture is a database that is away. The cameras keep
//! everything, are told why, and after room is made all of it arrives, with nobody doing anything about it.

use std::fs;
use std::thread;
use std::time::Duration;

use keepsake_provision::process::eventually;
use keepsake_provision::servers::database::{Database, Kind};
use keepsake_provision::temp_dir::TempDir;
use keepsake_testkit::appliance::Appliance;
use keepsake_testkit::cloud::Cloud;
use keepsake_testkit::ledger::audit;
use keepsake_testkit::photos;
use keepsake_testkit::seed::Seed;

const SOON: Duration = Duration::from_secs(60);
const PRESSES: usize = 30;
const PICTURE_BYTES: usize = 1_000_000;

#[test]
fn a_mariadb_without_room_holds_and_gets_everything_later() {
    has_no_room("full-mariadb", Kind::MariaDb);
}

#[test]
fn a_mysql_without_room_holds_and_gets_everything_later() {
    has_no_room("full-mysql", Kind::MySql);
}

fn has_no_room(name: &str, kind: Kind) {
    let mut seed = Seed::from_env_or_random(name);
    let folder = TempDir::new(name);
    let Some(mut database) = Database::or_skip(name, kind, &folder) else {
        return;
    };
    // Everything in one file that may not grow beyond so much: the server then says what it says of a full disk.
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
        .flag("--capture-bytes-max=8388608");
    cloud.start();
    let album = folder.join("album");
    fs::create_dir(&album).unwrap();
    let cat = photos::all(&photos::folder()).swap_remove(1);
    let large = photos::enlarge(&cat, PICTURE_BYTES, &mut seed);
    fs::write(album.join("large.jpg"), large).unwrap();
    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url()).photographing(&album);
    camera.start();
    camera.is_connected(SOON);

    let saved = camera.press_and_save(PRESSES, SOON);
    let why = eventually("the cloud says that there is no room", SOON, || {
        let (status, body) = cloud.api().get("/readyz").ok()?;
        let said = String::from_utf8_lossy(&body).into_owned();
        // A MariaDB whose file may not grow sometimes ends itself by an assertion before it has told its client why.
        let died = kind == Kind::MariaDb && !database.is_running();
        let why = if died { "does not answer" } else { "no room" };
        (status == 503 && said.contains(why)).then_some(said)
    });
    let stored = || keepsake_testkit::appliance::capture_keys(&camera.events(0), "stored").len();
    let fitted = stored();
    assert!(
        (1..PRESSES).contains(&fitted),
        "{fitted} of {PRESSES} fit into 30 MiB"
    );
    // Long enough for every capture to have been tried again, and parked if somebody took it for one that is of no use.
    thread::sleep(Duration::from_secs(20));
    assert!(stored() < PRESSES);

    // A server that has no room at all may take very long to stop, or be gone already.
    database.kill();
    database.set_flags(&room(300).each_ref().map(String::as_str));
    database.start();
    camera.expect_stored(&saved, SOON);
    let device = cloud.api().wait_for_device("porch", SOON, |device| {
        device["waiting"] == 0 && device["held"] == 0
    });
    assert_eq!(
        (&device["missing"], &device["conflicts"]),
        (&0.into(), &0.into()),
        "{device:#}"
    );
    let found = audit(&cloud.store(), &camera.saved(), &photos::all(&album));
    assert_eq!(found.stored, PRESSES as u64);
    println!(
        "{name}: {}, {fitted} fitted, {found:?}; {why}",
        database.version()
    );
    camera.stop();
    cloud.stop();
    database.stop();
}
