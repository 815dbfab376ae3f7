//! The task that drives one agent: it alone writes its journal, feeds its adapter and talks to its
//! process. Everything it is told comes through one bounded inbox ([`Ask`]); everything it knows is
//! in the journal and in its [`Entry`].
//!
//! The order in which it does things makes it safe to kill at any point:
//! a message is written down as sent *before* it is handed to the process (so it may be
//! `unconfirmed`, never sent twice), and a fact is in the journal *before* anything is done about it.

mod abort;
mod asks;
mod feed;
pub(crate) mod recover;
mod run;
mod turns;

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::entry::{Entry, Phase};
use super::hub::Hub;
use super::launch::Launcher;
use crate::control::wire::{self, Code, Problem};
use crate::event::journal::{Journal, JournalError, ResumePoint};
use crate::event::{Body, Fact};
use crate::store::{MessageRecord, MessageStatus, Store};

/// Asks that may wait for a supervisor; more callers wait for a place.
pub const INBOX: usize = 64;
/// Messages that may wait for the running turn to end; more are refused.
const MAX_QUEUED: usize = 100;

/// What all supervisors share.
pub struct Env {
    pub store: Store,
    pub hub: Hub,
    /// Places for running turns (`agents.max_running`).
    pub slots: Arc<Semaphore>,
    pub launcher: Launcher,
}

/// An answer to an ask.
pub type Reply<T> = oneshot::Sender<Result<T, Problem>>;

/// What a supervisor can be asked.
pub enum Ask {
    Say {
        text: String,
        steer: bool,
        reply: Reply<wire::Said>,
    },
    Answer {
        answer: wire::Answer,
        reply: Reply<wire::Answered>,
    },
    Abort {
        reply: Reply<()>,
    },
    Kill {
        kill: wire::Kill,
        reply: Reply<()>,
    },
    /// The control plane ends; with `agents` the process too.
    Shutdown {
        agents: bool,
        reply: oneshot::Sender<()>,
    },
}

/// A refusal for the person who asked.
pub(crate) fn problem(code: Code, message: impl Into<String>) -> Problem {
    Problem { code, message: message.into() }
}

/// A message whose fate is not settled, and who waits to hear of it.
struct Message {
    record: MessageRecord,
    reply: Option<Reply<wire::Said>>,
}

impl Message {
    /// It was handed over and a turn is about to start with it.
    fn starts_a_turn(&self) -> bool {
        !self.record.steer && self.record.status == MessageStatus::Sent
    }
}

/// The place that a running turn holds.
pub(crate) enum Place {
    None,
    Waiting(std::pin::Pin<Box<dyn Future<Output = Option<tokio::sync::OwnedSemaphorePermit>> + Send>>),
    Held(#[expect(dead_code, reason = "held for its Drop")] Option<tokio::sync::OwnedSemaphorePermit>),
}

impl Place {
    /// Of a turn that runs already: held even where that makes one too many.
    pub(crate) fn taken(slots: &Arc<Semaphore>) -> Self {
        Place::Held(Arc::clone(slots).try_acquire_owned().ok())
    }

    /// A free place at once, or the last one in the line for the next.
    pub(crate) fn ask(slots: &Arc<Semaphore>) -> Self {
        if let Ok(permit) = Arc::clone(slots).try_acquire_owned() {
            return Place::Held(Some(permit));
        }
        let slots = Arc::clone(slots);
        let mut turn = Box::pin(async move { slots.acquire_owned().await.ok() });
        // The first look takes the place in the line.
        match turn.as_mut().now_or_never() {
            Some(permit) => Place::Held(permit),
            None => Place::Waiting(turn),
        }
    }
}

/// See the module.
pub struct Supervisor {
    env: Arc<Env>,
    entry: Arc<Entry>,
    journal: Journal,
    inbox: mpsc::Receiver<Ask>,
    /// Asks that came while a process was being prepared, or before the adapter knew again what was open; at
    /// most [`INBOX`].
    postponed: VecDeque<Ask>,
    run: Option<run::Run>,
    /// Secrets of the newest process, not to be told.
    mask: crate::credentials::mask::Mask,
    /// Number of the last process; the next one is one more.
    runs: u32,
    /// Not yet handed over, oldest first.
    queue: VecDeque<Message>,
    /// Handed over, not yet confirmed.
    in_flight: Vec<Message>,
    place: Place,
    abort: Option<abort::Abort>,
    /// Set while the journal cannot be written: nothing more is read until it can.
    stalled: Option<Stall>,
    end: End,
    after: feed::After,
    catch_up: Option<recover::CatchUp>,
    after_end: Option<asks::AfterEnd>,
    /// While the journal cannot be written, the process's end is not waited for any longer than this.
    end_by: Option<Instant>,
    /// Warnings about settings that were told: every run has them.
    warned: std::collections::BTreeSet<String>,
    /// A session is to be opened without a turn.
    open_wanted: bool,
}

/// How an agent's task begins.
pub(crate) enum Begin {
    /// A new agent, with its first message.
    New(Option<MessageRecord>),
    /// The control plane came back.
    Again {
        /// Where the journal's last facts came from.
        resume: Option<ResumePoint>,
        /// Processes whose end the journal tells.
        runs: u32,
        /// Given out by the control plane, so that the order of before holds.
        place: Place,
    },
}

/// The journal cannot be written.
struct Stall {
    retry: Instant,
    wait: std::time::Duration,
}

/// Whether the task goes on.
#[derive(PartialEq, Eq)]
enum End {
    No,
    /// The control plane ends; the agent goes on.
    Leave,
    /// The agent was killed.
    Killed,
}

impl Supervisor {
    /// Makes the supervisor of an agent whose journal is open and whose state is folded.
    pub fn new(env: Arc<Env>, entry: Arc<Entry>, journal: Journal, inbox: mpsc::Receiver<Ask>) -> Self {
        Self {
            env,
            entry,
            journal,
            inbox,
            postponed: VecDeque::new(),
            run: None,
            mask: crate::credentials::mask::Mask::default(),
            runs: 0,
            queue: VecDeque::new(),
            in_flight: Vec::new(),
            place: Place::None,
            abort: None,
            stalled: None,
            end: End::No,
            after: feed::After::default(),
            catch_up: None,
            after_end: None,
            end_by: None,
            warned: std::collections::BTreeSet::new(),
            open_wanted: false,
        }
    }

    /// Drives the agent until it is killed or the control plane ends.
    pub(crate) async fn drive(mut self, begin: Begin) {
        match begin {
            Begin::New(message) => self.begin(message),
            Begin::Again { resume, runs, place } => {
                self.place = place;
                self.recover(resume, runs).await;
            }
        }
        while self.end == End::No {
            self.pump().await;
            self.publish();
            self.step().await;
        }
        self.publish();
        // Followers look whether it was killed: no event tells that.
        self.entry.advance(self.journal.last_seq());
    }

    /// Waits for the next thing and does it. Asks go first: a flood of output delays nobody.
    async fn step(&mut self) {
        if !self.is_catching_up()
            && let Some(ask) = self.postponed.pop_front()
        {
            return self.ask(ask).await;
        }
        let stalled = self.stalled.as_ref().map(|s| s.retry);
        let deadline = self.abort.as_ref().map(|a| a.deadline);
        let unread = stalled.is_none() && self.run.as_ref().is_some_and(run::Run::has_unread);
        let over = stalled.is_none() && self.run.as_ref().is_some_and(run::Run::is_over);
        // With the disk full a shim may not be able to tell the end either.
        let cut_short = self.end_by.filter(|_| stalled.is_some() && self.after_end.is_some());
        tokio::select! {
            biased;
            ask = self.inbox.recv() => match ask {
                Some(ask) => self.ask(ask).await,
                None => self.end = End::Leave,
            },
            () = at(deadline) => self.escalate().await,
            permit = wait_for_place(&mut self.place) => self.place = Place::Held(permit),
            () = at(stalled) => self.flush().await,
            () = std::future::ready(()), if unread => {
                self.read_some().await;
                // Reading never waits: without this a flood keeps a whole thread from everybody else.
                tokio::task::yield_now().await;
            }
            () = std::future::ready(()), if over => self.finish_run().await,
            () = at(cut_short) => self.leave_stalled().await,
            notice = run::next_notice(&mut self.run), if !over => self.noticed(notice).await,
        }
    }

    /// Writes what fracta itself states into the journal.
    fn state_fact(&mut self, body: Body) {
        let turn = self.entry.live().state.turn.clone();
        self.put(None, Fact { turn, body });
        self.commit();
    }

    /// Adds a fact to the batch; it is numbered, on disk and folded after [`Supervisor::commit`].
    fn put(&mut self, raw: Option<u64>, fact: Fact) {
        if let Err(e) = self.journal.push(raw, fact, now()) {
            tracing::error!(agent = %self.entry.record.name, error = %e, "a fact is lost: the journal cannot be written");
        }
    }

    /// Writes the pending events and folds them. Where that fails they stay pending, and nothing
    /// more is read from the process until they are written: a full disk loses nothing.
    fn commit(&mut self) {
        let entry = &self.entry;
        // Locked for each event, not around the write: a slow disk must not hold up who reads the list.
        let done = self.journal.commit(|event, _| {
            let mut live = entry.live();
            live.updated_at = event.ts;
            live.state.apply(event);
        });
        match done {
            Ok(()) => {
                if self.stalled.take().is_some() {
                    self.entry.live().trouble = None;
                    tracing::info!(agent = %self.entry.record.name, "the journal can be written again");
                }
                self.entry.advance(self.journal.last_seq());
            }
            Err(e) => {
                let wait = self.stalled.as_ref().map_or(FIRST_RETRY, |s| (s.wait * 2).min(LAST_RETRY));
                tracing::error!(agent = %self.entry.record.name, error = %e, "cannot write the journal; trying again");
                self.entry.live().trouble = Some(trouble(&e));
                self.stalled = Some(Stall { retry: Instant::now() + wait, wait });
            }
        }
    }

    /// Tells the list that something changed.
    fn publish(&mut self) {
        let phase = match (&self.place, &self.run) {
            (_, Some(run)) if !run.told => Phase::Starting,
            (Place::Waiting(_), _) => Phase::Queued,
            (Place::Held(_), Some(_)) => Phase::Turning,
            (Place::Held(_), None) => Phase::Starting,
            _ if self.about_to_begin() => Phase::Starting,
            _ => Phase::Told,
        };
        {
            let mut live = self.entry.live();
            live.phase = phase;
            live.queued = self.queue.len() as u64;
        }
        self.env.hub.mark(&self.entry.record.session);
    }

    fn session(&self) -> &str {
        &self.entry.record.session
    }
}

/// Why an agent stands still; the reason first, since a list shows little more.
fn trouble(error: &JournalError) -> String {
    match error {
        JournalError::Io { path, source, .. } => format!(
            "cannot write its journal: {source} ({}); nothing is lost, and it goes on when that is mended",
            path.display()
        ),
        other => other.to_string(),
    }
}

const FIRST_RETRY: std::time::Duration = std::time::Duration::from_millis(250);
const LAST_RETRY: std::time::Duration = std::time::Duration::from_secs(15);

/// Now, in milliseconds: what an event's time is written in.
pub(crate) fn now() -> Timestamp {
    let t = Timestamp::now();
    Timestamp::from_millisecond(t.as_millisecond()).unwrap_or(t)
}

/// Waits for a point in time, or for ever.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(d) => tokio::time::sleep_until(d).await,
        None => std::future::pending().await,
    }
}

/// Waits for a free place, if one is waited for.
async fn wait_for_place(place: &mut Place) -> Option<tokio::sync::OwnedSemaphorePermit> {
    match place {
        Place::Waiting(f) => f.as_mut().await,
        _ => std::future::pending().await,
    }
}
