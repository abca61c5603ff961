//! `cargo image`: the SD card image of the camera, in `target/image`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use image_build::{build, check, image_in, onto, papers, prepare, tool, write};

/// Make the SD card image of the camera, for the Raspberry Pi 3, 3+ and 4.
#[derive(Parser)]
#[command(name = "cargo image")]
struct Arguments {
    /// The camera's program, built for arm64.
    #[arg(long, value_name = "FILE", required_unless_present = "write")]
    program: Option<PathBuf>,
    /// Everything goes below this folder.
    #[arg(long, value_name = "DIR", required_unless_present = "packages_missing")]
    output: Option<PathBuf>,
    /// Uses the packages that were fetched for the last image, and no network.
    #[arg(long)]
    offline: bool,
    /// Makes the image twice, the second time in another folder, with another mask, time zone and language, and compares.
    #[arg(long)]
    check: bool,
    /// Writes the image that was made last to this disk, a card in a reader, and reads it back. Nothing is made.
    #[arg(long, value_name = "DISK", conflicts_with = "check")]
    write: Option<PathBuf>,
    /// The image to write, instead of the one that was made last.
    #[arg(long, value_name = "FILE", requires = "write")]
    image: Option<PathBuf>,
    /// What is written to is a file and no disk.
    #[arg(long, requires = "write")]
    file: bool,
    /// The serial number or the size in bytes of a disk that does not look like a card.
    #[arg(long, value_name = "NUMBER", requires = "write")]
    yes_this_disk: Option<String>,
    /// Puts the camera into this image of Raspberry Pi OS Lite (64-bit), without starting it: .img, .img.xz or .img.zst.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["check", "write"])]
    onto: Option<PathBuf>,
    /// Names Debian's packages that an image wants and that are not installed, and does nothing.
    #[arg(long, hide = true, exclusive = true)]
    packages_missing: bool,
    /// Where the packages are kept, instead of below the output.
    #[arg(long, value_name = "DIR", hide = true)]
    packages: Option<PathBuf>,
    /// Where units, rules and settings are taken from.
    #[arg(long, value_name = "DIR", hide = true)]
    workspace: Option<PathBuf>,
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
    if arguments.packages_missing {
        println!("{}", tool::packages_missing().join(" "));
        return Ok(());
    }
    let output = arguments.output.as_deref();
    let output = output.context("--output is missing")?;
    let image = image_in(output);
    if let Some(to) = &arguments.write {
        return write_to(arguments, arguments.image.as_ref().unwrap_or(&image), to);
    }
    tool::check()?;
    let program = arguments
        .program
        .as_deref()
        .context("--program is missing")?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("this crate is in a workspace")?;
    let workspace = arguments.workspace.as_deref().unwrap_or(sources);
    std::fs::create_dir_all(output).with_context(|| format!("create {}", output.display()))?;
    let epoch_s = epoch_s(workspace)?;

    let begun = Instant::now();
    if let Some(image) = &arguments.onto {
        let work = output.join("onto");
        let inputs = onto::Inputs {
            image,
            program,
            workspace,
            work: &work,
            epoch_s,
        };
        return put_onto(&inputs, output);
    }
    let folder = output.join("packages");
    let folder = arguments.packages.as_ref().unwrap_or(&folder);
    let packages = prepare::fetch(folder, arguments.offline)?;
    println!(
        "{} packages",
        packages.iter().filter(|p| p.is_used()).count()
    );
    if arguments.check {
        let sums = check::twice(&check::Twice {
            program,
            packages: folder,
            workspace,
            work: &output.join("check"),
            epoch_s,
        })?;
        println!(
            "made twice, by two people in two places, and the same ({} s):\n{sums}",
            begun.elapsed().as_secs()
        );
        return Ok(());
    }
    let built = build::image(&build::Inputs {
        packages: &packages,
        program,
        workspace,
        work: &output.join("work"),
        epoch_s,
    })?;

    compress(&built.image, &image, epoch_s)?;
    let contents = papers::write(&papers::Made {
        image: &image,
        built: &built,
        packages: &packages,
        sources,
        epoch_s,
    })?;
    println!(
        "{contents}\n{} ({} MB, {} s)\nbeside it: SHA256SUMS, what is on it (.contents.txt), of what it is made (.cdx.json), and the file for Raspberry Pi Imager",
        image.display(),
        std::fs::metadata(&image)?.len() / 1_000_000,
        begun.elapsed().as_secs()
    );
    Ok(())
}

fn put_onto(inputs: &onto::Inputs, output: &Path) -> Result<()> {
    let begun = Instant::now();
    let name = inputs.image.file_name().unwrap_or_default();
    let name = name.to_string_lossy();
    let name = name.split(".img").next().unwrap_or("raspios");
    let to = output.join(format!("{name}-keepsake.img.zst"));
    let made = onto::onto(inputs)?;
    compress(&made, &to, inputs.epoch_s)?;
    std::fs::remove_dir_all(inputs.work).context("throw the scratch away")?;
    println!(
        "{} ({} MB, {} s): its settings are camera.toml on the partition bootfs",
        to.display(),
        std::fs::metadata(&to)?.len() / 1_000_000,
        begun.elapsed().as_secs()
    );
    Ok(())
}

fn write_to(arguments: &Arguments, image: &Path, to: &Path) -> Result<()> {
    ensure!(
        image.is_file(),
        "there is no {}; cargo image makes it",
        image.display()
    );
    let order = write::Order {
        image,
        to,
        is_file: arguments.file,
        yes_this_disk: arguments.yes_this_disk.as_deref(),
    };
    let begun = Instant::now();
    let hash = write::write(&order, |question| {
        println!("{question}\nWrite {} to go on:", to.display());
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        Ok(Path::new(answer.trim()) == to)
    })?;
    println!(
        "{} holds {} (SHA-256 {hash}, read back, {} s)",
        to.display(),
        image.display(),
        begun.elapsed().as_secs()
    );
    Ok(())
}

/// `SOURCE_DATE_EPOCH`, else the time of the last commit: the same sources are the same image.
fn epoch_s(workspace: &Path) -> Result<u64> {
    if let Ok(given) = std::env::var("SOURCE_DATE_EPOCH") {
        return given.parse().context("SOURCE_DATE_EPOCH is no number");
    }
    let output = Command::new("git")
        .current_dir(workspace)
        .args(["log", "-1", "--format=%ct"])
        .stdin(Stdio::null())
        .output();
    let time = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    time.ok()
        .and_then(|time| time.parse().ok())
        .context("there is no git history here: set SOURCE_DATE_EPOCH to the seconds since 1970 that the image is to bear")
}

fn compress(from: &Path, to: &Path, epoch_s: u64) -> Result<()> {
    let mut zstd = tool::command("zstd", epoch_s)?;
    zstd.args(["-12", "--force", "--quiet", "--threads=2"])
        .arg(from)
        .arg("-o")
        .arg(to);
    tool::run(&mut zstd)?;
    ensure!(to.is_file(), "zstd has made nothing");
    Ok(())
}
