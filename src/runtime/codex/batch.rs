//! `codex exec --json`: one process, one turn, one event a line.

use serde_json::Value;

use super::items::{self, as_text, raw};
use super::rpc::{owned, text};
use crate::event::{Body, Fact, Outcome, Plan, PlanStatus, PlanStep, Role};
use crate::runtime::{Input, Output, Protocol, SessionSpec};

/// The state machine of one batch process. What it needs to know is in the lines; it keeps nothing.
#[derive(Debug)]
pub(super) struct Batch {
    runtime: String,
    model: Option<String>,
    message: Option<String>,
    run: u32,
    turn: String,
    /// The turn's start or end was seen: `exec` says each once, a hostile process perhaps more often.
    started: bool,
    ended: bool,
}

impl Batch {
    pub(super) fn new(spec: &SessionSpec, message: Option<&str>) -> Self {
        Self {
            runtime: spec.runtime.clone(),
            model: spec.model.clone(),
            message: message.map(str::to_owned),
            run: spec.run,
            turn: format!("turn-{}", spec.run),
            started: false,
            ended: false,
        }
    }

    fn fact(&self, body: Body, out: &mut Output) {
        out.facts.push(Fact::of(self.turn.clone(), body));
    }

    fn event(&mut self, v: &Value, line: &[u8], out: &mut Output) {
        match text(v, "type").unwrap_or_default() {
            "thread.started" => out.facts.push(
                Body::SessionStarted {
                    runtime: self.runtime.clone(),
                    model: self.model.clone(),
                    resume_token: text(v, "thread_id").map(str::to_owned),
                }
                .into(),
            ),
            "turn.started" => self.turn_started(out),
            "turn.completed" => {
                if let Some(usage) = v.get("usage") {
                    self.fact(items::usage(usage), out);
                }
                self.turn_ended(Outcome::Completed, None, out);
            }
            "turn.failed" => {
                let error = v.get("error").map(|e| as_text(e.get("message").unwrap_or(e)));
                self.turn_ended(Outcome::Failed, error, out);
            }
            "error" => {
                let message = owned(v, "message");
                // The words of 0.124 and 0.169 for "the link broke, trying again".
                let retryable = Some(message.starts_with("Reconnecting"));
                self.fact(Body::Error { text: message, retryable }, out);
            }
            "item.started" => self.item(v, Phase::Started, out),
            "item.updated" => self.item(v, Phase::Updated, out),
            "item.completed" => self.item(v, Phase::Completed, out),
            _ => self.fact(raw(line), out),
        }
    }

    fn turn_started(&mut self, out: &mut Output) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        self.fact(Body::TurnStarted {}, out);
        if let Some(message) = &self.message {
            out.deliveries.push((message.clone(), Ok(())));
        }
    }

    fn turn_ended(&mut self, outcome: Outcome, error: Option<String>, out: &mut Output) {
        if !std::mem::replace(&mut self.ended, true) {
            self.fact(Body::TurnCompleted { outcome, error }, out);
        }
    }

    fn item(&self, v: &Value, phase: Phase, out: &mut Output) {
        let item = v.get("item").unwrap_or(&Value::Null);
        // `exec` counts item_0, item_1, … anew in each process.
        let id = format!("r{}-{}", self.run, owned(item, "id"));
        let done = phase == Phase::Completed;
        let body = match text(item, "type").unwrap_or_default() {
            "agent_message" if done => {
                Body::MessageCompleted { item: id, role: Role::Assistant, text: owned(item, "text") }
            }
            "reasoning" if done => Body::ReasoningCompleted { item: id, text: owned(item, "text") },
            "agent_message" | "reasoning" => return,
            "command_execution" => return self.command(item, id, phase, out),
            "file_change" => {
                if done {
                    let failed = text(item, "status") == Some("failed");
                    items::file_changes(item, &id, failed, |b| self.fact(b, out));
                }
                return;
            }
            "todo_list" => Body::PlanUpdated(todo(item)),
            // Not the end of anything: `exec` shows warnings of the session as items of this type.
            "error" if done => Body::Warning { text: owned(item, "message") },
            _ if phase == Phase::Updated => return,
            "mcp_tool_call" => {
                let name = format!("{}/{}", owned(item, "server"), owned(item, "tool"));
                items::tool(item, id, name, "arguments", done)
            }
            kind => items::tool(item, id, kind.to_owned(), "", done),
        };
        self.fact(body, out);
    }

    fn command(&self, item: &Value, id: String, phase: Phase, out: &mut Output) {
        let command = owned(item, "command");
        match phase {
            Phase::Started => self.fact(Body::CommandStarted { item: id, command, cwd: None }, out),
            // Carries the whole output so far, which the completion does too.
            Phase::Updated => {}
            Phase::Completed => self.fact(
                Body::CommandCompleted {
                    item: id,
                    command,
                    cwd: None,
                    text: text(item, "aggregated_output").map(str::to_owned),
                    exit_code: items::exit_code(item, "exit_code"),
                },
                out,
            ),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Started,
    Updated,
    Completed,
}

/// `todo_list` knows only done and not done.
fn todo(item: &Value) -> Plan {
    let steps = item.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let step = |s: &Value| PlanStep {
        text: owned(s, "text"),
        status: match s.get("completed").and_then(Value::as_bool) {
            Some(true) => PlanStatus::Completed,
            _ => PlanStatus::Pending,
        },
    };
    Plan { steps: steps.iter().map(step).collect() }
}

impl Protocol for Batch {
    fn open(&mut self, _out: &mut Output) {}

    fn input(&mut self, input: Input<'_>, out: &mut Output) {
        let Input::Message(line) = input;
        match serde_json::from_slice::<Value>(line) {
            Ok(v) if v.is_object() => self.event(&v, line, out),
            _ if line.iter().all(u8::is_ascii_whitespace) => {}
            _ => self.fact(raw(line), out),
        }
    }
}
