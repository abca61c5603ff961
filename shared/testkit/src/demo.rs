//! `cargo demo` in a terminal, as a person starts it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use keepsake_provision::process::ChildGuard;
use keepsake_provision::workspace;

/// A running demo. Its terminal is a pseudo-terminal of `script`.
pub struct Demo {
    keyboard: ChildStdin,
    screen: BufReader<ChildStdout>,
    output: String,
    program: ChildGuard,
}

impl Demo {
    /// Starts it on a free port, with its data in `data`.
    pub fn start(data: &Path) -> Result<Self> {
        let xtask = workspace::build(&["--package", "xtask"])?.join("xtask");
        let mut command = Command::new("script");
        command
            .args(["--quiet", "--flush", "--command"])
            .arg(format!("{} demo --port 0 --data {}", xtask.display(), data.display()))
            .arg("/dev/null")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut program = ChildGuard::start(&mut command, "the demo")?;
        let keyboard = program.child().stdin.take().context("the demo has a keyboard")?;
        let screen = program.child().stdout.take().context("the demo has a screen")?;
        Ok(Self {
            keyboard,
            screen: BufReader::new(screen),
            output: String::new(),
            program,
        })
    }

    /// Reads its output up to the line that contains `text`, and returns that line.
    pub fn read_until(&mut self, text: &str) -> Result<String> {
        loop {
            let mut line = String::new();
            let read = self.screen.read_line(&mut line).context("read the output of the demo")?;
            ensure!(read > 0, "the demo ended before it printed {text:?}:\n{}", self.output);
            self.output.push_str(&line);
            if line.contains(text) {
                return Ok(line);
            }
        }
    }

    /// Returns the link with which the owner is created.
    pub fn setup_link(&mut self) -> Result<String> {
        let line = self.read_until("Open this link")?;
        let link = line.split_whitespace().last().context("the line ends with the link")?;
        Ok(link.to_owned())
    }

    /// Presses Enter.
    pub fn press(&mut self) -> Result<()> {
        self.keyboard.write_all(b"\r").context("press Enter")
    }

    /// Presses Ctrl-C, and returns everything that the terminal has shown.
    pub fn stop(mut self) -> Result<String> {
        self.keyboard.write_all(b"\x03").context("press Ctrl-C")?;
        self.screen.read_to_string(&mut self.output).context("read the output of the demo")?;
        drop(self.program);
        Ok(self.output)
    }
}
