//! `cargo xtask screenshots`: every page of the cloud and the terminal of `cargo demo`, as pictures for the README and
//! for people who change the pages.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use fs_err as fs;
use keepsake_provision::temp_dir::TempDir;
use keepsake_provision::workspace;
use keepsake_testkit::api::{OWNER_NAME, OWNER_PASSWORD};
use keepsake_testkit::appliance::Appliance;
use keepsake_testkit::browser::Browser;
use keepsake_testkit::cloud::Cloud;
use keepsake_testkit::demo::Demo;

const SOON: Duration = Duration::from_secs(60);
/// Widths and heights in CSS pixels: a desk and a phone.
const SIZES: [(u32, u32); 2] = [(1280, 900), (390, 844)];
const LANGUAGES: [&str; 2] = ["en", "ko"];
/// A picture in the README is at most this large.
const README_BYTES_MAX: u64 = 200_000;

/// Take pictures of every page and of the demo into target/screenshots, and of two for the README into docs/images
#[derive(Parser)]
#[command(bin_name = "cargo xtask screenshots")]
struct Arguments {}

fn main() -> Result<()> {
    Arguments::parse();
    let folder = workspace::target().join("screenshots");
    fs::create_dir_all(&folder)?;
    let mut browser = Browser::start()?;
    photograph_demo(&mut browser, &folder)?;
    photograph_pages(&mut browser, &folder)?;
    let images = workspace::root().join("docs/images");
    fs::create_dir_all(&images)?;
    for (from, to) in [("camera-en-light-1280.webp", "camera.webp"), ("demo.webp", "demo.webp")] {
        let bytes = fs::copy(folder.join(from), images.join(to))?;
        ensure!(bytes <= README_BYTES_MAX, "{to} has {bytes} bytes, {README_BYTES_MAX} at most");
    }
    println!("screenshots: {}", folder.display());
    Ok(())
}

/// Takes a picture of each page in each language, colour scheme and size.
fn photograph_pages(browser: &mut Browser, folder: &Path) -> Result<()> {
    let data = TempDir::new("screenshots");
    let mut cloud = Cloud::new(&data).started();
    let mut cameras: Vec<Appliance> =
        ["garden", "porch"].map(|name| Appliance::new(&data, name, &cloud.mqtt_url())).into();
    for camera in &mut cameras {
        camera.start();
        camera.wait_until_connected(SOON);
        camera.press_and_store(8, SOON);
    }
    let pictures = cloud.api().pictures("porch");
    let picture = pictures.last().and_then(|picture| picture["id"].as_str());
    let picture = format!("/pictures/{}", picture.context("a picture has an id")?);
    let pages = [
        ("login", "/login"),
        ("cameras", "/"),
        ("camera", "/cameras/porch"),
        ("settings", "/cameras/porch/settings"),
        ("gallery", "/pictures"),
        ("picture", picture.as_str()),
        ("quarantine", "/quarantine"),
        ("account", "/account"),
        ("users", "/users"),
        ("tokens", "/tokens"),
        ("not-found", "/pictures/none"),
    ];
    for (at, (name, path)) in pages.into_iter().enumerate() {
        if at == 1 {
            browser.submit(&[("name", OWNER_NAME), ("password", OWNER_PASSWORD)])?;
        }
        photograph_variants(browser, &format!("{}{path}", cloud.http_url()), name, folder)?;
    }
    for mut camera in cameras {
        camera.stop();
    }
    cloud.stop();
    Ok(())
}

fn photograph_variants(browser: &mut Browser, url: &str, name: &str, folder: &Path) -> Result<()> {
    for language in LANGUAGES {
        browser.set_language(language)?;
        for (dark, scheme) in [(false, "light"), (true, "dark")] {
            browser.set_dark(dark)?;
            for (width, height) in SIZES {
                browser.set_size(width, height)?;
                browser.open(url)?;
                let file = folder.join(format!("{name}-{language}-{scheme}-{width}.webp"));
                fs::write(&file, browser.screenshot()?)?;
            }
        }
    }
    Ok(())
}

/// Runs the demo in a terminal, presses Enter three times, and takes a picture of the set-up page and of the terminal.
fn photograph_demo(browser: &mut Browser, folder: &Path) -> Result<()> {
    let data = TempDir::new("screenshots-demo");
    let mut demo = Demo::start(&data)?;
    let link = demo.setup_link()?;
    photograph_variants(browser, &link, "setup", folder)?;
    demo.read_until("connected to the broker")?;
    for _ in 0..3 {
        demo.press()?;
        demo.read_until("is committed in the cloud")?;
        demo.read_until("the light answers")?;
    }
    let output = demo.stop()?;
    let page = data.join("terminal.html");
    let home = data.display().to_string();
    fs::write(&page, terminal_html(&output.replace(&home, "target/demo")))?;
    browser.set_dark(false)?;
    browser.set_size(1100, 100)?;
    browser.open(&format!("file://{}", page.display()))?;
    let height = browser.evaluate("document.documentElement.scrollHeight")?;
    let height = height.as_u64().context("a page has a height")?;
    browser.set_size(1100, height.try_into()?)?;
    fs::write(folder.join("demo.webp"), browser.screenshot()?)?;
    Ok(())
}

/// Returns a page that shows what a terminal with this output shows.
fn terminal_html(output: &str) -> String {
    let mut page = "<meta charset=utf-8><style>body{background:#1d1f21;color:#d0d0d0;font:14px/1.5 monospace;\
                    white-space:pre-wrap;margin:16px}</style><b>$ cargo demo</b>\n"
        .to_owned();
    for line in output.lines() {
        // What follows the last carriage return, or erasure of the line, covers what was there before.
        let line = line.trim_end_matches('\r').trim_end_matches("\x1b[K");
        let line = line.rsplit(['\r']).next().unwrap_or(line);
        page.push_str(&colored(line.trim_start_matches("\x1b[K")));
        page.push('\n');
    }
    page
}

/// Turns the colours of the light into HTML, and drops other control sequences.
fn colored(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let mut html = escaped(parts.next().unwrap_or_default());
    for part in parts {
        let end = part.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(0);
        let (sequence, text) = part.split_at(end);
        match sequence.strip_prefix("38;2;") {
            Some(rgb) => html.push_str(&format!("<span style=\"color:rgb({})\">", rgb.replace(';', ","))),
            None if sequence == "0" => html.push_str("</span>"),
            None if sequence == "2" => html.push_str("<span style=\"opacity:0.5\">"),
            None => {}
        }
        html.push_str(&escaped(text.get(1..).unwrap_or_default()));
    }
    html
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
