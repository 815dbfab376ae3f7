//! What the loop knows and does of the agent's processes.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::super::kill::{Kill, Leader, Scope, Step};
use super::Owner;
use crate::transport::Exit;

impl Owner {
    /// Its process id, while that is certainly its own.
    pub(super) fn agent(&self) -> Option<i32> {
        self.record.agent.filter(|_| self.exit.is_none()).map(|a| a.pid)
    }

    /// Waits for whoever is dead: the agent, and orphans of its that became the shim's children.
    pub(super) fn reap(&mut self) {
        if self.childless {
            return;
        }
        self.ask_child();
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => return,
                Ok(WaitStatus::Exited(pid, code)) => self.died(pid, Some(code), None),
                Ok(WaitStatus::Signaled(pid, signal, _)) => self.died(pid, None, Some(signal as i32)),
                Ok(_) | Err(Errno::EINTR) => {}
                // A child is gone that a real-time signal ended, which this call cannot express.
                Err(Errno::EINVAL) => self.ask_child(),
                Err(_) => {
                    self.childless = true;
                    return;
                }
            }
        }
    }

    fn ask_child(&mut self) {
        let Some(child) = self.child.as_mut().filter(|_| self.exit.is_none()) else { return };
        self.exit = match child.try_wait() {
            Ok(None) => return,
            Ok(Some(s)) => Some(Exit { code: s.code(), signal: s.signal(), spawn_error: None }),
            // It is gone, and how it went is not known.
            Err(_) => Some(Exit { code: None, signal: None, spawn_error: None }),
        };
    }

    fn died(&mut self, pid: Pid, code: Option<i32>, signal: Option<i32>) {
        if self.agent() == Some(pid.as_raw()) {
            self.exit = Some(Exit { code, signal, spawn_error: None });
        }
    }

    // ---- kills

    pub(super) fn begin_kill(&mut self, scope: Scope, grace: Duration, asker: Option<u64>) {
        let now = Instant::now();
        let tree = matches!(scope, Scope::Tree);
        let kill = match self.kills.iter().position(|k| k.is_tree() == tree) {
            Some(i) => &mut self.kills[i],
            None => {
                self.kills.push(Kill::new(scope, grace, now));
                let last = self.kills.len() - 1;
                &mut self.kills[last]
            }
        };
        kill.hurry(grace, now);
        kill.askers.extend(asker);
        kill.askers.dedup();
    }

    pub(super) fn step_kills(&mut self) {
        if self.kills.is_empty() {
            return;
        }
        self.reap();
        let now = Instant::now();
        let leader = Leader {
            shim: self.record.shim.pid,
            agent: self.agent(),
            group: self.record.agent.map_or(0, |a| a.pid),
            childless: self.childless,
        };
        let mut left = Vec::new();
        for mut kill in std::mem::take(&mut self.kills) {
            if kill.due() > now {
                left.push(kill);
                continue;
            }
            match kill.step(leader, now) {
                Step::Again(_) => {
                    self.trouble = kill.stubborn().or(self.trouble.take());
                    left.push(kill);
                }
                Step::Done { left: alive } => self.killed(&kill, alive),
            }
        }
        self.kills = left;
    }

    fn killed(&mut self, kill: &Kill, alive: usize) {
        if alive > 0 {
            self.trouble = Some(format!(
                "{alive} processes of this run belong to another user and cannot be ended by fracta"
            ));
        } else if kill.stubborn().is_some() {
            self.trouble = None;
        }
        for c in self.clients.iter_mut().filter(|c| kill.askers.contains(&c.id)) {
            c.killed = Some(c.killed.unwrap_or(0) + kill.count());
        }
    }
}
