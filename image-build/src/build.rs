//! Step two: builds the image from the unpacked packages and the files in `card/`.

pub mod boot;
pub mod kernel;
pub mod root;
mod users;

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use keepsake_provision::process::run;

use crate::host_tools;
use crate::inputs::Inputs;
use crate::layout;
use crate::prepare::{self, Package};

/// The built image and its parts.
pub struct Built {
    pub image: PathBuf,
    /// The unpacked system, for the list of contents.
    pub root: PathBuf,
    pub boot: PathBuf,
}

/// Builds the image, some 580 MiB that are mostly empty, at `work/card.img`.
///
/// # Errors
/// A package has changed its layout, a program has failed, or the disk is full.
pub fn image(inputs: &Inputs, packages: &[Package]) -> Result<Built> {
    // File modes are part of the image and must not depend on the user's umask.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let work = inputs.work;
    let _ = fs::remove_dir_all(work);
    let root = work.join("root");
    let boot = work.join("boot");
    for folder in [&root, &boot] {
        fs::create_dir_all(folder)?;
    }

    let used: Vec<&Package> = packages.iter().filter(|p| p.is_used()).collect();
    let (kernel, others): (Vec<&Package>, Vec<&Package>) = used.into_iter().partition(|package| package.is_kernel());
    ensure!(kernel.len() == 1, "{} kernels were fetched instead of one", kernel.len());
    // The others are unpacked over it: it has the links /bin, /lib and /sbin.
    let (base, others): (Vec<&Package>, Vec<&Package>) = others.into_iter().partition(|p| p.name == "base-files");
    prepare::unpack(base.into_iter().chain(others), &root, inputs.epoch_s)?;
    let kernel_tree = work.join("kernel");
    fs::create_dir_all(&kernel_tree)?;
    prepare::unpack(kernel, &kernel_tree, inputs.epoch_s)?;

    let busybox = root.join("usr/bin/busybox");
    let kernel = kernel::Kernel::find(&kernel_tree)?;
    kernel.copy_modules(&root, inputs.epoch_s)?;
    kernel.write_image(&boot.join("kernel8.img"), inputs.epoch_s)?;
    kernel.write_initrd(&boot.join("initrd.img"), &busybox, inputs.epoch_s)?;
    kernel.copy_device_trees(&boot)?;
    boot::fill(&boot, &root, inputs.workspace)?;
    root::finish(&root, inputs)?;

    let system = work.join("system.squashfs");
    squash(&root, &system, inputs.epoch_s)?;
    let boot_image = work.join("boot.fat");
    boot::make_file_system(&boot, &boot_image, inputs.epoch_s)?;
    let data = work.join("data.ext4");
    make_data(&data, inputs.epoch_s)?;

    let image = work.join("card.img");
    let file_systems = [
        (layout::BOOT, boot_image.as_path()),
        (layout::SYSTEM_A, system.as_path()),
        (layout::DATA, data.as_path()),
    ];
    layout::assemble(&image, layout::IMAGE_BYTES, &layout::card_table(), &file_systems)?;
    Ok(Built { image, root, boot })
}

/// Packs the whole system into one file, owned by root, with equal times.
fn squash(root: &Path, to: &Path, epoch_s: u64) -> Result<()> {
    let mut command = host_tools::command("mksquashfs", epoch_s)?;
    let epoch = epoch_s.to_string();
    command
        // The options say the same, and mksquashfs rejects both together.
        .env_remove("SOURCE_DATE_EPOCH")
        .arg(root)
        .arg(to)
        .args(["-noappend", "-no-progress", "-quiet", "-all-root"])
        .args(["-no-xattrs", "-no-exports", "-comp", "zstd"])
        // It is read far more often than built.
        .args(["-Xcompression-level", "19", "-b", "256K"])
        .args(["-mkfs-time", &epoch, "-all-time", &epoch]);
    run(&mut command).map(drop)
}

/// Creates the file system for pictures, empty except for two directories, small until it is on a card.
///
/// ext4, because it survives power cuts best and every Linux can read it. `meta_bg` lets it grow from 64 MiB to any
/// card; checksums detect torn blocks; a journal of 16 MiB is large enough after growing. The inodes suffice for
/// pictures of 16 KiB.
fn make_data(to: &Path, epoch_s: u64) -> Result<()> {
    let file = File::create_new(to).with_context(|| format!("create {}", to.display()))?;
    file.set_len(layout::DATA.bytes)?;
    let mut command = host_tools::command("mke2fs", epoch_s)?;
    command
        .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0"])
        .args(["-i", "16384", "-I", "256", "-L", "keepsake-data"])
        .args(["-O", "^resize_inode,meta_bg,64bit,metadata_csum,has_journal"])
        .args(["-J", "size=16", "-U", layout::DATA_UUID])
        // Nothing is left for the kernel to initialize in the background.
        .args(["-E", &format!("lazy_itable_init=0,lazy_journal_init=0,hash_seed={}", layout::DATA_UUID)])
        .arg(to);
    run(&mut command)?;
    for request in ["mkdir keepsake", "mkdir card", "set_inode_field card mode 040700"] {
        let mut command = host_tools::command("debugfs", epoch_s)?;
        command.args(["-w", "-R", request]).arg(to);
        run(&mut command)?;
    }
    Ok(())
}
