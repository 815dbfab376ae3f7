//! What the server asks: permissions and questions.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{MAX_OPEN, Stream};
use crate::event::{Body, Decision};
use crate::runtime::opencode::json::{owned, text};
use crate::runtime::opencode::tools;
use crate::runtime::{Output, Permissions, Refused};

/// An open request. Its id is the server's.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    /// Number of questions; none: a permission.
    questions: Option<usize>,
    /// It has its answer from us. Facts read from lines must not depend on a person's.
    answered: bool,
    by_itself: bool,
    /// The session that asks.
    session: String,
    /// A no that is not said yet: see [`Stream::say_held`].
    held: bool,
}

impl Stream {
    pub(super) fn permission_asked(&mut self, p: &Value, out: &mut Output) {
        let call = p.pointer("/tool/callID").and_then(Value::as_str).unwrap_or_default().to_owned();
        let metadata = p.get("metadata").unwrap_or(&Value::Null);
        let diff = text(metadata, "diff").map(tools::hunks);
        if let Some(diff) = &diff {
            self.call(&call).1 = Some(diff.clone());
        }
        let patterns: Vec<&str> = p
            .get("patterns")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let (permission, patterns) = (owned(p, "permission"), patterns.join(", "));
        let mut command = None;
        let what = match permission.as_str() {
            "bash" => {
                let known = self.calls.get(&call).and_then(|c| c.0.clone());
                // Older versions name only the patterns, which leave out what is between the commands.
                command = text(metadata, "command").map(str::to_owned).or(known).or(Some(patterns));
                "run a command".to_owned()
            }
            "edit" => format!("change {patterns}"),
            "external_directory" => format!("reach outside of the workspace: {patterns}"),
            "doom_loop" => "go on though it repeats itself".to_owned(),
            _ => format!("{permission}: {patterns}"),
        };
        let body = Body::ApprovalRequested {
            approval: owned(p, "id"),
            what: self.who(p, what),
            command,
            cwd: None,
            diff,
            questions: None,
        };
        self.asked(p, body, None, out);
    }

    pub(super) fn question_asked(&mut self, p: &Value, out: &mut Output) {
        let questions = p.get("questions").cloned().unwrap_or_else(|| json!([]));
        let all = questions.as_array().map_or(&[][..], Vec::as_slice);
        let what = all.iter().map(|q| owned(q, "question")).collect::<Vec<_>>().join(" / ");
        let (what, count) = (self.who(p, what), all.len());
        let body = Body::ApprovalRequested {
            approval: owned(p, "id"),
            what,
            command: None,
            cwd: None,
            diff: None,
            questions: Some(questions),
        };
        self.asked(p, body, Some(count), out);
    }

    /// A person should know who asks.
    fn who(&self, p: &Value, what: String) -> String {
        if self.ours(text(p, "sessionID")) { what } else { format!("(a subagent) {what}") }
    }

    fn asked(&mut self, p: &Value, body: Body, questions: Option<usize>, out: &mut Output) {
        let id = owned(p, "id");
        if !fits(&id) || self.asks.contains_key(&id) {
            return;
        }
        if self.asks.len() >= MAX_OPEN {
            let text = "opencode asks for more than can be kept in mind".to_owned();
            return self.fact(Body::Gap { text }, out);
        }
        let by_itself = self.spec.permissions == Permissions::Auto;
        let session = owned(p, "sessionID");
        let ask = Ask { questions, answered: by_itself, by_itself, session, held: false };
        self.fact(body, out);
        if by_itself {
            let decision = self.answer_by_itself(&id, &ask, out);
            self.fact(Body::ApprovalResolved { approval: id.clone(), decision, by: "auto".to_owned() }, out);
        }
        self.asks.insert(id, ask);
    }

    /// Yes to what is a yes-or-no; a question has no such answer.
    fn answer_by_itself(&self, id: &str, ask: &Ask, out: &mut Output) -> Decision {
        match ask.questions {
            Some(_) => {
                Self::request(&format!("question#{id}"), "POST", format!("/question/{id}/reject"), None, out);
                Decision::Denied
            }
            None => {
                reply(id, "once", out);
                Decision::Approved
            }
        }
    }

    pub(super) fn answer(
        &mut self,
        approval: &str,
        decision: Decision,
        answers: Option<&Value>,
        out: &mut Output,
    ) -> Result<(), Refused> {
        let Some(ask) = self.asks.get_mut(approval).filter(|a| !a.answered) else {
            return Err(Refused(format!("opencode waits for no answer to {approval} (any more)")));
        };
        match (decision, ask.questions) {
            (Decision::Withdrawn, _) => {
                return Err(Refused("a request is withdrawn by opencode, not by us".to_owned()));
            }
            (Decision::Approved, None) => reply(approval, "once", out),
            (Decision::Denied, None) => ask.held = true,
            (Decision::Denied, Some(_)) => {
                let path = format!("/question/{approval}/reject");
                Self::request(&format!("question#{approval}"), "POST", path, None, out);
            }
            (Decision::Approved, Some(count)) => {
                let body = json!({ "answers": replies(count, answers)? });
                let path = format!("/question/{approval}/reply");
                Self::request(&format!("question#{approval}"), "POST", path, Some(&body), out);
            }
        }
        ask.answered = true;
        self.say_held(out);
        Ok(())
    }

    /// OpenCode takes a no for one request as a no for all that its session has open. So it is said when
    /// the others have their answers; the calls run side by side, and the turn waits for all of them.
    fn say_held(&mut self, out: &mut Output) {
        let open: BTreeSet<String> = self
            .asks
            .values()
            .filter(|a| !a.answered && a.questions.is_none())
            .map(|a| a.session.clone())
            .collect();
        for (id, ask) in self.asks.iter_mut().filter(|(_, a)| a.held && !open.contains(&a.session)) {
            ask.held = false;
            reply(id, "reject", out);
        }
    }

    /// The server has its answer. What a person said was told when it was given.
    pub(super) fn replied(&mut self, kind: &str, p: &Value, out: &mut Output) {
        let id = text(p, "requestID").or_else(|| text(p, "permissionID")).unwrap_or_default().to_owned();
        let Some(ask) = self.asks.remove(&id).filter(|a| !a.by_itself) else { return };
        let no = kind == "question.rejected" || text(p, "reply") == Some("reject");
        let decision = if no { Decision::Denied } else { Decision::Approved };
        let by = if ask.answered { "person" } else { "runtime" };
        self.fact(Body::ApprovalResolved { approval: id, decision, by: by.to_owned() }, out);
        self.say_held(out);
    }

    /// The requests that are open, asked for after the stream was cut.
    pub(super) fn open_asks(&mut self, questions: bool, body: &Value, out: &mut Output) {
        let Some(all) = body.as_array() else { return };
        let ids: Vec<&str> = all.iter().filter_map(|p| text(p, "id")).collect();
        let gone =
            |(id, ask): &(&String, &Ask)| ask.questions.is_some() == questions && !ids.contains(&id.as_str());
        let gone: Vec<String> = self.asks.iter().filter(gone).map(|(id, _)| id.clone()).collect();
        gone.iter().for_each(|id| self.withdraw(id, out));
        self.say_held(out);
        for p in all {
            let id = owned(p, "id");
            match self.asks.get(&id).cloned() {
                // Whether our answer arrived is not known; a second one does no harm.
                Some(ask) if ask.by_itself => drop(self.answer_by_itself(&id, &ask, out)),
                Some(_) => {}
                None if questions => self.question_asked(p, out),
                None => self.permission_asked(p, out),
            }
        }
    }

    fn withdraw(&mut self, id: &str, out: &mut Output) {
        if self.asks.remove(id).is_some_and(|a| !a.by_itself) {
            let (approval, decision) = (id.to_owned(), Decision::Withdrawn);
            self.fact(Body::ApprovalResolved { approval, decision, by: "runtime".to_owned() }, out);
        }
    }

    pub(super) fn withdraw_all(&mut self, out: &mut Output) {
        let ids: Vec<String> = self.asks.keys().cloned().collect();
        ids.iter().for_each(|id| self.withdraw(id, out));
    }
}

fn reply(id: &str, word: &str, out: &mut Output) {
    let body = json!({ "reply": word });
    Stream::request(&format!("permission#{id}"), "POST", format!("/permission/{id}/reply"), Some(&body), out);
}

/// An id becomes part of a path.
fn fits(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// One list of labels for each question: `[["A"], …]`, `["A", …]`, or for a single question its answer.
fn replies(count: usize, answers: Option<&Value>) -> Result<Vec<Value>, Refused> {
    let list = |v: &Value| match v {
        Value::Array(_) => v.clone(),
        Value::String(_) => json!([v]),
        other => json!([other.to_string()]),
    };
    let given: Vec<Value> = match answers {
        Some(Value::Array(all)) if all.len() == count => all.iter().map(list).collect(),
        Some(Value::Array(all)) if count == 1 => vec![json!(all)],
        Some(Value::Object(by_name)) if by_name.len() == count => by_name.values().map(list).collect(),
        Some(one) if count == 1 && !one.is_object() => vec![list(one)],
        _ => {
            return Err(Refused(format!(
                "this request has {count} questions: give a list of that many answers, or deny it"
            )));
        }
    };
    Ok(given)
}
