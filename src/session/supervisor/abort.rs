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
    /// The turn has ended, and what it left behind is being ended.
    sweeping: bool,
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
        let starting = self.run.as_ref().is_some_and(|r| r.exit.is_none())
            && (!self.queue.is_empty() || self.entry.record.mode == Mode::Batch);
        if self.in_turn() || (starting && !waiting) {
            self.reject_queue("the turn before it was aborted").await;
            let deadline = Instant::now() + INTERRUPT;
            self.abort = Some(Abort { deadline, sweeping: false, waiters: vec![reply] });
            self.interrupt().await;
        } else if waiting {
            self.place = Place::None;
            self.reject_queue(BY_PERSON).await;
            // An open session without a turn stays open.
            if self.run.is_none() {
                let reason = Some(BY_PERSON.to_owned());
                self.state_fact(Body::SessionEnded { state: State::Stopped, reason });
            }
            let _ = reply.send(Ok(()));
        } else {
            let _ = reply.send(Err(self.no_turn()));
        }
    }

    /// The gentlest way there is.
    async fn interrupt(&mut self) {
        if self.entry.record.mode == Mode::Stream {
            // Refused where there is no turn yet: the session is still being opened.
            if self.command(&Command::Interrupt).await.is_err() {
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
        if self.abort.as_ref().is_some_and(|a| a.sweeping) {
            let text = "some processes of the aborted turn do not die; `fracta kill` ends the whole agent";
            self.state_fact(Body::Warning { text: text.to_owned() });
            return self.finish_abort();
        }
        self.end_process(BY_PERSON).await;
        if let Some(abort) = self.abort.as_mut() {
            abort.deadline = Instant::now() + AGAIN;
        }
    }

    /// The runtime ended the turn and lives on: what the turn left behind must not.
    pub(super) async fn abort_done_by_turn_end(&mut self) {
        let Some(abort) = self.abort.as_mut().filter(|a| !a.sweeping) else { return };
        if self.entry.record.mode == Mode::Batch {
            return;
        }
        let Some(run) = self.run.as_mut() else { return };
        if run.ended_by.is_some() {
            return; // The process itself is on its way out.
        }
        // Without a link its loss is being handled, which ends the process or finds it again.
        let Some(link) = run.link.as_mut() else { return };
        abort.sweeping = true;
        abort.deadline = Instant::now() + AGAIN;
        let _ = link.control(Control::KillSinceMark).await;
    }

    /// Nothing is left of what the aborted turn left behind.
    pub(super) fn swept(&mut self) {
        if self.abort.as_ref().is_some_and(|a| a.sweeping) {
            self.finish_abort();
        }
    }

    pub(super) fn finish_abort(&mut self) {
        for reply in self.abort.take().map(|a| a.waiters).unwrap_or_default() {
            let _ = reply.send(Ok(()));
        }
    }
}
