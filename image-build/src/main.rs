//! `cargo image`: the SD card image of the camera, in `target/image`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use image_build::{build, check, papers, prepare, tool};

/// Make the SD card image of the camera, for the Raspberry Pi 3, 3+ and 4.
#[derive(Parser)]
#[command(name = "cargo image")]
struct Arguments {
    /// The camera's program, built for arm64.
    #[arg(long, value_name = "FILE")]
    program: PathBuf,
    /// Everything goes below this folder.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Uses the packages that were fetched for the last image, and no network.
    #[arg(long)]
    offline: bool,
    /// Makes the image twice, the second time in another folder, with another mask, time zone and language, and compares.
    #[arg(long)]
    check: bool,
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
    tool::check()?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("this crate is in a workspace")?;
    let workspace = arguments.workspace.as_deref().unwrap_or(sources);
    let output = &arguments.output;
    std::fs::create_dir_all(output).with_context(|| format!("create {}", output.display()))?;
    let epoch_s = epoch_s(workspace)?;

    let begun = Instant::now();
    let folder = output.join("packages");
    let folder = arguments.packages.as_ref().unwrap_or(&folder);
    let packages = prepare::fetch(folder, arguments.offline)?;
    println!(
        "{} packages",
        packages.iter().filter(|p| p.is_used()).count()
    );
    if arguments.check {
        let sums = check::twice(&check::Twice {
            program: &arguments.program,
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
        program: &arguments.program,
        workspace,
        work: &output.join("work"),
        epoch_s,
    })?;

    let image = output.join(format!(
        "keepsake-{}-arm64.img.zst",
        env!("CARGO_PKG_VERSION")
    ));
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
