//! What the system tells of a process (Linux; elsewhere nothing is known).

use std::fs;

/// Used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// Seconds of CPU, user and system.
    pub cpu: f64,
    /// Context switches that it asked for: how often it went to sleep.
    pub sleeps: u64,
}

/// A file of `/proc/PID`; empty where there is none.
fn read(pid: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

fn number(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|l| l.strip_prefix(key));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Seconds of CPU of a process since its start: its own, and that of the children it has waited for.
/// Counted in hundredths of a second.
pub fn total(pid: u32) -> (f64, f64) {
    let stat = read(pid, "stat");
    let fields: Vec<f64> = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
        .map(|f| f.parse().unwrap_or(0.0))
        .collect();
    let at = |i: usize| fields.get(i).copied().unwrap_or(0.0) / 100.0;
    (at(11) + at(12), at(13) + at(14))
}

/// Seconds of CPU of this process's own children that have ended.
pub fn of_children() -> f64 {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return 0.0 };
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
}

/// CPU and sleeps of all threads.
pub fn used(pid: u32) -> Used {
    let mut used = Used::default();
    // Nanoseconds on a CPU; `stat` counts in hundredths of a second only.
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let of = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let ns: f64 = of("schedstat").split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0.0);
        used.cpu += ns / 1e9;
        used.sleeps += number(&of("status"), "voluntary_ctxt_switches:");
    }
    used
}

impl std::ops::Sub for Used {
    type Output = Self;
    fn sub(self, earlier: Self) -> Self {
        Self { cpu: self.cpu - earlier.cpu, sleeps: self.sleeps.saturating_sub(earlier.sleeps) }
    }
}

impl std::ops::Add for Used {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, sleeps: self.sleeps + other.sleeps }
    }
}

/// Memory in MiB.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Resident, pages of files and shared ones included.
    pub rss: f64,
    /// Resident and nobody's file: heap and stacks.
    pub anon: f64,
    /// Resident, shared pages divided among those who share them.
    pub pss: f64,
}

pub fn memory(pid: u32) -> Memory {
    let status = read(pid, "status");
    let mib = |kib: u64| kib as f64 / 1024.0;
    Memory {
        rss: mib(number(&status, "VmRSS:")),
        anon: mib(number(&status, "RssAnon:")),
        pss: mib(number(&read(pid, "smaps_rollup"), "Pss:")),
    }
}

/// The processes that this one started.
pub fn children(pid: u32) -> Vec<u32> {
    let list = read(pid, &format!("task/{pid}/children"));
    let mut all: Vec<u32> = list.split_whitespace().filter_map(|p| p.parse().ok()).collect();
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let more = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        all.extend(more.split_whitespace().filter_map(|p| p.parse::<u32>().ok()));
    }
    all.sort_unstable();
    all.dedup();
    all
}
