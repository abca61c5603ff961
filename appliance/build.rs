//! Notes when the program was built: a camera without the time knows at least that it is later than that.

use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    // A build that is to be reproducible says which time to put in (reproducible-builds.org).
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo::rerun-if-changed=build.rs");
    let given = std::env::var("SOURCE_DATE_EPOCH").ok();
    let seconds = given
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
    println!("cargo::rustc-env=KEEPSAKE_BUILT_S={seconds}");
}
