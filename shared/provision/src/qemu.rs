//! QEMU, for a computer of our own inside this one.

use std::process::Command;

use super::debian::{Prefix, Source, find_program};

/// What runs a machine: that of the system, or one that was fetched.
#[derive(Debug)]
pub struct Qemu {
    program: &'static str,
    prefix: Option<Prefix>,
}

impl Qemu {
    /// `program`: for the processor of the machine. `packages`: what Debian has it in.
    ///
    /// # Errors
    /// A sentence: there is none, and why it cannot be fetched.
    pub fn find(program: &'static str, packages: &[&str]) -> Result<Self, String> {
        let prefix = if find_program(program).is_some() {
            None
        } else {
            Some(Prefix::fetch(program, packages, Source::System)?)
        };
        Ok(Self { program, prefix })
    }

    /// # Errors
    /// A sentence: it was fetched, and has no loader here.
    pub fn command(&self) -> Result<Command, String> {
        let Some(prefix) = &self.prefix else {
            return Ok(Command::new(self.program));
        };
        let mut command = prefix.command(&format!("usr/bin/{}", self.program))?;
        // Its parts are where it was not installed.
        for folder in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(prefix.path().join(folder));
        }
        let modules = prefix.path().join("usr/lib/x86_64-linux-gnu/qemu");
        command.env("QEMU_MODULE_DIR", modules);
        Ok(command)
    }

    /// # Errors
    /// A sentence: it does not run.
    pub fn version(&self) -> Result<String, String> {
        let program = self.program;
        let done = self
            .command()?
            .arg("--version")
            .output()
            .map_err(|error| format!("run {program}: {error}"))?;
        let said = String::from_utf8_lossy(&done.stdout);
        match said.lines().next() {
            Some(line) if done.status.success() => Ok(line.to_owned()),
            Some(_) | None => {
                let said = String::from_utf8_lossy(&done.stderr);
                Err(format!("run {program}: {}", said.trim()))
            }
        }
    }
}
