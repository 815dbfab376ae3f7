//! Ending processes so that none escapes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::backend::local::record::ProcId;
use crate::backend::local::tree;

/// How often to look again while waiting for processes to go by themselves.
const WATCH: Duration = Duration::from_millis(20);
/// Longest pause between two looks at processes that do not die.
const SLOWEST: Duration = Duration::from_millis(500);
/// Looks within one step at processes that fork while they are being stopped.
const FREEZES: u32 = 32;
/// Steps after the first KILL that found somebody before people are told.
const STUBBORN: u32 = 30;

/// Who is to die.
#[derive(Debug)]
pub(super) enum Scope {
    /// The agent and all descendants of the shim.
    Tree,
    /// Descendants that are neither the agent nor in this set.
    Except(BTreeSet<ProcId>),
}

/// One kill in progress. Never waits by itself: [`Kill::step`] is called until it is done, while the
/// shim goes on with its other work.
#[derive(Debug)]
pub(super) struct Kill {
    scope: Scope,
    /// KILL from here on.
    pub(super) hard_at: Instant,
    next: Instant,
    pause: Duration,
    /// All that were to die, ever.
    targets: BTreeSet<ProcId>,
    /// Not ours to signal (set-uid programs).
    untouchable: BTreeSet<ProcId>,
    began: bool,
    hard_steps: u32,
    empty: u32,
    /// Clients that want to hear of its end.
    pub(super) askers: Vec<u64>,
}

/// What is known of the agent's own process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leader {
    pub(super) shim: i32,
    /// The agent; none once it was waited for, since its number may then be another's.
    pub(super) agent: Option<i32>,
    /// The agent's process group (its pid while it lived).
    pub(super) group: i32,
    /// `wait` said that the shim has no child at all.
    pub(super) childless: bool,
}

/// Result of a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Look again at this time.
    Again(Instant),
    /// Nobody is left, or (`left`) only some that cannot be killed.
    Done { left: usize },
}

impl Kill {
    pub(super) fn new(scope: Scope, grace: Duration, now: Instant) -> Self {
        Self {
            scope,
            hard_at: now + grace,
            next: now,
            pause: Duration::from_millis(2),
            targets: BTreeSet::new(),
            untouchable: BTreeSet::new(),
            began: false,
            hard_steps: 0,
            empty: 0,
            askers: Vec::new(),
        }
    }

    pub(super) fn is_tree(&self) -> bool {
        matches!(self.scope, Scope::Tree)
    }

    /// Asked again: the shorter grace counts.
    pub(super) fn hurry(&mut self, grace: Duration, now: Instant) {
        self.hard_at = self.hard_at.min(now + grace);
        self.next = now;
    }

    /// When [`Kill::step`] has something to do.
    pub(super) fn due(&self) -> Instant {
        self.next
    }

    /// A child of the shim ended: looking again is worth it.
    pub(super) fn wake(&mut self, now: Instant) {
        self.next = now;
    }

    /// Processes that were signalled.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.targets.len()).unwrap_or(u32::MAX)
    }

    /// Set while processes do not die although they were killed: a word for people.
    pub(super) fn stubborn(&self) -> Option<String> {
        (self.hard_steps > STUBBORN).then(|| {
            "processes of this run do not die although they were killed; they may hang in the system \
             (a lost network disk?)"
                .to_owned()
        })
    }

    /// Looks who is there and does what is due.
    pub(super) fn step(&mut self, leader: Leader, now: Instant) -> Step {
        if self.is_tree() && leader.childless {
            return Step::Done { left: 0 };
        }
        let living = if now < self.hard_at { self.ask(leader) } else { self.force(leader) };
        if living == 0 {
            self.empty += 1;
            // Without children of its own a shim has no descendants at all: that proof ends a tree
            // kill (above). Where it cannot come, and for the other scope, two looks that find nobody do.
            let settled = match self.scope {
                Scope::Tree => {
                    leader.agent.is_none() && (!cfg!(target_os = "linux") || !self.untouchable.is_empty())
                }
                Scope::Except(_) => true,
            };
            if settled && self.empty >= 2 {
                return Step::Done { left: self.untouchable.len() };
            }
        } else {
            self.empty = 0;
        }
        self.pause = if now < self.hard_at {
            WATCH.min(self.hard_at - now)
        } else {
            self.hard_steps += 1;
            (self.pause * 2).min(SLOWEST)
        };
        self.next = now + self.pause;
        Step::Again(self.next)
    }

    /// TERM to everyone who did not get it yet. Gives back how many are alive.
    fn ask(&mut self, leader: Leader) -> usize {
        // Where the tree is known each one gets it once: a second TERM means "at once" to some programs.
        if cfg!(not(target_os = "linux")) && !self.began && self.is_tree() && leader.agent.is_some() {
            let _ = killpg(Pid::from_raw(leader.group), Signal::SIGTERM);
        }
        let found = self.find(leader);
        for id in &found {
            if !self.targets.contains(id) {
                // A stopped process only acts on it when continued.
                self.signal(*id, Signal::SIGTERM);
                self.signal(*id, Signal::SIGCONT);
                self.targets.insert(*id);
            }
        }
        self.began = true;
        found.len() + usize::from(Self::group_lives(leader) && self.is_tree())
    }

    /// Stops everyone first, so that nobody can fork away, then kills. Gives back how many there were.
    fn force(&mut self, leader: Leader) -> usize {
        let mut frozen = BTreeSet::new();
        for _ in 0..FREEZES {
            let found = self.find(leader);
            self.began = true;
            let before = frozen.len();
            for id in found {
                if frozen.insert(id) {
                    self.signal(id, Signal::SIGSTOP);
                    self.targets.insert(id);
                }
            }
            if frozen.len() == before {
                break;
            }
        }
        for id in &frozen {
            self.signal(*id, Signal::SIGKILL);
        }
        if self.is_tree() && Self::group_lives(leader) {
            let _ = killpg(Pid::from_raw(leader.group), Signal::SIGKILL);
            return frozen.len() + 1;
        }
        frozen.len()
    }

    /// Where there is no process tree the group is all there is to look at.
    fn group_lives(leader: Leader) -> bool {
        cfg!(not(target_os = "linux")) && killpg(Pid::from_raw(leader.group), None) == Ok(())
    }

    /// Those in scope that are alive now.
    fn find(&self, leader: Leader) -> Vec<ProcId> {
        let mut found = Vec::new();
        // Parents come before children, so a target's children are seen to be targets too.
        for p in tree::descendants(leader.shim) {
            if self.untouchable.contains(&p.id) {
                continue;
            }
            let wanted = match &self.scope {
                Scope::Tree => true,
                Scope::Except(marked) => {
                    Some(p.id.pid) != leader.agent
                        && !marked.contains(&p.id)
                        && (!self.began
                            || self.targets.contains(&p.id)
                            // What the living agent starts meanwhile is its next work, not a leftover.
                            || p.ppid == leader.shim
                            || self.targets.iter().any(|t| t.pid == p.ppid)
                            || found.iter().any(|f: &ProcId| f.pid == p.ppid))
                }
            };
            if wanted {
                found.push(p.id);
            }
        }
        found
    }

    fn signal(&mut self, id: ProcId, signal: Signal) {
        if kill(Pid::from_raw(id.pid), signal) == Err(Errno::EPERM) {
            self.untouchable.insert(id);
        }
    }
}
