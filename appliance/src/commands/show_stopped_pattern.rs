//! `appliance show-stopped-pattern`: shows on the LED that the program has stopped.

use std::process::ExitCode;

use anyhow::Context;

use super::settings_arguments::{Settings, load};
use crate::hardware::open;
use crate::light::stopped;

pub(super) fn run(settings: &Settings, once: bool) -> anyhow::Result<ExitCode> {
    let result = std::env::var("SERVICE_RESULT").ok();
    if once && !stopped::should_show(result.as_deref()) {
        return Ok(ExitCode::SUCCESS);
    }
    // The program itself has already reported problems with the settings.
    let config = load(settings).config;
    let light = open::open_led(&config)?;
    stopped::show(light, &config.light, once).context("show fault 7")?;
    Ok(ExitCode::SUCCESS)
}
