//! `cargo image`: the SD card image of the camera, in `target/image`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use image_build::inputs::Inputs;
use image_build::{artifacts, build, customize, host_tools, image_in, prepare, reproducible, write};
use keepsake_provision::{cross, process, workspace};

/// Build the SD card image of the camera, for the Raspberry Pi 3, 3+ and 4.
#[derive(Parser)]
#[command(bin_name = "cargo image")]
struct Arguments {
    /// The camera's program for arm64, instead of building it
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// The directory for the image and everything it is built from, instead of target/image
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Use the packages fetched for the last image, without network
    #[arg(long)]
    offline: bool,
    /// Build the image twice, the second time in another directory with another umask, time zone and language, and
    /// compare
    #[arg(long)]
    verify_reproducible: bool,
    /// Add the camera to this image of Raspberry Pi OS Lite (64-bit) instead: .img, .img.xz or .img.zst
    #[arg(long, value_name = "FILE", conflicts_with_all = ["verify_reproducible", "write"])]
    base_image: Option<PathBuf>,
    /// Write the last image to this disk, a card in a reader, and read it back; nothing is built
    #[arg(long, value_name = "DISK", conflicts_with_all = ["verify_reproducible", "program", "offline"])]
    write: Option<PathBuf>,
    /// The image to write, instead of the last one
    #[arg(long, value_name = "FILE", requires = "write")]
    image: Option<PathBuf>,
    /// Write to a regular file instead of a disk
    #[arg(long, requires = "write")]
    to_file: bool,
    /// Write to a disk that does not look like a card: its serial number, or its size in bytes
    #[arg(long, value_name = "SERIAL", requires = "write")]
    allow_disk: Option<String>,
    /// Print the Debian packages that building an image needs and that are not installed
    #[arg(long, hide = true, exclusive = true)]
    packages_missing: bool,
    /// The directory of the fetched packages, instead of one below the output
    #[arg(long, value_name = "DIR", hide = true)]
    packages: Option<PathBuf>,
    /// The workspace that units, rules and settings are taken from
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
        println!("{}", host_tools::packages_missing().join(" "));
        return Ok(());
    }
    let output = match &arguments.output {
        Some(folder) => folder.clone(),
        None => workspace::target().join("image"),
    };
    let output = output.as_path();
    let image = image_in(output);
    if let Some(to) = &arguments.write {
        return write_to(arguments, arguments.image.as_ref().unwrap_or(&image), to);
    }
    host_tools::check()?;
    let program = &cross::appliance_for_pi(arguments.program.as_deref())?;
    let sources = &workspace::root();
    let workspace = arguments.workspace.as_ref().unwrap_or(sources);
    std::fs::create_dir_all(output).with_context(|| format!("create {}", output.display()))?;
    let epoch_s = epoch_s(workspace)?;

    let begun = Instant::now();
    if let Some(image) = &arguments.base_image {
        let work = &output.join("customize");
        return add_to_image(image, &Inputs { program, workspace, work, epoch_s }, output);
    }
    let folder = output.join("packages");
    let folder = arguments.packages.as_ref().unwrap_or(&folder);
    let packages = prepare::fetch(folder, arguments.offline)?;
    println!("{} packages", packages.iter().filter(|p| p.is_used()).count());
    if arguments.verify_reproducible {
        let work = &output.join("reproducible");
        let sums = reproducible::build_twice(&Inputs { program, workspace, work, epoch_s }, folder)?;
        println!(
            "built twice in different environments, identical ({} s):\n{sums}",
            begun.elapsed().as_secs()
        );
        return Ok(());
    }
    let work = &output.join("work");
    let built = build::image(&Inputs { program, workspace, work, epoch_s }, &packages)?;

    compress(&built.image, &image, epoch_s)?;
    let contents = artifacts::write(&artifacts::BuiltImage {
        image: &image,
        built: &built,
        packages: &packages,
        sources,
        epoch_s,
    })?;
    println!(
        "{contents}\n{} ({} MB, {} s)\nbeside it: SHA256SUMS, the contents (.contents.txt), the SBOM (.cdx.json), and the manifest for Raspberry Pi Imager",
        image.display(),
        std::fs::metadata(&image)?.len() / 1_000_000,
        begun.elapsed().as_secs()
    );
    Ok(())
}

fn add_to_image(base: &Path, inputs: &Inputs, output: &Path) -> Result<()> {
    let begun = Instant::now();
    let name = base.file_name().unwrap_or_default();
    let name = name.to_string_lossy();
    let name = name.split(".img").next().unwrap_or("raspios");
    let to = output.join(format!("{name}-keepsake.img.zst"));
    let made = customize::add_to_image(base, inputs)?;
    compress(&made, &to, inputs.epoch_s)?;
    std::fs::remove_dir_all(inputs.work).context("remove the scratch folder")?;
    println!(
        "{} ({} MB, {} s): its settings are in camera.toml on the partition bootfs",
        to.display(),
        std::fs::metadata(&to)?.len() / 1_000_000,
        begun.elapsed().as_secs()
    );
    Ok(())
}

fn write_to(arguments: &Arguments, image: &Path, to: &Path) -> Result<()> {
    ensure!(image.is_file(), "there is no {}: run cargo image first", image.display());
    let request = write::WriteRequest {
        image,
        to,
        is_file: arguments.to_file,
        allow_disk: arguments.allow_disk.as_deref(),
    };
    let begun = Instant::now();
    let hash = write::write(&request, |question| {
        println!("{question}\nType {} to go on:", to.display());
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
        return given.parse().context("SOURCE_DATE_EPOCH is not a number");
    }
    let output = Command::new("git")
        .current_dir(workspace)
        .args(["log", "-1", "--format=%ct"])
        .stdin(Stdio::null())
        .output();
    let time = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    time.ok()
        .and_then(|time| time.parse().ok())
        .context("there is no git history: set SOURCE_DATE_EPOCH to the time of the image in seconds since 1970")
}

fn compress(from: &Path, to: &Path, epoch_s: u64) -> Result<()> {
    let mut zstd = host_tools::command("zstd", epoch_s)?;
    zstd.args(["-12", "--force", "--quiet", "--threads=2"]).arg(from).arg("-o").arg(to);
    process::run(&mut zstd)?;
    ensure!(to.is_file(), "zstd has written nothing");
    Ok(())
}
