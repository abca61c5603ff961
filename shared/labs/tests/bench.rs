//! The benchmark works. Its figures are not judged here: they depend on what else this machine does.

use keepsake_labs::bench::steps::ingest;
use keepsake_labs::bench::{Plan, report};
use keepsake_provision::servers::database::{Database, Kind};
use keepsake_provision::servers::python::Python;
use keepsake_provision::temp_dir::TempDir;

#[test]
fn every_contender_stores_all_its_pictures_and_is_on_the_page() {
    let folder = TempDir::new("bench-test");
    let available = Database::or_skip("bench", Kind::MariaDb, &folder).and(Python::or_skip("bench"));
    if available.is_none() {
        return;
    }
    let plan = Plan { databases: vec![Kind::MariaDb], repetitions: 1, quick: true };
    let result = ingest::run(&plan, "cargo xtask bench").expect("every contender stores its pictures");
    for contender in ["lab", "third-party, JPEG", "third-party, base64", "native", "broker alone"] {
        let rate = result
            .figures
            .iter()
            .find(|figure| figure.name == contender && figure.unit == "pictures/s");
        assert!(rate.is_some_and(|rate| rate.median() > 0.0), "{contender}: {rate:?}");
    }
    result.save(&folder.join("results")).expect("write a file");
    report::write(&folder.join("results"), &folder).expect("write the page");
    let page = std::fs::read_to_string(folder.join("performance.md")).expect("a page");
    assert!(page.contains("native : lab") && page.contains(".svg"), "{page}");
}
