//! Starting a shim, and finding one again.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use secrecy::zeroize::Zeroizing;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::record::{self, ExitRecord, RunRecord, ShimSpec};
use super::{EXIT_FILE, RAW_FILE, RUN_FILE, frame, tree};
use crate::transport::stdio::Shim;

/// Variables of the control plane that the shim itself sees. Not the agent's environment.
const SHIM_ENV: [&str; 4] = ["PATH", "HOME", "XDG_RUNTIME_DIR", "TMPDIR"];
/// How long a shim may take to say its first word (its agent's exec included).
const GREETING: Duration = Duration::from_secs(30);
/// How long a living shim may be without an answer on its socket: it is starting, or going.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two attempts.
const AGAIN: Duration = Duration::from_millis(20);
/// Rounds of killing what a dead shim left.
const ROUNDS: usize = 100;

/// Why a local agent could not be started or found.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("cannot start {exe}, which has to own the agent: {source}")]
    Start { exe: PathBuf, source: io::Error },
    #[error("the shim of the agent could not begin: {0}")]
    Refused(String),
    #[error("the shim of the agent ended or hung before it said what became of the agent: {0}")]
    Silent(io::Error),
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("no agent was ever started in {0}")]
    NoRun(PathBuf),
    #[error(
        "the agent of {dir} runs, but its shim (process {pid}) does not answer at {socket}; to end the agent run: kill {pid}"
    )]
    Unreachable { dir: PathBuf, pid: i32, socket: PathBuf },
    #[error("what to run is too long: {0} bytes of arguments and environment")]
    TooLong(usize),
}

/// What became of a session's newest run.
#[derive(Debug)]
pub enum Attached {
    /// It goes on, or ends just now.
    Live(Shim),
    /// It ended, and everything is known of its end.
    Exited(ExitRecord),
    /// Its shim died without a word (it was killed, or the machine went down). What it left was ended,
    /// as far as it was found; how the agent ended is not known. Its output until then is in `raw.jsonl`.
    Lost {
        run: RunRecord,
        /// Processes that were killed now.
        killed: usize,
    },
}

/// Starts a shim and, by it, the agent. `exe` is the `fracta` program. An agent that cannot be run is no
/// error here: it is a run that ends at once, with [`crate::transport::Exit::spawn_error`].
///
/// # Errors
/// Where the shim cannot do its work.
pub async fn start(exe: &Path, spec: &ShimSpec) -> Result<Shim, LocalError> {
    let failed = |source| LocalError::Start { exe: exe.to_owned(), source };
    let body = Zeroizing::new(serde_json::to_vec(spec).map_err(|e| failed(e.into()))?);
    if body.len() > frame::MAX_SPEC {
        return Err(LocalError::TooLong(body.len()));
    }
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
    ours.set_nonblocking(true).map_err(failed)?;
    let mut command = tokio::process::Command::new(exe);
    command.arg("shim").env_clear().current_dir("/");
    command.envs(SHIM_ENV.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    // Not killed when dropped: it is to outlive this process. While this one lives, tokio waits for it.
    let child = command.spawn().map_err(failed)?;
    drop(command);
    drop(child);
    let mut first = Zeroizing::new(Vec::with_capacity(body.len() + frame::HEADER));
    frame::put(&mut first, frame::SPEC, &body);
    let greeted = async {
        let mut ours = UnixStream::from_std(ours)?;
        ours.write_all(&first).await?;
        Shim::greet(ours).await
    };
    match tokio::time::timeout(GREETING, greeted).await {
        Ok(Ok(Ok(shim))) => Ok(shim),
        Ok(Ok(Err(words))) => Err(LocalError::Refused(words)),
        Ok(Err(e)) => Err(LocalError::Silent(e)),
        Err(_) => Err(LocalError::Silent(io::ErrorKind::TimedOut.into())),
    }
}

/// Finds the newest run of a session. A shim that is dead without having written the run's end is
/// cleaned up after.
///
/// Dead means: nobody holds the lock on `raw.jsonl`, which the shim takes before anything else and the
/// system gives back when it dies, however it dies.
///
/// # Errors
/// Where nothing was ever started there, the files cannot be read, or the shim lives and does not answer.
pub async fn attach(session_dir: &Path) -> Result<Attached, LocalError> {
    let patience = tokio::time::Instant::now() + PATIENCE;
    loop {
        let run = read::<RunRecord>(session_dir, RUN_FILE)?
            .ok_or_else(|| LocalError::NoRun(session_dir.to_owned()))?;
        if let Some(exit) = ended(session_dir, &run)? {
            return Ok(Attached::Exited(exit));
        }
        if let Ok(sock) = UnixStream::connect(&run.socket).await
            && let Ok(Ok(Ok(shim))) = tokio::time::timeout(PATIENCE, Shim::greet(sock)).await
        {
            return Ok(Attached::Live(shim));
        }
        // Held until what is left is cleaned up, so that no new run starts meanwhile.
        if let Some(_lock) = lock(session_dir)? {
            // It may have written the end after we looked.
            return match ended(session_dir, &run)? {
                Some(exit) => Ok(Attached::Exited(exit)),
                None => {
                    let killed = clean_up(&run).await;
                    Ok(Attached::Lost { run, killed })
                }
            };
        }
        if tokio::time::Instant::now() >= patience {
            return Err(LocalError::Unreachable {
                dir: session_dir.to_owned(),
                pid: run.shim.pid,
                socket: run.socket,
            });
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Whether a session has a run whose end nobody wrote down: a process that lives, or one whose remains
/// nobody has cleared up yet. Cheap; what cannot be read counts as one.
pub fn unfinished(session_dir: &Path) -> bool {
    match read::<RunRecord>(session_dir, RUN_FILE) {
        Ok(Some(run)) => !matches!(ended(session_dir, &run), Ok(Some(_))),
        Ok(None) => false,
        Err(_) => true,
    }
}

fn read<T: serde::de::DeserializeOwned>(dir: &Path, name: &str) -> Result<Option<T>, LocalError> {
    let path = dir.join(name);
    record::read(&path).map_err(|source| LocalError::Read { path, source })
}

fn ended(dir: &Path, run: &RunRecord) -> Result<Option<ExitRecord>, LocalError> {
    Ok(read::<ExitRecord>(dir, EXIT_FILE)?.filter(|e| e.run == run.run))
}

/// The shim's lock, if nobody holds it.
fn lock(dir: &Path) -> Result<Option<File>, LocalError> {
    let path = dir.join(RAW_FILE);
    let read = |source| LocalError::Read { path: path.clone(), source };
    let file = record::append(&path).map_err(read)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(e)) => Err(read(e)),
    }
}

/// Ends what a dead shim left behind. Gives back how many processes were killed.
async fn clean_up(run: &RunRecord) -> usize {
    if tree::boot() != run.boot {
        return 0;
    }
    let mut killed = std::collections::BTreeSet::new();
    for _ in 0..ROUNDS {
        let mut found = tree::orphans(run.shim, run.agent, &run.marker);
        // Stopped first, so that none forks while the others die.
        for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
            for id in found.iter().filter(|id| tree::alive(**id)) {
                if kill(Pid::from_raw(id.pid), signal).is_ok() {
                    killed.insert(*id);
                }
            }
        }
        if let Some(agent) = run.agent.filter(|a| found.contains(a)) {
            let _ = nix::sys::signal::killpg(Pid::from_raw(agent.pid), Signal::SIGKILL);
        }
        found.retain(|id| tree::alive(*id));
        if found.is_empty() && tree::orphans(run.shim, run.agent, &run.marker).is_empty() {
            break;
        }
        tokio::time::sleep(AGAIN).await;
    }
    killed.len()
}
