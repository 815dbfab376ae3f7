//! The streams: an agent's events, and the list as it changes. Both are read when the client is
//! ready to take more (the socket's own backpressure), so a slow client costs no memory: its events
//! are read from the journal when it comes for them, and changes of the list coalesce.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use tokio::time::Instant;

use super::plane::Plane;
use crate::control::wire::{Code, Problem, Watch};
use crate::event::journal::{self, Reader};
use crate::event::{Body as Fact, Event, encode};
use crate::id::AgentName;
use crate::session::entry::Entry;
use crate::session::hub::Listener;
use crate::session::state::State as AgentState;
use crate::session::supervisor::problem;

/// How much of a journal is read at once, in bytes.
const CHUNK: usize = 128 << 10;
/// Changes of the list within this time travel together; the first one at once.
const GATHER: Duration = Duration::from_millis(40);
/// Most events that `limit` with `before` may ask for.
const MAX_BACK: u64 = 5_000;
/// About how much such a question may bring, in bytes.
const MAX_BACK_BYTES: usize = 8 << 20;

#[derive(Deserialize)]
pub struct Which {
    #[serde(default)]
    after: u64,
    before: Option<u64>,
    limit: Option<u64>,
    #[serde(default)]
    follow: bool,
}

/// `GET /v1/agents/NAME/events`
pub async fn events(
    State(plane): State<Arc<Plane>>,
    Path(name): Path<String>,
    Query(which): Query<Which>,
) -> Result<Response, Problem> {
    let entry = plane.find(&name)?;
    let internal = |e: crate::event::journal::JournalError| problem(Code::Internal, e.to_string());
    let reader = Reader::open(&entry.dir.join(journal::FILE)).map_err(internal)?;
    if let Some(before) = which.before {
        let n = which.limit.unwrap_or(MAX_BACK).min(MAX_BACK);
        let lines = last_before(&reader, before, n).map_err(internal)?;
        return Ok(sse(stream::iter(lines.into_iter().map(|l| Ok(frames(&l))))));
    }
    let follower = Follower {
        head: entry.head(),
        stopped: Box::pin(plane.stopped()),
        entry,
        reader,
        at: Position { offset: None, seq: which.after },
        left: which.limit.unwrap_or(u64::MAX),
        follow: which.follow,
    };
    Ok(sse(stream::unfold(follower, Follower::next)))
}

/// The last `n` events before a number, in order; at most about [`MAX_BACK_BYTES`].
fn last_before(reader: &Reader, before: u64, n: u64) -> Result<Vec<Vec<u8>>, journal::JournalError> {
    let (mut pages, mut bytes, mut left, mut before) = (Vec::new(), 0, n, before);
    while left > 0 && bytes < MAX_BACK_BYTES {
        let page = reader.read_last(before, usize::try_from(left).unwrap_or(usize::MAX))?;
        if page.bytes.is_empty() {
            break;
        }
        left = left.saturating_sub(memchr::memchr_iter(b'\n', &page.bytes).count() as u64);
        bytes += page.bytes.len();
        before = page.first_seq;
        pages.push(page.bytes);
    }
    pages.reverse();
    Ok(pages)
}

/// Where a follower stands in the journal.
#[derive(Clone, Copy)]
struct Position {
    /// Offset in the file, once known.
    offset: Option<u64>,
    seq: u64,
}

struct Follower {
    entry: Arc<Entry>,
    head: tokio::sync::watch::Receiver<u64>,
    stopped: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    reader: Reader,
    at: Position,
    left: u64,
    follow: bool,
}

impl Follower {
    async fn next(mut self) -> Option<(std::io::Result<Bytes>, Self)> {
        loop {
            if self.left == 0 {
                return None;
            }
            let head = *self.head.borrow_and_update();
            if self.at.seq < head || !self.follow {
                let read = match self.at.offset {
                    Some(offset) => self.reader.read_from(offset, self.at.seq, CHUNK),
                    None => self.reader.read_after(self.at.seq, CHUNK),
                };
                match read {
                    Ok(chunk) => {
                        let goes_on = chunk.goes_on();
                        let (before, damaged) = (self.at.seq, !chunk.damage.is_empty());
                        let seq = chunk.last_seq.max(before);
                        self.at = Position { offset: Some(chunk.next_offset), seq };
                        let bytes = if damaged { self.tell_holes(before, &chunk.bytes) } else { chunk.bytes };
                        if !bytes.is_empty() {
                            let lines = first_lines(&bytes, self.left);
                            let n = memchr::memchr_iter(b'\n', lines).count() as u64;
                            self.left = self.left.saturating_sub(n);
                            return Some((Ok(frames(lines)), self));
                        }
                        if goes_on {
                            continue; // All of it was damage: what lies behind may be whole.
                        }
                    }
                    Err(e) => return Some((Err(std::io::Error::other(e)), Self { left: 0, ..self })),
                }
            }
            if !self.follow || self.entry.live().killed {
                return None;
            }
            tokio::select! {
                changed = self.head.changed() => changed.ok()?,
                () = &mut self.stopped => return None,
            }
        }
    }
}

impl Follower {
    /// Puts a `gap` event wherever the file has lost events, under the number of the last one lost.
    fn tell_holes(&self, mut last: u64, lines: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(lines.len() + 256);
        for line in lines.split_inclusive(|b| *b == b'\n') {
            let seq = encode::seq_of(line).unwrap_or(last + 1);
            if seq > last + 1 {
                let text = format!(
                    "events {} to {} are damaged in the journal's file and cannot be read",
                    last + 1,
                    seq - 1
                );
                let event = Event {
                    seq: seq - 1,
                    ts: crate::session::supervisor::now(),
                    agent: self.entry.record.name.to_string(),
                    session: self.entry.record.session.clone(),
                    turn: None,
                    raw: None,
                    body: Fact::Gap { text },
                };
                encode::line(&event, &mut out);
            }
            out.extend_from_slice(line);
            last = seq;
        }
        out
    }
}

/// The first `n` lines.
fn first_lines(lines: &[u8], n: u64) -> &[u8] {
    match usize::try_from(n).ok().and_then(|n| memchr::memchr_iter(b'\n', lines).nth(n.checked_sub(1)?)) {
        Some(end) => &lines[..=end],
        None => lines,
    }
}

/// Whole JSON lines as SSE frames. A line of JSON holds no line break, so one `data:` field is enough.
fn frames(lines: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(lines.len() + lines.len() / 16);
    for line in lines.split_inclusive(|b| *b == b'\n') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        if !line.ends_with(b"\n") {
            out.push(b'\n');
        }
        out.push(b'\n');
    }
    Bytes::from(out)
}

fn sse(stream: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(stream)).into_response()
}

/// `GET /v1/watch`
pub async fn watch(State(plane): State<Arc<Plane>>) -> Response {
    let watcher = Watcher {
        listener: plane.env.hub.listen(),
        stopped: Box::pin(plane.stopped()),
        plane,
        told: BTreeMap::new(),
        begun: false,
        last: Instant::now(),
    };
    sse(stream::unfold(watcher, Watcher::next))
}

struct Watcher {
    plane: Arc<Plane>,
    listener: Arc<Listener>,
    stopped: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    /// What the client was told last, by session: name and state.
    told: BTreeMap<String, (AgentName, AgentState)>,
    begun: bool,
    last: Instant,
}

impl Watcher {
    async fn next(mut self) -> Option<(std::io::Result<Bytes>, Self)> {
        let mut lines = Vec::new();
        if self.begun {
            for session in self.changed().await? {
                self.write_change(&mut lines, session);
            }
        } else {
            self.begun = true;
            let agents: Vec<_> = self.plane.entries(false).iter().map(|e| e.row()).collect();
            self.told = agents.iter().map(|a| (a.session.clone(), (a.name.clone(), a.state))).collect();
            write(&mut lines, &Watch::Agents { agents });
        }
        self.last = Instant::now();
        Some((Ok(frames(&lines)), self))
    }

    /// The sessions that changed; none when the control plane ends. Waits for more to travel along,
    /// but not when one is in another state: a person, or `spawn --wait`, waits for that.
    async fn changed(&mut self) -> Option<BTreeSet<String>> {
        let mut changed = BTreeSet::new();
        loop {
            let gather = !changed.is_empty();
            tokio::select! {
                more = self.listener.changed() => changed.extend(more),
                () = tokio::time::sleep_until(self.last + GATHER), if gather => return Some(changed),
                () = &mut self.stopped => return None,
            }
            if self.last.elapsed() >= GATHER || changed.iter().any(|s| self.is_news(s)) {
                return Some(changed);
            }
        }
    }

    /// The agent came, went, or is in another state than the client was told.
    fn is_news(&self, session: &str) -> bool {
        let now = self.plane.session(session).filter(|e| !e.live().killed).map(|e| e.state());
        now != self.told.get(session).map(|(_, state)| *state)
    }

    fn write_change(&mut self, lines: &mut Vec<u8>, session: String) {
        match self.plane.session(&session).filter(|e| !e.live().killed) {
            Some(entry) => {
                let agent = Box::new(entry.row());
                self.told.insert(session, (agent.name.clone(), agent.state));
                write(lines, &Watch::Agent { agent });
            }
            // What it was never told of need not go.
            None => {
                if let Some((name, _)) = self.told.remove(&session) {
                    write(lines, &Watch::Gone { name, session });
                }
            }
        }
    }
}

fn write(lines: &mut Vec<u8>, frame: &Watch) {
    match serde_json::to_vec(frame) {
        Ok(json) => {
            lines.extend_from_slice(&json);
            lines.push(b'\n');
        }
        Err(e) => tracing::error!(error = %e, "cannot write a change of the list"),
    }
}
