//! `fracta shim`: the owner of one run of one local agent.
//!
//! One thread, no async runtime, nothing in memory but a chunk of output: it has to be there for hours
//! for each agent. It reads a [`ShimSpec`] from its stdin, which is one end of a socket pair and goes
//! on as the connection of the control plane that started it, so that this one cannot miss a short
//! run. Others connect to the control socket. Both speak [`super::frame`].
//!
//! The agent's stdout goes to `raw.jsonl`; clients are only told its length and read it themselves. So
//! a slow or dead control plane never holds the agent up.

mod client;
mod exec;
mod kill;
mod pump;
mod run;
mod start;
mod stdin;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use nix::libc;

use super::frame::{self, Notice};
use super::record::{self, ExitRecord, ProcId, RunRecord, ShimSpec, StdoutTo};
use super::tree;

/// How long the spec may take to arrive.
const SPEC_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the shim of the run before, which has ended, may take to go. It tells its clients for ten
/// seconds at most.
const GOING: Duration = Duration::from_secs(15);

/// Runs the shim: the whole of the process that `fracta shim` is. Called by `main` before anything else,
/// without threads.
pub fn main() -> ExitCode {
    // It holds its agent's environment; and the agent inherits this.
    crate::credentials::no_core_dumps();
    let Some(sock) = control_plane() else {
        let _ = io::stderr()
            .write_all(b"fracta shim is started by fracta itself; to start an agent use `fracta spawn`\n");
        return ExitCode::from(2);
    };
    let told = sock.try_clone();
    match prepare(sock) {
        Ok(mut owner) => {
            drop(told);
            owner.run();
            ExitCode::SUCCESS
        }
        Err(error) => {
            if let Ok(mut sock) = told {
                let mut out = Vec::new();
                Notice::Failed { error }.encode(&mut out);
                let _ = sock.write_all(&out);
            }
            ExitCode::FAILURE
        }
    }
}

/// Runs the step between shim and agent: the whole of the process that `fracta shim-exec` is, until it
/// becomes the agent.
pub fn exec_main() -> ExitCode {
    exec::main()
}

/// The connection that stdin is, if it is one. Stdin, stdout and stderr become `/dev/null`.
fn control_plane() -> Option<UnixStream> {
    let sock = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    sock.peer_addr().ok()?;
    let null = File::options().read(true).write(true).open("/dev/null").ok()?;
    nix::unistd::dup2_stdin(&null).ok()?;
    nix::unistd::dup2_stdout(&null).ok()?;
    nix::unistd::dup2_stderr(&null).ok()?;
    Some(sock)
}

fn failed(what: &str, error: impl std::fmt::Display) -> String {
    format!("the shim cannot {what}: {error}")
}

/// Everything up to the running agent.
fn prepare(mut sock: UnixStream) -> Result<run::Owner, String> {
    let spec = read_spec(&mut sock)?;
    sock.set_nonblocking(true).map_err(|e| failed("set up its connection", e))?;
    // Away from the terminal: closing it must not reach the agent.
    nix::unistd::setsid().map_err(|e| failed("leave the terminal's session", e))?;
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true).map_err(|e| failed("adopt its agent's processes", e))?;
    let (signals, term) = signals().map_err(|e| failed("listen for signals", e))?;

    let dir = spec.session_dir.clone();
    let raw_path = dir.join(super::RAW_FILE);
    let in_dir = |e: io::Error| failed(&format!("write in {}", dir.display()), e);
    let raw = record::append(&raw_path).map_err(in_dir)?;
    own(&raw, &dir).map_err(|e| {
        format!("another shim owns {} ({e}): a session has one run at a time", raw_path.display())
    })?;
    let stderr = record::append(&dir.join(super::STDERR_FILE)).map_err(in_dir)?;
    // The lock on raw.jsonl is what tells that this shim lives, whoever writes there.
    let stdout = match spec.stdout {
        StdoutTo::Raw => None,
        StdoutTo::Log => {
            let log = record::append(&dir.join(super::STDOUT_FILE)).map_err(in_dir)?;
            log.set_len(0).map_err(in_dir)?;
            Some(log)
        }
    };
    let len = |f: &File| f.metadata().map(|m| m.len()).map_err(in_dir);
    let socket = crate::paths::socket_path(&dir, super::SOCKET);
    let listener = listen(&socket).map_err(|e| failed(&format!("listen on {}", socket.display()), e))?;

    let pid = nix::unistd::getpid().as_raw();
    let mut record = RunRecord {
        run: spec.run,
        shim: tree::lookup(pid).unwrap_or(ProcId { pid, start: 0 }),
        agent: None,
        boot: tree::boot(),
        marker: crate::id::random("run").map_err(|e| failed("make a name for the run", e))?,
        raw_start: len(&raw)?,
        stderr_start: len(&stderr)?,
        socket,
    };
    // First who is at work here, then away with the last run's end, then the agent: whoever comes
    // between finds the truth at each step.
    record::write_atomic(&dir.join(super::RUN_FILE), &record).map_err(in_dir)?;
    if let Err(e) = fs::remove_file(dir.join(super::EXIT_FILE))
        && e.kind() != io::ErrorKind::NotFound
    {
        return Err(in_dir(e));
    }
    let keep = stderr.try_clone().map_err(in_dir)?;
    let started = start::agent(&spec, &record.marker, stderr);
    if let Ok(child) = &started {
        let pid = i32::try_from(child.id()).unwrap_or_default();
        record.agent = Some(tree::lookup(pid).unwrap_or(ProcId { pid, start: 0 }));
    }
    let noted = record::write_atomic(&dir.join(super::RUN_FILE), &record);
    // The agent is at its own start meanwhile.
    record::sync(&dir.join(super::RUN_FILE));
    let mut owner = run::Owner::new(
        dir.clone(),
        record,
        run::Parts { signals, term, listener, raw, stdout, stderr: keep },
    );
    owner.adopt(started, noted.err().map(in_dir)).map_err(|e| failed("set up the agent's pipes", e))?;
    owner.welcome(sock);
    Ok(owner)
}

/// Takes the session's lock. A shim whose run has ended holds it only until its clients know, and is
/// waited for; one whose run goes on is not.
fn own(raw: &File, dir: &Path) -> Result<(), fs::TryLockError> {
    let until = std::time::Instant::now() + GOING;
    loop {
        let error = match raw.try_lock() {
            Ok(()) => return Ok(()),
            Err(e) => e,
        };
        let run = record::read::<RunRecord>(&dir.join(super::RUN_FILE)).ok().flatten();
        let end = record::read::<ExitRecord>(&dir.join(super::EXIT_FILE)).ok().flatten();
        let going = matches!((run, end), (Some(run), Some(end)) if run.run == end.run);
        if !going || std::time::Instant::now() >= until {
            return Err(error);
        }
        // Nothing announces the end of a process that is not ours.
        let _ = nix::poll::poll(&mut [], nix::poll::PollTimeout::from(5_u8));
    }
}

fn read_spec(sock: &mut UnixStream) -> Result<ShimSpec, String> {
    let bad = |e: io::Error| failed("read what to run", e);
    sock.set_read_timeout(Some(SPEC_TIMEOUT)).map_err(bad)?;
    let mut header = [0; frame::HEADER];
    sock.read_exact(&mut header).map_err(bad)?;
    let [a, b, c, d, kind] = header;
    let len = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if kind != frame::SPEC || len > frame::MAX_SPEC {
        return Err("the shim was not told what to run: another program started it".to_owned());
    }
    let mut body = secrecy::zeroize::Zeroizing::new(vec![0; len]);
    sock.read_exact(&mut body).map_err(bad)?;
    serde_json::from_slice(&body).map_err(|e| failed("understand what to run", e))
}

/// The pipe on which SIGCHLD and SIGTERM arrive, and whether it was SIGTERM. HUP, INT, QUIT, XFSZ (a
/// full disk quota) and PIPE do nothing. Handlers, unlike ignored signals, are not inherited by the agent.
fn signals() -> io::Result<(UnixStream, Arc<AtomicBool>)> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    write.set_nonblocking(true)?;
    let term = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(libc::SIGTERM, Arc::clone(&term))?;
    signal_hook::low_level::pipe::register(libc::SIGTERM, write.try_clone()?)?;
    signal_hook::low_level::pipe::register(libc::SIGCHLD, write)?;
    let unheard = Arc::new(AtomicBool::new(false));
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGXFSZ, libc::SIGPIPE] {
        signal_hook::flag::register(signal, Arc::clone(&unheard))?;
    }
    Ok((read, term))
}

/// The control socket. A file that is in the way is a dead shim's: the living one holds the lock.
fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(parent) = path.parent() {
        crate::paths::private_dir(parent).map_err(io::Error::other)?;
    }
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Removes a socket when dropped.
#[derive(Debug)]
struct Unlink(PathBuf);

impl Drop for Unlink {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Is the process at the other end of the same user?
fn same_user(sock: &UnixStream) -> bool {
    let me = nix::unistd::geteuid();
    #[cfg(target_os = "linux")]
    let peer = nix::sys::socket::getsockopt(sock, nix::sys::socket::sockopt::PeerCredentials)
        .map(|c| nix::unistd::Uid::from_raw(c.uid()));
    #[cfg(not(target_os = "linux"))]
    let peer = nix::unistd::getpeereid(sock).map(|(uid, _)| uid);
    peer == Ok(me)
}
