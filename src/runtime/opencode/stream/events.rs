//! Events of the server.

use serde_json::Value;

use super::{MAX_OPEN, Stream};
use crate::event::Body;
use crate::runtime::Output;
use crate::runtime::opencode::json::{is_abort, owned, raw, text};

/// Kinds of events that say nothing a person needs, or say again what another one says. One that ends
/// in a dot stands for all that begin so.
const IGNORED: &[&str] = &[
    "catalog.",
    "command.executed",
    "file.",
    "global.",
    "ide.",
    "installation.",
    "integration.",
    "lsp.",
    "mcp.",
    "message.part.removed",
    "message.removed",
    "models-dev.",
    // The same as `permission.asked` and `permission.replied`, and so on.
    "permission.v2.",
    "plugin.",
    "project.",
    "pty.",
    "question.v2.",
    "reference.",
    "server.connected",
    "server.instance.disposed",
    "session.created",
    "session.deleted",
    "session.diff",
    "session.next.",
    "session.updated",
    // The tool that wrote them says it too.
    "todo.",
    "tui.",
    "vcs.",
    "workspace.",
    "worktree.",
];

fn ignored(kind: &str) -> bool {
    IGNORED.iter().any(|i| if i.ends_with('.') { kind.starts_with(i) } else { kind == *i })
}

impl Stream {
    pub(super) fn event(&mut self, v: &Value, line: &[u8], out: &mut Output) {
        let nothing = Value::Null;
        let p = v.get("properties").unwrap_or(&nothing);
        let kind = text(v, "type").unwrap_or_default();
        let ours = self.ours(text(p, "sessionID"));
        match kind {
            "message.part.delta" if ours => self.delta(p, out),
            "message.part.updated" => self.part(p.get("part").unwrap_or(&nothing), false, out),
            "message.updated" => self.message(p.get("info").unwrap_or(&nothing), out),
            "session.status" if ours => self.status(p, out),
            "session.idle" if ours => self.idle(out),
            "session.error" if ours || p.get("sessionID").is_none() => {
                self.session_error(p.get("error").unwrap_or(&nothing), out);
            }
            "session.compacted" if ours => {
                let text = "opencode compacted the conversation to fit the model".to_owned();
                self.fact(Body::Warning { text }, out);
            }
            "server.heartbeat" => self.heartbeat(out),
            "permission.asked" => self.permission_asked(p, out),
            "question.asked" => self.question_asked(p, out),
            "permission.replied" | "question.replied" | "question.rejected" => self.replied(kind, p, out),
            // Of a subagent: what it does is shown by the tool that started it.
            "message.part.delta" | "session.status" | "session.idle" | "session.error"
            | "session.compacted" => {}
            _ if ignored(kind) => {}
            _ => self.fact(raw(line), out),
        }
    }

    fn status(&mut self, p: &Value, out: &mut Output) {
        let status = p.get("status").unwrap_or(&Value::Null);
        match text(status, "type") {
            Some("idle") => self.idle(out),
            Some("busy") => self.busy(out),
            Some("retry") => {
                self.busy(out);
                self.fact(Body::Error { text: owned(status, "message"), retryable: Some(true) }, out);
            }
            _ => {}
        }
    }

    /// What a message is: whose, and whether it is whole.
    pub(super) fn message(&mut self, info: &Value, out: &mut Output) {
        if !self.ours(text(info, "sessionID")) {
            return;
        }
        let id = owned(info, "id");
        if text(info, "role") == Some("user") {
            if self.users.len() < MAX_OPEN {
                self.users.insert(id.clone());
            }
        } else if self.turn.as_ref().is_some_and(|t| id > t.id) {
            self.answer_of_model(&id, info, out);
        }
        if id > self.last_message {
            self.last_message = id;
        }
    }

    fn answer_of_model(&mut self, id: &str, info: &Value, out: &mut Output) {
        let done = info.pointer("/time/completed").is_some();
        if let Some(turn) = self.turn.as_mut() {
            turn.answered = true;
            if !done {
                turn.writing = Some(id.to_owned());
            } else if turn.writing.as_deref() == Some(id) {
                turn.writing = None;
            }
        }
        if let Some(error) = info.get("error").filter(|e| e.is_object()) {
            let told = self.turn.as_ref().is_some_and(|t| t.aborted || t.error.is_some());
            if !told || is_abort(error) {
                self.session_error(error, out);
            }
        }
    }

    /// The newest messages with their parts, asked for after the stream was cut.
    pub(super) fn messages(&mut self, body: &Value, out: &mut Output) {
        let nothing = Value::Null;
        let from = self.turn.as_ref().map(|t| t.id.clone());
        let known = self.last_message.clone();
        let all = body.as_array().map_or(&[][..], Vec::as_slice);
        let id_of = |m: &Value| m.pointer("/info/id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let news = |m: &&Value| match &from {
            Some(turn) => id_of(m) >= *turn,
            None => id_of(m) > known,
        };
        let reaches_back = all.first().is_none_or(|m| !news(&m));
        if !reaches_back && from.as_ref().is_some_and(|turn| all.iter().all(|m| id_of(m) > *turn)) {
            let text = format!("while the link was down more than {} messages were written", all.len());
            self.fact(Body::Gap { text }, out);
        }
        for m in all.iter().filter(news) {
            self.message(m.get("info").unwrap_or(&nothing), out);
            for part in m.get("parts").and_then(Value::as_array).map_or(&[][..], Vec::as_slice) {
                self.part(part, true, out);
            }
        }
    }

    /// Messages of a subagent, asked for after the stream was cut: of those that belong to the running
    /// turn the steps count.
    pub(super) fn child_messages(&mut self, body: &Value, out: &mut Output) {
        let Some(turn) = self.turn.as_ref().map(|t| t.id.clone()) else { return };
        let id_of = |m: &Value| m.pointer("/info/id").and_then(Value::as_str).unwrap_or_default().to_owned();
        for m in body.as_array().into_iter().flatten().filter(|m| id_of(m) > turn) {
            for part in m.get("parts").and_then(Value::as_array).into_iter().flatten() {
                self.part(part, true, out);
            }
        }
    }
}
