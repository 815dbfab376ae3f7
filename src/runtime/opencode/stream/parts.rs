//! Parts of messages: text, reasoning, tools, steps.

use serde_json::Value;

use super::{MAX_OPEN, Stream};
use crate::event::{Body, Role};
use crate::runtime::Output;
use crate::runtime::opencode::json::{owned, text};
use crate::runtime::opencode::tools::{self, Kind};

/// Ids of parts must begin so; what follows in ours is fracta's id of the message.
pub(super) const OURS: &str = "prt_";

/// What was told of a part.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// The text (or the output of a command) that was told.
    told: String,
    kind: Shown,
    started: bool,
    /// A piece of its text was missed: it is held until the part comes whole.
    broken: bool,
    done: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Shown {
    #[default]
    Text,
    Reasoning,
    Other,
}

impl Part {
    /// The stream was cut: what comes next may not follow what was told.
    pub(super) fn cut(&mut self) {
        self.broken = !self.done && self.kind != Shown::Other;
    }

    /// What is new in a text that is given from its beginning. None where it is another text.
    fn news<'t>(&mut self, whole: &'t str) -> Option<&'t str> {
        let rest = whole.strip_prefix(self.told.as_str())?;
        self.told.push_str(rest);
        Some(rest).filter(|r| !r.is_empty())
    }

    fn end(&mut self) {
        self.done = true;
        self.told = String::new();
    }
}

fn delta_body(kind: Shown, item: String, text: String) -> Body {
    match kind {
        Shown::Reasoning => Body::ReasoningDelta { item, text },
        _ => Body::MessageDelta { item, role: Role::Assistant, text },
    }
}

impl Stream {
    /// A part as it is now. `fetched`: it was asked for, and what comes by the stream may be ahead of it.
    pub(super) fn part(&mut self, part: &Value, fetched: bool, out: &mut Output) {
        let id = owned(part, "id");
        if self.parts.get(&id).is_some_and(|p| p.done) {
            return;
        }
        let kind = text(part, "type").unwrap_or_default();
        if !self.ours(text(part, "sessionID")) {
            // A subagent's: its steps count, and what they cost.
            if self.turn.is_some() {
                self.step(kind, &id, part, out);
            }
            return;
        }
        if self.users.contains(text(part, "messageID").unwrap_or_default()) {
            return self.user_part(&id, part, out);
        }
        if self.parts.len() >= MAX_OPEN && !self.parts.contains_key(&id) {
            return;
        }
        match kind {
            "text" => self.text_part(Shown::Text, id, part, fetched, out),
            "reasoning" => self.text_part(Shown::Reasoning, id, part, fetched, out),
            "tool" => self.tool_part(id, part, out),
            "step-start" | "step-finish" => self.step(kind, &id, part, out),
            "retry" => {
                self.done(&id);
                let error = part.get("error").unwrap_or(&Value::Null);
                let text = crate::runtime::opencode::json::error_text(error);
                self.fact(Body::Error { text, retryable: Some(true) }, out);
            }
            // `patch` lists files that a tool told already; the others are input.
            _ => {}
        }
    }

    fn done(&mut self, id: &str) {
        if self.parts.len() < MAX_OPEN {
            self.parts.insert(id.to_owned(), Part { done: true, kind: Shown::Other, ..Part::default() });
        }
    }

    /// A person's message: ours, which begins a turn, or one that somebody else wrote.
    fn user_part(&mut self, id: &str, part: &Value, out: &mut Output) {
        let flag = |name: &str| part.get(name).and_then(Value::as_bool) == Some(true);
        if text(part, "type") != Some("text") || flag("synthetic") || flag("ignored") {
            return;
        }
        let message = owned(part, "messageID");
        if self.turn.is_none() && self.ended.as_ref().is_none_or(|e| *e < message) {
            self.start_turn(&message, out);
        }
        self.done(id);
        match id.strip_prefix(OURS).filter(|m| m.starts_with("m-")) {
            Some(ours) => {
                if self.accepted.as_deref() == Some(ours) {
                    self.accepted = None;
                }
                out.deliveries.push((ours.to_owned(), Ok(())));
            }
            None => {
                let text = owned(part, "text");
                self.fact(Body::MessageCompleted { item: id.to_owned(), role: Role::User, text }, out);
            }
        }
    }

    fn text_part(&mut self, kind: Shown, id: String, part: &Value, fetched: bool, out: &mut Output) {
        let flag = |name: &str| part.get(name).and_then(Value::as_bool) == Some(true);
        if flag("synthetic") || flag("ignored") {
            return;
        }
        let whole = text(part, "text").unwrap_or_default();
        let over = part.pointer("/time/end").is_some();
        let known = self.parts.contains_key(&id);
        let state = self.parts.entry(id.clone()).or_default();
        state.kind = kind;
        // It began while nobody listened: how much of it was streamed since is not known.
        state.broken |= fetched && !known;
        let rest = state.news(whole).map(str::to_owned);
        if over {
            state.end();
        }
        if let Some(text) = rest {
            self.fact(delta_body(kind, id.clone(), text), out);
        }
        if over && !whole.is_empty() {
            self.fact(completed(kind, id, whole.to_owned()), out);
        }
    }

    /// A piece of text (newer versions).
    pub(super) fn delta(&mut self, p: &Value, out: &mut Output) {
        let (id, piece) = (owned(p, "partID"), owned(p, "delta"));
        if text(p, "field") != Some("text") || piece.is_empty() || self.parts.len() >= MAX_OPEN {
            return;
        }
        let known = self.parts.contains_key(&id);
        let state = self.parts.entry(id.clone()).or_default();
        state.broken |= !known;
        if state.broken || state.done || state.kind == Shown::Other {
            return;
        }
        state.told.push_str(&piece);
        let kind = state.kind;
        self.fact(delta_body(kind, id, piece), out);
    }

    /// The turn is over: texts that were cut off get their end.
    pub(super) fn close_texts(&mut self, out: &mut Output) {
        let open = |p: &Part| !p.done && p.kind != Shown::Other;
        let ids: Vec<String> = self.parts.iter().filter(|(_, p)| open(p)).map(|(i, _)| i.clone()).collect();
        for id in ids {
            let Some(part) = self.parts.get_mut(&id) else { continue };
            let (told, broken, kind) = (std::mem::take(&mut part.told), part.broken, part.kind);
            part.end();
            if broken {
                let text = "the end of a message was lost while the link was down".to_owned();
                self.fact(Body::Gap { text }, out);
            }
            if !told.is_empty() {
                self.fact(completed(kind, id, told), out);
            }
        }
    }

    fn tool_part(&mut self, id: String, part: &Value, out: &mut Output) {
        let status = part.pointer("/state/status").and_then(Value::as_str).unwrap_or_default();
        if !matches!(status, "running" | "completed" | "error") {
            return;
        }
        let over = status != "running";
        let call = owned(part, "callID");
        let is_command = tools::kind(text(part, "tool").unwrap_or_default()) == Kind::Command;
        let state = self.parts.entry(id.clone()).or_default();
        state.kind = Shown::Other;
        let started = std::mem::replace(&mut state.started, true);
        let output = part.pointer("/state/metadata/output").and_then(Value::as_str).filter(|_| is_command);
        // Where it is the end of a longer output it does not continue what was told; the end tells all.
        let news = output.and_then(|o| state.news(o)).map(str::to_owned);
        if over {
            state.end();
        }
        let mut facts = Vec::new();
        if !started {
            if let Some(command) = part.pointer("/state/input/command").and_then(Value::as_str) {
                self.call(&call).0 = Some(command.to_owned());
            }
            tools::started(part, |b| facts.push(b));
        }
        facts.extend(news.map(|text| Body::CommandOutput { item: id, text }));
        if over {
            let diff = self.calls.get(&call).and_then(|c| c.1.clone());
            tools::ended(part, diff.as_deref(), |b| facts.push(b));
        }
        facts.into_iter().for_each(|b| self.fact(b, out));
    }

    /// What is kept of a call, made where there is nothing.
    pub(super) fn call(&mut self, id: &str) -> &mut (Option<String>, Option<String>) {
        if self.calls.len() >= MAX_OPEN {
            self.calls.clear();
        }
        self.calls.entry(id.to_owned()).or_default()
    }

    fn step(&mut self, kind: &str, id: &str, part: &Value, out: &mut Output) {
        if kind == "step-finish" {
            self.done(id);
            return self.fact(tools::usage(part), out);
        }
        if kind != "step-start" {
            return;
        }
        self.done(id);
        if self.turn.as_ref().is_some_and(|t| t.over) {
            return; // It is being aborted; what it still does counts no more.
        }
        let mut facts = Vec::new();
        let over = self.steps.count(id, |b| facts.push(b));
        facts.into_iter().for_each(|b| self.fact(b, out));
        if over {
            if let Some(turn) = self.turn.as_mut() {
                turn.over = true;
            }
            self.abort(out);
        }
    }
}

fn completed(kind: Shown, item: String, text: String) -> Body {
    match kind {
        Shown::Reasoning => Body::ReasoningCompleted { item, text },
        _ => Body::MessageCompleted { item, role: Role::Assistant, text },
    }
}
