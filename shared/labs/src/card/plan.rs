//! Which calls fail in a run, decided by its seed.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use keepsake_testkit::seed::Seed;

const ROUNDS_MAX: u64 = 3;
const PRESSES_MAX: u64 = 4;

/// The plan of one run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub seed: u64,
    pub rounds: Vec<Round>,
}

/// One start of the camera, and what fails until its end.
#[derive(Debug, Clone)]
pub(super) struct Round {
    pub is_online: bool,
    pub pauses_before_presses: Vec<Duration>,
    /// Time for the camera to notice and to repair.
    pub pause_at_the_end: Duration,
    faults: Vec<CardFault>,
    pub end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Stop,
    Kill,
}

/// A rule for `failing_calls.c`.
#[derive(Debug, Clone)]
struct CardFault {
    call: &'static str,
    pattern: String,
    errno: i32,
    /// Matching calls that succeed first.
    skip: u64,
    /// Matching calls that fail then; 0 = all.
    times: u64,
}

/// Writes half of the bytes and reports no error.
const SHORT_WRITE: i32 = 0;

/// The calls with the errors that they report on a bad or full card, and with too few descriptors or too little memory.
const CALLS: [(&str, &[i32]); 9] = [
    ("open", &[libc::EIO, libc::EMFILE, libc::ENOSPC, libc::EROFS, libc::ENOMEM]),
    ("read", &[libc::EIO]),
    ("write", &[libc::EIO, libc::ENOSPC, SHORT_WRITE]),
    ("fsync", &[libc::EIO, libc::ENOSPC]),
    ("syncdir", &[libc::EIO]),
    ("rename", &[libc::EIO, libc::EROFS, libc::ENOSPC]),
    ("unlink", &[libc::EIO, libc::EROFS]),
    ("mkdir", &[libc::EIO, libc::ENOSPC, libc::EROFS]),
    ("list", &[libc::EIO, libc::EMFILE]),
];

/// The files whose calls fail, as patterns below the spool.
const FILES: [&str; 8] = ["/frames*", "/frames/*", "/torn*", "/index*", "/identity*", "/notes*", "/commands*", "*"];

/// Groups of faults that lost a confirmed picture once: one failing call on the newest capture at the start, failing
/// flushes of a new capture, and a torn file that cannot be removed.
const KNOWN: [&[(&str, &str, i32, u64, u64)]; 7] = [
    &[("read", "/frames/*", libc::EIO, 0, 1)],
    &[("open", "/frames/*.jpg", libc::EMFILE, 0, 1)],
    &[("fsync", "/frames/*", libc::EIO, 0, 1)],
    &[("fsync", "/frames/*", libc::EIO, 0, 3)],
    &[("fsync", "/frames/*", libc::EIO, 2, 3)],
    &[("syncdir", "/frames/*", libc::EIO, 1, 3)],
    &[("write", "/frames/*.jpg", libc::ENOSPC, 1, 1), ("unlink", "/frames/*", libc::EIO, 0, 1)],
];

impl Plan {
    pub(super) fn new(seed: u64, spool: &Path) -> Self {
        let mut random = Seed::new(seed);
        // The first round has a card that works, so that there is something to lose.
        let rounds = (0..=1 + random.below(ROUNDS_MAX)).map(|number| Round::new(number > 0, spool, &mut random));
        Self { seed, rounds: rounds.collect() }
    }
}

impl Round {
    fn new(fails: bool, spool: &Path, random: &mut Seed) -> Self {
        let is_online = random.one_in(2);
        let presses = 1 + random.below(PRESSES_MAX);
        let pauses = (0..presses).map(|_| random.duration_up_to(Duration::from_millis(400))).collect();
        let faults = if !fails {
            Vec::new()
        } else if random.one_in(3) {
            let known = KNOWN[index_below(KNOWN.len(), random)];
            known.iter().map(|rule| CardFault::known(rule, spool)).collect()
        } else if random.one_in(6) {
            let skip = random.below(12);
            CALLS.iter().map(|(call, _)| CardFault::of_a_dead_card(call, skip, spool)).collect()
        } else {
            (0..1 + random.below(3)).map(|_| CardFault::random(spool, random)).collect()
        };
        Self {
            is_online,
            pauses_before_presses: pauses,
            pause_at_the_end: random.duration_up_to(Duration::from_millis(1500)),
            faults,
            end: if random.one_in(2) { End::Kill } else { End::Stop },
        }
    }

    /// Returns the rules as `failing_calls.c` reads them.
    pub(super) fn rules(&self) -> String {
        let rules: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        rules.join(";")
    }
}

impl CardFault {
    fn random(spool: &Path, random: &mut Seed) -> Self {
        let (call, errors) = CALLS[index_below(CALLS.len(), random)];
        let files = FILES[index_below(FILES.len(), random)];
        Self {
            call,
            pattern: format!("{}{files}", spool.display()),
            errno: errors[index_below(errors.len(), random)],
            skip: if random.one_in(2) { 0 } else { random.below(12) },
            times: [1, 3, 0][index_below(3, random)],
        }
    }

    fn known((call, files, errno, skip, times): &(&'static str, &str, i32, u64, u64), spool: &Path) -> Self {
        Self {
            call,
            pattern: format!("{}{files}", spool.display()),
            errno: *errno,
            skip: *skip,
            times: *times,
        }
    }

    fn of_a_dead_card(call: &'static str, skip: u64, spool: &Path) -> Self {
        let pattern = format!("{}*", spool.display());
        Self { call, pattern, errno: libc::EIO, skip, times: 0 }
    }
}

impl fmt::Display for CardFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, pattern, errno, skip, times } = self;
        write!(f, "{call} {pattern} {errno} {skip} {times}")
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}:", self.seed)?;
        for round in &self.rounds {
            let place = if round.is_online { "online" } else { "offline" };
            let presses = round.pauses_before_presses.len();
            write!(f, "\n  {place}, {presses} presses, {:?}; {}", round.end, round.rules())?;
        }
        Ok(())
    }
}

fn index_below(end: usize, random: &mut Seed) -> usize {
    let end = u64::try_from(end).expect("a short list");
    usize::try_from(random.below(end)).expect("below a short list's length")
}
