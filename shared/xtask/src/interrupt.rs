//! A request to stop by Ctrl-C or SIGTERM.

use std::sync::atomic::{AtomicBool, Ordering};

static STOP_REQUESTED: AtomicBool = AtomicBool::new(false);

/// Makes Ctrl-C and SIGTERM a request that [`stop_requested`] reports, instead of the end of this program.
pub(crate) fn listen_for_signals() {
    extern "C" fn note(_: libc::c_int) {
        STOP_REQUESTED.store(true, Ordering::Relaxed);
    }
    let note: extern "C" fn(libc::c_int) = note;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores into an atomic, which is async-signal-safe.
        unsafe {
            libc::signal(signal, note as libc::sighandler_t);
        }
    }
}

pub(crate) fn stop_requested() -> bool {
    STOP_REQUESTED.load(Ordering::Relaxed)
}
