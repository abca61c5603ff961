//! P1 on the real program: before it says that a press is saved, the frame's file and then its folder are on the disk.
//!
//! Killing a process shows nothing here, because the kernel keeps what was written. So the program runs under ptrace,
//! and the order of its system calls is read: a press may be confirmed only after `fdatasync` of the file it made and
//! `fsync` of the folder. Remove either flush and this test fails.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

const PRESSES: usize = 3;

#[test]
fn a_press_is_confirmed_only_after_its_file_and_folder_are_flushed() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = match start(&folder.path().join("spool")) {
        Ok(child) => child,
        Err(error) => {
            println!("NOT RUN: the order of flushes, because this system allows no ptrace here ({error})");
            return;
        }
    };
    let mut keyboard = child.stdin.take().unwrap();
    keyboard.write_all(&[b'\n'; PRESSES]).unwrap();
    let mut disk = Disk::default();
    watch(&mut child, &mut disk);
    assert_eq!(disk.confirmed, PRESSES);
}

/// The effect of the system calls so far on the frames.
#[derive(Default)]
struct Disk {
    /// Paths by file descriptor, as opened.
    open: HashMap<u64, PathBuf>,
    /// Frame files made and not yet confirmed, in order.
    made: Vec<Frame>,
    confirmed: usize,
}

struct Frame {
    path: PathBuf,
    file_flushed: bool,
    folder_flushed: bool,
}

impl Disk {
    fn opened(&mut self, path: PathBuf, descriptor: u64) {
        let is_new = !self.made.iter().any(|frame| frame.path == path);
        if path.extension().is_some_and(|extension| extension == "jpg") && is_new {
            self.made.push(Frame {
                path: path.clone(),
                file_flushed: false,
                folder_flushed: false,
            });
        }
        self.open.insert(descriptor, path);
    }

    fn flushed(&mut self, descriptor: u64) {
        let Some(path) = self.open.get(&descriptor) else {
            return;
        };
        for frame in &mut self.made {
            if frame.path == *path {
                frame.file_flushed = true;
            }
            // The folder counts only once the file's own bytes are safe.
            if frame.path.parent() == Some(path) && frame.file_flushed {
                frame.folder_flushed = true;
            }
        }
    }

    fn wrote_to_standard_output(&mut self, text: &str) {
        for _ in text.matches(r#""event":"saved""#) {
            let frame = self.made.get(self.confirmed).expect("a press was confirmed and no file was made");
            assert!(frame.file_flushed, "confirmed before {} was flushed", frame.path.display());
            assert!(
                frame.folder_flushed,
                "confirmed before the folder of {} was flushed",
                frame.path.display()
            );
            self.confirmed += 1;
        }
    }
}

fn start(spool: &std::path::Path) -> std::io::Result<Child> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_appliance"));
    command
        .args(["run", "--simulated", "--events", "--device", "traced"])
        .args(["--cloud", "mqtt://127.0.0.1:9", "--spool"])
        .arg(spool)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // SAFETY: between fork and exec only ptrace(2) is called, which is a plain system call.
    unsafe {
        command.pre_exec(|| ptrace::traceme().map_err(Into::into));
    }
    let child = command.spawn()?;
    let pid = pid_of(&child);
    waitpid(pid, None)?;
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(pid, options)?;
    ptrace::syscall(pid, None)?;
    Ok(child)
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a process id is positive and small"))
}

/// Follows every thread until all presses are confirmed.
fn watch(child: &mut Child, disk: &mut Disk) {
    // What each thread has entered, until it comes back.
    let mut entered: HashMap<Pid, (u64, [u64; 6])> = HashMap::new();
    while disk.confirmed < PRESSES {
        let status = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::__WALL)).expect("the program is being followed");
        let (thread, signal) = match status {
            WaitStatus::PtraceSyscall(thread) => {
                on_call(thread, &mut entered, disk);
                (thread, None)
            }
            // A new thread begins with a stop of its own, which is not for it.
            WaitStatus::Stopped(thread, Signal::SIGSTOP | Signal::SIGTRAP) => (thread, None),
            WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
            WaitStatus::PtraceEvent(thread, ..) => (thread, None),
            WaitStatus::Exited(pid, code) if pid == pid_of(child) => {
                panic!("the program ended with {code}")
            }
            other @ (WaitStatus::Exited(..)
            | WaitStatus::Signaled(..)
            | WaitStatus::Continued(_)
            | WaitStatus::StillAlive) => {
                entered.remove(&other.pid().unwrap_or(Pid::from_raw(0)));
                continue;
            }
        };
        match ptrace::syscall(thread, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => panic!("follow thread {thread}: {error}"),
        }
    }
    child.kill().unwrap();
}

fn on_call(thread: Pid, entered: &mut HashMap<Pid, (u64, [u64; 6])>, disk: &mut Disk) {
    let Ok(info) = ptrace::syscall_info(thread) else {
        return;
    };
    if info.op == libc::PTRACE_SYSCALL_INFO_ENTRY {
        // SAFETY: the kernel says that this is an entry, so that is the field it has filled.
        let entry = unsafe { info.u.entry };
        entered.insert(thread, (entry.nr, entry.args));
        if entry.nr == number(libc::SYS_write) && entry.args[0] == 1 {
            disk.wrote_to_standard_output(&String::from_utf8_lossy(&read(thread, entry.args[1], entry.args[2])));
        }
        return;
    }
    let Some((call, args)) = entered.remove(&thread) else {
        return;
    };
    // SAFETY: after an entry of the same thread comes its exit, so that is the field the kernel has filled.
    let value = unsafe { info.u.exit.sval };
    let Ok(value) = u64::try_from(value) else {
        return;
    };
    if call == number(libc::SYS_openat) {
        let bytes = read(thread, args[1], 4096);
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(0);
        disk.opened(PathBuf::from(String::from_utf8_lossy(&bytes[..end]).as_ref()), value);
    } else if call == number(libc::SYS_fdatasync) || call == number(libc::SYS_fsync) {
        disk.flushed(args[0]);
    }
}

fn number(call: libc::c_long) -> u64 {
    u64::try_from(call).expect("system calls are numbered from 0")
}

/// Bytes of the program's memory, as many as can be read.
fn read(thread: Pid, at: u64, len: u64) -> Vec<u8> {
    let memory = File::open(format!("/proc/{thread}/mem")).unwrap();
    let mut bytes = vec![0; usize::try_from(len).unwrap()];
    let found = memory.read_at(&mut bytes, at).unwrap_or(0);
    bytes.truncate(found);
    bytes
}
