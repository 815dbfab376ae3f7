//! Backends: where an agent's process runs. A backend never asks which protocol it carries.
//!
//! Whatever the backend, a run of a process looks the same to the supervisor: what the process says
//! lies, as received, in the session's `raw.jsonl`, and a [`Link`] tells how far that file has grown,
//! carries messages to the process, ends it, and tells how it ended. So recovery, replay and bounds
//! are the same for a local process, a pod's log and a WebSocket.

pub mod local;

use std::ffi::OsString;
use std::path::PathBuf;

use futures_util::future::BoxFuture;
use secrecy::zeroize::Zeroize;

use crate::credentials::deliver::Delivery;
use crate::runtime::{Launch, Send};
use crate::transport::Exit;

/// A process to start.
#[derive(Clone)]
pub struct RunSpec {
    /// The session's folder; made by the caller, private.
    pub session_dir: PathBuf,
    /// 1 for the first process of the session.
    pub run: u32,
    pub launch: Launch,
    pub cwd: PathBuf,
    /// The complete environment of a local process. Secret: never logged, never in argv. Overwritten when dropped.
    pub env: Vec<(OsString, OsString)>,
    /// The same and the files with credentials, each with what may be done with its value: what a backend goes by
    /// that runs the process elsewhere.
    pub credentials: Delivery,
}

impl std::fmt::Debug for RunSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.env.iter().map(|(name, _)| name).collect();
        f.debug_struct("RunSpec")
            .field("session_dir", &self.session_dir)
            .field("run", &self.run)
            .field("cwd", &self.cwd)
            .field("env", &names)
            .finish_non_exhaustive()
    }
}

impl Drop for RunSpec {
    fn drop(&mut self) {
        wipe(&mut self.env);
    }
}

/// Overwrites the values of variables.
pub(crate) fn wipe(env: &mut Vec<(OsString, OsString)>) {
    use std::os::unix::ffi::OsStringExt;
    for (_, value) in env.drain(..) {
        value.into_vec().zeroize();
    }
}

/// What a link tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// `raw.jsonl` holds so many bytes now.
    Grown { raw_len: u64 },
    /// What was sent can no longer reach the process.
    InputBroken { why: String },
    /// Something is wrong that may pass (disk full, …); data waits and is not lost.
    Trouble { text: String },
    /// The kill that [`Control::KillSinceMark`] asked for is done: nobody of them is left.
    Swept,
    /// The process ended and all that it said is in `raw.jsonl`.
    Exit { exit: Exit, raw_len: u64 },
}

/// What a link can be told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Ask the process to end what it does (SIGINT to its group).
    Interrupt,
    /// End the process and all its descendants: TERM, then KILL after the grace.
    Kill { grace_ms: u32 },
    /// Close the process's input after what was sent before.
    CloseInput,
    /// Remember which descendants there are now.
    Mark,
    /// End the descendants that came since the mark; the process itself lives on.
    KillSinceMark,
}

/// One run of an agent's process.
pub trait Link: std::marker::Send + Sync {
    /// The next notice; none when the link is lost. Cancel-safe.
    fn notice(&mut self) -> BoxFuture<'_, Option<Notice>>;

    /// Hands a message over. Waits while the (bounded) way is full.
    fn send(&mut self, message: Send) -> BoxFuture<'_, Result<(), LinkLost>>;

    fn control(&mut self, control: Control) -> BoxFuture<'_, Result<(), LinkLost>>;

    /// Number of the run.
    fn run(&self) -> u32;

    /// Process id, where there is one on this machine.
    fn pid(&self) -> Option<u32>;

    /// Where in `stderr.log` this run begins.
    fn stderr_start(&self) -> u64;

    /// Where in `raw.jsonl` this run begins.
    fn raw_start(&self) -> u64;
}

/// The link to the process's keeper is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the link to the agent's process is lost")]
pub struct LinkLost;

/// What is found of a run when the control plane comes back.
pub enum Found {
    /// It is there.
    Live { link: Box<dyn Link>, raw_len: u64 },
    /// It ended while nobody looked.
    Exited { run: u32, raw_start: u64, stderr_start: u64, exit: Exit, raw_len: u64 },
    /// It is gone without a trace of how it ended; nothing of it lives on.
    Lost { run: u32, raw_start: u64, stderr_start: u64, raw_len: u64, why: String },
    /// No process was ever started in this session.
    Never,
}

/// Why a backend could not do it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(pub String);

/// A place where processes run.
pub trait Backend: std::marker::Send + Sync {
    /// `local` or `kubernetes`.
    fn name(&self) -> &'static str;

    fn start<'a>(&'a self, spec: &'a RunSpec) -> BoxFuture<'a, Result<Box<dyn Link>, BackendError>>;

    /// Finds the last run of a session again.
    fn find<'a>(&'a self, session_dir: &'a std::path::Path) -> BoxFuture<'a, Result<Found, BackendError>>;
}
