//! `cargo xtask release`: the files of a release in one directory, `target/release-files`, with a manifest and
//! checksums. A file that is not built yet is an error.
//!
//! `manifest.json` has the commit, and the name, size and SHA-256 of each file; `SHA256SUMS` has the same for
//! `sha256sum --check`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use serde_json::json;

use keepsake_provision::cross::Arch;
use keepsake_provision::process::run;
use keepsake_provision::workspace;

use crate::{deb, delegate};

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The tag of this release, which must be the version of the workspace: v1.2.3.
    #[arg(long)]
    tag: Option<String>,
    /// Leave out the SD card image.
    #[arg(long)]
    no_image: bool,
}

/// Returns whether the release is complete.
pub(crate) fn collect_release(arguments: &Arguments) -> Result<bool> {
    if let Some(tag) = &arguments.tag {
        ensure!(
            *tag == format!("v{VERSION}"),
            "the tag {tag} does not match the version {VERSION} in Cargo.toml"
        );
    }
    let mut files = Vec::new();
    for arch in [Arch::Amd64, Arch::Arm64] {
        for name in ["appliance", "cloud"] {
            let file = deb::package(name, arch, true).context("run `cargo xtask deb` first")?;
            files.push(file);
        }
    }
    if !arguments.no_image {
        let image = delegate::image_file();
        ensure!(
            image.is_file(),
            "{} is missing: run `cargo image` first, or use --no-image",
            image.display()
        );
        files.push(image);
    }
    let folder = workspace::target().join("release-files");
    for file in collect(&files, &folder, &commit()?)? {
        println!("{}", file.display());
    }
    Ok(true)
}

/// Copies the files, and writes manifest and checksums beside them. The directory is emptied before.
fn collect(files: &[PathBuf], folder: &Path, commit: &str) -> Result<Vec<PathBuf>> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let mut names = Vec::new();
    for file in files {
        let name = file.file_name().context("a file has a name")?;
        fs::copy(file, folder.join(name))?;
        names.push(name);
    }
    let sums = run(Command::new("sha256sum").current_dir(folder).arg("--").args(names))?;
    let sums = String::from_utf8(sums).context("read the checksums")?;
    let mut entries = Vec::new();
    let mut laid_out = Vec::new();
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").context("read the checksums")?;
        let copy = folder.join(name);
        entries.push(json!({"name": name, "bytes": fs::metadata(&copy)?.len(), "sha256": sum}));
        laid_out.push(copy);
    }
    let manifest = json!({"version": VERSION, "commit": commit, "files": entries});
    let manifest = serde_json::to_string_pretty(&manifest).context("write the manifest")?;
    for (name, content) in [("manifest.json", manifest + "\n"), ("SHA256SUMS", sums)] {
        let file = folder.join(name);
        fs::write(&file, content)?;
        laid_out.push(file);
    }
    Ok(laid_out)
}

/// Returns the commit of the working tree, marked when there are uncommitted changes.
fn commit() -> Result<String> {
    let git = |arguments: &[&str]| -> Result<String> {
        let output = run(Command::new("git").current_dir(workspace::root()).args(arguments))?;
        Ok(String::from_utf8_lossy(&output).trim().to_owned())
    };
    let changed = git(&["status", "--porcelain"])?;
    let commit = git(&["rev-parse", "HEAD"])?;
    if changed.is_empty() {
        return Ok(commit);
    }
    println!("note: there are uncommitted changes, which the manifest mentions");
    Ok(format!("{commit} and changes"))
}

#[cfg(test)]
mod tests {
    use yaml_rust2::YamlLoader;

    use super::*;

    #[test]
    fn what_is_laid_out_is_named_with_its_hash_and_nothing_else_is_there() {
        let folder = std::env::temp_dir().join(format!("keepsake-release-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let from = folder.join("from");
        fs::create_dir_all(&from).unwrap();
        fs::create_dir_all(folder.join("to")).unwrap();
        fs::write(folder.join("to/of-the-last-release.deb"), "old").unwrap();
        fs::write(from.join("a.deb"), "abc").unwrap();
        let out = collect(&[from.join("a.deb")], &folder.join("to"), "c0ffee").unwrap();
        assert_eq!(out.len(), 3);
        assert_eq!(fs::read_dir(folder.join("to")).unwrap().count(), 3);
        // FIPS 180-2, the first example.
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let sums = fs::read_to_string(folder.join("to/SHA256SUMS")).unwrap();
        assert_eq!(sums, format!("{sum}  a.deb\n"));
        let manifest = fs::read_to_string(folder.join("to/manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        assert_eq!(
            manifest,
            json!({"version": VERSION, "commit": "c0ffee", "files": [{"name": "a.deb", "bytes": 3, "sha256": sum}]})
        );
        fs::remove_dir_all(&folder).unwrap();
    }

    /// The release workflow only runs commands that everyone can run.
    #[test]
    fn the_workflow_is_yaml_and_calls_commands_there_are() {
        let workflow = include_str!("../../../.github/workflows/release.yml");
        let parsed = YamlLoader::load_from_str(workflow).unwrap();
        let steps = parsed[0]["jobs"]["release"]["steps"].as_vec().unwrap();
        let run: Vec<&str> = steps.iter().filter_map(|step| step["run"].as_str()).collect();
        // The first two install Rust on a fresh Debian.
        assert_eq!(
            run[2..],
            [
                ".ci/run",
                "cargo xtask deb",
                // `cargo emulate` has seen it take pictures and lose none (docs/decisions/0018-image.md).
                "cargo image",
                "cargo xtask release --tag \"$GITHUB_REF_NAME\"",
                "gh release create \"$GITHUB_REF_NAME\" --verify-tag --generate-notes target/release-files/*",
            ]
        );
        let rust = parsed[0]["jobs"]["release"]["env"]["RUSTUP_TOOLCHAIN"].as_str();
        assert_eq!(rust, Some(env!("CARGO_PKG_RUST_VERSION")));
    }
}
