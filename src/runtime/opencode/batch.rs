//! `opencode run --format json`: one process, one turn, one event a line. A tool is told when it is
//! over, a text when it is whole.

use serde_json::Value;

use super::json::{self, error_text, owned, raw, text};
use super::steps::Steps;
use super::tools;
use crate::event::{Body, Fact, Outcome, Role};
use crate::runtime::{Input, Output, Protocol, SessionSpec};

/// The state machine of one batch process.
#[derive(Debug)]
pub(super) struct Batch {
    runtime: String,
    model: Option<String>,
    message: Option<String>,
    turn: String,
    steps: Steps,
    session: Option<String>,
    ended: bool,
    fatal: Option<String>,
}

impl Batch {
    pub(super) fn new(spec: &SessionSpec, message: Option<&str>) -> Self {
        Self {
            runtime: spec.runtime.clone(),
            model: spec.model.clone(),
            message: message.map(str::to_owned),
            turn: format!("turn-{}", spec.run),
            steps: Steps::new(spec.step_limit),
            session: None,
            ended: false,
            fatal: None,
        }
    }

    fn fact(&self, body: Body, out: &mut Output) {
        out.facts.push(Fact::of(self.turn.clone(), body));
    }

    /// The first line of a session is the first that is heard of it at all.
    fn begin(&mut self, v: &Value, out: &mut Output) {
        let Some(id) = text(v, "sessionID").filter(|_| self.session.is_none()) else { return };
        self.session = Some(id.to_owned());
        let (runtime, model) = (self.runtime.clone(), self.model.clone());
        out.facts.push(Body::SessionStarted { runtime, model, resume_token: self.session.clone() }.into());
        self.fact(Body::TurnStarted {}, out);
        if let Some(message) = self.message.take() {
            out.deliveries.push((message, Ok(())));
        }
    }

    fn event(&mut self, v: &Value, line: &[u8], out: &mut Output) {
        self.begin(v, out);
        let part = v.get("part").unwrap_or(&Value::Null);
        match text(v, "type").unwrap_or_default() {
            "step_start" => self.step(part, out),
            "step_finish" => {
                self.fact(tools::usage(part), out);
                // After `tool-calls` another step follows, or the process ends for a reason of its own.
                if text(part, "reason") != Some("tool-calls") {
                    self.turn_ended(Outcome::Completed, None, out);
                }
            }
            "text" => {
                let (item, text) = (owned(part, "id"), owned(part, "text"));
                self.fact(Body::MessageCompleted { item, role: Role::Assistant, text }, out);
            }
            "reasoning" => {
                if let Some(words) = text(part, "text").filter(|t| !t.is_empty()) {
                    let item = owned(part, "id");
                    self.fact(Body::ReasoningCompleted { item, text: words.to_owned() }, out);
                }
            }
            "tool_use" => {
                tools::started(part, |b| self.fact(b, out));
                tools::ended(part, None, |b| self.fact(b, out));
            }
            "error" => {
                let why = error_text(v.get("error").unwrap_or(&Value::Null));
                self.turn_ended(Outcome::Failed, Some(why), out);
            }
            _ => self.fact(raw(line), out),
        }
    }

    fn step(&mut self, part: &Value, out: &mut Output) {
        if self.fatal.is_some() {
            return; // It is being ended; what it still does is told, and counts no more.
        }
        let turn = self.turn.clone();
        let over = self.steps.count(&owned(part, "id"), |b| out.facts.push(Fact::of(turn.clone(), b)));
        if over {
            let why = self.steps.reason();
            self.turn_ended(Outcome::Failed, Some(why.clone()), out);
            // There is no other way to end a batch turn than to end its process.
            self.fatal = Some(why);
        }
    }

    fn turn_ended(&mut self, outcome: Outcome, error: Option<String>, out: &mut Output) {
        if !std::mem::replace(&mut self.ended, true) {
            self.fact(Body::TurnCompleted { outcome, error }, out);
        }
    }
}

impl Protocol for Batch {
    fn open(&mut self, _out: &mut Output) {}

    fn input(&mut self, input: Input<'_>, out: &mut Output) {
        let Input::Message(line) = input;
        match json::parse(line) {
            Some(v) => self.event(&v, line, out),
            None if line.iter().all(u8::is_ascii_whitespace) => {}
            None => self.fact(raw(line), out),
        }
    }

    fn fatal(&self) -> Option<&str> {
        self.fatal.as_deref()
    }
}
