//! `appliance`: the camera's program. Reads its arguments and settings, starts logging, chooses the exit code.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use keepsake_appliance::app::{self, Start};
use keepsake_appliance::engine::Ended;
use keepsake_appliance::hardware::{self, Hardware, Identity};
use keepsake_appliance::light::stopped;
use keepsake_appliance::sd_card;
use keepsake_appliance::settings::wishes::{Since, Wishes};
use keepsake_appliance::settings::{self, Config, Level, Loaded};
use keepsake_appliance::spool::{Limits, Spool, export};
use keepsake_appliance::status::diagnostics::Troubles;
use keepsake_appliance::status::events::Reporter;
use keepsake_appliance::time::clock::{Clock, boottime_us};
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Failed, and worth a restart.
const FAILED: u8 = 1;
/// Wrong configuration: a restart would change nothing (sysexits.h, EX_CONFIG).
const MISCONFIGURED: u8 = 78;

/// A camera that keeps its word.
#[derive(Parser)]
#[command(name = "appliance", version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Take a picture on every press and bring it to the cloud.
    Run {
        #[command(flatten)]
        settings: Settings,
        /// Tell what happens, one JSON object a line, on standard output.
        #[arg(long)]
        events: bool,
    },
    /// Read a settings file and say what is wrong with it.
    CheckConfig {
        #[arg(default_value = "camera.toml")]
        file: PathBuf,
    },
    /// Try every part of this camera once, and say what to do about those that fail.
    SelfTest {
        #[command(flatten)]
        settings: Settings,
    },
    /// Let the light say that the program has stopped (fault 7). systemd runs it when that has happened.
    ShowStopped {
        #[command(flatten)]
        settings: Settings,
        /// Once, then dark; not at all after a stop that was asked for.
        #[arg(long)]
        once: bool,
    },
    /// Look at the pictures on the card; nothing is changed.
    Spool {
        #[command(subcommand)]
        verb: SpoolVerb,
    },
    /// Look after the SD card of the image. systemd runs it, as root.
    Card {
        #[command(subcommand)]
        verb: CardVerb,
    },
    /// Accept another cloud from now on: pictures the old one has are offered to the new one as far as they are here.
    ForgetCloud {
        #[arg(long, env = "KEEPSAKE_SPOOL_FOLDER")]
        spool: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
enum CardVerb {
    /// Before the network: room for the pictures, and the settings from the KEEPSAKE partition.
    Prepare,
    /// Beside the camera: CAMERA-STATUS.txt, and the Wi-Fi that works.
    Watch,
    /// Copy the end of the log to the card.
    KeepLog,
}

#[derive(Subcommand)]
enum SpoolVerb {
    /// Name every file.
    List {
        #[arg(long, env = "KEEPSAKE_SPOOL_FOLDER")]
        spool: Option<PathBuf>,
    },
    /// Read every file and compare its hash.
    Verify {
        #[arg(long, env = "KEEPSAKE_SPOOL_FOLDER")]
        spool: Option<PathBuf>,
    },
    /// Copy every picture, without our record, to another folder.
    Export {
        #[arg(long, env = "KEEPSAKE_SPOOL_FOLDER")]
        spool: Option<PathBuf>,
        #[arg(long)]
        to: PathBuf,
    },
}

/// Where settings come from; later ones win.
#[derive(Args)]
struct Settings {
    /// The settings file; without it the defaults hold.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Button, light and camera on this computer: Enter or SIGUSR1 is a press.
    #[arg(long)]
    simulated: bool,
    /// The folder in which pictures are kept.
    #[arg(long)]
    spool: Option<PathBuf>,
    /// Where the cloud is: mqtt://host:port, mqtts://host:port, https://host:port or http://host:port.
    #[arg(long)]
    cloud: Option<String>,
    /// The name of this camera.
    #[arg(long)]
    device: Option<String>,
    /// A folder of photographs for the simulated camera.
    #[arg(long)]
    photos: Option<PathBuf>,
    /// Any setting by its name in camera.toml, such as cloud.part_bytes_max=16384.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = name_and_value)]
    set: Vec<(String, String)>,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected name=value")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn main() -> ExitCode {
    give_memory_back();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| "info,sled=warn".into());
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_filter(filter);
    let troubles = Troubles::default();
    let remembered = troubles.clone().with_filter(LevelFilter::WARN);
    tracing_subscriber::registry()
        .with(log)
        .with(remembered)
        .init();
    let outcome = match Arguments::parse().verb {
        Verb::Run { settings, events } => run_camera(&settings, events, troubles),
        Verb::CheckConfig { file } => {
            let (text, good) = settings::check_config(&file);
            print!("{text}");
            Ok(if good {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(MISCONFIGURED)
            })
        }
        Verb::SelfTest { settings } => self_test(&settings),
        Verb::ShowStopped { settings, once } => show_stopped(&settings, once),
        Verb::Spool { verb } => spool(verb),
        Verb::Card { verb } => look_after_card(&verb),
        Verb::ForgetCloud { spool } => forget_cloud(spool),
    };
    outcome.unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        ExitCode::from(FAILED)
    })
}

/// A frame is some hundred times larger than anything else here, and glibc keeps what was freed for the next one: in as many
/// arenas as there are threads, and by a threshold that rises with the largest. A camera is at rest nearly always.
///
/// And where huge pages come by themselves, the kernel makes 2 MiB out of the few KiB used of a large reserved room,
/// some time later: 16 to 20 MiB were seen to come so within a minute.
fn give_memory_back() {
    // A kernel without huge pages refuses, and is what was wanted.
    let _ = nix::sys::prctl::set_thp_disable(true);
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes no pointer, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 128 << 10);
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

fn load(settings: &Settings) -> Loaded {
    let mut overrides = Vec::new();
    let mut set = |name: &str, value: String| overrides.push((name.to_owned(), value));
    if settings.simulated {
        set("simulated.on", "true".to_owned());
    }
    if let Some(folder) = &settings.spool {
        set("spool.folder", folder.display().to_string());
    }
    if let Some(url) = &settings.cloud {
        set("cloud.url", url.clone());
    }
    if let Some(device) = &settings.device {
        set("device", device.clone());
    }
    if let Some(photos) = &settings.photos {
        set("simulated.photos", photos.display().to_string());
    }
    overrides.extend(settings.set.iter().cloned());
    settings::load(settings.config.as_deref(), &overrides, true)
}

/// Tells every problem once; `None` = whoever started this has to correct it first.
fn usable(loaded: &Loaded) -> Option<&Config> {
    for problem in &loaded.problems {
        match problem.level {
            Level::Warning => tracing::warn!("{problem}"),
            Level::Error => tracing::error!("{problem}"),
        }
    }
    (!loaded.start_is_bad()).then_some(&loaded.config)
}

fn run_camera(settings: &Settings, events: bool, troubles: Troubles) -> anyhow::Result<ExitCode> {
    // Asked for now: after an update the name leads to the new program, and the running one has none any more.
    let program = std::env::current_exe();
    let reporter = if events {
        Reporter::on_standard_output().context("start the reports")?
    } else {
        Reporter::default()
    };
    let loaded = load(settings);
    let Some(config) = usable(&loaded) else {
        return Ok(ExitCode::from(MISCONFIGURED));
    };
    let device = config.device_or_from(&Identity::of(config).serial);
    let now = Since {
        boot: Clock::open()?.boot(),
        boottime_us: boottime_us(),
    };
    // A camera on a wall is not stopped, its plug is pulled: what is good now is kept now, before the first picture. What
    // keeps the folder from being made the spool will tell.
    let _ = std::fs::create_dir_all(&config.spool.folder);
    if let Err(error) = loaded.keep_as_last_good() {
        tracing::warn!(%error, "keep a copy of the settings");
    }
    let wishes = Wishes::open(loaded.clone(), device.clone(), now);
    let hardware = Hardware::open(wishes.config())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // One for the engine, one for the connection; what blocks has threads of its own.
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let start = Start {
        config_is_bad: loaded.file_is_bad(),
        wishes,
        hardware,
        device,
        reporter: reporter.clone(),
        troubles,
    };
    let outcome = runtime.block_on(async {
        let stop = stop_signal()?;
        app::run(start, stop).await
    });
    if outcome.is_ok()
        && let Err(error) = loaded.keep_as_last_good()
    {
        tracing::warn!(%error, "keep a copy of the settings");
    }
    reporter.flush();
    // A thread may still wait for a camera that hangs, or for a line from the keyboard.
    runtime.shutdown_background();
    match outcome? {
        Ended::AsAsked => Ok(ExitCode::SUCCESS),
        Ended::ToRestart => Err(begin_anew(
            &program.context("ask for the name of this program")?,
        )),
    }
}

/// Puts a new start of the program in the place of this one: same number, same arguments, same standard streams, so it
/// comes back under systemd, under `cargo demo` and alone in a terminal alike. Returns only if that fails; the exit code
/// for it is one that systemd restarts.
fn begin_anew(program: &Path) -> anyhow::Error {
    let error = std::process::Command::new(program)
        .args(std::env::args_os().skip(1))
        .exec();
    anyhow::Error::new(error).context(format!("start {} anew", program.display()))
}

/// The first SIGTERM or SIGINT stops cleanly, the second at once.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    Ok(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("stopping; a second signal stops at once");
        tokio::spawn(async move {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            std::process::exit(i32::from(FAILED));
        });
    })
}

fn self_test(settings: &Settings) -> anyhow::Result<ExitCode> {
    let loaded = load(settings);
    let Some(config) = usable(&loaded) else {
        return Ok(ExitCode::from(MISCONFIGURED));
    };
    let report = keepsake_appliance::commands::self_test::run(config);
    print!("{report}");
    Ok(if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}

fn show_stopped(settings: &Settings, once: bool) -> anyhow::Result<ExitCode> {
    let result = std::env::var("SERVICE_RESULT").ok();
    if once && !stopped::is_to_be_shown(result.as_deref()) {
        return Ok(ExitCode::SUCCESS);
    }
    // What is wrong with the settings the program itself has told.
    let config = load(settings).config;
    let light = hardware::open_light(&config)?;
    stopped::show(light, &config.light, once).context("show fault 7")?;
    Ok(ExitCode::SUCCESS)
}

fn spool_folder(given: Option<PathBuf>) -> PathBuf {
    given.unwrap_or_else(|| Config::default().spool.folder)
}

fn spool(verb: SpoolVerb) -> anyhow::Result<ExitCode> {
    match verb {
        SpoolVerb::List { spool } => {
            for file in export::files(&spool_folder(spool))? {
                println!("{} {}", file.install, file.name);
            }
        }
        SpoolVerb::Verify { spool } => {
            let files = export::files(&spool_folder(spool))?;
            let damaged: Vec<_> = files
                .iter()
                .filter_map(|file| file.verify().err())
                .collect();
            for error in &damaged {
                println!("{:#}", anyhow::anyhow!("{error}"));
            }
            println!("{} files, {} damaged", files.len(), damaged.len());
            return Ok(if damaged.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(FAILED)
            });
        }
        SpoolVerb::Export { spool, to } => {
            let count = export::export(&spool_folder(spool), &to)?;
            println!("{count} pictures in {}", to.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn look_after_card(verb: &CardVerb) -> anyhow::Result<ExitCode> {
    match verb {
        CardVerb::Prepare => sd_card::prepare_card(),
        CardVerb::Watch => sd_card::watch(),
        CardVerb::KeepLog => sd_card::keep_log(),
    }
    .map(|()| ExitCode::SUCCESS)
}

fn forget_cloud(folder: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let folder = spool_folder(folder);
    anyhow::ensure!(
        folder.join("frames").is_dir(),
        "{} is not a spool",
        folder.display()
    );
    // Under the name it has, so that no new install begins; and nothing is tidied away, for the old cloud may be gone.
    let fingerprint = keepsake_appliance::spool::fingerprint(&folder)?.unwrap_or_default();
    let limits = Limits {
        keep_for: Duration::MAX,
        keep_bytes: u64::MAX,
        ..app::limits(&Config::default())
    };
    let mut spool = Spool::open(&folder, limits, &fingerprint, None)?;
    let count = spool.forget_cloud()?;
    println!(
        "The next cloud that answers is accepted; {count} pictures on this card will be offered to it again."
    );
    Ok(ExitCode::SUCCESS)
}
