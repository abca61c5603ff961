//! Step three: the files beside an image: checksums, contents by size, the SBOM, and the manifest for Raspberry Pi
//! Imager.
//!
//! All but the last are identical wherever the image is built; the manifest contains the path of the image.

mod built_image;
mod checksum;
mod contents;
mod sbom;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;
use serde_json::json;

use crate::layout;

pub use built_image::BuiltImage;
pub use checksum::{sha256, sha256_of_file};

/// Writes all artifacts; returns the contents by size, to be printed.
///
/// # Errors
/// A file cannot be written, or cargo has failed.
pub fn write(made: &BuiltImage) -> Result<String> {
    let contents = contents::render(made.built)?;
    let card_sum = sha256_of_file(&made.built.image)?;
    let image_sum = sha256_of_file(made.image)?;
    let bill = sbom::render(made, &image_sum)?;
    let bill_file = sibling(made.image, ".cdx.json");
    let contents_file = sibling(made.image, ".contents.txt");
    fs::write(&contents_file, &contents)?;
    fs::write(&bill_file, pretty(&bill))?;
    let mut sums = format!("{image_sum}  {}\n", name(made.image));
    for file in [&bill_file, &contents_file] {
        sums.push_str(&format!("{}  {}\n", sha256_of_file(file)?, name(file)));
    }
    // Of the uncompressed card image, which `cargo image -- --write` compares.
    sums.push_str(&format!("{card_sum}  {}\n", name(made.image).trim_end_matches(".zst")));
    fs::write(made.image.with_file_name("SHA256SUMS"), &sums)?;
    let manifest = manifest(made, &card_sum, &image_sum)?;
    fs::write(sibling(made.image, ".rpi-imager-manifest"), pretty(&manifest))?;
    Ok(contents)
}

/// Returns the path of the image with another ending.
pub fn sibling(image: &Path, ending: &str) -> PathBuf {
    let name = name(image);
    let stem = name.split(".img").next().unwrap_or(&name);
    image.with_file_name(format!("{stem}{ending}"))
}

/// Returns the manifest that Raspberry Pi Imager 2 opens on a double click, and 1.9 with `--repo`. It has no
/// `init_format`: Imager's questions (user, password, Wi-Fi) would have no effect, because `camera.toml` has these
/// settings.
///
/// Source: doc/json-schema/os-list-schema.json of raspberrypi/rpi-imager.
fn manifest(made: &BuiltImage, card_sum: &str, image_sum: &str) -> Result<serde_json::Value> {
    let place = made.image.canonicalize().with_context(|| format!("find {}", made.image.display()))?;
    let bytes = fs::metadata(made.image)?.len();
    Ok(json!({
        "os_list": [{
            "name": format!("Keepsake camera {}", env!("CARGO_PKG_VERSION")),
            "description": "A camera that keeps its word. Settings go into camera.toml on the card.",
            "icon": ICON,
            "url": format!("file://{}", place.display()),
            "extract_size": layout::IMAGE_BYTES,
            "extract_sha256": card_sum,
            "image_download_size": bytes,
            "image_download_sha256": image_sum,
            "release_date": made.moment()?.strftime("%Y-%m-%d").to_string(),
            "devices": ["pi3-64bit", "pi4-64bit"],
        }]
    }))
}

/// An icon of a lens, embedded so that Imager downloads nothing.
const ICON: &str = "data:image/svg+xml;utf8,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 40 40'><circle cx='20' cy='20' r='18' fill='black'/><circle cx='20' cy='20' r='9' fill='white'/></svg>";

fn name(file: &Path) -> String {
    file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::Built;

    #[test]
    fn the_imager_finds_every_field_it_asks_for() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("keepsake-1.2.3-arm64.img.zst");
        fs::write(&image, "not yet").unwrap();
        let built = Built {
            image: image.clone(),
            root: PathBuf::new(),
            boot: PathBuf::new(),
        };
        let made = BuiltImage {
            image: &image,
            built: &built,
            packages: &[],
            sources: Path::new("/"),
            epoch_s: 1_764_000_000,
        };
        let entry = &manifest(&made, "ab", "cd").unwrap()["os_list"][0];
        for text in ["name", "description", "icon", "url", "extract_sha256", "release_date"] {
            assert!(entry[text].is_string(), "{text}");
        }
        assert_eq!(entry["release_date"], "2025-11-24");
        assert_eq!(entry["image_download_size"], 7);
        assert_eq!(entry["extract_size"], layout::IMAGE_BYTES);
        let url = entry["url"].as_str().unwrap();
        assert!(url.starts_with("file:///") && url.ends_with(".img.zst"), "{url}");
        assert_eq!(sibling(&image, ".cdx.json").file_name().unwrap(), "keepsake-1.2.3-arm64.cdx.json");
    }

    #[test]
    fn a_sum_is_what_sha256sum_says() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "abc").unwrap();
        assert_eq!(
            sha256_of_file(&file).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
