//! The local backend behind [`Backend`] and [`Link`].

use std::io;
use std::path::{Path, PathBuf};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use nix::sys::signal::Signal;

use super::frame::{Notice as ShimNotice, Request};
use super::record::{self, RunRecord};
use super::{Attached, LocalError, RAW_FILE, RUN_FILE, ShimSpec, attach, start};
use crate::backend::{Backend, BackendError, Control, Found, Link, LinkLost, Notice, RunSpec};
use crate::runtime::Send;
use crate::transport::stdio::{Shim, ShimSender};

/// From TERM to KILL for what an aborted turn left behind, in milliseconds.
const STRAY_GRACE_MS: u32 = 500;

/// The shim as a program of its own, beside `fracta`.
const SHIM: &str = "fracta-shim";

/// Processes of this machine.
pub struct Local {
    exe: PathBuf,
}

impl Local {
    /// `exe` is the `fracta` program, which is the shim too.
    pub fn new(exe: PathBuf) -> Self {
        Self { exe }
    }

    /// What to run as a shim: `fracta-shim`, which needs a fraction of the memory, or, where nobody
    /// put it beside `fracta`, that itself. Looked at each time, since an update may bring it.
    fn shim(&self) -> PathBuf {
        Some(self.exe.with_file_name(SHIM)).filter(|s| s.is_file()).unwrap_or_else(|| self.exe.clone())
    }
}

impl Backend for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn start<'a>(&'a self, spec: &'a RunSpec) -> BoxFuture<'a, Result<Box<dyn Link>, BackendError>> {
        async move {
            let launch = &spec.launch;
            let shim_spec = ShimSpec {
                session_dir: spec.session_dir.clone(),
                run: spec.run,
                argv: launch.argv.clone(),
                cwd: spec.cwd.clone(),
                env: spec.env.clone(),
                stdin: launch.stdin || launch.input.is_some(),
            };
            let link = LocalLink::new(start(&self.shim(), &shim_spec).await.map_err(failed)?);
            if let Some(input) = &launch.input {
                // A process that is gone already says so by its exit, which is told in its turn.
                let _ = link.request(Request::Stdin(input.clone())).await;
                let _ = link.request(Request::CloseStdin).await;
            }
            Ok(Box::new(link) as Box<dyn Link>)
        }
        .boxed()
    }

    fn find<'a>(&'a self, session_dir: &'a Path) -> BoxFuture<'a, Result<Found, BackendError>> {
        async move {
            match attach(session_dir).await {
                Ok(Attached::Live(shim)) => {
                    let raw_len = shim.hello().raw_len;
                    Ok(Found::Live { link: Box::new(LocalLink::new(shim)), raw_len })
                }
                Ok(Attached::Exited(end)) => {
                    let run = last_run(session_dir)?;
                    Ok(Found::Exited {
                        run: end.run,
                        raw_start: run.raw_start,
                        stderr_start: run.stderr_start,
                        exit: end.exit,
                        raw_len: end.raw_len,
                    })
                }
                Ok(Attached::Lost { run, killed }) => lost(session_dir, &run, killed),
                Err(LocalError::NoRun(_)) => Ok(Found::Never),
                Err(e) => Err(failed(e)),
            }
        }
        .boxed()
    }
}

fn failed(e: impl std::fmt::Display) -> BackendError {
    BackendError(e.to_string())
}

fn last_run(session_dir: &Path) -> Result<RunRecord, BackendError> {
    let run: Option<RunRecord> = record::read(&session_dir.join(RUN_FILE)).map_err(failed)?;
    run.ok_or_else(|| failed(format!("{} is gone", session_dir.join(RUN_FILE).display())))
}

fn lost(session_dir: &Path, run: &RunRecord, killed: usize) -> Result<Found, BackendError> {
    let raw_len = match std::fs::metadata(session_dir.join(RAW_FILE)) {
        Ok(m) => m.len(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
        Err(e) => return Err(failed(e)),
    };
    let left = if killed == 0 { String::new() } else { format!("; {killed} of its processes were ended") };
    Ok(Found::Lost {
        run: run.run,
        raw_start: run.raw_start,
        stderr_start: run.stderr_start,
        raw_len,
        why: format!("its shim was killed, or the machine went down: how the agent ended is not known{left}"),
    })
}

/// A run of a local process, by its shim.
struct LocalLink {
    shim: Shim,
    sender: ShimSender,
}

impl LocalLink {
    fn new(shim: Shim) -> Self {
        let sender = shim.sender();
        Self { shim, sender }
    }

    async fn request(&self, request: Request) -> Result<(), LinkLost> {
        self.sender.send(request).await.map_err(|_| LinkLost)
    }
}

impl Link for LocalLink {
    fn notice(&mut self) -> BoxFuture<'_, Option<Notice>> {
        async move {
            loop {
                let notice = match self.shim.notice().await? {
                    ShimNotice::Grown { raw_len } => Notice::Grown { raw_len },
                    ShimNotice::StdinBroken { error } => Notice::InputBroken { why: error },
                    ShimNotice::Trouble { text, over: false } => Notice::Trouble { text },
                    ShimNotice::Trouble { text, over: true } => {
                        Notice::Trouble { text: format!("over: {text}") }
                    }
                    ShimNotice::Killed { .. } => Notice::Swept,
                    ShimNotice::Exit(end) => Notice::Exit { exit: end.exit, raw_len: end.raw_len },
                    ShimNotice::Hello(_)
                    | ShimNotice::StdinWritten { .. }
                    | ShimNotice::Pong
                    | ShimNotice::Failed { .. } => continue,
                };
                return Some(notice);
            }
        }
        .boxed()
    }

    fn send(&mut self, message: Send) -> BoxFuture<'_, Result<(), LinkLost>> {
        async move {
            match message {
                Send::Message(mut line) => {
                    line.push(b'\n');
                    self.request(Request::Stdin(line)).await
                }
            }
        }
        .boxed()
    }

    fn control(&mut self, control: Control) -> BoxFuture<'_, Result<(), LinkLost>> {
        let request = match control {
            Control::Interrupt => Request::Signal(Signal::SIGINT as i32),
            Control::Kill { grace_ms } => Request::KillTree { grace_ms },
            Control::CloseInput => Request::CloseStdin,
            Control::Mark => Request::Mark,
            Control::KillSinceMark => Request::KillSinceMark { grace_ms: STRAY_GRACE_MS },
        };
        async move { self.request(request).await }.boxed()
    }

    fn run(&self) -> u32 {
        self.shim.hello().record.run
    }

    fn pid(&self) -> Option<u32> {
        self.shim.agent_pid().and_then(|p| u32::try_from(p).ok())
    }

    fn stderr_start(&self) -> u64 {
        self.shim.hello().record.stderr_start
    }

    fn raw_start(&self) -> u64 {
        self.shim.hello().record.raw_start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_shim_is_taken_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let exe = dir.path().join("fracta");
        let local = Local::new(exe.clone());
        assert_eq!(local.shim(), exe);
        std::fs::write(dir.path().join(SHIM), "").unwrap();
        assert_eq!(local.shim(), dir.path().join(SHIM));
    }
}
