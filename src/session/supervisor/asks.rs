//! What people ask of an agent.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Ask, End, Reply, Supervisor, problem};
use crate::control::wire::{Answer, Answered, Code, Kill, Problem, Said};
use crate::event::{Body, Decision, Delivery, Fact};
use crate::runtime::Command;
use crate::workspace;

/// By then a process that was told to end is killed, whether its shim can tell so or not.
const KILLED: Duration = Duration::from_millis(super::abort::GRACE_MS as u64 + 1_000);

/// What happens when the process has ended.
pub(super) enum AfterEnd {
    Kill(Kill, Reply<()>),
    Leave(oneshot::Sender<()>),
}

impl Supervisor {
    pub(super) async fn ask(&mut self, ask: Ask) {
        // The list shows what was open before the restart, so it can be answered before the adapter knows of it.
        let of_the_turn =
            matches!(ask, Ask::Answer { .. } | Ask::Abort { .. } | Ask::Say { steer: true, .. });
        if of_the_turn && self.is_catching_up() && self.postponed.len() < super::INBOX {
            return self.postponed.push_back(ask);
        }
        match ask {
            Ask::Say { text, steer, reply } => self.say(text, steer, reply).await,
            Ask::Answer { answer, reply } => {
                let result = self.answer(answer).await;
                let _ = reply.send(result);
            }
            Ask::Abort { reply } => self.begin_abort(reply).await,
            Ask::Kill { kill, reply } => self.kill(kill, reply).await,
            Ask::Shutdown { agents, reply } => self.shut_down(agents, reply).await,
        }
        self.publish();
    }

    async fn say(&mut self, text: String, steer: bool, reply: Reply<Said>) {
        if steer {
            return self.steer(text, reply).await;
        }
        // While a turn runs nobody waits for the message's fate: it is queued, and told so.
        let busy = self.in_turn() || !self.in_flight.is_empty() || !self.queue.is_empty();
        let mut reply = Some(reply);
        let result =
            if busy { self.enqueue(text, &mut None).await } else { self.enqueue(text, &mut reply).await };
        if let Some(reply) = reply {
            let said = result.map(|message| Said { message, delivery: Delivery::Queued, reason: None });
            let _ = reply.send(said);
        }
    }

    /// A message into the running turn.
    async fn steer(&mut self, text: String, reply: Reply<Said>) {
        if let Err(p) = self.can_steer() {
            let _ = reply.send(Err(p));
            return;
        }
        let message = match self.message(text, true, Some(reply)) {
            Ok(m) => m,
            Err(p) => return tracing::error!(error = p.message, "cannot steer"),
        };
        let mut record = message.record.clone();
        record.status = crate::store::MessageStatus::Sent;
        if let Err(e) = self.env.store.add_message(self.session(), &record).await {
            if let Some(reply) = message.reply {
                let _ = reply.send(Err(problem(Code::Internal, e.to_string())));
            }
            return;
        }
        self.put(None, Fact::from(super::feed::user_message(&message, Delivery::Queued, None)));
        let command = Command::Steer { message: record.id.clone(), text: record.text.clone() };
        self.in_flight.push(message);
        if let Err(p) = self.command(&command).await
            && let Some(at) = self.in_flight.iter().position(|m| m.record.id == record.id)
        {
            let message = self.in_flight.remove(at);
            self.settle(message, None, Delivery::Rejected, Some(p.message)).await;
        }
    }

    fn can_steer(&self) -> Result<(), Problem> {
        let name = &self.entry.record.name;
        if let Ok(rt) = self.env.launcher.adapter(&self.entry.record.adapter) {
            rt.capabilities().steer.map_err(|why| problem(Code::Unsupported, why))?;
        }
        if self.entry.record.mode == crate::runtime::Mode::Batch {
            return Err(problem(
                Code::Unsupported,
                format!(
                    "{name} runs in batch mode, and a batch turn takes no messages; `fracta say {name} …` queues one for the next turn"
                ),
            ));
        }
        if self.entry.live().state.turn.is_none() {
            return Err(problem(
                Code::Conflict,
                format!("{}; `fracta say {name} …` starts a new one", self.no_turn().message),
            ));
        }
        Ok(())
    }

    async fn answer(&mut self, answer: Answer) -> Result<Answered, Problem> {
        let id = self.which_approval(answer.approval.as_deref())?;
        let command = Command::Answer {
            approval: id.clone(),
            decision: answer.decision,
            answers: answer.answers.clone(),
        };
        let stored = Answer { approval: Some(id.clone()), ..answer.clone() };
        let fresh = self
            .env
            .store
            .add_answer(self.session(), &id, &stored)
            .await
            .map_err(|e| problem(Code::Internal, e.to_string()))?;
        if !fresh {
            return Err(problem(Code::Conflict, format!("approval {id} has an answer already")));
        }
        if let Err(p) = self.command(&command).await {
            // It was not given: it may be given again.
            let _ = self.env.store.drop_answer(self.session(), &id).await;
            return Err(p);
        }
        self.resolved(&id, answer.decision);
        Ok(Answered { approval: id, decision: answer.decision })
    }

    /// Tells that a person answered, unless the adapter told it.
    pub(super) fn resolved(&mut self, id: &str, decision: Decision) {
        if self.entry.live().state.pending.iter().any(|p| p.id == id) {
            self.state_fact(Body::ApprovalResolved {
                approval: id.to_owned(),
                decision,
                by: "person".to_owned(),
            });
        }
    }

    fn which_approval(&self, id: Option<&str>) -> Result<String, Problem> {
        let live = self.entry.live();
        let (name, pending) = (&self.entry.record.name, &live.state.pending);
        let ids = || pending.iter().map(|p| p.id.as_str()).collect::<Vec<_>>().join(", ");
        match (id, pending.as_slice()) {
            (Some(id), all) if all.iter().any(|p| p.id == id) => Ok(id.to_owned()),
            (_, []) => Err(problem(Code::Conflict, format!("{name} waits for no approval"))),
            (None, [one]) => Ok(one.id.clone()),
            (None, _) => Err(problem(
                Code::BadRequest,
                format!("{name} waits for several approvals: name one of {}", ids()),
            )),
            (Some(id), _) => Err(problem(
                Code::NotFound,
                format!("{name} waits for no approval {id} (answered or withdrawn?); it waits for {}", ids()),
            )),
        }
    }

    async fn kill(&mut self, kill: Kill, reply: Reply<()>) {
        if self.after_end.is_some() {
            let _ = reply.send(Err(problem(Code::Conflict, "it is being ended already")));
            return;
        }
        if !kill.force && !kill.keep_files {
            match workspace::losses(&self.entry.record.workspace).await {
                Ok(l) if l.is_empty() => {}
                Ok(l) => {
                    let name = &self.entry.record.name;
                    let text = format!(
                        "{name} has work that killing it would destroy: {l}; merge it (`fracta merge {name}`), keep it (--keep-files), or destroy it (--force)"
                    );
                    let _ = reply.send(Err(problem(Code::Conflict, text)));
                    return;
                }
                Err(e) => {
                    let text = format!(
                        "cannot tell what killing it would destroy: {e}; --force kills it all the same"
                    );
                    let _ = reply.send(Err(problem(Code::Conflict, text)));
                    return;
                }
            }
        }
        self.place = super::Place::None;
        self.reject_queue("the agent was killed").await;
        self.after_end = Some(AfterEnd::Kill(kill, reply));
        self.end_by = Some(Instant::now() + KILLED);
        if self.run.is_some() {
            self.end_process("killed by a person").await;
        } else {
            self.finish_after_end().await;
        }
    }

    async fn shut_down(&mut self, agents: bool, reply: oneshot::Sender<()>) {
        if agents && self.run.is_some() {
            self.after_end = Some(AfterEnd::Leave(reply));
            self.end_by = Some(Instant::now() + KILLED);
            self.end_process("ended with the control plane (fracta stop --agents)").await;
        } else {
            self.save_state();
            self.end = End::Leave;
            let _ = reply.send(());
        }
    }

    /// The process has ended, or there was none: what was to come after it.
    pub(super) async fn finish_after_end(&mut self) {
        match self.after_end.take() {
            Some(AfterEnd::Leave(reply)) => {
                self.end = End::Leave;
                let _ = reply.send(());
            }
            Some(AfterEnd::Kill(kill, reply)) => {
                let result = self.remove(&kill).await;
                let _ = reply.send(result);
            }
            None => {}
        }
    }

    /// The process was killed and the journal cannot be written: who waits for the end is not kept until
    /// it can. What the journal lacks is in `raw.jsonl`, where the next control plane reads it.
    pub(super) async fn leave_stalled(&mut self) {
        tracing::warn!(agent = %self.entry.record.name, "ended while its journal cannot be written");
        self.finish_after_end().await;
    }

    async fn remove(&mut self, kill: &Kill) -> Result<(), Problem> {
        if !kill.keep_files {
            workspace::remove(&self.entry.record.workspace, kill.force)
                .await
                .map_err(|e| problem(Code::Conflict, e.to_string()))?;
        }
        let at = super::now();
        self.env
            .store
            .kill_agent(self.session(), at)
            .await
            .map_err(|e| problem(Code::Internal, e.to_string()))?;
        self.save_state();
        self.entry.live().killed = true;
        self.end = End::Killed;
        Ok(())
    }
}
