//! Agents from end to end: the real `fracta`, a real control plane, real shims, the real Codex.
//! Modules whose tests start a real CLI have `real_cli` in their names (see `.config/nextest.toml`).

mod abort_real_cli;
mod approvals_real_cli;
mod batch_real_cli;
mod failure_real_cli;
mod kill_real_cli;
mod places_real_cli;
mod stream_real_cli;
pub mod survival_real_cli;

use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;

use crate::plane_support::{Plane, kind};

/// What was told of a message, in order.
pub fn deliveries(events: &[Value], text: &str) -> Vec<String> {
    let of = events.iter().filter(|e| kind(e) == "user.message" && e["text"] == text);
    of.map(|e| e["delivery"].as_str().unwrap().to_owned()).collect()
}

/// How the turns ended, in order.
pub fn turns_of(events: &[Value]) -> Vec<&str> {
    events.iter().filter(|e| kind(e) == "turn.completed").filter_map(|e| e["outcome"].as_str()).collect()
}

/// The session id of a row.
pub fn session(row: &Value) -> &str {
    row["session"].as_str().unwrap()
}

/// A command that leaves daemons in sessions of their own, one of them orphaned twice, and goes on. All
/// its processes have the mark in their arguments.
pub fn daemons(mark: &str) -> String {
    format!(
        "(setsid sh -c 'setsid sleep 1{mark} & exec sleep 2{mark}' &); (trap \"\" TERM HUP INT; setsid sleep 3{mark} &); sleep 4{mark}"
    )
}

/// Waits until all processes of [`daemons`] are there.
pub async fn daemons_run(p: &Plane, mark: &str) {
    let there = |n: u32| {
        let argv = format!("sleep {n}{mark} ");
        p.processes().iter().any(|f| f.argv == argv)
    };
    crate::plane_support::until(|| (1..=4).all(there)).await;
}

/// Every text was told once: the pieces of a message are the whole of it, in order.
pub fn pieces_make_the_whole(events: &[Value]) {
    for whole in events.iter().filter(|e| kind(e) == "message.completed") {
        let of = |e: &&Value| kind(e) == "message.delta" && e["item"] == whole["item"];
        let pieces: String = events.iter().filter(of).filter_map(|e| e["text"].as_str()).collect();
        assert_eq!(whole["text"], pieces.as_str(), "{whole}");
    }
}

/// A codex that hears and says nothing.
pub struct Frozen(i32);

/// Stops codex and all of its process group.
pub fn freeze(codex: i32) -> Frozen {
    killpg(Pid::from_raw(codex), Signal::SIGSTOP).unwrap();
    Frozen(codex)
}

impl Frozen {
    /// Waits until something lies in its stdin.
    pub async fn has_input(&self) {
        let stdin = std::fs::File::open(format!("/proc/{}/fd/0", self.0)).unwrap();
        let read = move || {
            let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::NONE).unwrap()
        };
        assert_eq!(tokio::task::spawn_blocking(read).await.unwrap(), 1);
    }

    pub fn thaw(self) {
        killpg(Pid::from_raw(self.0), Signal::SIGCONT).unwrap();
    }
}

/// What a turn told, without what differs from run to run: the control plane's own facts, ids, the
/// sizes of pieces.
pub fn story(events: &[Value]) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for e in events {
        let kind = kind(e);
        if ["user.message", "warning", "usage"].contains(&kind) {
            continue;
        }
        let text = ["text", "outcome", "command"].iter().find_map(|k| e[k].as_str()).unwrap_or_default();
        match all.last_mut() {
            Some((k, t)) if k == kind && (kind.ends_with(".delta") || kind == "command.output") => {
                t.push_str(text)
            }
            _ => all.push((kind.to_owned(), text.to_owned())),
        }
    }
    all
}
