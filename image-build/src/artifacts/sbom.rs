//! The SBOM (CycloneDX 1.6): every Debian package and every crate on the image, with version and licence.
//!
//! Licences of Debian packages are those in their machine-readable `copyright`, in Debian's words (`GPL-2+`); prose
//! is not interpreted, and the file itself is on the image.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use keepsake_provision::process::run;
use serde_json::{Value, json};

use super::built_image::BuiltImage;
use super::checksum::sha256_of_file;

const TARGET: &str = "aarch64-unknown-linux-gnu";

pub(super) fn render(made: &BuiltImage, image_sum: &str) -> Result<Value> {
    let mut components = Vec::new();
    for package in made.packages.iter().filter(|package| package.is_used()) {
        let copyright = copyright(made, &package.name);
        let licences: Vec<Value> = licences_named(&copyright)
            .into_iter()
            .map(|name| json!({ "license": { "name": name } }))
            .collect();
        let purl = format!(
            "pkg:deb/debian/{}@{}?arch={}&distro=trixie",
            escaped(&package.name),
            escaped(&package.version),
            package.architecture()
        );
        let sum = sha256_of_file(&package.archive)?;
        components.push(component(&package.name, &package.version, &purl, &json!(licences), Some(&sum)));
    }
    let sums = sums_of_crates(&made.sources.join("Cargo.lock"))?;
    for (name, version, licence) in crates(made.sources)? {
        let purl = format!("pkg:cargo/{name}@{}", escaped(&version));
        let sum = sums.get(&(name.clone(), version.clone()));
        components.push(component(&name, &version, &purl, &json!([{ "expression": licence }]), sum));
    }
    // The same image has the same serial number.
    let id = image_sum;
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!(
            "urn:uuid:{}-{}-{}-{}-{}",
            &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..32]
        ),
        "version": 1,
        "metadata": {
            "timestamp": made.moment()?.to_string(),
            "component": {
                "type": "operating-system",
                "bom-ref": "keepsake-image",
                "name": "keepsake",
                "version": env!("CARGO_PKG_VERSION"),
                "hashes": [{ "alg": "SHA-256", "content": image_sum }],
            },
        },
        "components": components,
    }))
}

fn component(name: &str, version: &str, purl: &str, licences: &Value, sum: Option<&String>) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "licenses": licences,
    });
    if let Some(sum) = sum {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
    }
    component
}

/// Returns a package's `copyright`; empty if it has none.
fn copyright(made: &BuiltImage, package: &str) -> String {
    let work = made.built.root.parent().unwrap_or(Path::new("/"));
    ["root", "kernel"]
        .iter()
        .map(|tree| work.join(tree).join("usr/share/doc").join(package).join("copyright"))
        .find_map(|file| fs::read(file).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// Returns the licence names in a `copyright` of Debian's format 1.0, each once.
fn licences_named(copyright: &str) -> BTreeSet<String> {
    if !copyright.trim_start().starts_with("Format:") {
        return BTreeSet::new();
    }
    copyright
        .lines()
        .filter_map(|line| line.strip_prefix("License:"))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// Returns name, version and licence of every crate in the program.
fn crates(sources: &Path) -> Result<BTreeSet<(String, String, String)>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command
        .current_dir(sources)
        .args(["tree", "--locked", "--package", "keepsake-appliance", "--features", "v4l"])
        .args(["--target", TARGET, "--edges", "normal,no-proc-macro"])
        .args(["--prefix", "none", "--no-dedupe", "--format", "{p}|{l}"])
        .stdin(Stdio::null());
    let listed = run(&mut command).context("list the crates of the program")?;
    let crates: BTreeSet<_> = String::from_utf8_lossy(&listed).lines().filter_map(crate_named).collect();
    ensure!(crates.len() > 10, "cargo tree lists hardly any crates");
    Ok(crates)
}

/// Parses `serde v1.0.228|MIT OR Apache-2.0`; workspace crates have their directory after the version, which is left
/// out.
fn crate_named(line: &str) -> Option<(String, String, String)> {
    let (package, licence) = line.split_once('|')?;
    let mut words = package.split(' ');
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    // The older form with a slash.
    let licence = licence.replace('/', " OR ");
    Some((name.to_owned(), version.to_owned(), licence))
}

/// Returns the SHA-256 of each crate's archive, by name and version.
fn sums_of_crates(lock: &Path) -> Result<BTreeMap<(String, String), String>> {
    let text = fs::read_to_string(lock)?;
    let mut sums = BTreeMap::new();
    for package in text.split("[[package]]").skip(1) {
        let field = |name: &str| {
            package
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "))
                .map(|value| value.trim_matches('"').to_owned())
        };
        if let (Some(name), Some(version), Some(sum)) = (field("name"), field("version"), field("checksum")) {
            sums.insert((name, version), sum);
        }
    }
    Ok(sums)
}

/// Percent-encodes the characters that are special in a package URL.
fn escaped(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '-' | '_' | '~' => c.to_string(),
            _ => format!("%{:02X}", u32::from(c)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_named_as_debian_names_them_and_never_guessed() {
        let machine = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: GPL-2+\n\nFiles: a\nLicense: LGPL-2.1+ or Expat\n text\n\nLicense: GPL-2+\n";
        let named: Vec<String> = licences_named(machine).into_iter().collect();
        assert_eq!(named, ["GPL-2+", "LGPL-2.1+ or Expat"]);
        assert!(licences_named("This is prose.\nLicense: who knows\n").is_empty());
    }

    #[test]
    fn a_crate_is_named_without_the_folder_it_was_built_in() {
        assert_eq!(
            crate_named("keepsake-appliance v0.1.0 (/home/me/keepsake/appliance)|MIT OR Apache-2.0"),
            Some(("keepsake-appliance".into(), "0.1.0".into(), "MIT OR Apache-2.0".into()))
        );
        assert_eq!(crate_named("libm v0.2.0|MIT/Apache-2.0").unwrap().2, "MIT OR Apache-2.0");
        assert_eq!(crate_named(""), None);
    }

    #[test]
    fn the_program_is_made_of_the_crates_that_it_names() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let crates = crates(sources).unwrap();
        let sums = sums_of_crates(&sources.join("Cargo.lock")).unwrap();
        for name in ["keepsake-appliance", "rppal", "sled", "tokio"] {
            assert!(crates.iter().any(|(found, ..)| found == name), "{name}");
        }
        for (name, version, licence) in crates {
            assert!(!licence.is_empty(), "{name} has no licence");
            let is_ours = ["keepsake-appliance", "keepsake-protocol", "keepsake-tls"].contains(&name.as_str());
            assert_eq!(sums.contains_key(&(name.clone(), version)), !is_ours, "{name}");
        }
    }

    #[test]
    fn a_version_with_an_epoch_is_a_good_address() {
        assert_eq!(escaped("2:2.10-24+deb13u1"), "2%3A2.10-24%2Bdeb13u1");
    }
}
