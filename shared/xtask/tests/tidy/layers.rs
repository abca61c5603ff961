//! The direction of the imports: `main` → assembly → flows → edges and decisions → plain types → protocol.
//!
//! `docs/architecture.md` describes the layers.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::imports::{CRATES, Crate};
use crate::{assert_left, root, shown};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer {
    /// Builds the parts, starts and stops them.
    Assembly,
    /// Moves data between edges and decisions.
    Flow,
    /// Does I/O and decides nothing.
    Edge,
    /// Decides; events and the time go in, actions come out.
    Decision,
    /// Types without behaviour, such as identifiers, keys and limits.
    Plain,
}

impl Layer {
    fn may_import(self, imported: Self) -> bool {
        match self {
            Self::Assembly => true,
            Self::Flow => imported != Self::Assembly,
            Self::Edge => matches!(imported, Self::Edge | Self::Plain),
            Self::Decision => matches!(imported, Self::Decision | Self::Plain),
            Self::Plain => imported == Self::Plain,
        }
    }
}

/// The layer of each directory or file; the longest prefix counts.
type Layers = &'static [(&'static str, Layer)];

const APPLIANCE: Layers = &[
    ("appliance/src/", Layer::Assembly),
    ("appliance/src/button/", Layer::Flow),
    ("appliance/src/button/press_or_hold", Layer::Decision),
    ("appliance/src/capture/", Layer::Flow),
    ("appliance/src/engine/", Layer::Flow),
    ("appliance/src/durable_file.rs", Layer::Edge),
    ("appliance/src/error.rs", Layer::Plain),
    ("appliance/src/hardware/", Layer::Edge),
    ("appliance/src/imaging/", Layer::Plain),
    ("appliance/src/light/", Layer::Flow),
    ("appliance/src/light/indicator", Layer::Decision),
    ("appliance/src/net.rs", Layer::Edge),
    ("appliance/src/sd_card/", Layer::Edge),
    ("appliance/src/settings/", Layer::Edge),
    ("appliance/src/settings/config.rs", Layer::Plain),
    ("appliance/src/settings/empty_as_none.rs", Layer::Plain),
    ("appliance/src/settings/mod.rs", Layer::Plain),
    ("appliance/src/settings/value.rs", Layer::Plain),
    ("appliance/src/spool/", Layer::Edge),
    ("appliance/src/spool/types.rs", Layer::Plain),
    ("appliance/src/status/", Layer::Flow),
    ("appliance/src/status/plain_text.rs", Layer::Plain),
    ("appliance/src/time/", Layer::Edge),
    ("appliance/src/time/boot_history", Layer::Decision),
    ("appliance/src/time/journal", Layer::Flow),
    ("appliance/src/transport/", Layer::Flow),
    ("appliance/src/upload/", Layer::Decision),
];

const CLOUD: Layers = &[
    ("cloud/src/", Layer::Assembly),
    ("cloud/src/args.rs", Layer::Edge),
    ("cloud/src/auth/", Layer::Plain),
    ("cloud/src/auth/login_throttle", Layer::Decision),
    ("cloud/src/auth/password", Layer::Edge),
    ("cloud/src/broker/", Layer::Flow),
    ("cloud/src/config/", Layer::Edge),
    ("cloud/src/config/error.rs", Layer::Plain),
    ("cloud/src/config/limits.rs", Layer::Plain),
    ("cloud/src/downlink/", Layer::Flow),
    ("cloud/src/http/", Layer::Flow),
    ("cloud/src/ingest/", Layer::Flow),
    ("cloud/src/ingest/decode", Layer::Decision),
    ("cloud/src/ingest/external", Layer::Plain),
    ("cloud/src/ingest/operation", Layer::Plain),
    ("cloud/src/ingest/window_budget", Layer::Decision),
    ("cloud/src/lib.rs", Layer::Plain),
    ("cloud/src/mqtt/", Layer::Flow),
    ("cloud/src/objects/", Layer::Edge),
    ("cloud/src/objects/durable.rs", Layer::Plain),
    ("cloud/src/objects/error.rs", Layer::Plain),
    ("cloud/src/objects/key.rs", Layer::Plain),
    ("cloud/src/objects/location.rs", Layer::Plain),
    ("cloud/src/objects/name.rs", Layer::Plain),
    ("cloud/src/objects/object.rs", Layer::Plain),
    ("cloud/src/ops/", Layer::Flow),
    ("cloud/src/ops/presence", Layer::Plain),
    ("cloud/src/pictures/", Layer::Plain),
    ("cloud/src/pictures/thumbnail", Layer::Flow),
    ("cloud/src/store/", Layer::Edge),
];

/// The crates with layers: directory, name, and layers.
const LAYERED: [(&str, &str, Layers); 2] =
    [("appliance", "keepsake_appliance", APPLIANCE), ("cloud", "keepsake_cloud", CLOUD)];

/// The files that may name a foreign crate: one home per program.
const HOMES: &[(&str, &[&str])] = &[
    ("gpiocdev", &["appliance/src/hardware/gpiochip"]),
    ("mqtt5", &["cloud/src/broker/"]),
    ("object_store", &["cloud/src/objects/"]),
    ("rppal", &["appliance/src/hardware/rppal_gpio.rs"]),
    ("rumqttc", &["appliance/src/transport/mqtt", "cloud/src/mqtt/"]),
    ("rustls", &["cloud/src/http/server", "shared/tls/src/"]),
    ("sled", &["appliance/src/spool/index"]),
    ("sqlx", &["cloud/src/store/", "shared/testkit/src/"]),
    ("v4l", &["appliance/src/hardware/v4l/kernel"]),
];

/// The crates of the workspace that both programs may depend on.
const MEETING_POINTS: &[&str] = &["keepsake-protocol", "keepsake-tls"];

fn layer_of(layers: Layers, file: &str) -> Layer {
    let fitting = layers.iter().filter(|(prefix, _)| file.starts_with(prefix));
    let (_, layer) = fitting.max_by_key(|(prefix, _)| prefix.len()).expect("the first row fits every file");
    *layer
}

/// Returns whether a path reads a clock, starts a task or thread, or does I/O.
fn is_impure(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["tokio", ..] | ["std", "fs" | "process" | "thread", ..] => true,
        ["std", "net", name, ..] => name.starts_with("Tcp") || name.starts_with("Udp"),
        [.., "Instant" | "SystemTime" | "OffsetDateTime", "now" | "now_utc"] => true,
        _ => false,
    }
}

#[test]
fn imports_follow_the_direction_of_the_layers() {
    let mut against = Vec::new();
    for (folder, name, layers) in LAYERED {
        for (from, to) in Crate::read(folder, name).arrows() {
            let (from, to) = (shown(from), shown(to));
            if !layer_of(layers, &from).may_import(layer_of(layers, &to)) {
                against.push(format!("{from} imports {to}"));
            }
        }
    }
    assert_left(&against, 0, "a lower layer imports a higher one, or an edge and a decision meet");
}

#[test]
fn decisions_use_neither_clocks_nor_tasks_nor_files() {
    let mut impure = Vec::new();
    for (folder, name, layers) in LAYERED {
        for (file, path) in Crate::read(folder, name).foreign_uses() {
            let file = shown(file);
            let layer = layer_of(layers, &file);
            if matches!(layer, Layer::Decision | Layer::Plain) && is_impure(path) {
                impure.push(format!("{file} uses {}", path.join("::")));
            }
        }
    }
    assert_left(&impure, 0, "let the caller do it and pass the result");
}

#[test]
fn a_foreign_crate_has_one_home() {
    let mut away = Vec::new();
    let mut homes_seen = BTreeSet::new();
    for (folder, name) in CRATES {
        for (file, path) in Crate::read(folder, name).foreign_uses() {
            let file = shown(file);
            for (foreign, homes) in HOMES.iter().filter(|(foreign, _)| path[0] == *foreign) {
                match homes.iter().find(|home| file.starts_with(**home)) {
                    Some(home) => {
                        homes_seen.insert((*foreign, *home));
                    }
                    None => away.push(format!("{file} uses {foreign}")),
                }
            }
        }
    }
    assert_left(&away, 0, "a foreign crate is used away from its home");
    let homes: usize = HOMES.iter().map(|(_, homes)| homes.len()).sum();
    assert_eq!(homes_seen.len(), homes, "only these homes use their crate: {homes_seen:?}");
}

#[test]
fn camera_and_cloud_meet_only_in_the_shared_crates() {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(root())
        .output()
        .expect("run cargo metadata");
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let name = |value: &Value| value["name"].as_str().expect("a name").to_owned();
    let members: BTreeSet<String> = packages.iter().map(name).collect();
    assert!(
        members.contains("keepsake-appliance") && members.contains("keepsake-cloud"),
        "{members:?}"
    );
    for package in packages {
        let dependencies = package["dependencies"].as_array().expect("a list of dependencies");
        let product = dependencies.iter().filter(|dependency| dependency["kind"].is_null()).map(name);
        let own: Vec<String> = product.filter(|dependency| members.contains(dependency)).collect();
        match name(package).as_str() {
            "keepsake-appliance" | "keepsake-cloud" => {
                let allowed = own.iter().all(|own| MEETING_POINTS.contains(&own.as_str()));
                assert!(allowed, "{} depends on {own:?}", name(package));
            }
            other => {
                let programs = own.iter().filter(|own| matches!(own.as_str(), "keepsake-appliance" | "keepsake-cloud"));
                assert!(programs.count() < 2, "{other} depends on both programs");
            }
        }
    }
}
