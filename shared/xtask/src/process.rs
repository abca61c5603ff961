//! Children that never outlive this program, and the wish of the person at the keyboard to end it.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

static STOP: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C and SIGTERM are a wish, see [`stop_wished`].
pub(crate) fn listen_for_signals() {
    extern "C" fn note(_: libc::c_int) {
        STOP.store(true, Ordering::Relaxed);
    }
    let note: extern "C" fn(libc::c_int) = note;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores into an atomic, which is async-signal-safe.
        unsafe {
            libc::signal(signal, note as libc::sighandler_t);
        }
    }
}

pub(crate) fn stop_wished() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// A child process that is stopped when it goes out of scope. Start it on the main thread: the kernel ends it with the
/// thread that started it.
pub(crate) struct Guarded {
    child: Child,
    name: &'static str,
}

impl Guarded {
    pub(crate) fn start(command: &mut Command, name: &'static str) -> Result<Self> {
        // In a group of its own, Ctrl-C reaches only us, and we can stop one after the other.
        command.process_group(0);
        // SAFETY: prctl(2) with these arguments is async-signal-safe and touches no memory of ours.
        unsafe {
            command.pre_exec(|| {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == -1 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        Ok(Self { child, name })
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("{} ended: {status}", self.name))
    }

    /// Asks it to stop and waits; ends it after `within`.
    pub(crate) fn stop(mut self, within: Duration) {
        self.stop_now(within);
    }

    fn stop_now(&mut self, within: Duration) {
        let deadline = Instant::now() + within;
        if let Ok(pid) = i32::try_from(self.child.id())
            && matches!(self.child.try_wait(), Ok(None))
        {
            // SAFETY: kill(2) takes no pointer; the child is not reaped, so the number is still its own.
            unsafe {
                libc::kill(pid, libc::SIGTERM);
            }
        }
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.stop_now(Duration::from_secs(3));
    }
}
