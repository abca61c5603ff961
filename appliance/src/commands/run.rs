//! `appliance run`: the camera itself.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::settings_arguments::{FAILED, MISCONFIGURED, Settings, config_or_report, load};
use crate::app::{self, Start};
use crate::engine::Exit;
use crate::hardware::identity::Identity;
use crate::hardware::open::Hardware;
use crate::settings::effective::{BootTime, EffectiveSettings};
use crate::status::diagnostics::RecentWarnings;
use crate::status::events::EventWriter;
use crate::time::clock::{Clock, boottime_us};

pub(super) fn run(settings: &Settings, events: bool, recent_warnings: RecentWarnings) -> anyhow::Result<ExitCode> {
    // Determined now: after an update, the running program's path no longer exists.
    let program = std::env::current_exe();
    let event_writer = if events {
        EventWriter::to_stdout().context("start the reports")?
    } else {
        EventWriter::default()
    };
    let loaded = load(settings);
    let Some(config) = config_or_report(&loaded) else {
        return Ok(ExitCode::from(MISCONFIGURED));
    };
    let device = config.device_name(&Identity::of(config).serial);
    let now = BootTime { boot: Clock::open()?.boot(), boottime_us: boottime_us() };
    // Save the last good settings now: a camera is usually powered off, not shut down. An error that
    // prevents creating the directory is reported by the spool.
    let _ = std::fs::create_dir_all(&config.spool.dir);
    if let Err(error) = loaded.save_as_last_good() {
        tracing::warn!(%error, "keep a copy of the settings");
    }
    let settings_in_effect = EffectiveSettings::open(loaded.clone(), device.clone(), now);
    let hardware = Hardware::open(settings_in_effect.config())?;
    // One thread each: the engine may wait for the card, and a timer of the one does not wake the other.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime of the engine")?;
    let connection = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("connection")
        .enable_all()
        .build()
        .context("start the runtime of the connection")?;
    let start = Start {
        config_has_errors: loaded.file_has_errors(),
        settings: settings_in_effect,
        hardware,
        device,
        events: event_writer.clone(),
        recent_warnings,
        connection: connection.handle().clone(),
    };
    let outcome = runtime.block_on(async {
        let stop = stop_signal()?;
        app::run(start, stop).await
    });
    if outcome.is_ok()
        && let Err(error) = loaded.save_as_last_good()
    {
        tracing::warn!(%error, "keep a copy of the settings");
    }
    event_writer.flush();
    // A thread may still wait for a camera that hangs, or for a line from the keyboard.
    runtime.shutdown_background();
    connection.shutdown_background();
    match outcome? {
        Exit::Shutdown => Ok(ExitCode::SUCCESS),
        Exit::Restart => Err(re_exec(&program.context("ask for the name of this program")?)),
    }
}

/// Replaces the process by a new start of the program, with the same process ID, arguments and standard streams, so it
/// works under systemd, under `cargo demo` and in a terminal. Returns only on failure; systemd restarts the program after
/// its exit code.
fn re_exec(program: &Path) -> anyhow::Error {
    let error = std::process::Command::new(program).args(std::env::args_os().skip(1)).exec();
    anyhow::Error::new(error).context(format!("restart {}", program.display()))
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
