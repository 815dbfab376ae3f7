//! Turns: what waits, what runs, and when the next one starts.

use super::feed::user_message;
use super::{MAX_QUEUED, Message, Place, Reply, Supervisor, problem};
use crate::backend::Control;
use crate::control::wire::{Code, Problem, Said};
use crate::event::{Delivery, Fact};
use crate::runtime::{Command, Mode, Output};
use crate::store::{MessageRecord, MessageStatus};

impl Supervisor {
    /// A new agent: its first message, whose fate is told by events, or just an open session.
    pub(super) fn begin(&mut self, message: Option<MessageRecord>) {
        match message {
            Some(record) => self.take_in(Message { record, reply: None }),
            None => self.open_wanted = true,
        }
    }

    /// Queues a message that is in the store.
    pub(super) fn take_in(&mut self, message: Message) {
        self.put(None, Fact::from(user_message(&message, Delivery::Queued, None)));
        self.commit();
        self.queue.push_back(message);
    }

    /// Takes a message in: from here on it outlives the control plane. `reply` is taken only then,
    /// and hears of the message's fate. Gives the message's id.
    pub(super) async fn enqueue(
        &mut self,
        text: String,
        reply: &mut Option<Reply<Said>>,
    ) -> Result<String, Problem> {
        if self.queue.len() >= MAX_QUEUED {
            return Err(problem(
                Code::Conflict,
                format!("{MAX_QUEUED} messages wait already; abort the turn, or wait until it ends"),
            ));
        }
        let mut message = self.message(text, false, None)?;
        self.env
            .store
            .add_message(self.session(), &message.record)
            .await
            .map_err(|e| problem(Code::Internal, e.to_string()))?;
        message.reply = reply.take();
        let id = message.record.id.clone();
        self.take_in(message);
        Ok(id)
    }

    pub(super) fn message(
        &self,
        text: String,
        steer: bool,
        reply: Option<Reply<Said>>,
    ) -> Result<Message, Problem> {
        let record = MessageRecord::new(text, steer)
            .map_err(|e| problem(Code::Internal, format!("no randomness: {e}")))?;
        Ok(Message { record, reply })
    }

    /// A turn runs, or is about to: it was handed over, or the runtime has taken it and not begun.
    pub(super) fn in_turn(&self) -> bool {
        self.entry.live().state.turn.is_some()
            || self.in_flight.iter().any(Message::starts_a_turn)
            || self.run.as_ref().is_some_and(|r| r.exit.is_none() && r.protocol.busy())
    }

    /// No turn runs, and one is about to without anybody's doing: an agent that is not idle. (One that is
    /// being ended begins nothing.)
    pub(super) fn about_to_begin(&self) -> bool {
        if self.entry.live().state.turn.is_some() || self.abort.is_some() || self.after_end.is_some() {
            return false;
        }
        let batch = self.entry.record.mode == Mode::Batch
            && self.run.as_ref().is_some_and(|r| r.exit.is_none() && r.outcome.is_none());
        batch || !self.queue.is_empty() || self.in_turn()
    }

    /// Starts what can be started.
    pub(super) async fn pump(&mut self) {
        let busy = self.abort.is_some() || self.stalled.is_some() || self.after_end.is_some();
        if busy || self.end != super::End::No {
            return;
        }
        if self.queue.is_empty() {
            let batch = self.entry.record.mode == Mode::Batch && self.run.is_some();
            if !batch && self.catch_up.is_none() && !self.in_turn() {
                self.place = Place::None; // It came for a message that was refused meanwhile.
            }
            if self.open_wanted && self.run.is_none() {
                self.open_session().await;
            }
            return;
        }
        if self.in_turn() {
            return;
        }
        if matches!(self.place, Place::None) {
            self.place = Place::ask(&self.env.slots);
        }
        match self.place {
            Place::Held(_) => self.start_next().await,
            _ => self.tell_waiting(),
        }
    }

    /// Who waits for an answer need not wait for a place.
    fn tell_waiting(&mut self) {
        for message in &mut self.queue {
            if let Some(reply) = message.reply.take() {
                let said = Said {
                    message: message.record.id.clone(),
                    delivery: Delivery::Queued,
                    reason: Some("all places for running agents are taken (agents.max_running)".to_owned()),
                };
                let _ = reply.send(Ok(said));
            }
        }
    }

    async fn start_next(&mut self) {
        match (&self.run, self.entry.record.mode) {
            (Some(_), Mode::Batch) => {}
            (Some(run), Mode::Stream) => {
                if run.exit.is_none() && run.protocol.ready() {
                    self.start_turn().await;
                }
            }
            (None, Mode::Batch) => self.start_batch_turn().await,
            (None, Mode::Stream) => self.open_session().await,
        }
    }

    /// A process without a turn: the session opens, and turns come after.
    async fn open_session(&mut self) {
        self.open_wanted = false;
        self.publish_starting();
        if let Err(why) = self.start_run(None).await {
            self.start_failed(None, why).await;
        }
    }

    async fn start_batch_turn(&mut self) {
        let Some(message) = self.hand_over().await else { return };
        let (id, text) = (message.record.id.clone(), message.record.text.clone());
        self.in_flight.push(message);
        self.publish_starting();
        if let Err(why) = self.start_run(Some((&id, &text))).await {
            let message = self.in_flight.pop();
            self.start_failed(message, why).await;
        }
    }

    /// Starts the next turn on the open session.
    async fn start_turn(&mut self) {
        let Some(message) = self.hand_over().await else { return };
        let command =
            Command::StartTurn { message: message.record.id.clone(), text: message.record.text.clone() };
        if let Some(link) = self.run.as_mut().and_then(|r| r.link.as_mut()) {
            // What comes after this belongs to the turn, and ends with it when it is aborted.
            let _ = link.control(Control::Mark).await;
        }
        self.in_flight.push(message);
        if let Err(refused) = self.command(&command).await {
            if let Some(message) = self.in_flight.pop() {
                self.settle(message, None, Delivery::Rejected, Some(refused.message)).await;
            }
            self.place = Place::None;
        }
    }

    /// Writes the next message down as sent, before it is.
    async fn hand_over(&mut self) -> Option<Message> {
        let mut message = self.queue.pop_front()?;
        if let Err(e) = self.env.store.set_message(&message.record.id, MessageStatus::Sent).await {
            let why = format!("fracta cannot write down that it sends the message: {e}");
            self.settle(message, None, Delivery::Rejected, Some(why)).await;
            return None;
        }
        message.record.status = MessageStatus::Sent;
        Some(message)
    }

    /// Gives the adapter a command and carries out what it answers.
    pub(super) async fn command(&mut self, command: &Command) -> Result<(), Problem> {
        let Some(run) = self.run.as_mut().filter(|r| r.exit.is_none()) else {
            return Err(self.no_turn());
        };
        let mut out = Output::default();
        run.protocol.command(command, &mut out).map_err(|r| problem(Code::Conflict, r.0))?;
        self.take(out, None).await;
        Ok(())
    }

    /// A turn ended: its place is free, and whoever wanted it ended is told.
    pub(super) async fn turn_ended(&mut self) {
        if self.entry.record.mode == Mode::Stream {
            self.place = Place::None;
        }
        self.abort_done_by_turn_end().await;
        if let Err(e) = self.journal.sync() {
            tracing::warn!(agent = %self.entry.record.name, error = %e, "the journal may not outlive a power cut");
        }
        self.save_state();
    }

    /// The process and with it every turn is over.
    pub(super) async fn turn_over(&mut self) {
        self.finish_abort();
        self.finish_after_end().await;
    }

    /// Refuses all that waits.
    pub(super) async fn reject_queue(&mut self, why: &str) {
        for message in std::mem::take(&mut self.queue) {
            self.settle(message, None, Delivery::Rejected, Some(why.to_owned())).await;
        }
    }

    /// What was handed over and not confirmed can no longer be confirmed.
    pub(super) async fn unconfirm(&mut self, why: &str) {
        for message in std::mem::take(&mut self.in_flight) {
            self.settle(message, None, Delivery::Unconfirmed, Some(why.to_owned())).await;
        }
    }

    /// Says `starting` before the start, which takes a while.
    fn publish_starting(&mut self) {
        self.entry.live().phase = crate::session::entry::Phase::Starting;
        self.env.hub.mark(self.session());
    }
}
