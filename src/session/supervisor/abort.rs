//! Ending a turn: by the runtime's own interrupt first, then TERM, then KILL of the whole tree.

use std::time::Duration;

use tokio::time::Instant;

use super::{Place, Reply, Supervisor};
use crate::backend::Control;
use crate::event::Body;
use crate::runtime::{Command, Mode};
use crate::session::state::State;

/// From TERM to KILL, in milliseconds.
pub(super) const GRACE_MS: u32 = 3_000;
/// How long a runtime may take to end a turn by itself.
const INTERRUPT: Duration = Duration::from_secs(5);
/// How long after KILL the end may take to be seen before it is asked for again.
const AGAIN: Duration = Duration::from_secs(10);

/// The reason that people read.
const BY_PERSON: &str = "aborted by a person";

/// A turn that is being ended.
pub(super) struct Abort {
    pub deadline: Instant,
    waiters: Vec<Reply<()>>,
}

impl Supervisor {
    /// Begins to end the running turn; `reply` hears when it has ended.
    pub(super) async fn begin_abort(&mut self, reply: Reply<()>) {
        if let Some(abort) = self.abort.as_mut() {
            abort.waiters.push(reply);
            return;
        }
        let waiting =
            matches!(self.place, Place::Waiting(_)) || (self.run.is_none() && !self.queue.is_empty());
        let in_turn = self.entry.live().state.turn.is_some();
        let starting = self.run.as_ref().is_some_and(|r| r.exit.is_none())
            && (!self.in_flight.is_empty()
                || !self.queue.is_empty()
                || self.entry.record.mode == Mode::Batch);
        if waiting && self.run.is_none() {
            self.place = Place::None;
            self.reject_queue(BY_PERSON).await;
            self.state_fact(Body::SessionEnded { state: State::Stopped, reason: Some(BY_PERSON.to_owned()) });
            let _ = reply.send(Ok(()));
        } else if in_turn || starting {
            self.reject_queue("the turn before it was aborted").await;
            self.abort = Some(Abort { deadline: Instant::now() + INTERRUPT, waiters: vec![reply] });
            self.interrupt(in_turn).await;
        } else {
            let _ = reply.send(Err(self.no_turn()));
        }
    }

    /// The gentlest way there is.
    async fn interrupt(&mut self, in_turn: bool) {
        if self.entry.record.mode == Mode::Stream {
            if !in_turn || self.command(&Command::Interrupt).await.is_err() {
                self.escalate().await;
            }
        } else if let Some(run) = self.run.as_mut() {
            run.ended_by = Some(BY_PERSON.to_owned());
            if let Some(link) = run.link.as_mut() {
                let _ = link.control(Control::Interrupt).await;
            }
        }
    }

    /// The runtime did not end the turn in time: end the process and all its descendants.
    pub(super) async fn escalate(&mut self) {
        self.end_process(BY_PERSON).await;
        if let Some(abort) = self.abort.as_mut() {
            abort.deadline = Instant::now() + AGAIN;
        }
    }

    /// The runtime ended the turn and lives on: what the turn left behind must not.
    pub(super) async fn abort_done_by_turn_end(&mut self) {
        if self.abort.is_none() || self.entry.record.mode == Mode::Batch {
            return;
        }
        if self.run.as_ref().is_some_and(|r| r.ended_by.is_some()) {
            return; // The process itself is on its way out.
        }
        if let Some(link) = self.run.as_mut().and_then(|r| r.link.as_mut()) {
            let _ = link.control(Control::KillSinceMark).await;
        }
        self.finish_abort();
    }

    pub(super) fn finish_abort(&mut self) {
        for reply in self.abort.take().map(|a| a.waiters).unwrap_or_default() {
            let _ = reply.send(Ok(()));
        }
    }
}
