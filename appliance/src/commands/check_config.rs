//! `appliance check-config`: checks a settings file.

use std::path::Path;
use std::process::ExitCode;

use super::settings_arguments::MISCONFIGURED;
use crate::settings;

pub(super) fn run(file: &Path) -> ExitCode {
    let (text, good) = settings::check_config(file);
    print!("{text}");
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(MISCONFIGURED)
    }
}
