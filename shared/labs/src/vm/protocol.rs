//! The protocol between a test and the guest in the machine, one JSON object a line.
//!
//! Every [`Request`] is answered by exactly one [`Event::Done`] or [`Event::Failed`], in order; other events are sent
//! when they happen. Times are microseconds of the machine's CLOCK_BOOTTIME.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The name of the port on both sides.
pub const PORT: &str = "keepsake.vmtest";

/// A request of a test to the guest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Become this board: a chip of 54 lines, and the files a program may look for.
    Board(Board),
    /// Start the camera's program with these arguments. `user`: `None` for root.
    Start { arguments: Vec<String>, user: Option<User> },
    /// Stop the program with SIGTERM.
    Stop,
    /// Press the button on `pin` for this long.
    Press { pin: u8, held_ms: u64 },
    /// Press it with a contact that bounces: `edges` spread over `within_ms`, then it is held, and bounces in the
    /// same way when it opens.
    Bounce { pin: u8, edges: u32, within_ms: u64, held_ms: u64 },
    /// Plug the camera in, or unplug it while it is in use.
    Camera { plugged: bool },
    /// Report the memory of the program.
    Memory,
    /// Let a group read and write this file or directory, as the udev rules would.
    GrantAccess { path: String, group: u32 },
    /// Switch the machine off.
    Off,
}

/// A board as programs recognize it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Board {
    /// The label of the chip, as that board's driver names it.
    pub label: String,
    /// True for a `/dev/gpiomem` and a `/proc/cpuinfo` as on Raspberry Pi's kernel, which makes rppal see a
    /// Pi 3.
    pub registers: bool,
    /// The pin of the button, with a pull-up.
    pub button: u8,
    /// The pins of the LEDs to watch.
    pub leds: Vec<u8>,
}

/// A user other than root.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    pub uid: u32,
    /// The ids of its groups.
    pub groups: Vec<u32>,
}

/// An event sent by the guest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The machine is up: its kernel release, and how long the boot took.
    Up {
        kernel: String,
        after_ms: u64,
    },
    Done,
    Failed {
        text: String,
    },
    /// The button's contact has moved for the first time in this request.
    Edge {
        at_us: u64,
    },
    /// The time that the contact bounced, the longer of both times. A machine that stalled meanwhile makes the test void.
    Bounced {
        took_us: u64,
    },
    /// An LED was switched on or off.
    Led {
        pin: u8,
        lit: bool,
        at_us: u64,
    },
    /// The memory of the camera's program in KiB (`VmRSS`, its parts `RssAnon`, `RssFile` and `RssShmem`, and
    /// `VmHWM`).
    Memory {
        rss_kib: u64,
        anonymous_kib: u64,
        file_kib: u64,
        shared_kib: u64,
        peak_kib: u64,
    },
    /// A line that the camera's program printed with `--events`.
    Event {
        event: Value,
    },
    /// A line of its log.
    Log {
        line: String,
    },
    /// It ended with this exit code, or by a signal.
    Ended {
        code: Option<i32>,
    },
}
