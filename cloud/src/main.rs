//! Arguments, logging, run, exit code: 0 stopped as asked, 1 failed and worth a restart, 78 wrong configuration.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use keepsake_cloud::app;
use keepsake_cloud::app::StartError;
use keepsake_cloud::args::Args;
use keepsake_cloud::commands;
use keepsake_cloud::config::Config;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// EX_CONFIG of sysexits.h: do not restart, it will not help.
const WRONG_CONFIGURATION: u8 = 78;

/// Allocations of this size and more are given back to the system when they are freed, bytes: that of a password hash
/// is 19 MiB.
#[cfg(target_env = "gnu")]
const MAPPED_BYTES_MIN: libc::c_int = 4 * 1024 * 1024;
/// Free memory at the end of the heap that is kept, bytes.
#[cfg(target_env = "gnu")]
const SPARE_BYTES_MAX: libc::c_int = 16 * 1024 * 1024;
/// Heaps that threads share.
#[cfg(target_env = "gnu")]
const HEAPS_MAX: libc::c_int = 4;

/// Keeps glibc from raising its thresholds up to 32 MiB as large allocations are freed. With one heap for almost every
/// thread, log-ins would leave hundreds of MiB behind.
#[cfg(target_env = "gnu")]
fn limit_heaps() {
    for (parameter, value) in [
        (libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN),
        (libc::M_TRIM_THRESHOLD, SPARE_BYTES_MAX),
        (libc::M_ARENA_MAX, HEAPS_MAX),
    ] {
        // SAFETY: no other thread is running yet.
        let _ = unsafe { libc::mallopt(parameter, value) };
    }
}

fn main() -> ExitCode {
    #[cfg(target_env = "gnu")]
    limit_heaps();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version come as "errors" too, and are none.
            let wrong = error.use_stderr();
            let _ = error.print();
            return ExitCode::from(if wrong { WRONG_CONFIGURATION } else { 0 });
        }
    };
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,mqtt5=warn,sqlx=warn,rumqttc=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let config = match Config::load(&args) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("cloud: {error}");
            return ExitCode::from(WRONG_CONFIGURATION);
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cloud: start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Some(command) = &args.command {
        return match runtime.block_on(commands::run(command, &config)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("cloud: {error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let ended = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        app::run(config, app::report_ready, shutdown).await
    });
    // Blocking work that is still going on (a large decode) is not waited for.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<StartError>() => {
            eprintln!("cloud: {error:#}");
            ExitCode::from(WRONG_CONFIGURATION)
        }
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
