//! `cargo demo`, as a person meets it first.

use keepsake_testkit::TempDir;
use keepsake_testkit::api::Api;
use keepsake_testkit::demo::Demo;

/// The link is read and opened some time after it was printed, while pictures are taken.
#[test]
fn the_printed_link_creates_the_owner_while_the_demo_runs() {
    let data = TempDir::new("demo-link");
    let mut demo = Demo::start(&data).unwrap();
    let link = demo.setup_link().unwrap();
    demo.read_until("the camera is ready").unwrap();
    demo.press().unwrap();
    demo.read_until("is committed in the cloud").unwrap();

    let (address, path) = link
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .expect("the link has an address and a path");
    let api = Api::new(address);
    let (status, page) = api.get(&format!("/{path}")).unwrap();
    let page = String::from_utf8(page).unwrap();
    assert_eq!(status, 200, "GET {link}: {page}");
    assert!(page.contains("name=\"password\""), "the page asks for a password: {page}");
    let api = api.clone().with_token(&api.set_up(&link));
    assert_eq!(api.pictures("demo").len(), 1);
    demo.stop().unwrap();
}
