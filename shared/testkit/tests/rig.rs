//! P2, P4 with more at once than a broker holds. The long runs, and the lab beside them, are `cargo xtask rig`.

use testkit::folder::Folder;
use testkit::rig::flood;

#[test]
fn a_flood_from_twenty_cameras_through_a_broker_that_drops_loses_nothing() {
    let plan = flood::Plan {
        name: "rig-flood".to_owned(),
        cameras: 20,
        each: 60,
        database: None,
    };
    let folder = Folder::new("rig-flood");
    if let Some(figures) = flood::run(&plan, &folder) {
        println!("rig-flood: {figures:?}");
        assert!(figures.dropped, "no more came at once than mosquitto holds");
    }
}
