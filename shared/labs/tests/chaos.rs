//! P1, P2, P3 and P5 under every fault of broker, cloud, camera and database in one run. The long runs are `cargo
//! xtask chaos`.

use keepsake_labs::chaos::{Fault, Plan, Transport, flood, run};
use keepsake_provision::servers::database::Kind;
use keepsake_provision::servers::mosquitto::Persistence;
use keepsake_provision::temp_dir::TempDir;
use keepsake_testkit::seed::Seed;

#[test]
fn with_mariadb_and_mosquitto_every_press_is_stored_once_under_all_faults() {
    let transport = Transport::Mosquitto(Persistence::Off);
    all_faults("chaos-mariadb", Kind::MariaDb, transport);
}

#[test]
fn with_mysql_and_mosquitto_every_press_is_stored_once_under_all_faults() {
    let transport = Transport::Mosquitto(Persistence::EverySecond);
    all_faults("chaos-mysql", Kind::MySql, transport);
}

#[test]
fn with_mariadb_over_http_every_press_is_stored_once_under_all_faults() {
    all_faults("chaos-http", Kind::MariaDb, Transport::Http);
}

fn all_faults(name: &str, database: Kind, transport: Transport) {
    let mut faults = Fault::ALL.to_vec();
    faults.retain(|fault| transport != Transport::Http || *fault != Fault::Broker);
    let plan = Plan {
        name: name.to_owned(),
        presses: 80,
        database: Some(database),
        transport,
        faults,
    };
    let folder = TempDir::new(name);
    let mut seed = Seed::from_env_or_random(name);
    if let Some(counts) = run(&plan, &folder, &mut seed) {
        println!("{name}: {counts:?}");
    }
}

#[test]
fn a_flood_from_twenty_cameras_stays_within_what_the_broker_holds() {
    let plan = flood::Plan {
        name: "chaos-flood".to_owned(),
        cameras: 20,
        each: 60,
        database: None,
    };
    let folder = TempDir::new("chaos-flood");
    if let Some(counts) = flood::run(&plan, &folder) {
        println!("chaos-flood: {counts:?}");
        assert!(!counts.dropped, "the windows let more come at once than mosquitto holds");
    }
}
