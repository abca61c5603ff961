//! The checks of a run, printed as they are made.

/// The results of the checks.
#[derive(Default)]
pub(crate) struct Checks {
    pub(crate) failed: Vec<String>,
    pub(crate) count: u32,
}

impl Checks {
    /// Reports a check. A failed one does not end the run: the later ones help to find the cause.
    pub(crate) fn check(&mut self, holds: bool, what: impl Into<String>) {
        let what = what.into();
        println!("  {} {what}", if holds { "ok    " } else { "FAILED" });
        self.count += 1;
        if !holds {
            self.failed.push(what);
        }
    }
}
