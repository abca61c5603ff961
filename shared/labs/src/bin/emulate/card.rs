//! The card of the emulated Pi, as in a card reader: writing the image, changing settings, reading files.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use image_build::layout::{self, Partition};
use image_build::{artifacts, customize, host_tools};
use keepsake_provision::process::run;
use keepsake_testkit::appliance::CaptureKey;
use keepsake_testkit::programs;

/// The size of an emulated card is a power of two; this one is larger than the image, as real cards are.
pub(crate) const BYTES: u64 = 1 << 30;

/// A setting: its section (empty: before the first section), its name, and its TOML value.
pub(crate) type Setting<'a> = (&'a str, &'a str, &'a str);

/// The card, and a directory for files copied from it.
pub(crate) struct Card {
    pub(crate) file: PathBuf,
    folder: PathBuf,
    /// The `camera.toml` of the image, the base of every change.
    shipped: String,
}

impl Card {
    /// Writes the image to a new card.
    pub(crate) fn new(image: &Path, folder: &Path) -> Result<Self> {
        let file = folder.join("card.img");
        customize::unpack(image, &file)?;
        File::options().write(true).open(&file)?.set_len(BYTES)?;
        let mut card = Self { file, folder: folder.to_owned(), shipped: String::new() };
        card.shipped = card.text("camera.toml")?;
        Ok(card)
    }

    /// Returns a command of mtools on the boot partition.
    fn mtools(&self, program: &str) -> Result<Command> {
        let mut command = host_tools::command(program, 0)?;
        let partition = format!("{}@@{}", self.file.display(), layout::BOOT.start_bytes);
        command.env("MTOOLS_SKIP_CHECK", "1").args(["-i", &partition]);
        Ok(command)
    }

    /// Returns a text file of the boot partition.
    pub(crate) fn text(&self, name: &str) -> Result<String> {
        let mut show = self.mtools("mtype")?;
        let text = run(show.arg(format!("::{name}")))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Copies a file of the boot partition to the directory, and returns its path.
    pub(crate) fn copy_out(&self, name: &str) -> Result<PathBuf> {
        let to = self.folder.join(name);
        let mut copy = self.mtools("mcopy")?;
        run(copy.args(["-n", &format!("::{name}")]).arg(&to))?;
        Ok(to)
    }

    /// Saves `camera.toml` with these changes to the shipped one, as an editor does.
    pub(crate) fn set(&self, settings: &[Setting<'_>]) -> Result<()> {
        let mut text = self.shipped.clone();
        for setting in settings {
            text = with(&text, *setting)?;
        }
        self.put("camera.toml", &text)
    }

    /// Writes a text file of the boot partition, replacing an older one.
    pub(crate) fn put(&self, name: &str, text: &str) -> Result<()> {
        let file = self.folder.join(name);
        fs::write(&file, text)?;
        let mut copy = self.mtools("mcopy")?;
        run(copy.arg("-o").arg(&file).arg(format!("::{name}"))).map(drop)
    }

    /// Returns the hashes of everything that no boot may change: both system slots, and every file of the boot
    /// partition except the settings and the status.
    pub(crate) fn fixed(&self) -> Result<BTreeMap<String, String>> {
        let mut found = BTreeMap::new();
        for (name, partition) in [("system A", layout::SYSTEM_A), ("system B", layout::SYSTEM_B)] {
            found.insert(name.to_owned(), self.hash_of(partition)?);
        }
        let folder = self.folder.join("boot");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let mut copy = self.mtools("mcopy")?;
        run(copy.args(["-s", "-n", "::*"]).arg(&folder))?;
        for entry in fs::read_dir(&folder)? {
            let file = entry?.path();
            let name = file.file_name().context("a file has a name")?;
            let name = name.to_string_lossy().into_owned();
            if name != "camera.toml" && name != "CAMERA-STATUS.txt" {
                found.insert(name, artifacts::sha256_of_file(&file)?);
            }
        }
        Ok(found)
    }

    fn hash_of(&self, partition: Partition) -> Result<String> {
        let mut card = File::open(&self.file)?;
        card.seek(SeekFrom::Start(partition.start_bytes))?;
        Ok(artifacts::sha256(card.take(partition.bytes))?)
    }

    /// Returns the data partition, as the card's table has it now.
    pub(crate) fn data(&self) -> Result<Partition> {
        layout::read(&mut File::open(&self.file)?)?[3].context("the card has lost its data")
    }

    /// Returns the complete pictures on the card, as the next start will find them: the file system is read from
    /// outside, after its journal is replayed. A file system that needs manual repair is an error.
    ///
    /// The machine must be off or paused.
    pub(crate) fn pictures(&self) -> Result<BTreeMap<CaptureKey, Vec<u8>>> {
        let data = self.data()?;
        let copy = self.folder.join("data.ext4");
        let _ = fs::remove_file(&copy);
        let mut dd = host_tools::command("dd", 0)?;
        dd.arg(format!("if={}", self.file.display()))
            .arg(format!("of={}", copy.display()))
            .args(["bs=1M", "conv=sparse", "status=none"])
            .arg(format!("skip={}", data.start_bytes >> 20))
            .arg(format!("count={}", data.bytes >> 20));
        run(&mut dd)?;
        // Holes at the end belong to the file system.
        File::options().write(true).open(&copy)?.set_len(data.bytes)?;
        let mut check = host_tools::command("e2fsck", 0)?;
        let output = check
            .args(["-p", "-f"])
            .arg(&copy)
            .stderr(Stdio::piped())
            .output()
            .context("run e2fsck")?;
        // 1: repaired automatically, such as a half-deleted file.
        ensure!(
            output.status.code().is_some_and(|code| code <= 1),
            "the file system of the data needs a person: e2fsck says {}",
            String::from_utf8_lossy(&output.stdout)
        );
        let tree = self.folder.join("data");
        let export = self.folder.join("export");
        for folder in [&tree, &export] {
            let _ = fs::remove_dir_all(folder);
        }
        fs::create_dir_all(&tree)?;
        let mut dump = host_tools::command("debugfs", 0)?;
        dump.args(["-R", &format!("rdump / {}", tree.display())]).arg(&copy);
        run(&mut dump)?;
        let mut command = Command::new(programs::appliance());
        command
            .args(["spool", "export", "--spool"])
            .arg(tree.join("keepsake/pictures"))
            .arg("--to")
            .arg(&export);
        run(&mut command)?;
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&export)? {
            let file = entry?.path();
            let name = file.file_stem().context("a picture has a name")?;
            let name = name.to_string_lossy();
            let (install, sequence) = name.split_once('_').context("install_number.jpg")?;
            let bytes = fs::read(&file)?;
            let named = CaptureKey {
                spool: install.parse().map_err(|_| anyhow::anyhow!("{name} names no install"))?,
                sequence: sequence.parse()?,
                hash: keepsake_protocol::Hash::of(&bytes).prefix(),
            };
            found.insert(named, bytes);
        }
        Ok(found)
    }

    /// Returns a directory of the data partition, as of the last [`Card::pictures`].
    pub(crate) fn data_folder(&self, name: &str) -> PathBuf {
        self.folder.join("data").join(name)
    }
}

/// Returns the text with one value changed and everything else, including line ends, as it was.
fn with(text: &str, (section, name, value): Setting<'_>) -> Result<String> {
    let begins = if section.is_empty() {
        0
    } else {
        let header = format!("\n[{section}]");
        text.find(&header).with_context(|| format!("there is no [{section}] in camera.toml"))? + header.len()
    };
    let line = format!("\n{name} = ");
    let at = text[begins..]
        .find(&line)
        .with_context(|| format!("there is no {name} in [{section}] of camera.toml"))?
        + begins
        + line.len();
    ensure!(!text[begins..at].contains("\n["), "there is no {name} in [{section}] of camera.toml");
    let end = text[at..].find(['\r', '\n']).map_or(text.len(), |end| at + end);
    Ok(format!("{}{value}{}", &text[..at], &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_changed_where_it_stands_and_nothing_else_is() {
        let text = "# It begins so.\r\ndevice = \"\"\r\n\r\n[a]\r\nkind = 1\r\n\r\n[b]\r\nkind = 2\r\nlast = 3";
        let check = |setting, expected: &str| assert_eq!(with(text, setting).unwrap(), expected);
        check(("", "device", "\"x\""), &text.replace("device = \"\"", "device = \"x\""));
        check(("b", "kind", "9"), &text.replace("kind = 2", "kind = 9"));
        check(("b", "last", "9"), &text.replace("last = 3", "last = 9"));
        for missing in [("a", "last", "9"), ("c", "kind", "9"), ("", "kind", "9")] {
            assert!(with(text, missing).is_err(), "{missing:?}");
        }
    }
}
