//! The files of the machine, in the archive that its kernel unpacks into memory.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use fs_err as fs;
use keepsake_provision::cpio::Archive;
use keepsake_provision::process::run;
use keepsake_provision::workspace;

use super::guest::{MODULES_FOLDER, PROGRAM};
use super::kernel::Kernel;

/// In the order of their use; their dependencies are added.
const MODULES: &[&str] = &["virtio_net", "configfs", "gpio_sim", "vivid", "softdog"];

/// Returns the archive with the guest, this program of the camera, and the modules.
pub(super) fn build(kernel: &Kernel, appliance: &Path) -> Result<Vec<u8>> {
    let guest = workspace::build(&["--package", "keepsake-labs", "--bin", "vm-guest"])?;
    let mut archive = Archive::default();
    for folder in ["dev", "proc", "sys", "run", "tmp"] {
        archive.folder(folder);
    }
    // The first program writes here before anything is mounted.
    archive.device("dev/console", 5, 1);
    add_program(&mut archive, "init", &guest.join("vm-guest"))?;
    add_program(&mut archive, PROGRAM.trim_start_matches('/'), appliance)?;
    for (at, module) in kernel.modules(MODULES)?.into_iter().enumerate() {
        archive.file(&format!("{MODULES_FOLDER}/{at:03}-{}", module.name), 0o644, &module.bytes);
    }
    Ok(archive.finish())
}

/// Adds the program in `file` at `path`, and the loader and libraries it needs where it looks for them.
fn add_program(archive: &mut Archive, path: &str, file: &Path) -> Result<()> {
    let ldd = run(Command::new("ldd").arg(file).env("LC_ALL", "C"))?;
    archive.file(path, 0o755, &fs::read(file)?);
    for library in library_paths(&String::from_utf8_lossy(&ldd)) {
        archive.file(library.trim_start_matches('/'), 0o755, &fs::read(library)?);
    }
    Ok(())
}

fn library_paths(ldd: &str) -> Vec<&str> {
    let paths = ldd.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    paths.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_the_output_of_ldd() {
        let ldd = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(library_paths(ldd), ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
    }
}
