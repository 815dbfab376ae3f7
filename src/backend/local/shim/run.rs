//! The shim's loop: waits on everything at once, and ends when the run is over and told.

mod processes;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::client::{Client, Facts};
use super::kill::{Kill, Scope};
use super::pump::Pump;
use super::stdin::Stdin;
use super::{Unlink, same_user};
use crate::backend::local::frame::{Hello, Incoming, Request};
use crate::backend::local::record::{self, ExitRecord, RunRecord};
use crate::backend::local::{EXIT_FILE, tree};
use crate::transport::Exit;

/// Most clients at once; a further one takes the place of the oldest.
const MAX_CLIENTS: usize = 8;
/// Grace for what an agent left behind when it ended by itself.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);
/// Grace of the tree when the shim itself gets SIGTERM.
const TERM_GRACE: Duration = Duration::from_secs(2);
/// How long clients may take to hear of the end. `exit.json` tells it too.
const FAREWELL: Duration = Duration::from_secs(10);
/// Pause before `exit.json` is tried again.
const RECORD_RETRY: Duration = Duration::from_secs(1);
/// Chunks of output moved before anything else gets its turn.
const CHUNKS: usize = 8;
/// Most chunks that a pipe can hold when nobody writes to it any more (1 MiB), and some.
const MOST_IN_PIPE: usize = 64;
/// Bytes taken from a client at once.
const SCRATCH: usize = 32 << 10;

/// What the shim is made of.
pub(super) struct Parts {
    pub(super) signals: UnixStream,
    pub(super) term: Arc<AtomicBool>,
    pub(super) listener: UnixListener,
    pub(super) raw: File,
    /// Where stdout goes, if not to `raw`.
    pub(super) stdout: Option<File>,
    pub(super) stderr: File,
}

/// How far the run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The agent lives.
    Running,
    /// The agent ended; what it left behind is being ended.
    Ending,
    /// Nobody is left; what is in the pipe is taken out, then `exit.json` is written.
    Draining { not_before: Option<Instant> },
    /// `exit.json` is there; clients are told until then.
    Over { until: Instant },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    Signals,
    Listener,
    Output,
    Input,
    Client(u64),
}

pub(super) struct Owner {
    dir: PathBuf,
    record: RunRecord,
    phase: Phase,
    signals: UnixStream,
    term: Arc<AtomicBool>,
    /// SIGTERM came: a full disk is not waited for.
    stopping: bool,
    /// The control socket; none when the run is over: the name may be the next run's then.
    door: Option<(UnixListener, Unlink)>,
    clients: Vec<Client>,
    next_client: u64,
    scratch: Box<[u8]>,
    stderr: File,
    child: Option<Child>,
    exit: Option<Exit>,
    childless: bool,
    stdin: Stdin,
    pump: Pump,
    kills: Vec<Kill>,
    marked: BTreeSet<record::ProcId>,
    trouble: Option<String>,
    ended: Option<ExitRecord>,
}

impl Owner {
    pub(super) fn new(dir: PathBuf, record: RunRecord, parts: Parts) -> Self {
        Self {
            dir,
            phase: Phase::Running,
            signals: parts.signals,
            term: parts.term,
            stopping: false,
            door: Some((parts.listener, Unlink(record.socket.clone()))),
            clients: Vec::new(),
            next_client: 0,
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            stderr: parts.stderr,
            child: None,
            exit: None,
            childless: true,
            stdin: Stdin::default(),
            pump: match parts.stdout {
                None => Pump::new(parts.raw, None, record.raw_start),
                Some(log) => Pump::new(log, Some(parts.raw), 0),
            },
            record,
            kills: Vec::new(),
            marked: BTreeSet::new(),
            trouble: None,
            ended: None,
        }
    }

    /// Takes the agent over, or the reason why there is none.
    pub(super) fn adopt(
        &mut self,
        started: Result<Child, String>,
        trouble: Option<String>,
    ) -> io::Result<()> {
        self.trouble = trouble;
        match started {
            Ok(mut child) => {
                let stdin = child.stdin.take();
                if let Some(pipe) = &stdin {
                    fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
                }
                self.stdin.connect(stdin);
                if let Some(pipe) = child.stdout.take() {
                    fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
                    self.pump.connect(pipe);
                }
                self.child = Some(child);
                self.childless = false;
            }
            Err(words) => {
                self.stdin.break_off(&words);
                self.exit = Some(Exit { code: None, signal: None, spawn_error: Some(words) });
            }
        }
        Ok(())
    }

    /// A new client.
    pub(super) fn welcome(&mut self, sock: UnixStream) {
        if self.clients.len() >= MAX_CLIENTS {
            let oldest = self.clients.remove(0);
            self.farewell(&oldest);
        }
        self.clients.push(Client::new(self.next_client, sock));
        self.next_client += 1;
    }

    /// Until the run is over and told.
    pub(super) fn run(&mut self) {
        loop {
            self.reap();
            self.advance();
            self.tell();
            if let Phase::Over { until } = self.phase
                && (Instant::now() >= until || self.clients.iter().all(Client::knows_the_end))
            {
                // After it was told, since nobody needs to wait for the disk.
                record::sync(&self.dir.join(EXIT_FILE));
                return;
            }
            let ready = self.wait();
            self.serve(&ready);
            self.step_kills();
        }
    }

    // ---- waiting

    fn timeout(&self) -> PollTimeout {
        let mut at: Option<Instant> = self.pump.due();
        let mut or = |t: Option<Instant>| at = at.into_iter().chain(t).min();
        self.kills.iter().for_each(|k| or(Some(k.due())));
        match self.phase {
            Phase::Over { until } => or(Some(until)),
            Phase::Draining { not_before } => {
                or(not_before.or(Some(Instant::now())).filter(|_| self.pump.is_clear()))
            }
            Phase::Running | Phase::Ending => {}
        }
        let Some(at) = at else { return PollTimeout::NONE };
        // Rounded up: waking too early would turn the loop for nothing.
        let wait = at.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
        PollTimeout::try_from(wait.as_millis()).unwrap_or(PollTimeout::MAX)
    }

    fn wait(&self) -> Vec<Ready> {
        let mut tags = vec![Ready::Signals];
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if let Some((listener, _)) = &self.door {
            tags.push(Ready::Listener);
            fds.push(PollFd::new(listener.as_fd(), PollFlags::POLLIN));
        }
        if let Some(fd) = self.pump.waits_on() {
            tags.push(Ready::Output);
            fds.push(PollFd::new(fd, PollFlags::POLLIN));
        }
        if let Some(fd) = self.stdin.waits_on() {
            tags.push(Ready::Input);
            fds.push(PollFd::new(fd, PollFlags::POLLOUT));
        }
        for client in &self.clients {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, client.may_send() && !client.gone);
            flags.set(PollFlags::POLLOUT, client.has_output() && !client.gone);
            // A hang-up is reported even if nothing is asked for: who is not asked is left out.
            if !flags.is_empty() {
                tags.push(Ready::Client(client.id));
                fds.push(PollFd::new(client.sock().as_fd(), flags));
            }
        }
        match poll(&mut fds, self.timeout()) {
            Ok(_) => {}
            // Interrupted: the signal's byte is in the pipe now.
            Err(_) => return vec![Ready::Signals],
        }
        tags.into_iter().zip(&fds).filter(|(_, fd)| fd.any().unwrap_or(true)).map(|(tag, _)| tag).collect()
    }

    fn serve(&mut self, ready: &[Ready]) {
        for what in ready {
            match what {
                Ready::Signals => self.heard(),
                Ready::Listener => self.accept(),
                Ready::Output => {}
                Ready::Input => {
                    let clients = &mut self.clients;
                    self.stdin.step(|id, n| {
                        if let Some(c) = clients.iter_mut().find(|c| c.id == id) {
                            c.wrote(n);
                        }
                    });
                }
                Ready::Client(id) => {
                    if let Some(c) = self.clients.iter_mut().find(|c| c.id == *id)
                        && c.may_send()
                    {
                        c.receive(&mut self.scratch);
                    }
                }
            }
        }
        let now = Instant::now();
        if ready.contains(&Ready::Output) || self.pump.due().is_some_and(|at| at <= now) {
            for _ in 0..CHUNKS {
                if !self.pump.step(now) {
                    break;
                }
            }
        }
        self.requests();
    }

    fn heard(&mut self) {
        let mut bytes = [0; 64];
        while matches!((&self.signals).read(&mut bytes), Ok(n) if n == bytes.len()) {}
        let now = Instant::now();
        self.kills.iter_mut().for_each(|k| k.wake(now));
        if self.term.swap(false, Ordering::SeqCst) {
            self.stopping = true;
            if matches!(self.phase, Phase::Running | Phase::Ending) {
                self.begin_kill(Scope::Tree, TERM_GRACE, None);
            }
        }
    }

    fn accept(&mut self) {
        while let Some(Ok((sock, _))) = self.door.as_ref().map(|(l, _)| l.accept()) {
            if same_user(&sock) && sock.set_nonblocking(true).is_ok() {
                self.welcome(sock);
            }
        }
    }

    // ---- clients

    fn requests(&mut self) {
        for i in 0..self.clients.len() {
            loop {
                if self.stdin.broken.is_some() {
                    self.clients[i].forget_queued();
                }
                let Some(request) = self.clients[i].request() else { break };
                let id = self.clients[i].id;
                match request {
                    Incoming::Stdin { bytes, .. } => self.stdin.push(id, bytes),
                    Incoming::Other(request) => self.obey(i, id, request),
                }
            }
        }
        // One that hung up stays until all that it sent was taken.
        let (gone, stay) =
            std::mem::take(&mut self.clients).into_iter().partition(|c| c.gone && c.may_send());
        self.clients = stay;
        let gone: Vec<Client> = gone;
        gone.iter().for_each(|c| self.farewell(c));
    }

    /// Half a message must not run into the next one's.
    fn farewell(&mut self, client: &Client) {
        if client.mid_message {
            self.stdin.push(client.id, b"\n".to_vec());
        }
    }

    fn obey(&mut self, index: usize, id: u64, request: Request) {
        match request {
            Request::Stdin(bytes) => self.stdin.push(id, bytes),
            Request::CloseStdin => self.stdin.close_after(),
            Request::Signal(number) => {
                if let (Some(agent), Ok(signal)) = (self.agent(), Signal::try_from(number)) {
                    let _ = killpg(Pid::from_raw(agent), signal);
                }
            }
            Request::KillTree { grace_ms } => {
                self.begin_kill(Scope::Tree, Duration::from_millis(grace_ms.into()), Some(id));
            }
            Request::Mark => {
                self.marked = tree::descendants(self.record.shim.pid).iter().map(|p| p.id).collect();
            }
            Request::KillSinceMark { grace_ms } => {
                let scope = Scope::Except(self.marked.clone());
                self.begin_kill(scope, Duration::from_millis(grace_ms.into()), Some(id));
            }
            Request::Ping => self.clients[index].pong = true,
        }
    }

    fn tell(&mut self) {
        let mut clients = std::mem::take(&mut self.clients);
        let hello = || Hello {
            record: self.record.clone(),
            raw_len: self.pump.len,
            stderr_len: self.stderr_len(),
            stdin_total: self.stdin.total,
            exited: self.ended.is_some(),
        };
        let facts = Facts {
            hello: &hello,
            raw_len: self.pump.len,
            stdin_total: self.stdin.total,
            stdin_broken: self.stdin.broken.as_deref(),
            trouble: self.pump.trouble().or(self.trouble.as_deref()),
            exit: self.ended.as_ref(),
        };
        clients.iter_mut().filter(|c| !c.gone).for_each(|c| c.tell(&facts));
        if self.ended.is_some() {
            clients.retain(|c| !c.gone);
        }
        self.clients = clients;
    }

    fn stderr_len(&self) -> u64 {
        self.stderr.metadata().map_or(self.record.stderr_start, |m| m.len())
    }

    // ---- the end

    fn advance(&mut self) {
        if self.phase == Phase::Running && self.exit.is_some() {
            self.stdin.break_off("the agent ended");
            self.phase = Phase::Ending;
            self.begin_kill(Scope::Tree, LEFTOVER_GRACE, None);
            self.step_kills();
        }
        if self.phase == Phase::Ending && !self.kills.iter().any(Kill::is_tree) {
            self.phase = Phase::Draining { not_before: None };
        }
        if let Phase::Draining { not_before } = self.phase {
            let now = Instant::now();
            // Bounded, since where descendants can escape one may write for ever.
            for _ in 0..MOST_IN_PIPE {
                if !self.pump.step(now) {
                    break;
                }
            }
            if (self.pump.is_clear() || self.stopping) && not_before.is_none_or(|t| t <= now) {
                self.finish(now);
            }
        }
    }

    fn finish(&mut self, now: Instant) {
        let exit = self.exit.clone().unwrap_or(Exit { code: None, signal: None, spawn_error: None });
        let record = ExitRecord {
            run: self.record.run,
            exit,
            raw_len: self.pump.raw_len(),
            stderr_len: self.stderr_len(),
        };
        match record::write_atomic(&self.dir.join(EXIT_FILE), &record) {
            Err(e) if !self.stopping => {
                self.trouble = Some(format!(
                    "the end of the run cannot be written to {EXIT_FILE} ({e}): trying again until it can"
                ));
                self.phase = Phase::Draining { not_before: Some(now + RECORD_RETRY) };
            }
            _ => {
                self.trouble = None;
                self.ended = Some(record);
                // Who hears of the end may start the next run at once: the name of the socket first,
                // then the lock, are free for it before anybody is told.
                self.door = None;
                self.pump.release();
                self.phase = Phase::Over { until: now + FAREWELL };
            }
        }
    }
}
