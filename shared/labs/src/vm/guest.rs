//! The first program of the machine. It creates the hardware, presses the button, watches the LEDs, and starts the
//! camera's program, all on request.

mod boot;
mod gpio_chip;
mod report;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, setgid, setgroups, setuid};

use super::protocol::{Event, Request, User};
pub(super) use boot::MODULES_FOLDER;
pub use boot::SPOOL;
use gpio_chip::Chip;
use report::{EventWriter, now_us};

/// The path of the camera's program in the machine.
pub const PROGRAM: &str = "/usr/bin/appliance";
const CAMERA: &str = "vivid.0";
const CAMERA_DRIVER: &str = "/sys/bus/platform/drivers/vivid";
/// The longest that the program may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// Serves requests until it is asked to stop, then powers the machine off.
pub fn run() -> ! {
    // On the console, which a failed test prints.
    match serve() {
        Ok(()) => eprintln!("the guest ends as asked"),
        Err(error) => eprintln!("the guest ends: {error:#}"),
    }
    boot::power_off()
}

fn serve() -> Result<()> {
    // The button must not be delayed by the program under test.
    set_niceness(-20);
    boot::mount_all()?;
    boot::load_modules()?;
    let port = boot::port(super::protocol::PORT)?;
    boot::join_the_network()?;
    let events = EventWriter(Arc::new(Mutex::new(port.try_clone()?)));
    events.write(&Event::Up { kernel: boot::kernel_release(), after_ms: now_us() / 1000 });
    let mut guest = Guest { tell: events.clone(), chip: None, program: None };
    for line in BufReader::new(port).lines() {
        let line = line.context("read the port")?;
        let done = match serde_json::from_str(&line) {
            Ok(Request::Off) => return Ok(()),
            Ok(request) => guest.handle(request),
            Err(error) => Err(error).context(line),
        };
        events.write(&match done {
            Ok(()) => Event::Done,
            Err(error) => Event::Failed { text: format!("{error:#}") },
        });
    }
    Ok(())
}

fn set_niceness(niceness: libc::c_int) {
    // SAFETY: setpriority(2) takes no pointer.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) };
}

struct Guest {
    tell: EventWriter,
    chip: Option<Chip>,
    program: Option<Arc<Mutex<Child>>>,
}

impl Guest {
    fn handle(&mut self, request: Request) -> Result<()> {
        match request {
            Request::Board(board) => {
                // The old chip is removed first: the new one has the same name.
                self.chip = None;
                self.chip = Some(Chip::new(&board, &self.tell)?);
            }
            Request::Start { arguments, user } => self.start(&arguments, user)?,
            Request::Stop => self.stop()?,
            Request::Press { pin, held_ms } => {
                self.edge(pin, true)?;
                thread::sleep(Duration::from_millis(held_ms));
                self.chip()?.press(pin, false)?;
            }
            Request::Bounce { pin, edges, within_ms, held_ms } => {
                self.bounce(pin, edges, Duration::from_millis(within_ms), held_ms)?;
            }
            Request::Camera { plugged } => {
                let file = if plugged { "bind" } else { "unbind" };
                fs::write(format!("{CAMERA_DRIVER}/{file}"), CAMERA)?;
            }
            Request::Memory => self.memory()?,
            Request::GrantAccess { path, group } => grant_access(&path, group)?,
            Request::Off => unreachable!("the loop ends on it"),
        }
        Ok(())
    }

    fn chip(&self) -> Result<&Chip> {
        self.chip.as_ref().context("there is no board")
    }

    fn edge(&self, pin: u8, pressed: bool) -> Result<()> {
        let at_us = now_us();
        self.chip()?.press(pin, pressed)?;
        self.tell.write(&Event::Edge { at_us });
        Ok(())
    }

    fn bounce(&self, pin: u8, edges: u32, within: Duration, held_ms: u64) -> Result<()> {
        let chip = self.chip()?;
        let at_us = now_us();
        // An odd number, so that the last edge leaves the contact in its new state.
        let edges = edges | 1;
        let burst = |closes: bool| {
            let began = Instant::now();
            for edge in 0..edges {
                chip.press(pin, (edge % 2 == 0) == closes)?;
                // A busy loop: a sleep may last much longer.
                while edge + 1 < edges && began.elapsed() < within * (edge + 1) / edges {}
            }
            anyhow::Ok(began.elapsed())
        };
        let closing = burst(true)?;
        self.tell.write(&Event::Edge { at_us });
        thread::sleep(Duration::from_millis(held_ms));
        let opening = burst(false)?;
        let took = closing.max(opening).as_micros();
        self.tell.write(&Event::Bounced { took_us: u64::try_from(took).unwrap_or(u64::MAX) });
        Ok(())
    }

    fn start(&mut self, arguments: &[String], user: Option<User>) -> Result<()> {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .env("RUST_LOG", "info,sled=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // SAFETY: setpriority(2) is async-signal-safe and takes no pointer.
        unsafe {
            command.pre_exec(|| {
                set_niceness(0);
                Ok(())
            });
        }
        if let Some(user) = user {
            become_user(&mut command, user);
        }
        let mut child = command.spawn().with_context(|| format!("start {PROGRAM}"))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        self.tell
            .forward_lines(stdout.context("no standard output")?, |line| match serde_json::from_str(&line) {
                Ok(event) => Event::Event { event },
                Err(_) => Event::Log { line },
            });
        self.tell.forward_lines(stderr.context("no standard error")?, |line| Event::Log { line });
        let child = Arc::new(Mutex::new(child));
        self.program = Some(child.clone());
        let tell = self.tell.clone();
        thread::spawn(move || {
            let code = loop {
                match lock(&child).try_wait() {
                    Ok(None) => {}
                    Ok(Some(status)) => break status.code(),
                    Err(_) => break None,
                }
                thread::sleep(Duration::from_millis(20));
            };
            tell.write(&Event::Ended { code });
        });
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        let program = self.program.take().context("the program was not started")?;
        kill(Pid::from_raw(lock(&program).id().try_into()?), Signal::SIGTERM)?;
        let until = Instant::now() + STOP_WITHIN;
        while lock(&program).try_wait()?.is_none() {
            if Instant::now() > until {
                let _ = lock(&program).kill();
            }
            ensure!(Instant::now() <= until, "it did not end in time");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn memory(&self) -> Result<()> {
        let program = self.program.as_ref().context("the program was not started")?;
        let status = fs::read_to_string(format!("/proc/{}/status", lock(program).id()))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok())
                .with_context(|| format!("no {name} in its status"))
        };
        self.tell.write(&Event::Memory {
            rss_kib: kib("VmRSS:")?,
            anonymous_kib: kib("RssAnon:")?,
            file_kib: kib("RssFile:")?,
            shared_kib: kib("RssShmem:")?,
            peak_kib: kib("VmHWM:")?,
        });
        Ok(())
    }
}

/// Sets the groups first: only root may.
fn become_user(command: &mut Command, user: User) {
    let groups: Vec<Gid> = user.groups.into_iter().map(Gid::from_raw).collect();
    // SAFETY: these calls are async-signal-safe, and the list they read is kept by the closure.
    unsafe {
        command.pre_exec(move || {
            setgroups(&groups)?;
            setgid(Gid::from_raw(user.uid))?;
            Ok(setuid(Uid::from_raw(user.uid))?)
        });
    }
}

fn lock(child: &Mutex<Child>) -> std::sync::MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

fn grant_access(path: &str, group: u32) -> Result<()> {
    let mode = if fs::metadata(path)?.is_dir() { 0o770 } else { 0o660 };
    chown(path, None, Some(group)).with_context(|| format!("give {path} to group {group}"))?;
    Ok(fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?)
}
