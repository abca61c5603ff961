//! The kernel of the machine and its modules, from Debian's packages.
//!
//! `gpio-sim` is in Debian's kernels since 7.0, and `vivid` in all except the cloud kernels. The current release is
//! older, so the kernel comes from its backports.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use keepsake_provision::prefix::{Prefix, Source};

const SUITE: &str = "trixie-backports";

/// An unpacked kernel.
#[derive(Debug)]
pub struct Kernel {
    prefix: Prefix,
    image: PathBuf,
    /// The file of each module, by the kernel's name for it.
    modules: HashMap<String, PathBuf>,
}

/// A module as the kernel loads it.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

impl Kernel {
    /// Fetches the newest kernel, some 120 MB, unless an earlier run did.
    ///
    /// # Errors
    /// It cannot be fetched, or this computer is not an x86-64 one.
    pub fn fetch() -> Result<Self> {
        ensure!(
            std::env::consts::ARCH == "x86_64",
            "the machine is an x86-64 one, and this computer is not"
        );
        let prefix = Prefix::fetch_matching("linux", "linux-image-amd64", is_kernel_package, Source::Suite(SUITE))?;
        let files = keepsake_provision::temp_dir::files(prefix.path());
        let is_image =
            |file: &&PathBuf| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"));
        let image = files.iter().find(is_image);
        let image = image.context("the packages have no kernel in them")?.clone();
        let modules = files.into_iter().filter_map(|file| Some((module_name(&file)?, file))).collect();
        Ok(Self { prefix, image, modules })
    }

    pub fn image(&self) -> &Path {
        &self.image
    }

    /// Returns the name of its package, with the version.
    pub fn version(&self) -> String {
        let packages = self.prefix.packages();
        let named = |line: &&str| line.starts_with("linux-image-");
        packages.lines().find(named).unwrap_or("linux").to_owned()
    }

    /// Returns these modules with all their dependencies, in loading order.
    pub(super) fn modules(&self, wanted: &[&str]) -> Result<Vec<Module>> {
        let mut loaded = Vec::new();
        for name in wanted {
            self.load(name, &mut loaded)?;
        }
        Ok(loaded)
    }

    fn load(&self, name: &str, loaded: &mut Vec<Module>) -> Result<()> {
        if loaded.iter().any(|module| module.name == name) {
            return Ok(());
        }
        let file = self.modules.get(name);
        let file = file.with_context(|| format!("{} has no module {name}", self.version()))?;
        let bytes = decompress(file)?;
        for needed in dependencies(&bytes) {
            self.load(&needed, loaded)?;
        }
        loaded.push(Module { name: name.to_owned(), bytes });
        Ok(())
    }
}

/// Matches the packages of the kernel and its modules, not the tools that install it.
fn is_kernel_package(package: &str) -> bool {
    ["linux-image-", "linux-binary-", "linux-modules-"]
        .iter()
        .filter_map(|kind| package.strip_prefix(kind))
        .any(|version| version.starts_with(|c: char| c.is_ascii_digit()))
}

/// Returns `gpio_sim` for `…/gpio-sim.ko.xz`.
fn module_name(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_str()?;
    let (name, _) = name.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

fn decompress(file: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(file)?;
    if file.extension().is_none_or(|kind| kind != "xz") {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    lzma_rs::xz_decompress(&mut bytes.as_slice(), &mut unpacked)
        .with_context(|| format!("unpack {}", file.display()))?;
    Ok(unpacked)
}

/// Returns the dependencies of a module: a list of names in its section `.modinfo`.
fn dependencies(module: &[u8]) -> Vec<String> {
    const BEFORE: &[u8] = b"\0depends=";
    let at = module.windows(BEFORE.len()).position(|window| window == BEFORE);
    let Some(at) = at else {
        return Vec::new();
    };
    let names = &module[at + BEFORE.len()..];
    let end = names.iter().position(|&byte| byte == 0);
    let names = String::from_utf8_lossy(&names[..end.unwrap_or(0)]);
    names
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_says_what_it_needs() {
        let module = b"\x7fELF..\0license=GPL\0depends=videodev,videobuf2-vmalloc\0name=vivid\0";
        assert_eq!(dependencies(module), ["videodev", "videobuf2_vmalloc"]);
        assert!(dependencies(b"\0depends=\0name=mc\0").is_empty());
        assert!(dependencies(b"no module").is_empty());
    }

    #[test]
    fn what_installs_a_kernel_is_no_part_of_it() {
        for (package, part) in [
            ("linux-image-7.3.4+deb13-amd64", true),
            ("linux-modules-7.3.4+deb13-amd64", true),
            ("linux-binary-7.3.4+deb13-amd64", true),
            ("linux-image-amd64", false),
            ("linux-base-7.3.4+deb13-amd64", false),
            ("initramfs-tools", false),
        ] {
            assert_eq!(is_kernel_package(package), part, "{package}");
        }
    }
}
