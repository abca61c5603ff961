//! `appliance`: the camera's program. Starts logging, runs the command and chooses the exit code.

use std::process::ExitCode;

use clap::Parser;
use keepsake_appliance::commands::{self, Arguments, FAILED};
use keepsake_appliance::status::diagnostics::RecentWarnings;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

fn main() -> ExitCode {
    configure_allocator();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info,sled=warn".into());
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_filter(filter);
    let recent_warnings = RecentWarnings::default();
    let recent_warnings_layer = recent_warnings.clone().with_filter(LevelFilter::WARN);
    tracing_subscriber::registry().with(log).with(recent_warnings_layer).init();
    commands::run(Arguments::parse(), recent_warnings).unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        ExitCode::from(FAILED)
    })
}

/// A frame is some hundred times larger than anything else here, and glibc keeps what was freed for the next one: in as many
/// arenas as there are threads, and by a threshold that rises with the largest. A camera is at rest nearly always.
///
/// And where huge pages come by themselves, the kernel makes 2 MiB out of the few KiB used of a large reserved room,
/// some time later: 16 to 20 MiB were seen to come so within a minute.
fn configure_allocator() {
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
