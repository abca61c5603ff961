//! `cargo emulate`: the image in an emulated Raspberry Pi 3, with a cloud on this computer, and its plug pulled.
//!
//! What is shown: the card starts by itself with nothing but a settings file, pictures asked for from the cloud are stored
//! there, and of all pictures that were whole on the card after a plug was pulled none is missing from the cloud's database
//! at the end. The witness is the card itself: after every pulled plug its file system is read from outside.
//!
//! Not shown, because QEMU has none of it: the Pi's own firmware, GPIO edges, Wi-Fi, the watchdog, a real camera. Pictures
//! are a drawn scene, asked for by `snap`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use image_build::layout::{self, Partition};
use image_build::{build::boot, tool};
use sha2::{Digest, Sha256};
use testkit::appliance::Named;
use testkit::audit::audit;
use testkit::cloud::Cloud;
use testkit::engines::debian::{Prefix, Source};
use testkit::folder::Folder;
use testkit::program::binary;

const DEVICE: &str = "emulated";
/// An emulated card is a power of two, and this one is larger than the image, as every card is.
const CARD_BYTES: u64 = 1 << 30;
/// An emulated Pi is fifty times slower than a real one, and more so on a busy computer.
const READY_WITHIN: Duration = Duration::from_secs(540);

/// Start the SD card image in an emulated Raspberry Pi 3, take pictures, pull its plug, and audit.
#[derive(Parser)]
#[command(name = "cargo emulate")]
struct Arguments {
    /// The folder `cargo image` has made.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// How often the plug is pulled.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=100))]
    cuts: u32,
    /// Pictures asked for before each of them, and at the end.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pictures: u32,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    tool::check()?;
    let folder = Folder::new("emulate");
    let mut cloud = Cloud::new(&folder);
    cloud.start();
    let pi = Pi::new(&arguments.output, &folder, cloud.mqtt_port())?;
    let system_before = pi.hash_of(layout::SYSTEM_A)?;

    let mut on_card: BTreeSet<Named> = BTreeSet::new();
    for number in 0..=arguments.cuts {
        let last = number == arguments.cuts;
        let pictures_before = cloud.store().picture_count();
        let began = Instant::now();
        let mut running = pi.start(number)?;
        running.wait_until_ready(&cloud)?;
        println!(
            "start {}: ready after {} s, {:.0} CPU seconds",
            number + 1,
            began.elapsed().as_secs(),
            running.cpu_s()?
        );
        let api = cloud.api();
        for _ in 0..arguments.pictures {
            api.snap(DEVICE);
        }
        let waits_for = pictures_before
            + if last {
                u64::from(arguments.pictures)
            } else {
                // In the middle of the burst: some are stored, one is being saved, some are only asked for.
                1 + u64::from(arguments.pictures) / 3
            };
        running.wait_for(&format!("{waits_for} pictures in the cloud"), || {
            cloud.store().picture_count() >= waits_for
        })?;
        if last {
            running.wait_for("every picture of the card in the cloud", || {
                let device = cloud.api().device(DEVICE);
                device.is_some_and(|device| device["queue"]["depth"] == 0 || device["held"] == 0)
            })?;
        }
        running.pull_the_plug()?;
        let found = pi.pictures_on_card(number)?;
        println!(
            "plug pulled: {} whole pictures on the card, {} in the cloud",
            found.len(),
            cloud.store().picture_count()
        );
        on_card.extend(found);
    }

    let photos: Vec<Vec<u8>> = pi.photos()?.into_values().collect();
    let confirmed: Vec<Named> = on_card.into_iter().collect();
    let found = audit(&cloud.store(), &confirmed, &photos);
    ensure!(
        pi.hash_of(layout::SYSTEM_A)? == system_before,
        "the read-only system has changed"
    );
    let data =
        layout::read(&mut File::open(&pi.card)?)?[3].context("the card has lost its data")?;
    ensure!(
        data.start_bytes + data.bytes > CARD_BYTES - (16 << 20),
        "the data have not grown to the end of the card: {} bytes",
        data.bytes
    );
    println!("{}", pi.status()?.trim_end());
    println!(
        "{} plugs pulled, {} pictures on the card, {} in the cloud, 0 lost; data grown from {} to {} MiB; the system unchanged",
        arguments.cuts,
        confirmed.len(),
        found.stored,
        layout::DATA.bytes >> 20,
        data.bytes >> 20
    );
    Ok(())
}

/// An emulated Pi with its card; it may be off at the moment.
struct Pi {
    qemu: Qemu,
    folder: PathBuf,
    card: PathBuf,
}

enum Qemu {
    System,
    Unpacked(Prefix),
}

impl Pi {
    /// A card like a person would make it: the image, and a settings file.
    fn new(output: &Path, folder: &Path, mqtt_port: u16) -> Result<Self> {
        let qemu = match tool::find("qemu-system-aarch64") {
            Some(_) => Qemu::System,
            None => {
                println!(
                    "qemu-system-aarch64 is missing; it is fetched for this and not installed"
                );
                let prefix = Prefix::fetch("qemu", &["qemu-system-arm"], Source::System)
                    .map_err(anyhow::Error::msg)
                    .context("sudo apt-get install qemu-system-arm")?;
                Qemu::Unpacked(prefix)
            }
        };
        let name = format!("keepsake-{}-arm64.img.zst", env!("CARGO_PKG_VERSION"));
        let image = output.join(name);
        ensure!(
            image.is_file(),
            "there is no {}: run cargo image first",
            image.display()
        );
        let card = folder.join("card.img");
        let mut zstd = tool::command("zstd", 0)?;
        zstd.args(["--decompress", "--quiet", "--sparse"])
            .arg(&image)
            .arg("-o")
            .arg(&card);
        tool::run(&mut zstd)?;
        File::options()
            .write(true)
            .open(&card)?
            .set_len(CARD_BYTES)?;
        let pi = Self {
            qemu,
            folder: folder.to_owned(),
            card,
        };
        for name in [
            "kernel8.img",
            "initrd.img",
            "bcm2837-rpi-3-b.dtb",
            "camera.toml",
        ] {
            let mut copy = pi.mtools("mcopy")?;
            copy.arg(format!("::{name}")).arg(folder.join(name));
            tool::run(&mut copy)?;
        }
        let settings = folder.join("camera.toml");
        let text = fs::read_to_string(&settings)?
            .replace(
                "device = \"\"\r\n\r\n# Takes",
                &format!("device = \"{DEVICE}\"\r\n\r\n# Takes"),
            )
            .replace(
                "mqtt://127.0.0.1:1883\"",
                &format!("mqtt://10.0.2.2:{mqtt_port}\""),
            )
            .replace("\r\non = false", "\r\non = true");
        for needed in [DEVICE, "10.0.2.2", "on = true"] {
            ensure!(
                text.contains(needed),
                "the settings of the image have changed: no place for {needed}"
            );
        }
        fs::write(&settings, text)?;
        let mut copy = pi.mtools("mcopy")?;
        copy.arg("-o").arg(&settings).arg("::camera.toml");
        tool::run(&mut copy)?;
        Ok(pi)
    }

    /// One of mtools, on the first partition of the card.
    fn mtools(&self, program: &str) -> Result<Command> {
        let mut command = tool::command(program, 0)?;
        command.env("MTOOLS_SKIP_CHECK", "1");
        command.arg("-i").arg(format!(
            "{}@@{}",
            self.card.display(),
            layout::BOOT.start_bytes
        ));
        Ok(command)
    }

    fn start(&self, number: u32) -> Result<Running> {
        let mut command = match &self.qemu {
            Qemu::System => tool::command("qemu-system-aarch64", 0)?,
            Qemu::Unpacked(prefix) => {
                let mut command = prefix
                    .command("usr/bin/qemu-system-aarch64")
                    .map_err(anyhow::Error::msg)?;
                command.arg("-L").arg(prefix.path().join("usr/share/qemu"));
                command
            }
        };
        let file = |name: &str| self.folder.join(name);
        let console = file(&format!("console-{number}.log"));
        let words = format!(
            // The emulated watchdog bites at once.
            "{} console=ttyS1,115200 systemd.watchdog_sec=0 systemd.log_color=0",
            boot::kernel_command_line()
                .trim()
                .replace(" quiet", "")
                .replace(" console=tty1", "")
        );
        let child = command
            .args([
                "-M",
                "raspi3b",
                "-display",
                "none",
                "-no-reboot",
                "-nodefaults",
            ])
            .arg("-kernel")
            .arg(file("kernel8.img"))
            .arg("-initrd")
            .arg(file("initrd.img"))
            .arg("-dtb")
            .arg(file("bcm2837-rpi-3-b.dtb"))
            .args(["-append", &words])
            // Written through: what the emulated Pi was told to be on its card is there when it is killed.
            .arg("-drive")
            .arg(format!(
                "if=sd,format=raw,cache=writethrough,file={}",
                self.card.display()
            ))
            .args(["-serial", "null", "-serial"])
            .arg(format!("file:{}", console.display()))
            .args(["-device", "usb-net,netdev=n0", "-netdev", "user,id=n0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("run qemu-system-aarch64")?;
        Ok(Running { child, console })
    }

    fn hash_of(&self, partition: Partition) -> Result<String> {
        let mut card = File::open(&self.card)?;
        card.seek(SeekFrom::Start(partition.start_bytes))?;
        let mut hash = Sha256::new();
        let mut rest = card.take(partition.bytes);
        let mut chunk = vec![0; 1 << 20];
        loop {
            match rest.read(&mut chunk)? {
                0 => return Ok(hex::encode(hash.finalize())),
                count => hash.update(&chunk[..count]),
            }
        }
    }

    /// Reads the file system of the data as the next start will find it, and keeps every whole picture.
    fn pictures_on_card(&self, number: u32) -> Result<Vec<Named>> {
        let data = layout::read(&mut File::open(&self.card)?)?[3].context("there are no data")?;
        let copy = self.folder.join("data.ext4");
        let mut dd = tool::command("dd", 0)?;
        dd.arg(format!("if={}", self.card.display()))
            .arg(format!("of={}", copy.display()))
            .args(["bs=1M", "conv=sparse", "status=none"])
            .arg(format!("skip={}", data.start_bytes >> 20))
            .arg(format!("count={}", data.bytes >> 20));
        let _ = fs::remove_file(&copy);
        tool::run(&mut dd)?;
        // The journal is played back as a start would; 1 = something was put right.
        let mut check = tool::command("e2fsck", 0)?;
        let status = check
            .args(["-p", "-f"])
            .arg(&copy)
            .stdout(Stdio::null())
            .status()?;
        ensure!(
            status.code().is_some_and(|code| code <= 1),
            "the file system of the data needs a person: e2fsck says {status}"
        );
        let tree = self.folder.join(format!("data-{number}"));
        fs::create_dir_all(&tree)?;
        let mut dump = tool::command("debugfs", 0)?;
        dump.args(["-R", &format!("rdump keepsake {}", tree.display())])
            .arg(&copy);
        tool::run(&mut dump)?;
        let spool = tree.join("keepsake/pictures");
        let pictures = self.folder.join("pictures");
        let export = self.folder.join(format!("export-{number}"));
        let mut command = Command::new(binary("appliance"));
        command
            .args(["spool", "export", "--spool"])
            .arg(&spool)
            .arg("--to")
            .arg(&export);
        tool::run(&mut command)?;
        fs::create_dir_all(&pictures)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&export)? {
            let file = entry?.path();
            let name = file
                .file_stem()
                .context("a picture has a name")?
                .to_string_lossy()
                .into_owned();
            let (install, sequence) = name.split_once('_').context("install_number.jpg")?;
            let bytes = fs::read(&file)?;
            found.push(Named {
                install: install
                    .parse()
                    .map_err(|_| anyhow::anyhow!("{name} names no install"))?,
                sequence: sequence.parse()?,
                hash: shared::Hash::of(&bytes).prefix(),
            });
            fs::rename(&file, pictures.join(&name))?;
        }
        Ok(found)
    }

    /// Every picture that was ever on the card, by its name.
    fn photos(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let mut photos = BTreeMap::new();
        for entry in fs::read_dir(self.folder.join("pictures"))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            photos.insert(name, fs::read(entry.path())?);
        }
        Ok(photos)
    }

    /// What a person would find on the card.
    fn status(&self) -> Result<String> {
        let mut show = self.mtools("mtype")?;
        show.arg("::CAMERA-STATUS.txt");
        let text = tool::run(&mut show)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

struct Running {
    child: Child,
    console: PathBuf,
}

impl Running {
    fn wait_until_ready(&mut self, cloud: &Cloud) -> Result<()> {
        let began = Instant::now();
        // Of a camera whose plug was pulled the cloud may still believe that it is there: a new boot has to speak.
        let before = cloud.api().device(DEVICE);
        let seen = |device: &serde_json::Value| device["last_seen"].clone();
        let last = before.as_ref().map(seen);
        self.wait_for("the camera to be ready", || {
            if began.elapsed() < Duration::from_secs(20) {
                return false;
            }
            cloud
                .api()
                .device(DEVICE)
                .is_some_and(|device| device["online"] == true && Some(seen(&device)) != last)
        })
    }

    fn wait_for(&mut self, what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
        let began = Instant::now();
        while !holds() {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "the emulated Pi has ended ({status}) before {what}\n{}",
                    self.last_words()
                );
            }
            if began.elapsed() > READY_WITHIN {
                bail!("waited {READY_WITHIN:?} for {what}\n{}", self.last_words());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    fn cpu_s(&self) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = text
            .rsplit(')')
            .next()
            .unwrap_or("")
            .split_whitespace()
            .collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
        let (user, system) = ticks(11)
            .zip(ticks(12))
            .context("read what qemu has used")?;
        Ok((user + system) / 100.0)
    }

    /// kill -9.
    fn pull_the_plug(mut self) -> Result<()> {
        self.child.kill().context("pull the plug")?;
        self.child.wait().context("wait for qemu")?;
        Ok(())
    }

    fn last_words(&self) -> String {
        let text = fs::read(&self.console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().rev().take(25).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing of ours goes on when a test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
