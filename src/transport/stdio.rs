//! The control plane's side of a shim: an agent on stdin and stdout, as a link that may break while the
//! agent goes on. The protocol is [`crate::backend::local::frame`].

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::backend::local::frame::{Decoder, HEADER, Hello, Notice, PART, Request};
use crate::backend::local::record::ExitRecord;

/// Bytes for stdin that may wait in this process; beyond it [`ShimSender::send`] waits.
const MAX_WAITING: usize = 4 << 20;
/// Bytes for stdin that the shim may hold. Never more, so that the shim always reads on, and a kill
/// reaches it even when the agent takes nothing.
const WINDOW: u64 = 256 << 10;
/// Requests that may wait.
const QUEUE: usize = 32;

/// A link to a shim. When dropped the link closes, and the agent goes on.
#[derive(Debug)]
pub struct Shim {
    hello: Hello,
    inbox: Arc<Inbox>,
    sender: ShimSender,
    /// Reader and writer; they end with the link.
    _tasks: JoinSet<()>,
}

/// Sends requests to a shim; cheap to clone.
#[derive(Debug, Clone)]
pub struct ShimSender {
    control: mpsc::Sender<Request>,
    ordered: mpsc::Sender<Ordered>,
    room: Arc<Semaphore>,
    progress: watch::Receiver<Progress>,
}

/// Why a request was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The shim is gone or was left. Whether requests sent before were carried out is not known.
    #[error("the link to the agent's shim is broken; attach again to learn how the agent is")]
    LinkLost,
    /// The agent takes no input any more.
    #[error("the agent's stdin takes nothing any more: it was closed by the agent or by us")]
    StdinBroken,
}

/// What goes out in the order it was given: everything that stdin has to do with.
#[derive(Debug)]
struct Ordered {
    request: Request,
    /// Given back when the frame was sent.
    _room: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// How far the agent's stdin is.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Of the bytes sent over this link, so many were taken.
    yours: u64,
    broken: bool,
}

impl Shim {
    /// Takes a connection over and waits for the shim's first word.
    pub(crate) async fn greet(mut sock: UnixStream) -> io::Result<Result<Self, String>> {
        let mut decoder = Decoder::default();
        let hello = loop {
            let mut buf = [0; 4096];
            let n = sock.read(&mut buf).await?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            decoder.push(&buf[..n]);
            match next(&mut decoder)? {
                Some(Notice::Hello(hello)) => break hello,
                Some(Notice::Failed { error }) => return Ok(Err(error)),
                Some(_) => return Err(nonsense("the shim did not say hello")),
                None => {}
            }
        };
        let (read, write) = sock.into_split();
        let (control, control_rx) = mpsc::channel(QUEUE);
        let (ordered, ordered_rx) = mpsc::channel(QUEUE);
        let (progress, progress_rx) = watch::channel(Progress::default());
        let inbox = Arc::new(Inbox::default());
        inbox.lock().hello = Some(hello.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(receive(read, decoder, Arc::clone(&inbox), progress));
        tasks.spawn(transmit(write, control_rx, ordered_rx, progress_rx.clone()));
        let room = Arc::new(Semaphore::new(MAX_WAITING));
        let sender = ShimSender { control, ordered, room, progress: progress_rx };
        Ok(Ok(Self { hello, inbox, sender, _tasks: tasks }))
    }

    /// What the shim said first.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// The agent's process id; none if it could not be started.
    pub fn agent_pid(&self) -> Option<i32> {
        self.hello.record.agent.map(|a| a.pid)
    }

    /// The next notice, [`Notice::Hello`] first. None: the link is lost (or the shim is done and gone,
    /// after [`Notice::Exit`]). May be cancelled and called again.
    pub async fn notice(&mut self) -> Option<Notice> {
        loop {
            let changed = self.inbox.changed.notified();
            {
                let mut pending = self.inbox.lock();
                if let Some(notice) = pending.take() {
                    return Some(notice);
                }
                if pending.closed {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// For sending requests, also from elsewhere.
    pub fn sender(&self) -> ShimSender {
        self.sender.clone()
    }
}

impl ShimSender {
    /// Hands a request over; waits where too much waits already (4 MiB for stdin). That it was sent does
    /// not mean that it was carried out: for stdin [`Notice::StdinWritten`] tells how much the agent took.
    /// Kills, signals and pings overtake stdin that the agent does not take; a mark and the closing of
    /// stdin do not. What still waits here when the [`Shim`] is dropped is lost.
    ///
    /// # Errors
    /// Where the link is lost, or stdin takes nothing any more.
    pub async fn send(&self, request: Request) -> Result<(), SendError> {
        match request {
            Request::Stdin(bytes) => self.send_stdin(bytes).await,
            Request::CloseStdin | Request::Mark => self.put(Ordered { request, _room: None }).await,
            other => self.control.send(other).await.map_err(|_| SendError::LinkLost),
        }
    }

    async fn send_stdin(&self, bytes: Vec<u8>) -> Result<(), SendError> {
        if self.progress.borrow().broken {
            return Err(SendError::StdinBroken);
        }
        let amount = u32::try_from(bytes.len().min(MAX_WAITING)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(amount).await;
        let room = room.map_err(|_| SendError::LinkLost)?;
        self.put(Ordered { request: Request::Stdin(bytes), _room: Some(room) }).await
    }

    async fn put(&self, ordered: Ordered) -> Result<(), SendError> {
        self.ordered.send(ordered).await.map_err(|_| SendError::LinkLost)
    }
}

fn nonsense(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn next(decoder: &mut Decoder) -> io::Result<Option<Notice>> {
    let bad = |e: crate::backend::local::frame::BadFrame| nonsense(&e.to_string());
    let Some((kind, payload)) = decoder.next_frame().map_err(bad)? else { return Ok(None) };
    Notice::decode(kind, payload).map(Some).map_err(bad)
}

// ---- receiving

/// Notices that nobody took yet. A newer one replaces the older of its kind, so it is bounded, and the
/// reader never waits for whoever takes them.
#[derive(Debug, Default)]
struct Inbox {
    pending: Mutex<Pending>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    hello: Option<Hello>,
    trouble: VecDeque<Notice>,
    grown: Option<u64>,
    stdin: Option<(u64, u64)>,
    broken: Option<String>,
    killed: Option<u32>,
    pong: bool,
    exit: Option<ExitRecord>,
    failed: Option<String>,
    closed: bool,
}

/// Beginnings and ends of trouble that are kept while nobody takes notices; the oldest go first.
const MAX_TROUBLE: usize = 8;

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn put(&mut self, notice: Notice) {
        match notice {
            Notice::Hello(h) => self.hello = Some(h),
            Notice::Grown { raw_len } => self.grown = Some(raw_len),
            Notice::StdinWritten { total, yours } => self.stdin = Some((total, yours)),
            Notice::StdinBroken { error } => self.broken = Some(error),
            Notice::Killed { count } => self.killed = Some(self.killed.unwrap_or(0) + count),
            Notice::Trouble { .. } => {
                if self.trouble.len() == MAX_TROUBLE {
                    self.trouble.pop_front();
                }
                self.trouble.push_back(notice);
            }
            Notice::Pong => self.pong = true,
            Notice::Exit(e) => self.exit = Some(e),
            Notice::Failed { error } => self.failed = Some(error),
        }
    }

    /// In the order in which they make sense; the end comes last.
    fn take(&mut self) -> Option<Notice> {
        (self.hello.take().map(Notice::Hello))
            .or_else(|| self.trouble.pop_front())
            .or_else(|| self.grown.take().map(|raw_len| Notice::Grown { raw_len }))
            .or_else(|| self.stdin.take().map(|(total, yours)| Notice::StdinWritten { total, yours }))
            .or_else(|| self.broken.take().map(|error| Notice::StdinBroken { error }))
            .or_else(|| self.killed.take().map(|count| Notice::Killed { count }))
            .or_else(|| std::mem::take(&mut self.pong).then_some(Notice::Pong))
            .or_else(|| self.exit.take().map(Notice::Exit))
            .or_else(|| self.failed.take().map(|error| Notice::Failed { error }))
    }
}

async fn receive(
    mut sock: OwnedReadHalf,
    mut decoder: Decoder,
    inbox: Arc<Inbox>,
    progress: watch::Sender<Progress>,
) {
    let mut buf = [0; 4096];
    'link: loop {
        loop {
            match next(&mut decoder) {
                Ok(Some(notice)) => {
                    match &notice {
                        Notice::StdinWritten { yours, .. } => progress.send_modify(|p| p.yours = *yours),
                        Notice::StdinBroken { .. } => progress.send_modify(|p| p.broken = true),
                        _ => {}
                    }
                    inbox.lock().put(notice);
                    inbox.changed.notify_one();
                }
                Ok(None) => break,
                Err(e) => {
                    tracing::warn!(error = %e, "a shim speaks another protocol; its link is given up");
                    break 'link;
                }
            }
        }
        match sock.read(&mut buf).await {
            Ok(n) if n > 0 => decoder.push(&buf[..n]),
            _ => break,
        }
    }
    inbox.lock().closed = true;
    inbox.changed.notify_one();
    // Dropping `progress` ends the writer.
}

// ---- sending

/// The ordered request whose turn it is: its frames, with the bytes for stdin in each.
type Held = (VecDeque<(Vec<u8>, u64)>, Ordered);

async fn transmit(
    mut sock: OwnedWriteHalf,
    mut control: mpsc::Receiver<Request>,
    mut ordered: mpsc::Receiver<Ordered>,
    mut progress: watch::Receiver<Progress>,
) {
    let mut sent = 0;
    let mut held: Option<Held> = None;
    loop {
        if held.as_ref().is_some_and(|(frames, _)| frames.is_empty()) {
            held = None;
        }
        let now = *progress.borrow_and_update();
        let waits = sent - now.yours;
        let fits = held
            .as_ref()
            .and_then(|(frames, _)| frames.front())
            .is_some_and(|(_, len)| now.broken || *len == 0 || waits == 0 || waits + len <= WINDOW);
        tokio::select! {
            biased;
            request = control.recv() => {
                let Some(request) = request else { return };
                let mut out = Vec::new();
                request.encode(&mut out);
                if sock.write_all(&out).await.is_err() {
                    return;
                }
            }
            () = std::future::ready(()), if fits => {
                let Some((frame, len)) = held.as_mut().and_then(|(frames, _)| frames.pop_front()) else { continue };
                // What a broken stdin cannot take need not travel.
                if now.broken && len > 0 {
                    continue;
                }
                if sock.write_all(&frame).await.is_err() {
                    return;
                }
                sent += len;
            }
            next = ordered.recv(), if held.is_none() => {
                let Some(next) = next else { return };
                held = Some((frames(&next.request), next));
            }
            changed = progress.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// The frames of a request, with the bytes for stdin in each.
fn frames(request: &Request) -> VecDeque<(Vec<u8>, u64)> {
    let mut all = Vec::new();
    request.encode(&mut all);
    let Some(total) = request.stdin_len() else { return VecDeque::from([(all, 0)]) };
    let mut left = total;
    let mut rest = &all[..];
    let mut frames = VecDeque::new();
    while !rest.is_empty() {
        let len = left.min(PART);
        let (frame, others) = rest.split_at(HEADER + len);
        frames.push_back((frame.to_vec(), len as u64));
        left -= len;
        rest = others;
    }
    frames
}
