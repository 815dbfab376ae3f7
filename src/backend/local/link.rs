//! The local backend behind [`Backend`] and [`Link`].

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use nix::sys::signal::Signal;

use super::frame::{Notice as ShimNotice, Request};
use super::record::{self, RunRecord};
use super::{
    Attached, HTTP_FILE, LINK_LOCK, LocalError, RAW_FILE, RUN_FILE, STDOUT_FILE, ShimSpec, StdoutTo, attach,
    start,
};
use crate::backend::{Backend, BackendError, Control, Found, Link, LinkLost, Notice, RunSpec};
use crate::runtime::{HttpSse, Send, Wire};
use crate::transport::Exit;
use crate::transport::http::{Conversation, Endpoint, News, Request as HttpRequest};
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
            let mut env = spec.env.clone();
            let endpoint = match &launch.wire {
                Wire::Stdio => None,
                Wire::HttpSse(wire) => Some(endpoint(wire, spec, &mut env)?),
            };
            let shim_spec = ShimSpec {
                session_dir: spec.session_dir.clone(),
                run: spec.run,
                argv: launch.argv.clone(),
                cwd: spec.cwd.clone(),
                env,
                stdin: launch.stdin || launch.input.is_some(),
                stdout: if endpoint.is_some() { StdoutTo::Log } else { StdoutTo::Raw },
            };
            let shim = start(&self.shim(), &shim_spec).await.map_err(failed)?;
            let link = LocalLink::new(shim, &spec.session_dir, endpoint).await?;
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
                    let endpoint = endpoint_of(session_dir, shim.hello().record.run)?;
                    let link = LocalLink::new(shim, session_dir, endpoint).await?;
                    let raw_len = link.raw_len();
                    Ok(Found::Live { link: Box::new(link), raw_len })
                }
                Ok(Attached::Exited(end)) => {
                    let run = last_run(session_dir)?;
                    // A control plane wrote on after the shim had seen the end.
                    let raw_len = match endpoint_of(session_dir, end.run)? {
                        Some(_) => raw_size(session_dir)?,
                        None => end.raw_len,
                    };
                    Ok(Found::Exited {
                        run: end.run,
                        raw_start: run.raw_start,
                        stderr_start: run.stderr_start,
                        exit: end.exit,
                        raw_len,
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

fn raw_size(session_dir: &Path) -> Result<u64, BackendError> {
    match std::fs::metadata(session_dir.join(RAW_FILE)) {
        Ok(m) => Ok(m.len()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(failed(e)),
    }
}

/// Makes a password for a server that is about to start, and writes down how it is talked to.
fn endpoint(
    wire: &HttpSse,
    spec: &RunSpec,
    env: &mut Vec<(OsString, OsString)>,
) -> Result<Endpoint, BackendError> {
    let mut secret = [0_u8; 32];
    getrandom::fill(&mut secret).map_err(|e| failed(format!("no randomness for a password: {e}")))?;
    let password: String = secret.iter().map(|b| format!("{b:02x}")).collect();
    env.retain(|(name, _)| name != wire.password_env);
    env.push((wire.password_env.into(), password.clone().into()));
    let endpoint = Endpoint {
        run: spec.run,
        user: wire.user.to_owned(),
        password,
        announced: wire.announced.to_owned(),
        events: wire.events.to_owned(),
    };
    let path = spec.session_dir.join(HTTP_FILE);
    record::write_atomic(&path, &endpoint)
        .map_err(|e| failed(format!("cannot write {}: {e}", path.display())))?;
    Ok(endpoint)
}

/// How the server of a run is talked to; none: the run was no server.
fn endpoint_of(session_dir: &Path, run: u32) -> Result<Option<Endpoint>, BackendError> {
    let path = session_dir.join(HTTP_FILE);
    let found: Option<Endpoint> =
        record::read(&path).map_err(|e| failed(format!("cannot read {}: {e}", path.display())))?;
    Ok(found.filter(|e| e.run == run))
}

fn lost(session_dir: &Path, run: &RunRecord, killed: usize) -> Result<Found, BackendError> {
    let raw_len = raw_size(session_dir)?;
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
    /// Of a server.
    http: Option<Http>,
}

/// The conversation with a server that the shim owns.
struct Http {
    conversation: Conversation,
    stdout: PathBuf,
    /// It ended; its last words are still to be read.
    exit: Option<Exit>,
}

impl LocalLink {
    async fn new(shim: Shim, session_dir: &Path, endpoint: Option<Endpoint>) -> Result<Self, BackendError> {
        let sender = shim.sender();
        let http = match endpoint {
            None => None,
            Some(endpoint) => {
                let (raw, lock) = (session_dir.join(RAW_FILE), session_dir.join(LINK_LOCK));
                let conversation = Conversation::open(endpoint, &raw, &lock).await.map_err(failed)?;
                let stdout = session_dir.join(STDOUT_FILE);
                conversation.look(&stdout);
                Some(Http { conversation, stdout, exit: None })
            }
        };
        Ok(Self { shim, sender, http })
    }

    fn raw_len(&self) -> u64 {
        self.http.as_ref().map_or(self.shim.hello().raw_len, |h| h.conversation.raw_len())
    }

    async fn request(&self, request: Request) -> Result<(), LinkLost> {
        self.sender.send(request).await.map_err(|_| LinkLost)
    }
}

impl Link for LocalLink {
    fn notice(&mut self) -> BoxFuture<'_, Option<Notice>> {
        async move {
            loop {
                let told = match &mut self.http {
                    None => self.shim.notice().await?,
                    Some(http) => {
                        if let Some(exit) = http.exit.clone() {
                            http.conversation.finish().await;
                            return Some(Notice::Exit { exit, raw_len: http.conversation.raw_len() });
                        }
                        tokio::select! {
                            told = self.shim.notice() => match told? {
                                ShimNotice::Grown { .. } => {
                                    http.conversation.look(&http.stdout);
                                    continue;
                                }
                                ShimNotice::Exit(end) => {
                                    http.exit = Some(end.exit);
                                    continue;
                                }
                                other => other,
                            },
                            news = http.conversation.news() => return Some(match news {
                                News::Grown(raw_len) => Notice::Grown { raw_len },
                                News::Trouble(text) => Notice::Trouble { text },
                            }),
                        }
                    }
                };
                let notice = match told {
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
            match (message, &self.http) {
                (Send::Message(mut line), _) => {
                    line.push(b'\n');
                    self.request(Request::Stdin(line)).await
                }
                (Send::Http { id, method, path, body }, Some(http)) => {
                    let sent = http.conversation.send(HttpRequest { id, method, path, body }).await;
                    if sent { Ok(()) } else { Err(LinkLost) }
                }
                // No adapter sends a request to a process that it did not start as a server.
                (Send::Http { .. }, None) => Err(LinkLost),
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
