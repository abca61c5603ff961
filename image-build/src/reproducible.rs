//! Checks that the image is reproducible by building it twice in different environments.
//!
//! The second build has another directory, umask, time zone and language, and a copy of the sources that was unpacked
//! in another order. The camera's program is the same: cargo writes the source directory into what it builds
//! (docs/decisions/0018-image.md).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;

use crate::artifacts::sha256_of_file;
use crate::build::root::all_files;
use crate::host_tools;
use crate::inputs::Inputs;
use crate::layout;

/// The parts of the workspace that an image is built from.
const SOURCES: [&str; 4] = ["appliance/camera.toml", "appliance/debian", "image-build/card", "udev"];

/// Builds two images of the packages in a directory, and compares them and their artifacts; returns the checksums.
///
/// # Errors
/// The first difference, by name.
pub fn build_twice(inputs: &Inputs, packages: &Path) -> Result<String> {
    let _ = fs::remove_dir_all(inputs.work);
    let one = inputs.work.join("one");
    let two = inputs.work.join("Another Folder/with a much longer name");
    let copy = inputs.work.join("sources");
    for folder in [&one, &two, &copy] {
        fs::create_dir_all(folder)?;
    }
    copy_sources(inputs.workspace, &copy)?;
    build_once(inputs, packages, &one, "022", &[("TZ", "UTC"), ("LC_ALL", "C.UTF-8")])?;
    build_once(
        &Inputs { workspace: &copy, ..*inputs },
        packages,
        &two,
        "077",
        // A time zone 45 minutes off the hour, and a language with other capital letters.
        &[
            ("TZ", "Pacific/Chatham"),
            ("LC_ALL", "tr_TR.UTF-8"),
            ("LANG", "tr_TR.UTF-8"),
            ("HOME", "/nonexistent"),
        ],
    )?;
    let (sums, others) = (fs::read_to_string(one.join("SHA256SUMS"))?, fs::read_to_string(two.join("SHA256SUMS"))?);
    if sums == others {
        let _ = fs::remove_dir_all(inputs.work);
        return Ok(sums);
    }
    if let Some(difference) = first_difference(&one.join("work"), &two.join("work"))? {
        bail!("the two images differ: {difference}");
    }
    let line = sums.lines().zip(others.lines()).find(|(a, b)| a != b);
    let name = line.and_then(|(line, _)| line.split_whitespace().nth(1));
    bail!("the two images are identical, but {} beside them differs", name.unwrap_or("SHA256SUMS"))
}

/// Runs this program again with this umask and these variables.
fn build_once(inputs: &Inputs, packages: &Path, output: &Path, mask: &str, variables: &[(&str, &str)]) -> Result<()> {
    let program = std::env::current_exe().context("find the file of this program")?;
    let pairs: [(&str, PathBuf); 4] = [
        ("--program", fs::canonicalize(inputs.program)?),
        ("--packages", fs::canonicalize(packages)?),
        ("--workspace", fs::canonicalize(inputs.workspace)?),
        ("--output", fs::canonicalize(output)?),
    ];
    let arguments = pairs.into_iter().flat_map(|(name, path)| [OsString::from(name), path.into_os_string()]);
    let status = Command::new("sh")
        .args(["-c", "umask \"$1\"; shift; exec \"$@\"", "sh", mask])
        .arg(program)
        .arg("--offline")
        .args(arguments)
        .current_dir("/")
        .envs(cargo_home())
        .envs(variables.iter().copied())
        .env("SOURCE_DATE_EPOCH", inputs.epoch_s.to_string())
        .stdout(std::process::Stdio::null())
        .status()
        .context("build an image")?;
    ensure!(status.success(), "one of the images could not be built, see above");
    Ok(())
}

/// Cargo and rustup keep their files at home, where the second run has none.
fn cargo_home() -> Vec<(&'static str, PathBuf)> {
    let Some(home) = std::env::var_os("HOME").map(PathBuf::from) else {
        return Vec::new();
    };
    [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")]
        .into_iter()
        .filter(|(name, _)| std::env::var_os(name).is_none())
        .map(|(name, folder)| (name, home.join(folder)))
        .collect()
}

/// Copies the sources in reverse order, unreadable for others.
fn copy_sources(workspace: &Path, to: &Path) -> Result<()> {
    for name in SOURCES {
        let from = workspace.join(name);
        let mut files = if from.is_dir() { all_files(&from)? } else { vec![from] };
        files.reverse();
        for file in files {
            let copy = to.join(file.strip_prefix(workspace).context("it was found there")?);
            fs::create_dir_all(copy.parent().context("it is in a folder")?)?;
            fs::copy(&file, &copy)?;
            fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o600))?;
        }
    }
    Ok(())
}

/// Returns the first file that differs, else the first partition; `None` if the images are the same.
fn first_difference(one: &Path, two: &Path) -> Result<Option<String>> {
    for tree in ["boot", "root"] {
        let (ours, theirs) = (files(&one.join(tree))?, files(&two.join(tree))?);
        let mut names = ours.keys().chain(theirs.keys());
        if let Some(name) = names.find(|name| ours.get(*name) != theirs.get(*name)) {
            return Ok(Some(match (ours.get(name), theirs.get(name)) {
                (Some(a), Some(b)) => format!("{tree}/{name} is {a} in one and {b} in the other"),
                _ => format!("{tree}/{name} is only in one of them"),
            }));
        }
    }
    let mut compare = host_tools::command("cmp", 0)?;
    let compared = compare
        .args([one, two].map(|folder| folder.join("card.img")))
        .output()
        .context("run cmp")?;
    if compared.status.success() {
        return Ok(None);
    }
    // "one/card.img two/card.img differ: byte 138412040, line 1", counted from 1.
    let output = String::from_utf8_lossy(&compared.stdout);
    let byte = output
        .rsplit_once("byte ")
        .and_then(|(_, rest)| rest.split(',').next()?.parse::<u64>().ok());
    let byte = byte.with_context(|| format!("cmp: {}{output}", String::from_utf8_lossy(&compared.stderr)))?;
    Ok(Some(place(byte - 1)))
}

fn place(at: u64) -> String {
    let inside = layout::PARTITIONS.iter().find(|p| (p.start_bytes..p.start_bytes + p.bytes).contains(&at));
    match inside {
        Some(partition) => format!(
            "the same files lie differently in partition {}, from byte {} of it on",
            partition.number,
            at - partition.start_bytes
        ),
        None => format!("byte {at}, which is in no partition"),
    }
}

/// Returns mode and content of every file and link.
fn files(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for file in all_files(folder)? {
        let about = fs::symlink_metadata(&file)?;
        let what = if about.is_symlink() {
            format!("a link to {}", fs::read_link(&file)?.display())
        } else {
            format!("{:o} {}", about.permissions().mode() & 0o7777, &sha256_of_file(&file)?[..16])
        };
        let name = file.strip_prefix(folder).unwrap_or(&file);
        found.insert(name.to_string_lossy().into_owned(), what);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn card(folder: &Path) {
        for name in ["boot", "root/etc"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        fs::write(folder.join("boot/config.txt"), "a").unwrap();
        fs::write(folder.join("root/etc/fstab"), "b").unwrap();
        let image = File::create(folder.join("card.img")).unwrap();
        image.set_len(layout::IMAGE_BYTES).unwrap();
    }

    #[test]
    fn what_differs_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        card(&one);
        card(&two);
        let difference = || first_difference(&one, &two).unwrap();
        assert_eq!(difference(), None);

        // In a partition and not in a file: the order of files, or a time.
        let write = |byte: u8| {
            use std::os::unix::fs::FileExt;
            let image = File::options().write(true).open(two.join("card.img")).unwrap();
            image.write_at(&[byte], layout::SYSTEM_A.start_bytes + 7).unwrap();
        };
        write(1);
        assert!(difference().unwrap().contains("partition 2, from byte 7"));
        write(0);

        let file = two.join("root/etc/fstab");
        let mode = |mode| fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o600);
        assert!(difference().unwrap().starts_with("root/etc/fstab is 644"));
        mode(0o644);
        fs::write(&file, "c").unwrap();
        assert!(difference().unwrap().starts_with("root/etc/fstab is"));
        fs::remove_file(&file).unwrap();
        assert!(difference().unwrap().contains("root/etc/fstab is only in one"));
    }
}
