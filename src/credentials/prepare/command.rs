//! Running a helper so that nothing of it is left, whatever it does.
//!
//! It is a process group of its own and carries a mark in its environment. When it has ended, or its time is up,
//! the group, everything that carries the mark (a child that called `setsid`, say) and what descends from these is
//! killed. What takes the mark out of its environment, detaches itself and lets its parent die is not found; on
//! systems other than Linux only the group is.

use std::ffi::OsString;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use secrecy::zeroize::Zeroize;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::{Failure, MAX_VALUE};
use crate::backend::local::{MARKER_ENV, tree};

/// Rounds of killing what is left.
const ROUNDS: usize = 100;
const AGAIN: Duration = Duration::from_millis(10);
/// White space around a value may make the output somewhat longer than the value.
const MAX_OUTPUT: usize = MAX_VALUE + 4096;

/// One run of a helper.
pub(super) struct Run<'a> {
    pub argv: &'a [String],
    /// What may be said of it.
    pub word: &'a str,
    pub env: Vec<(OsString, OsString)>,
    pub cwd: &'a Path,
    pub timeout: Duration,
}

impl Run<'_> {
    /// What it printed. Nothing of it runs any more, also where this future is dropped.
    pub async fn output(self) -> Result<Vec<u8>, Failure> {
        let word = || self.word.to_owned();
        let start = |e: std::io::Error| Failure::Start(word(), e.kind());
        let marker = crate::id::random("helper").map_err(|e| start(std::io::Error::other(e)))?;
        let none = || start(std::io::ErrorKind::NotFound.into());
        let (program, args) = self.argv.split_first().ok_or_else(none)?;
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .envs(self.env)
            .env(MARKER_ENV, &marker)
            .current_dir(self.cwd)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // What it says there may hold the secret, and nobody reads it.
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn().map_err(start)?;
        drop(command);
        let mut tree = Tree { leader: child.id(), marker };
        let ended = tokio::time::timeout(self.timeout, finish(child)).await;
        if tree.end().await {
            tracing::warn!(command = self.word, "processes of a credential helper do not die");
        }
        match ended {
            Err(_) => Err(Failure::Late(word(), self.timeout.as_millis())),
            Ok(Err(e)) => Err(start(e)),
            Ok(Ok((status, bytes))) => judged(self.word, status, bytes),
        }
    }
}

fn judged(word: &str, status: ExitStatus, mut bytes: Vec<u8>) -> Result<Vec<u8>, Failure> {
    use std::os::unix::process::ExitStatusExt;
    let word = word.to_owned();
    let failure = match (status.code(), status.signal()) {
        _ if bytes.len() > MAX_OUTPUT => Failure::Long(word),
        (Some(0), _) => return Ok(bytes),
        (Some(code), _) => Failure::Exit(word, code),
        (None, signal) => Failure::Signal(word, signal.unwrap_or_default()),
    };
    bytes.zeroize();
    Err(failure)
}

/// Its exit and its output, up to a little more than is allowed. A child of its that holds the pipe open is not
/// waited for: what that says later is no part of the value.
async fn finish(mut child: Child) -> std::io::Result<(ExitStatus, Vec<u8>)> {
    let Some(mut pipe) = child.stdout.take() else {
        return Ok((child.wait().await?, Vec::new()));
    };
    // Large enough not to move, which would leave copies behind.
    let mut bytes = Vec::with_capacity(MAX_OUTPUT + 4096);
    loop {
        tokio::select! {
            // Output first: of what it printed before its end nothing is lost.
            biased;
            more = read(&mut pipe, &mut bytes) => {
                if !more? {
                    break;
                }
                if bytes.len() > MAX_OUTPUT {
                    child.start_kill()?;
                    break;
                }
            }
            status = child.wait() => {
                let status = status?;
                while bytes.len() <= MAX_OUTPUT && read_now(&mut pipe, &mut bytes).await? {}
                return Ok((status, bytes));
            }
        }
    }
    Ok((child.wait().await?, bytes))
}

/// False at the end.
async fn read(pipe: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> std::io::Result<bool> {
    Ok(pipe.read_buf(bytes).await? > 0)
}

/// What lies in the pipe already; false where there is nothing.
async fn read_now(pipe: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> std::io::Result<bool> {
    tokio::select! {
        biased;
        more = read(pipe, bytes) => more,
        () = std::future::ready(()) => Ok(false),
    }
}

/// The processes of a helper.
struct Tree {
    /// None once all is over.
    leader: Option<u32>,
    marker: String,
}

impl Tree {
    /// Ends them all. True: some do not die.
    async fn end(&mut self) -> bool {
        let mut left = self.strike();
        for _ in 0..ROUNDS {
            if left == 0 {
                break;
            }
            tokio::time::sleep(AGAIN).await;
            left = self.strike();
        }
        self.leader = None;
        left > 0
    }

    /// One round; how many there were.
    fn strike(&self) -> usize {
        if let Some(leader) = self.leader.and_then(|l| i32::try_from(l).ok()) {
            let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
        let found = tree::marked(&self.marker);
        // Stopped first, so that none forks while the others die.
        for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
            for id in &found {
                let _ = kill(Pid::from_raw(id.pid), signal);
            }
        }
        found.len()
    }
}

impl Drop for Tree {
    /// Nobody waits any more: what can be done at once is done.
    fn drop(&mut self) {
        for _ in 0..3 {
            if self.leader.is_none() || self.strike() == 0 {
                return;
            }
        }
    }
}
