//! Boots the machine: file systems, modules, network and port.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fs_err as fs;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

/// The directory of the pictures, on a file system of its own: the initial one does not report its free space.
pub const SPOOL: &str = "/spool";

/// The directory of the modules, in files whose names begin with their position.
pub(in crate::vm) const MODULES_FOLDER: &str = "modules";
/// One video capture device, no output or radio.
const VIVID: &std::ffi::CStr = c"n_devs=1 node_types=0x1 num_inputs=1 input_types=0x0 num_outputs=0";
/// The address that QEMU's user network gives its first machine.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
/// The longest that a driver may take to create its device.
const DEVICE_WITHIN: Duration = Duration::from_secs(10);

pub(super) fn mount_all() -> Result<()> {
    for (kind, at) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/run"),
        ("tmpfs", "/tmp"),
        ("tmpfs", SPOOL),
    ] {
        mount_at(kind, at)?;
    }
    Ok(())
}

fn mount_at(kind: &str, at: &str) -> Result<()> {
    fs::create_dir_all(at)?;
    mount(Some(kind), at, Some(kind), MsFlags::empty(), None::<&str>).with_context(|| format!("mount {at}"))
}

pub(super) fn load_modules() -> Result<()> {
    let folder = Path::new("/").join(MODULES_FOLDER);
    for file in keepsake_provision::temp_dir::files(&folder) {
        let settings = if file.to_string_lossy().ends_with("-vivid") {
            VIVID
        } else {
            c""
        };
        nix::kmod::init_module(&fs::read(&file)?, settings).with_context(|| format!("load {}", file.display()))?;
    }
    mount_at("configfs", "/sys/kernel/config")
}

/// Opens the port of this name.
pub(super) fn port(name: &str) -> Result<fs::File> {
    let ports = "/sys/class/virtio-ports";
    let device = within(DEVICE_WITHIN, || {
        fs::read_dir(ports).ok()?.flatten().find_map(|entry| {
            let found = fs::read_to_string(entry.path().join("name")).ok()?;
            (found.trim() == name).then(|| Path::new("/dev").join(entry.file_name()))
        })
    })
    .with_context(|| format!("no port {name}"))?;
    Ok(fs::OpenOptions::new().read(true).write(true).open(device)?)
}

pub(super) fn join_the_network() -> Result<()> {
    let card = within(DEVICE_WITHIN, || {
        let cards = fs::read_dir("/sys/class/net").ok()?.flatten();
        cards.filter_map(|entry| entry.file_name().into_string().ok()).find(|name| name != "lo")
    })
    .context("no network card")?;
    for (name, address, mask) in
        [("lo", Ipv4Addr::LOCALHOST, Ipv4Addr::new(255, 0, 0, 0)), (card.as_str(), ADDRESS, MASK)]
    {
        set_up(name, address, mask).with_context(|| format!("set up {name}"))?;
    }
    Ok(())
}

fn set_up(name: &str, address: Ipv4Addr, mask: Ipv4Addr) -> std::io::Result<()> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: all zeros is an ifreq without a name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::try_from(from).unwrap_or(0);
    }
    request.ifr_ifru.ifru_addr = in_c(address);
    control(&socket, libc::SIOCSIFADDR, &request)?;
    request.ifr_ifru.ifru_netmask = in_c(mask);
    control(&socket, libc::SIOCSIFNETMASK, &request)?;
    let up = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(up).expect("two low bits");
    control(&socket, libc::SIOCSIFFLAGS, &request)
}

fn in_c(address: Ipv4Addr) -> libc::sockaddr {
    let address = libc::sockaddr_in {
        sin_family: libc::sa_family_t::try_from(libc::AF_INET).expect("a small number"),
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) },
        sin_zero: [0; 8],
    };
    // SAFETY: both are plain memory of sixteen bytes, and this is what the first is for.
    unsafe { std::mem::transmute(address) }
}

fn control(socket: &std::net::UdpSocket, what: libc::Ioctl, request: &libc::ifreq) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: these requests read one ifreq, which outlives the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), what, std::ptr::from_ref(request)) } == -1 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}

pub(super) fn kernel_release() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease");
    release.unwrap_or_default().trim().to_owned()
}

pub(super) fn power_off() -> ! {
    let _ = reboot(RebootMode::RB_POWER_OFF);
    // The kernel panics when its first program ends, and then QEMU ends.
    std::process::exit(1)
}

/// Calls `ask` until it returns something.
pub(super) fn within<T>(time: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + time;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() > until {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
