//! P2, P4 with many cameras: what they upload at once is stored, no connection is dropped, and hardly a picture is sent
//! twice.

use std::time::Duration;

use keepsake_labs::fleet::{self, Load, Plan};
use keepsake_provision::temp_dir::TempDir;

#[test]
fn full_cards_of_many_cameras_are_stored_over_one_connection_each() {
    check("fleet-mosquitto", true);
}

#[test]
fn full_cards_of_many_cameras_are_stored_through_the_embedded_broker() {
    check("fleet-embedded", false);
}

fn check(name: &str, mosquitto: bool) {
    let load = Load {
        cameras: 40,
        pictures: 20,
        picture_bytes: 150_000,
        patience: Duration::from_secs(240),
    };
    let all = u64::from(load.cameras * load.pictures);
    let plan = Plan { name: name.to_owned(), load, database: None, mosquitto };
    let Some(report) = fleet::run(&plan, &TempDir::new(name)) else {
        return;
    };
    println!("{report:?}");
    assert_eq!(report.upload.stored, all, "{report:?}");
    assert_eq!((report.upload.dropped_connections, report.dropped_sessions), (0, 0), "{report:?}");
    assert!((report.upload.resent + report.repeats) * 100 < all, "{report:?}");
}
