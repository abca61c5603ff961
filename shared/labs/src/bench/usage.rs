//! The processor time of processes, from /proc.

use std::time::Duration;

/// Returns the processor time of a process and its threads, also of those that have ended. The kernel counts it in
/// steps of 10 ms.
///
/// # Panics
/// The process does not run.
pub fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process that runs has a stat");
    ticks(&stat)
}

/// Returns the processor time of the threads whose names begin with `prefix`, of those that still run.
pub fn cpu_time_of_threads(pid: u32, prefix: &str) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let stats = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    stats
        .filter(|stat| stat.split_once('(').is_some_and(|(_, name)| name.starts_with(prefix)))
        .map(|stat| ticks(&stat))
        .sum()
}

/// Parses `utime` and `stime` of a stat file (proc_pid_stat(5)); the name before them may contain anything.
fn ticks(stat: &str) -> Duration {
    let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
    let used = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = used.filter_map(|field| field.parse::<u64>().ok()).sum();
    // USER_HZ is 100 on every architecture that Linux runs a cloud on.
    Duration::from_millis(ticks * 10)
}

/// Returns the processor, the number of its cores, and the load of the last minute.
pub fn machine() -> String {
    let text = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let processors = text("/proc/cpuinfo");
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = text("/proc/meminfo");
    let kib = memory
        .split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<u64>().ok())
        .unwrap_or_default();
    let load = text("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or("unknown");
    let model = model.map_or("unknown processor", |(_, model)| model.trim());
    format!("{cores} cores ({model}), {} GB, load {load} before the first repetition", kib / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) (b 1 2) S 1 7 7 0 -1 4194560 9 0 0 0 123 45 6 7 20 0 1 0 100 0 0";
        assert_eq!(ticks(stat), Duration::from_millis(1680));
    }

    #[test]
    fn work_of_this_process_is_counted() {
        let own = std::process::id();
        let before = cpu_time(own);
        let until = std::time::Instant::now() + Duration::from_millis(200);
        while std::time::Instant::now() < until {
            std::hint::spin_loop();
        }
        assert!(cpu_time(own) > before);
    }
}
