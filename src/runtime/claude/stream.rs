//! `claude -p --input-format stream-json`: one process for the session, JSON lines both ways.
//!
//! What a line means follows from the lines alone (see [`Protocol`]). With `--replay-user-messages`
//! Claude says our messages and our answers again when it takes them in; that is how their fate is
//! known. A message whose `uuid` it has had already it takes in and leaves at that.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::approvals::{self, Ask};
use super::reader::Reader;
use crate::event::{Body, Decision, Fact};
use crate::runtime::json::{owned, raw, text};
use crate::runtime::{Command, Input, Output, Permissions, Protocol, Refused, Send, SessionSpec};

/// Most open requests.
const MAX_ASKS: usize = 64;
/// Most bytes of JSON that open requests may hold together.
const MAX_HELD: usize = 16 << 20;

/// What the model is told where a person says no.
const DENIED: &str = "The person who runs you denied this. Go on without it, or ask what to do instead.";
/// What it is told where nobody can be asked.
const NOBODY: &str = "Nobody is there to answer. Decide yourself, and say what you decided.";

/// The state machine of one stream process.
#[derive(Debug)]
pub(super) struct Stream {
    spec: SessionSpec,
    reader: Reader,
    ready: bool,
    /// The message that was sent as a turn, until Claude takes it in.
    sent: Option<String>,
    /// Requests so far: each gets the next number.
    asked: u64,
    /// Open requests by fracta's approval id.
    asks: BTreeMap<String, Ask>,
    /// Requests that were refused: Claude's id, and what it wanted.
    refused: BTreeMap<String, String>,
}

impl Stream {
    pub(super) fn new(spec: &SessionSpec) -> Self {
        Self {
            spec: spec.clone(),
            reader: Reader::new(spec),
            ready: false,
            sent: None,
            asked: 0,
            asks: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    fn request(id: &str, subtype: &str, out: &mut Output) {
        let request =
            json!({ "type": "control_request", "request_id": id, "request": { "subtype": subtype } });
        out.sends.push(Send::Message(request.to_string().into_bytes()));
    }

    fn initialize(out: &mut Output) {
        Self::request("initialize#1", "initialize", out);
    }

    /// An answer to a request of ours, or our own answer to one of Claude's, said again.
    fn response(&mut self, v: &Value, out: &mut Output) {
        let Some(response) = v.get("response") else { return };
        let id = text(response, "request_id").unwrap_or_default();
        let error = match text(response, "subtype") {
            Some("error") => Some(text(response, "error").unwrap_or("no reason given")),
            _ => None,
        };
        match (id.split_once('#').map(|(method, _)| method), error) {
            (Some("initialize"), Some(why)) if !self.ready && !why.contains("lready initialized") => {
                self.reader.fail(format!("claude did not start: {why}"), out);
            }
            (Some("initialize"), _) => self.initialized(out),
            (Some("interrupt"), Some(why)) => {
                let text = format!("claude did not interrupt the turn: {why}");
                self.reader.fact(Body::Warning { text }, out);
            }
            (Some(_), _) => {}
            (None, _) => {
                self.asks.retain(|_, ask| ask.request != id);
                self.refused.remove(id);
            }
        }
    }

    /// Claude takes messages. It tells the session's id with the first turn only.
    fn initialized(&mut self, out: &mut Output) {
        if !std::mem::replace(&mut self.ready, true) {
            out.facts.push(
                Body::SessionStarted {
                    runtime: self.spec.runtime.clone(),
                    model: self.spec.model.clone(),
                    resume_token: self.spec.resume_token.clone(),
                }
                .into(),
            );
        }
    }

    fn asks_for(&mut self, v: &Value, out: &mut Output) {
        let request_id = owned(v, "request_id");
        let request = v.get("request").unwrap_or(&Value::Null);
        let subtype = text(request, "subtype").unwrap_or_default();
        let size = |ask: &Ask| ask.input.to_string().len();
        let held: usize = self.asks.values().map(size).sum();
        let input = request.get("input").cloned().unwrap_or_else(|| json!({}));
        let room = self.asks.len() < MAX_ASKS && held.saturating_add(input.to_string().len()) <= MAX_HELD;
        if subtype != "can_use_tool" || !room || request_id.contains('#') {
            return self.refuse(request_id, subtype, out);
        }
        self.asked += 1;
        let id = format!("a{}-{}", self.spec.run, self.asked);
        self.reader.fact(approvals::read(request, &id), out);
        let mut ask = Ask {
            request: request_id,
            turn: self.reader.turn().cloned(),
            input,
            questions: approvals::has_questions(request),
            answered: false,
            by_itself: None,
        };
        if self.spec.permissions == Permissions::Auto {
            // Yes to what is a yes-or-no, no to what wants an answer.
            let decision = if ask.questions { Decision::Denied } else { Decision::Approved };
            if let Ok(message) = approvals::answer(&ask, decision, None, NOBODY) {
                out.sends.push(Send::Message(message.clone()));
                let by = "auto".to_owned();
                self.reader.fact(Body::ApprovalResolved { approval: id.clone(), decision, by }, out);
                ask.answered = true;
                ask.by_itself = Some(message);
            }
        }
        self.asks.insert(id, ask);
    }

    fn refuse(&mut self, request: String, subtype: &str, out: &mut Output) {
        out.sends.push(Send::Message(approvals::refusal(&request, subtype)));
        let text = format!("claude asked for {subtype:?}, which fracta does not serve; it was refused");
        self.reader.fact(Body::Warning { text }, out);
        if self.refused.len() < MAX_ASKS {
            self.refused.insert(request, subtype.to_owned());
        }
    }

    /// Claude takes a request back.
    fn cancelled(&mut self, v: &Value, out: &mut Output) {
        let request = text(v, "request_id").unwrap_or_default();
        let found = self.asks.iter().find(|(_, ask)| ask.request == request).map(|(id, _)| id.clone());
        if let Some(id) = found {
            self.withdraw(id, out);
        }
    }

    fn withdraw(&mut self, id: String, out: &mut Output) {
        // What was answered without a person was resolved by the same line that asked.
        if let Some(ask) = self.asks.remove(&id).filter(|ask| ask.by_itself.is_none()) {
            let (decision, by) = (Decision::Withdrawn, "runtime".to_owned());
            out.facts
                .push(Fact { turn: ask.turn, body: Body::ApprovalResolved { approval: id, decision, by } });
        }
    }

    /// No request outlives its turn.
    fn turn_ends(&mut self, out: &mut Output) {
        let ids: Vec<String> = self.asks.keys().cloned().collect();
        for id in ids {
            self.withdraw(id, out);
        }
        self.refused.clear();
    }

    fn answer(
        &mut self,
        id: &str,
        decision: Decision,
        answers: Option<&Value>,
        out: &mut Output,
    ) -> Result<(), Refused> {
        let Some(ask) = self.asks.get_mut(id) else {
            return Err(Refused(format!("no request {id} is open: it was answered, or its turn ended")));
        };
        if ask.answered {
            return Err(Refused(format!("request {id} was answered already")));
        }
        out.sends.push(Send::Message(approvals::answer(ask, decision, answers, DENIED)?));
        ask.answered = true;
        let by = "person".to_owned();
        let turn = ask.turn.clone();
        out.facts.push(Fact { turn, body: Body::ApprovalResolved { approval: id.to_owned(), decision, by } });
        Ok(())
    }

    fn start_turn(&mut self, message: &str, text: &str, out: &mut Output) {
        let line = json!({
            "type": "user", "message": { "role": "user", "content": text },
            "parent_tool_use_id": null, "uuid": message,
        });
        out.sends.push(Send::Message(line.to_string().into_bytes()));
        self.sent = Some(message.to_owned());
    }

    /// What Claude took in is not on its way any more.
    fn taken_in(&mut self, out: &mut Output) {
        if out.deliveries.iter().any(|(id, _)| self.sent.as_ref() == Some(id)) {
            self.sent = None;
        }
    }
}

impl Protocol for Stream {
    fn open(&mut self, out: &mut Output) {
        Self::initialize(out);
    }

    fn input(&mut self, input: Input<'_>, out: &mut Output) {
        let Input::Message(line) = input;
        let v = match serde_json::from_slice::<Value>(line) {
            Ok(v) if v.is_object() => v,
            _ if line.trim_ascii().is_empty() => return,
            _ => return self.reader.fact(raw(line), out),
        };
        match text(&v, "type").unwrap_or_default() {
            "control_response" => self.response(&v, out),
            "control_request" => self.asks_for(&v, out),
            "control_cancel_request" => self.cancelled(&v, out),
            "result" => {
                self.turn_ends(out);
                let ours = v.get("origin").is_none_or(Value::is_null);
                self.reader.read(&v, line, out);
                // A Claude that repeats no messages had taken ours in by the end of its turn.
                if ours && let Some(message) = self.sent.take() {
                    out.deliveries.push((message, Ok(())));
                }
            }
            _ => {
                self.reader.read(&v, line, out);
                self.taken_in(out);
            }
        }
    }

    fn command(&mut self, command: &Command, out: &mut Output) -> Result<(), Refused> {
        let refused = |why: &str| Err(Refused(why.to_owned()));
        if let Some(why) = self.reader.fatal() {
            return refused(why);
        }
        if !self.ready {
            return refused("the claude session is not open yet; try again when it is");
        }
        match command {
            Command::StartTurn { .. } if self.reader.turn().is_some() || self.sent.is_some() => {
                refused("a turn runs; wait until it ends, or interrupt it")
            }
            Command::StartTurn { message, text } => {
                self.start_turn(message, text, out);
                Ok(())
            }
            Command::Steer { .. } => refused(super::NO_STEER),
            Command::Interrupt => match self.reader.turn() {
                // It counts for a message that is on its way too (seen with 2.1.197).
                Some(turn) => {
                    Self::request(&format!("interrupt#{turn}"), "interrupt", out);
                    Ok(())
                }
                None if self.sent.is_some() => {
                    Self::request("interrupt#starting", "interrupt", out);
                    Ok(())
                }
                None => refused("no turn runs"),
            },
            Command::Answer { approval, decision, answers } => {
                self.answer(approval, *decision, answers.as_ref(), out)
            }
        }
    }

    fn ready(&self) -> bool {
        self.ready && self.reader.fatal().is_none()
    }

    fn resumed(&mut self, out: &mut Output) {
        if !self.ready && self.reader.fatal().is_none() {
            // Whether it had been sent is not known; a second one does no harm.
            Self::initialize(out);
        }
        for (request, subtype) in &self.refused {
            out.sends.push(Send::Message(approvals::refusal(request, subtype)));
        }
        for message in self.asks.values().filter_map(|ask| ask.by_itself.as_ref()) {
            out.sends.push(Send::Message(message.clone()));
        }
    }

    fn fatal(&self) -> Option<&str> {
        self.reader.fatal()
    }
}
