//! A server that can be run: one of the system, or a fetched one.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::host::find_program;
use crate::prefix::{Prefix, Source};

#[derive(Debug)]
pub(super) enum Installation {
    Installed(PathBuf),
    Fetched(Prefix),
}

impl Installation {
    /// Returns the program named in `variable`; or the system's `program`, if one is looked for; or that of a Debian
    /// package.
    pub(super) fn find(variable: &str, program: Option<&str>, package: &str, source: Source) -> Result<Self> {
        let named = std::env::var_os(variable).map(PathBuf::from);
        match named.or_else(|| find_program(program?)) {
            Some(installed) => Ok(Self::Installed(installed)),
            None => Self::fetch(package, source),
        }
    }

    pub(super) fn fetch(package: &str, source: Source) -> Result<Self> {
        Prefix::fetch(package, &[package], source).map(Self::Fetched)
    }

    /// Returns a command that runs it. `fetched`: the program in a fetched package.
    pub(super) fn command(&self, fetched: &str) -> Result<Command> {
        match self {
            Self::Installed(path) => Ok(Command::new(path)),
            Self::Fetched(prefix) => prefix.command(fetched),
        }
    }

    /// Returns the directory of a fetched one.
    pub(super) fn prefix(&self) -> Option<&Path> {
        match self {
            Self::Installed(_) => None,
            Self::Fetched(prefix) => Some(prefix.path()),
        }
    }
}
