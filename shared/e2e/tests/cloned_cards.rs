//! P2, P3, P6: cards are cloned and restored, databases are restored. No picture is lost or hidden by that, and the
//! counters of the dashboard are right.

use keepsake_testkit::{Appliance, Audit, CaptureKey, Cloud, SOON, TempDir, temp_dir};
use serde_json::Value;

/// A card copied into another board: both continue, each with a spool id of its own.
#[test]
fn a_cloned_card_in_other_hardware_gets_its_own_numbers() {
    let folder = TempDir::new("clone-other");
    let mut cloud = Cloud::new(&folder);
    let (mut one, mut two) = cloned_card(&folder, &cloud, "board-2");

    one.start();
    two.start();
    one.press_and_save(2, SOON);
    let of_two = two.press_and_save(2, SOON);
    assert!(
        of_two.iter().all(|named| named.spool != one.saved()[0].spool),
        "other hardware has another spool: {of_two:?}"
    );
    cloud.start();
    let device = wait_for_porch(&cloud, 7);
    assert_eq!(device["conflicts"], 0, "{device:#}");
    let found = count(&cloud, &[&one, &two]);
    assert_eq!((found.stored, found.conflicts), (7, 0));
}

/// The same card twice in indistinguishable hardware: the same numbers, different pictures. Both are kept.
#[test]
fn an_indistinguishable_clone_hides_no_picture() {
    let folder = TempDir::new("clone-same");
    let mut cloud = Cloud::new(&folder);
    let (mut one, mut two) = cloned_card(&folder, &cloud, "board-1");

    // Both take their fourth and fifth picture before either meets the cloud.
    one.start();
    one.press_and_save(2, SOON);
    one.stop();
    two.start();
    let of_two = two.press_and_save(2, SOON);
    assert_eq!(of_two[0].sequence, 4, "the clone cannot know better");
    two.stop();

    cloud.start();
    one.start();
    one.expect_stored(&one.saved(), SOON);
    one.stop();
    two.start();
    two.expect_stored(&of_two, SOON);
    let device = cloud.api().wait_for_device("porch", SOON, |device| device["conflicts"] == 2);
    check_sums(&cloud, &device);
    let found = count(&cloud, &[&one, &two]);
    assert_eq!((found.stored, found.conflicts), (7, 2));
    assert_eq!(cloud.api().pictures("porch").len(), 7, "none is hidden");
}

/// Yesterday's card in the same board, which meets the cloud before the next press.
#[test]
fn a_restored_card_starts_new_numbers_when_the_cloud_knows_better() {
    let folder = TempDir::new("card-restored");
    let mut cloud = Cloud::new(&folder);
    let mut card = restore_card_of_yesterday(&folder, &mut cloud);
    card.start();
    card.wait_until_connected(SOON);
    // The cloud's answer to `up/have` tells the camera; after it, the spool id is another one.
    let before = card.saved()[0].spool;
    let mut presses = 0;
    let fresh = loop {
        let saved = card.press_and_store(1, SOON);
        presses += 1;
        if saved[0].spool != before {
            break saved[0];
        }
        assert!(presses < 10, "it goes on with numbers the cloud already knows");
    };
    assert_eq!(fresh.sequence, 1);
    let found = count(&cloud, &[&card]);
    assert_eq!(found.stored, 5 + presses);
    let device = cloud.api().device("porch").expect("the device");
    check_sums(&cloud, &device);
}

/// Yesterday's card in the same board, which takes pictures before it meets the cloud.
#[test]
fn a_restored_card_loses_no_picture_it_takes_before_it_meets_the_cloud() {
    let folder = TempDir::new("card-ignorant");
    let mut cloud = Cloud::new(&folder);
    let mut card = restore_card_of_yesterday(&folder, &mut cloud);
    cloud.stop();
    card.start();
    let ignorant = card.press_and_save(1, SOON);
    assert_eq!(ignorant[0].sequence, 4, "it cannot know better");
    cloud.start();
    card.expect_stored(&ignorant, SOON);
    let device = cloud.api().wait_for_device("porch", SOON, |device| device["conflicts"] == 1);
    check_sums(&cloud, &device);
    let found = count(&cloud, &[&card]);
    assert_eq!((found.stored, found.conflicts), (6, 1));
}

/// Last night's database: everything since is on the card, marked as removable, and is requested again.
#[test]
fn a_restored_database_gets_back_what_the_cards_still_have() {
    let folder = TempDir::new("database-restored");
    let mut cloud = Cloud::new(&folder).started();
    let mut card = camera(&folder, "one", &cloud, "board-1").started();
    card.press_and_store(3, SOON);
    let backup = folder.join("backup");
    cloud.back_up(&backup);
    card.press_and_store(2, SOON);
    cloud.stop();
    cloud.restore(&backup);

    let device = wait_for_porch(&cloud, 5);
    assert_eq!(device["conflicts"], 0, "{device:#}");
    assert_eq!(count(&cloud, &[&card]).stored, 5);
}

/// Takes three pictures, and copies the card into another board. Returns both cameras, stopped.
fn cloned_card(folder: &TempDir, cloud: &Cloud, board: &str) -> (Appliance, Appliance) {
    let mut one = camera(folder, "one", cloud, "board-1").started();
    one.press_and_save(3, SOON);
    one.stop();
    let two = camera(folder, "two", cloud, board);
    temp_dir::copy(one.spool(), two.spool());
    (one, two)
}

/// Takes three pictures, copies the card, takes two more; all are stored; restores the copy.
fn restore_card_of_yesterday(folder: &TempDir, cloud: &mut Cloud) -> Appliance {
    cloud.start();
    let mut card = camera(folder, "one", cloud, "board-1").started();
    card.press_and_store(3, SOON);
    card.stop();
    let yesterday = folder.join("yesterday");
    temp_dir::copy(card.spool(), &yesterday);
    card.start();
    card.press_and_store(2, SOON);
    card.stop();
    temp_dir::restore(&yesterday, card.spool());
    card
}

/// Clones share the device name, which is on their card, but not the directory.
fn camera(folder: &TempDir, card: &str, cloud: &Cloud, board: &str) -> Appliance {
    Appliance::new(&folder.join(card), "porch", &cloud.mqtt_url()).set(&format!("simulated.fingerprint={board}"))
}

fn wait_for_porch(cloud: &Cloud, stored: u64) -> Value {
    let device = cloud
        .api()
        .wait_for_device("porch", SOON, |device| device["stored"] == stored && device["held"] == 0);
    check_sums(cloud, &device);
    device
}

/// Checks that every number has exactly one place in the sum, that none is missing, and that the dashboard agrees.
fn check_sums(cloud: &Cloud, device: &Value) {
    let number = |field: &str| device[field].as_u64().unwrap_or_else(|| panic!("{field} in {device:#}"));
    let parts = ["stored", "deleted", "failed", "held", "missing"].map(number);
    assert_eq!(number("pressed"), parts.iter().sum::<u64>(), "{device:#}");
    assert_eq!(number("missing"), 0, "{device:#}");

    let html = |path: &str| {
        let (status, page) = cloud.api().get(path).unwrap();
        assert_eq!(status, 200, "{path}");
        String::from_utf8(page).unwrap()
    };
    let (overview, page) = (html("/"), html("/cameras/porch"));
    let sentence = format!("{} pressed, {} stored", number("pressed"), number("stored"));
    assert!(page.contains(&sentence), "{sentence} is not on the page:\n{page}");
    let conflicts = number("conflicts");
    assert_eq!(
        overview.contains("a duplicate number"),
        conflicts > 0,
        "{conflicts} conflicts on the page:\n{overview}"
    );
}

fn count(cloud: &Cloud, cards: &[&Appliance]) -> Audit {
    let confirmed: Vec<CaptureKey> = cards.iter().flat_map(|card| card.saved()).collect();
    cloud.audit(&confirmed)
}
