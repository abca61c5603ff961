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

fn main() -> ExitCode {
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
