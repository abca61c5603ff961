//! The pages in a real browser, for what only a layout shows.

use keepsake_testkit::api::{OWNER_NAME, OWNER_PASSWORD};
use keepsake_testkit::browser::Browser;
use keepsake_testkit::{Cloud, TempDir, not_run};

/// Returns a browser, or reports that this test is not run.
fn browser() -> Option<Browser> {
    match Browser::start() {
        Ok(browser) => Some(browser),
        Err(why) => {
            not_run("pages in a browser", why, "install chromium");
            None
        }
    }
}

fn sign_in(browser: &mut Browser, cloud: &Cloud) {
    browser.open(&format!("{}/login", cloud.http_url())).unwrap();
    browser.submit(&[("name", OWNER_NAME), ("password", OWNER_PASSWORD)]).unwrap();
}

/// On a phone both bars of links are fixed or wrapped by style rules, and once one of them lay below the other.
#[test]
fn every_link_of_navigation_and_account_can_be_tapped_on_a_phone() {
    let Some(mut browser) = browser() else { return };
    let folder = TempDir::new("browser-links");
    let cloud = Cloud::new(&folder).started();
    sign_in(&mut browser, &cloud);
    for width in [390, 1280] {
        browser.set_size(width, 844).unwrap();
        for page in ["/", "/pictures", "/account"] {
            browser.open(&format!("{}{page}", cloud.http_url())).unwrap();
            let links = browser
                .evaluate(
                    "[...document.querySelectorAll('header nav a, header nav button')].map(link => {
                         const box = link.getBoundingClientRect();
                         const hit = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
                         return [link.textContent.trim(), link.contains(hit)];
                     })",
                )
                .unwrap();
            let links: Vec<(String, bool)> = serde_json::from_value(links).unwrap();
            let names: Vec<&str> = links.iter().map(|(name, _)| name.as_str()).collect();
            for expected in ["Cameras", "Pictures", OWNER_NAME, "Log out"] {
                assert!(names.contains(&expected), "{page} at {width} px has the links {names:?}");
            }
            for (name, is_hit) in &links {
                assert!(is_hit, "{page} at {width} px: something lies over the link {name}");
            }
        }
    }
}
