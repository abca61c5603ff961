//! QEMU: found or fetched, and a virtual machine started with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::Result;

use crate::host::find_program;
use crate::prefix::{Prefix, Source};
use crate::process::{Program, last_lines, run};

/// The QEMU of one processor: the system's, or a fetched one.
#[derive(Debug)]
pub struct Qemu {
    program: &'static str,
    prefix: Option<Prefix>,
}

impl Qemu {
    /// `program`: for the processor of the machine. `packages`: the Debian packages with it.
    ///
    /// # Errors
    /// It is not on the system and cannot be fetched.
    pub fn find(program: &'static str, packages: &[&str]) -> Result<Self> {
        let prefix = if find_program(program).is_some() {
            None
        } else {
            Some(Prefix::fetch(program, packages, Source::System)?)
        };
        Ok(Self { program, prefix })
    }

    fn command(&self) -> Result<Command> {
        let Some(prefix) = &self.prefix else {
            return Ok(Command::new(self.program));
        };
        let mut command = prefix.command(&format!("usr/bin/{}", self.program))?;
        // It looks for its files where they would have been installed.
        for folder in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(prefix.path().join(folder));
        }
        let modules = prefix.path().join("usr/lib/x86_64-linux-gnu/qemu");
        command.env("QEMU_MODULE_DIR", modules);
        Ok(command)
    }

    pub fn version(&self) -> Result<String> {
        let output = run(self.command()?.arg("--version"))?;
        let text = String::from_utf8_lossy(&output);
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }

    /// Starts a machine without a display that ends when it restarts or switches itself off.
    ///
    /// # Errors
    /// QEMU cannot be run.
    pub fn boot(&self, boot: &Boot<'_>, hardware: &[&str]) -> Result<Vm> {
        let console = boot.folder.join(format!("{}.console", boot.name));
        let log = boot.folder.join(format!("{}.qemu", boot.name));
        let mut command = self.command()?;
        command
            .args(["-display", "none", "-no-reboot"])
            .args(hardware)
            .arg("-kernel")
            .arg(boot.kernel)
            .arg("-initrd")
            .arg(boot.initrd)
            .args(["-append", boot.kernel_arguments])
            .arg("-serial")
            .arg(format!("file:{}", console.display()));
        Ok(Vm {
            program: Program::start(command, &Arc::default(), &log),
            console,
            log,
        })
    }
}

/// The parts that a machine boots from.
#[derive(Debug)]
pub struct Boot<'a> {
    /// For its console and the messages of QEMU, in files that begin with `name`.
    pub folder: &'a Path,
    pub name: &'a str,
    pub kernel: &'a Path,
    pub initrd: &'a Path,
    pub kernel_arguments: &'a str,
}

/// A running machine. It is killed when this is dropped.
#[derive(Debug)]
pub struct Vm {
    /// QEMU, with the standard input and output that its hardware was given.
    pub program: Program,
    console: PathBuf,
    log: PathBuf,
}

impl Vm {
    /// Returns the text on its console so far.
    pub fn console(&self) -> String {
        read(&self.console)
    }

    /// Returns the end of its console and of QEMU's messages, for the message of a failed test.
    pub fn last_words(&self) -> String {
        [&self.log, &self.console]
            .map(|file| {
                let text = read(file);
                let last = last_lines(&text, 25).join("\n");
                format!("--- {}\n{last}\n", file.display())
            })
            .concat()
    }
}

fn read(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()
}
