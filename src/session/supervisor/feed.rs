//! From the raw bytes of the process to facts in the journal, and what follows from them.

use super::{Message, Supervisor};
use crate::event::{Body, Delivery, Fact};
use crate::runtime::{Input, Output, Send};
use crate::transport::MAX_LINE;
use crate::transport::lines::Piece;

/// What is done once the facts that cause it are in the journal.
#[derive(Default)]
pub(super) struct After {
    /// Messages for the process.
    sends: Vec<Send>,
    /// The last raw line that caused some of them.
    sends_of: Option<u64>,
    /// Messages of people whose fate is told now.
    settled: Vec<(Message, Delivery, Option<String>)>,
    /// A turn ended.
    turn_ended: bool,
}

impl Supervisor {
    /// Reads the next part of what the process said.
    pub(super) async fn read_some(&mut self) {
        let Some(run) = self.run.as_mut() else { return };
        let Some(mut reader) = run.reader.take() else { return };
        // Taken out meanwhile, since feeding the lines needs the whole supervisor.
        let mut lines = std::mem::take(&mut run.lines);
        let grown = run.grown;
        let failed = match reader.next_chunk(grown) {
            Ok(Some((_, chunk))) => {
                lines.push(chunk, |offset, piece| self.piece(offset, piece));
                None
            }
            Ok(None) => None,
            Err(e) => Some(format!("cannot read raw.jsonl at byte {}: {e}", reader.offset())),
        };
        if let Some(run) = self.run.as_mut() {
            run.lines = lines;
            run.grown = if failed.is_some() { reader.offset() } else { run.grown };
            run.reader = Some(reader);
        }
        if let Some(text) = failed {
            self.state_fact(Body::Gap { text });
        }
        self.flush().await;
        self.caught_up().await;
        self.check_fatal().await;
    }

    /// The process is gone: a last line without its end is said too.
    pub(super) async fn read_last_piece(&mut self) {
        let Some(run) = self.run.as_mut() else { return };
        let mut lines = std::mem::take(&mut run.lines);
        lines.finish(|offset, piece| self.piece(offset, piece));
        self.flush().await;
    }

    /// One line, or what stands for one.
    fn piece(&mut self, offset: u64, piece: Piece<'_>) {
        let Some(run) = self.run.as_mut() else { return };
        let mut out = Output::default();
        match piece {
            Piece::Line(line) | Piece::Partial(line) => run.protocol.input(Input::Message(line), &mut out),
            Piece::TooLong { len } => out.facts.push(Fact::from(Body::Gap {
                text: format!(
                    "a line of {len} bytes (more than {MAX_LINE}) was left out; it is whole in raw.jsonl at byte {offset}"
                ),
            })),
        }
        self.absorb(out, Some(offset));
    }

    /// Takes an adapter's output in: facts are numbered, the rest waits for [`Supervisor::flush`].
    fn absorb(&mut self, out: Output, raw: Option<u64>) {
        let (known, sends_done) = self.already(raw);
        if !out.sends.is_empty() && !sends_done {
            self.after.sends.extend(out.sends);
            self.after.sends_of = raw.or(self.after.sends_of);
        }
        let mut facts = out.facts;
        facts.iter_mut().for_each(|fact| self.mask.fact(fact));
        for (id, outcome) in out.deliveries {
            let Some(at) = self.in_flight.iter().position(|m| m.record.id == id) else { continue };
            let message = self.in_flight.remove(at);
            let (delivery, reason) = match outcome {
                Ok(()) => (Delivery::Accepted, None),
                Err(mut why) => {
                    self.mask.string(&mut why);
                    (Delivery::Rejected, Some(why))
                }
            };
            facts.push(Fact::from(user_message(&message, delivery, reason.clone())));
            self.after.settled.push((message, delivery, reason));
        }
        for (i, fact) in facts.into_iter().enumerate() {
            if let (Body::TurnCompleted { outcome, error }, Some(run)) = (&fact.body, self.run.as_mut()) {
                // Also where the journal holds it already: the end of the process is judged by it.
                run.outcome = Some((*outcome, error.clone()));
            }
            if i >= known {
                self.absorb_fact(raw, fact);
            }
        }
    }

    fn absorb_fact(&mut self, raw: Option<u64>, fact: Fact) {
        match &fact.body {
            // An answer of ours is told when it is given; the runtime's echo of it is not news.
            Body::ApprovalResolved { approval, .. } => {
                self.commit(); // What was asked for may have been asked in the same breath.
                if !self.entry.live().state.pending.iter().any(|p| p.id == *approval) {
                    return;
                }
            }
            Body::TurnCompleted { .. } => self.after.turn_ended = true,
            _ => {}
        }
        if let Some(run) = self.run.as_mut() {
            run.told = true;
        }
        self.put(raw, fact);
    }

    /// After a restart: how many facts of this line the journal holds, and whether its messages
    /// were sent.
    fn already(&mut self, raw: Option<u64>) -> (usize, bool) {
        let (Some(offset), Some(run)) = (raw, self.run.as_mut()) else { return (0, false) };
        let known = match run.journalled {
            Some((at, _)) if offset < at => usize::MAX,
            Some((at, n)) if offset == at => usize::try_from(n).unwrap_or(usize::MAX),
            _ => 0,
        };
        if known > 0 {
            run.told = true;
        }
        (known, run.sent_before.is_some_and(|s| offset <= s))
    }

    /// Facts, messages and deliveries that came of a command.
    pub(super) async fn take(&mut self, out: Output, raw: Option<u64>) {
        self.absorb(out, raw);
        self.flush().await;
    }

    /// Writes the pending facts, then does what follows from them.
    pub(super) async fn flush(&mut self) {
        self.commit();
        if self.stalled.is_some() {
            return;
        }
        let after = std::mem::take(&mut self.after);
        if let Some(offset) = after.sends_of
            && let Err(e) = super::recover::write_cursor(&self.entry.dir, offset)
        {
            tracing::error!(agent = %self.entry.record.name, error = %e, "cannot write the cursor of sent answers");
        }
        for message in after.sends {
            if let Some(link) = self.run.as_mut().and_then(|r| r.link.as_mut()) {
                // A lost link shows as the end of notices, and is handled there.
                let _ = link.send(message).await;
            }
        }
        for (message, delivery, reason) in after.settled {
            self.tell(message, delivery, reason).await;
        }
        if after.turn_ended {
            self.turn_ended().await;
        }
        self.publish();
    }

    /// Settles a message whose fate fracta itself knows: told in the journal, then to who waits.
    pub(super) async fn settle(
        &mut self,
        message: Message,
        raw: Option<u64>,
        delivery: Delivery,
        reason: Option<String>,
    ) {
        self.put(raw, Fact::from(user_message(&message, delivery, reason.clone())));
        self.commit();
        self.tell(message, delivery, reason).await;
    }

    /// Forgets a message whose fate the journal tells.
    pub(super) async fn forget(&mut self, message: Message) {
        if let Err(e) = self.env.store.message_settled(&message.record.id).await {
            tracing::error!(error = %e, "cannot settle a message in the state database");
        }
    }

    /// Forgets a message whose fate the journal tells, and answers who waits for it.
    async fn tell(&mut self, message: Message, delivery: Delivery, reason: Option<String>) {
        if let Err(e) = self.env.store.message_settled(&message.record.id).await {
            tracing::error!(error = %e, "cannot settle a message in the state database");
        }
        if let Some(reply) = message.reply {
            let said = crate::control::wire::Said { message: message.record.id, delivery, reason };
            let _ = reply.send(Ok(said));
        }
    }

    /// The adapter says that this process will never be of use.
    async fn check_fatal(&mut self) {
        if self.run.as_ref().is_some_and(|r| r.exit.is_none() && r.protocol.fatal().is_some()) {
            self.end_process("the session could not be opened").await;
        }
    }
}

/// The event that tells where a message stands.
pub(super) fn user_message(message: &Message, delivery: Delivery, reason: Option<String>) -> Body {
    Body::UserMessage {
        item: message.record.id.clone(),
        text: message.record.text.clone(),
        delivery,
        steer: message.record.steer,
        reason,
    }
}
