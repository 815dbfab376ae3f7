//! Finding the processes that belong to a run.
//!
//! On Linux the shim is a *child subreaper*: a descendant that loses its parent (a double fork, a
//! `setsid` daemon) becomes the shim's child instead of init's, so the whole run stays one tree under
//! the shim, found by walking `/proc`, and `wait` saying "no children" is the proof that nothing is
//! left. A cgroup would do the same, but making one needs root or a delegated subtree, which an SSH
//! login or a container does not have; the subreaper needs nothing.
//!
//! Elsewhere (macOS) only the agent's process group is known: a descendant that made a session or
//! group of its own is not found and may outlive the run.

use std::collections::BTreeSet;

use super::record::ProcId;

/// A process as the system shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proc {
    pub id: ProcId,
    pub ppid: i32,
    /// Session id: the pid of the process that called `setsid`.
    pub session: i32,
    /// Dead, and not yet waited for by its parent.
    pub zombie: bool,
}

/// The process that has this number now; none if there is none, or it is dead.
pub fn lookup(pid: i32) -> Option<ProcId> {
    system::lookup(pid)
}

/// Is this very process alive?
pub fn alive(id: ProcId) -> bool {
    lookup(id.pid) == Some(id)
}

/// Name of the machine's present boot; process ids of another boot mean nothing.
pub fn boot() -> String {
    system::boot()
}

/// All living descendants of `root`, without itself; parents before children. Empty where the system
/// does not tell (macOS).
pub fn descendants(root: i32) -> Vec<Proc> {
    below(&system::all(), &[root])
}

/// Living processes of a run whose shim is dead: the agent, what is in the shim's session, what carries
/// the run's marker in its environment, and what descends from these.
pub fn orphans(shim: ProcId, agent: Option<ProcId>, marker: &str) -> Vec<ProcId> {
    let all = system::all();
    // A session's number is not given away while the session has members; but once all are gone
    // another session may get it.
    let stolen = all.iter().any(|p| p.id.pid == shim.pid && p.id.start != shim.start);
    let mut found: Vec<ProcId> = all
        .iter()
        .filter(|p| !p.zombie && p.id != shim)
        .filter(|p| {
            Some(p.id) == agent
                || (!stolen && p.session == shim.pid && p.id.start >= shim.start)
                || system::carries(p.id.pid, marker)
        })
        .map(|p| p.id)
        .collect();
    if all.is_empty() {
        found.extend(agent.filter(|a| alive(*a)));
    }
    let roots: Vec<i32> = found.iter().map(|p| p.pid).collect();
    for p in below(&all, &roots) {
        if !found.contains(&p.id) {
            found.push(p.id);
        }
    }
    found
}

/// Living processes that carry this marker in the environment they were started with, and what descends from
/// them. Empty where the system does not tell (macOS).
pub fn marked(marker: &str) -> Vec<ProcId> {
    let all = system::all();
    let carries = |p: &&Proc| !p.zombie && system::carries(p.id.pid, marker);
    let mut found: Vec<ProcId> = all.iter().filter(carries).map(|p| p.id).collect();
    let roots: Vec<i32> = found.iter().map(|p| p.pid).collect();
    let below = below(&all, &roots);
    found.extend(below.iter().map(|p| p.id).filter(|id| !roots.contains(&id.pid)));
    found
}

/// Those of `all` that descend from the roots and are not zombies.
fn below(all: &[Proc], roots: &[i32]) -> Vec<Proc> {
    let mut by_parent: Vec<&Proc> = all.iter().collect();
    by_parent.sort_unstable_by_key(|p| p.ppid);
    let mut found: Vec<Proc> = Vec::new();
    let mut seen: BTreeSet<i32> = roots.iter().copied().collect();
    let mut queue: Vec<i32> = roots.to_vec();
    while let Some(parent) = queue.pop() {
        let start = by_parent.partition_point(|p| p.ppid < parent);
        for p in by_parent[start..].iter().take_while(|p| p.ppid == parent) {
            // Numbers read at different instants may form a ring; a process is visited once.
            if seen.insert(p.id.pid) {
                queue.push(p.id.pid);
                found.push(**p);
            }
        }
    }
    found.retain(|p| !p.zombie);
    found
}

#[cfg(target_os = "linux")]
mod system {
    use std::fs;

    use super::{Proc, ProcId};

    pub fn boot() -> String {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    }

    pub fn lookup(pid: i32) -> Option<ProcId> {
        read(pid).filter(|p| !p.zombie).map(|p| p.id)
    }

    pub fn all() -> Vec<Proc> {
        let Ok(dir) = fs::read_dir("/proc") else { return Vec::new() };
        dir.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).filter_map(read).collect()
    }

    /// Is `FRACTA_RUN=marker` in the environment the process was started with?
    pub fn carries(pid: i32, marker: &str) -> bool {
        let wanted = format!("{}={marker}", super::super::MARKER_ENV);
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|env| env.split(|b| *b == 0).any(|v| v == wanted.as_bytes()))
    }

    fn read(pid: i32) -> Option<Proc> {
        parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Reads `/proc/PID/stat`. The name in it is the process's own word and may hold anything, also
    /// `)` and newlines: what counts begins after the last `)`.
    pub fn parse(pid: i32, stat: &[u8]) -> Option<Proc> {
        let end = memchr::memrchr(b')', stat)?;
        let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let ppid = fields.next()?.parse().ok()?;
        let session = fields.nth(1)?.parse().ok()?;
        let start = fields.nth(15)?.parse().ok()?;
        Some(Proc { id: ProcId { pid, start }, ppid, session, zombie: matches!(state, "Z" | "X" | "x") })
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::hash::{DefaultHasher, Hash, Hasher};
    use std::process::{Command, Stdio};

    use super::{Proc, ProcId};

    pub fn boot() -> String {
        let out = Command::new("sysctl").args(["-n", "kern.boottime"]).stdin(Stdio::null()).output();
        out.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
    }

    /// `ps` is the only safe-code way to a start time here; it knows seconds only.
    pub fn lookup(pid: i32) -> Option<ProcId> {
        let out = Command::new("ps")
            .args(["-o", "stat=,lstart=", "-p", &pid.to_string()])
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        let (state, started) = text.split_once(char::is_whitespace)?;
        let mut hasher = DefaultHasher::new();
        started.trim().hash(&mut hasher);
        (!state.starts_with('Z')).then(|| ProcId { pid, start: hasher.finish() })
    }

    pub fn all() -> Vec<Proc> {
        Vec::new()
    }

    pub fn carries(_pid: i32, _marker: &str) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(pid: i32, ppid: i32) -> Proc {
        Proc { id: ProcId { pid, start: 1 }, ppid, session: 1, zombie: false }
    }

    #[test]
    fn the_tree_is_found_whatever_the_order_of_numbers() {
        let mut all = vec![p(9, 1), p(3, 9), p(12, 3), p(2, 12), p(5, 1), p(6, 5)];
        all[2].zombie = true;
        let mut pids: Vec<i32> = below(&all, &[9]).iter().map(|p| p.id.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, [2, 3], "through a zombie, which is not itself alive");
        assert!(below(&all, &[77]).is_empty());
        // A ring, as numbers read at different instants may form.
        assert_eq!(below(&[p(1, 2), p(2, 1)], &[1]).len(), 1);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_hostile_process_name_does_not_lie() {
        let stat = b"42 (a) Z 1 1\n(b)) S 7 8 9 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 12345 1 2";
        let got = system::parse(42, stat).unwrap();
        assert_eq!(got, Proc { id: ProcId { pid: 42, start: 12345 }, ppid: 7, session: 9, zombie: false });
        assert_eq!(system::parse(1, b"1 (x"), None);
    }

    #[test]
    fn this_process_is_alive_and_another_start_is_not_it() {
        let me = lookup(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(alive(me));
        assert!(!alive(ProcId { start: me.start ^ 1, ..me }));
        assert!(!boot().is_empty());
    }
}
