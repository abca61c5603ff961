//! What a test and the guest in the machine say to each other, one JSON object a line.
//!
//! Every [`Request`] is answered by exactly one [`Event::Done`] or [`Event::Failed`], in order; everything else is told when it
//! happens. Times are microseconds of the machine's CLOCK_BOOTTIME.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The name of the port on both sides.
pub const PORT: &str = "keepsake.vmtest";

/// What a test wants of the guest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Be this board from now on: a chip of 54 lines, and what else a program may look for.
    Board(Board),
    /// Start the camera's program with these arguments. `user`: as whom; `None` = root.
    Start {
        arguments: Vec<String>,
        user: Option<User>,
    },
    /// Let the program end: SIGTERM.
    Stop,
    /// Press the button on `pin`, to ground, for so long.
    Press { pin: u8, held_ms: u64 },
    /// Press it with a contact that bounces: `edges` of them, spread over `within_ms`, and then it is held, and bounces
    /// in the same way as it opens.
    Bounce {
        pin: u8,
        edges: u32,
        within_ms: u64,
        held_ms: u64,
    },
    /// Plug the camera in, or pull it out while it is in use.
    Camera { plugged: bool },
    /// How much memory the program has now.
    Memory,
    /// Let a group read and write this file or folder, as the rules of udev would.
    GrantAccess { path: String, group: u32 },
    /// The machine ends.
    Off,
}

/// What stands where a program looks for a board.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Board {
    /// The label of the chip, as the driver of that board has it.
    pub label: String,
    /// A `/dev/gpiomem` and a `/proc/cpuinfo` as on the kernel of Raspberry Pi, so that rppal takes it for a Pi 3.
    pub registers: bool,
    /// The pin of the button: pulled up.
    pub button: u8,
    /// The pins of lamps, each of which is watched.
    pub leds: Vec<u8>,
}

/// A user that is not root.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    pub uid: u32,
    /// Numbers of the groups it is in.
    pub groups: Vec<u32>,
}

/// What the guest tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The machine is up: the release of its kernel, and after how long.
    Up {
        kernel: String,
        after_ms: u64,
    },
    Done,
    Failed {
        text: String,
    },
    /// The button's contact was moved for the first time by this ask.
    Edge {
        at_us: u64,
    },
    /// How long the contact bounced, at the longer of both times: a machine that stood still meanwhile made another
    /// experiment of it.
    Bounced {
        took_us: u64,
    },
    /// A lamp was lit or put out.
    Led {
        pin: u8,
        lit: bool,
        at_us: u64,
    },
    /// Of the camera's program, in KiB (`VmRSS`, of that `RssAnon`, `RssFile` and `RssShmem`, and `VmHWM`).
    Memory {
        rss_kib: u64,
        anonymous_kib: u64,
        file_kib: u64,
        shared_kib: u64,
        peak_kib: u64,
    },
    /// A line the camera's program wrote with `--events`.
    Event {
        event: Value,
    },
    /// A line of its log.
    Log {
        line: String,
    },
    /// It ended, with this exit code, or by a signal.
    Ended {
        code: Option<i32>,
    },
}
