//! `opencode serve`: one process for the session, requests by HTTP, events by SSE.
//!
//! What it is fed are the lines of [`crate::transport::http`]: events as received, the answers to its
//! requests, and when the stream of events was open. All facts follow from those lines alone: a request's
//! id says what its answer means, and a prompt carries fracta's id of the message as the id of its part,
//! so that the stream itself tells that it arrived.
//!
//! Newer versions stream a text as `message.part.delta` and give it whole at its end; older ones send the
//! text so far again and again. Both become each piece once: what was told of a part is remembered. When
//! the stream was cut, what was missed is fetched (`GET /session/ID/message` and others) and told the same
//! way; pieces of a text whose middle was missed are held until it comes whole.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::json::{self as read, error_text, is_abort, owned, raw, text};
use super::steps::Steps;
use crate::event::{Body, Fact, Outcome};
use crate::runtime::{Command, Input, Output, Protocol, Refused, Send, SessionSpec};

mod asks;
mod events;
mod parts;
#[cfg(test)]
mod tests;

use asks::Ask;
use parts::Part;

/// Most things of a kind that are kept in mind; more than this is no honest server.
const MAX_OPEN: usize = 4096;
/// Messages that are fetched after the stream was cut.
const MISSED: u32 = 100;
/// Subagents of a session whose messages are fetched then; the newest.
const MAX_CHILDREN: usize = 16;

/// The state machine of one `opencode serve`.
#[derive(Debug)]
pub(super) struct Stream {
    spec: SessionSpec,
    session: Option<String>,
    /// A resumed session has messages of the past; they are known not to be news.
    past_known: bool,
    fatal: Option<String>,
    /// Times that the stream of events was opened.
    connections: u32,
    turn: Option<Turn>,
    /// Id of the turn that ended last.
    ended: Option<String>,
    /// Greatest id of a message of our session: ids go up.
    last_message: String,
    /// Ids of messages that are a person's.
    users: BTreeSet<String>,
    parts: BTreeMap<String, Part>,
    /// By id of a call: its command, and the diff that a request showed.
    calls: BTreeMap<String, (Option<String>, Option<String>)>,
    asks: BTreeMap<String, Ask>,
    steps: Steps,
    /// A prompt that the server took, whose message did not come yet.
    accepted: Option<String>,
    last_error: Option<String>,
    /// What was missed could not be fetched yet.
    behind: bool,
}

/// The running turn.
#[derive(Debug, Default)]
struct Turn {
    /// Id of the message that began it.
    id: String,
    /// In which connection the server said that it works on it; 0: not yet.
    busy: u32,
    /// The model was asked at least once.
    answered: bool,
    /// The answer that is being written.
    writing: Option<String>,
    error: Option<String>,
    aborted: bool,
    /// It went past the limit of steps.
    over: bool,
    /// The server says that nothing runs, and why is not known.
    doubted: bool,
}

impl Stream {
    pub(super) fn new(spec: &SessionSpec) -> Self {
        Self {
            past_known: false,
            steps: Steps::new(spec.step_limit),
            spec: spec.clone(),
            session: None,
            fatal: None,
            connections: 0,
            turn: None,
            ended: None,
            last_message: String::new(),
            users: BTreeSet::new(),
            parts: BTreeMap::new(),
            calls: BTreeMap::new(),
            asks: BTreeMap::new(),
            accepted: None,
            last_error: None,
            behind: false,
        }
    }

    /// A fact of the running turn, or of the one that just ended.
    fn fact(&self, body: Body, out: &mut Output) {
        let turn = self.turn.as_ref().map(|t| &t.id).or(self.ended.as_ref());
        out.facts.push(Fact { turn: turn.cloned(), body });
    }

    fn request(id: &str, method: &'static str, path: String, body: Option<&Value>, out: &mut Output) {
        let body = body.map(|b| b.to_string().into_bytes());
        out.sends.push(Send::Http { id: id.to_owned(), method, path, body });
    }

    fn ours(&self, session: Option<&str>) -> bool {
        session.is_some() && session == self.session.as_deref()
    }

    // ---- the link

    fn link_line(&mut self, v: &Value, line: &[u8], out: &mut Output) {
        match text(v, "fracta").unwrap_or_default() {
            "connected" => self.connected(out),
            "disconnected" => {}
            "http" => self.answered(v, line, out),
            "gap" => self.fact(Body::Gap { text: owned(v, "text") }, out),
            _ => self.fact(raw(line), out),
        }
    }

    fn connected(&mut self, out: &mut Output) {
        self.connections += 1;
        if self.session.is_none() {
            return self.open_session(out);
        }
        if !self.past_known {
            return self.ask_for_past(out);
        }
        if self.connections > 1 {
            self.parts.values_mut().for_each(Part::cut);
            self.catch_up(out);
        }
    }

    fn open_session(&self, out: &mut Output) {
        match &self.spec.resume_token {
            Some(token) => Self::request("open", "GET", format!("/session/{token}"), None, out),
            None => Self::request("create", "POST", "/session".to_owned(), Some(&json!({})), out),
        }
    }

    fn ask_for_past(&self, out: &mut Output) {
        let Some(session) = &self.session else { return };
        Self::request("past", "GET", format!("/session/{session}/message?limit=1"), None, out);
    }

    /// Asks for all that may have been missed. What nothing is told by twice is left to the next event.
    fn catch_up(&self, out: &mut Output) {
        let Some(session) = &self.session else { return };
        Self::request("permissions", "GET", "/permission".to_owned(), None, out);
        Self::request("questions", "GET", "/question".to_owned(), None, out);
        Self::request("messages", "GET", format!("/session/{session}/message?limit={MISSED}"), None, out);
        // Whether the turn is over is asked behind what its subagents did.
        Self::ask_for_children(session, out);
    }

    fn ask_for_children(session: &str, out: &mut Output) {
        Self::request(
            &format!("children#{session}"),
            "GET",
            format!("/session/{session}/children"),
            None,
            out,
        );
    }

    fn ask_for_status(out: &mut Output) {
        Self::request("status", "GET", "/session/status".to_owned(), None, out);
    }

    /// The sessions of subagents: what they did while the link was down counts too.
    fn children(&self, of: &str, body: Option<&Value>, out: &mut Output) {
        let all = body.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let made = |s: &Value| s.pointer("/time/created").and_then(Value::as_u64).unwrap_or_default();
        let mut all: Vec<&Value> = all.iter().collect();
        all.sort_by_key(|s| std::cmp::Reverse(made(s)));
        let ids = all.iter().filter_map(|s| text(s, "id")).filter(|id| super::session_id(id).is_ok());
        for id in ids.take(MAX_CHILDREN) {
            Self::request(
                &format!("child#{id}"),
                "GET",
                format!("/session/{id}/message?limit={MISSED}"),
                None,
                out,
            );
            Self::ask_for_children(id, out);
        }
        if self.ours(Some(of)) {
            Self::ask_for_status(out);
        }
    }

    // ---- answers to our requests

    fn answered(&mut self, v: &Value, line: &[u8], out: &mut Output) {
        let id = owned(v, "id");
        let (what, about) = id.split_once('#').unwrap_or((&id, ""));
        let status = v.get("status").and_then(Value::as_u64).unwrap_or_default();
        let body = v.get("body").unwrap_or(&Value::Null);
        let ok = (200..300).contains(&status) && v.get("error").is_none();
        let unsent = v.get("sent").and_then(Value::as_bool) == Some(false);
        let why = || match text(v, "error") {
            Some(e) => e.to_owned(),
            None if body.is_object() => format!("{} (HTTP {status})", error_text(body)),
            None => format!("HTTP {status}"),
        };
        match what {
            "create" | "open" if self.session.is_some() => {}
            // Which of the two was asked tells the answer: a rebuilt machine has a token in any case.
            "create" | "open" if ok => self.session_opened(what == "create", body, out),
            // Asked again with the next connection.
            "create" | "open" | "past" if status == 0 => {}
            "create" => self.fail(format!("opencode cannot start a session: {}", why()), out),
            "open" => {
                let token = self.spec.resume_token.as_deref().unwrap_or_default();
                self.fail(format!("opencode cannot resume session {token}: {}", why()), out);
            }
            "past" => self.past(body, out),
            "prompt" if ok => self.accepted = Some(about.to_owned()),
            "prompt" if status != 0 || unsent => out.deliveries.push((about.to_owned(), Err(why()))),
            // Whether it arrived is told by the stream.
            "prompt" => {}
            "abort" if ok => {
                if let Some(turn) = self.turn.as_mut().filter(|t| t.id == about) {
                    turn.aborted = true;
                }
            }
            // The answer may be lost after the turn has ended all the same.
            "abort" if self.turn.as_ref().is_none_or(|t| t.id != about) => {}
            "abort" => {
                let text = format!("opencode did not abort the turn: {}", why());
                self.fact(Body::Warning { text }, out);
            }
            // 404: it needs no answer any more.
            "permission" | "question" if ok || status == 404 => {}
            "permission" | "question" => {
                let text = format!("opencode did not take the answer to {about}: {}", why());
                self.fact(Body::Warning { text }, out);
            }
            "messages" if ok => {
                self.behind = false;
                self.messages(body, out);
            }
            // Asked again with the next connection or heartbeat.
            "messages" if status == 0 => self.behind = true,
            "messages" => {
                let text = format!("what was said while the link was down cannot be fetched: {}", why());
                self.fact(Body::Gap { text }, out);
            }
            "status" if ok => self.status_told(body, out),
            "children" => self.children(about, Some(body).filter(|_| ok), out),
            "child" if ok => self.child_messages(body, out),
            "child" if status == 0 => self.behind = true,
            "child" => {}
            "permissions" | "questions" if ok => self.open_asks(what == "questions", body, out),
            "status" | "permissions" | "questions" => {}
            _ => self.fact(raw(line), out),
        }
    }

    fn session_opened(&mut self, new: bool, body: &Value, out: &mut Output) {
        let Some(id) = text(body, "id").filter(|id| super::session_id(id).is_ok()) else {
            return self.fail("opencode opened a session without an id".to_owned(), out);
        };
        self.session = Some(id.to_owned());
        self.past_known = new;
        if new { self.started(out) } else { self.ask_for_past(out) }
    }

    fn past(&mut self, body: &Value, out: &mut Output) {
        if self.past_known {
            return;
        }
        let all = body.as_array().map_or(&[][..], Vec::as_slice);
        let ids = all.iter().filter_map(|m| m.pointer("/info/id").and_then(Value::as_str));
        self.last_message = ids.max().unwrap_or_default().to_owned();
        self.past_known = true;
        self.started(out);
    }

    fn started(&self, out: &mut Output) {
        let (runtime, model) = (self.spec.runtime.clone(), self.spec.model.clone());
        out.facts.push(Body::SessionStarted { runtime, model, resume_token: self.session.clone() }.into());
    }

    fn fail(&mut self, text: String, out: &mut Output) {
        out.facts.push(Body::Error { text: text.clone(), retryable: Some(false) }.into());
        self.fatal = Some(text);
    }

    // ---- turns

    fn start_turn(&mut self, id: &str, out: &mut Output) {
        self.parts.clear();
        self.calls.clear();
        self.steps.reset();
        self.last_error = None;
        self.turn = Some(Turn { id: id.to_owned(), ..Turn::default() });
        self.fact(Body::TurnStarted {}, out);
    }

    fn busy(&mut self, out: &mut Output) {
        if self.turn.is_none() {
            let id = self.users.last().cloned().unwrap_or_else(|| format!("turn-{}", self.spec.run));
            self.start_turn(&id, out);
        }
        let connection = self.connections;
        if let Some(turn) = self.turn.as_mut().filter(|t| t.busy == 0) {
            turn.busy = connection;
        }
    }

    /// The server says that nothing runs. It says so more than once, and before an aborted answer is
    /// closed (seen with 1.1.53): the end is when nothing is being written.
    fn idle(&mut self, out: &mut Output) {
        let over = |t: &Turn| t.writing.is_none() || t.error.is_some() || t.aborted || t.over;
        if self.turn.as_ref().is_some_and(over) {
            self.end_turn(out);
        }
    }

    fn end_turn(&mut self, out: &mut Output) {
        self.close_texts(out);
        let Some(turn) = self.turn.take() else { return };
        self.ended = Some(turn.id.clone());
        self.withdraw_all(out);
        let silent =
            "opencode ended the turn without asking the model; is the model known? See `opencode models`";
        let (outcome, error) = match turn.error {
            _ if turn.over => (Outcome::Failed, Some(self.steps.reason())),
            _ if turn.aborted => (Outcome::Interrupted, None),
            Some(error) => (Outcome::Failed, Some(error)),
            None if !turn.answered => (Outcome::Failed, Some(silent.to_owned())),
            None => (Outcome::Completed, None),
        };
        self.fact(Body::TurnCompleted { outcome, error }, out);
    }

    fn abort(&self, out: &mut Output) {
        if let (Some(session), Some(turn)) = (&self.session, &self.turn) {
            Self::request(
                &format!("abort#{}", turn.id),
                "POST",
                format!("/session/{session}/abort"),
                None,
                out,
            );
        }
    }

    fn session_error(&mut self, error: &Value, out: &mut Output) {
        let why = error_text(error);
        match self.turn.as_mut() {
            Some(turn) if is_abort(error) => turn.aborted = true,
            Some(turn) => {
                turn.error.get_or_insert_with(|| why.clone());
                self.last_error = Some(why);
            }
            None if is_abort(error) => {}
            // Said again with other words when the turn is over.
            None if self.last_error.as_ref().is_some_and(|e| why.contains(e.as_str())) => {}
            None => match self.accepted.take() {
                Some(message) => out.deliveries.push((message, Err(why))),
                None => self.fact(Body::Error { text: why, retryable: None }, out),
            },
        }
    }

    /// `GET /session/status`, asked after the stream was cut: sessions that do something.
    fn status_told(&mut self, body: &Value, out: &mut Output) {
        let Some(session) = self.session.clone() else { return };
        if body.get(&session).and_then(|s| text(s, "type")).is_some_and(|t| t != "idle") {
            return self.busy(out);
        }
        let connection = self.connections;
        let Some(turn) = self.turn.as_mut() else { return };
        let worked = turn.busy != 0 && turn.busy < connection;
        let spoke = turn.answered && turn.writing.is_none();
        if worked || spoke || turn.error.is_some() || turn.doubted {
            self.end_turn(out);
        } else {
            // It may be about to begin. Looked at again with the next heartbeat.
            turn.doubted = true;
        }
    }

    fn heartbeat(&self, out: &mut Output) {
        if self.behind || self.turn.as_ref().is_some_and(|t| t.doubted && t.busy == 0) {
            self.catch_up(out);
        }
    }
}

impl Protocol for Stream {
    /// The session is opened when the stream of events is, so that nothing is missed.
    fn open(&mut self, _out: &mut Output) {}

    fn input(&mut self, input: Input<'_>, out: &mut Output) {
        let Input::Message(line) = input;
        match read::parse(line) {
            Some(v) if line.starts_with(b"{\"fracta\":") => self.link_line(&v, line, out),
            Some(v) => self.event(&v, line, out),
            None if line.iter().all(u8::is_ascii_whitespace) => {}
            None => self.fact(raw(line), out),
        }
    }

    fn command(&mut self, command: &Command, out: &mut Output) -> Result<(), Refused> {
        let refused = |why: &str| Err(Refused(why.to_owned()));
        let Some(session) = self.session.clone().filter(|_| self.ready()) else {
            return refused("the opencode session is not open yet; try again when it is");
        };
        match command {
            Command::StartTurn { .. } if self.turn.is_some() => {
                return refused("a turn runs; wait until it ends, or abort it");
            }
            Command::StartTurn { message, text } => {
                let part = json!({ "id": format!("{}{message}", parts::OURS), "type": "text", "text": text });
                let mut body = json!({ "parts": [part] });
                if let Some(model) = &self.spec.model {
                    let (provider, model) = super::model_parts(model)?;
                    body["model"] = json!({ "providerID": provider, "modelID": model });
                }
                let path = format!("/session/{session}/prompt_async");
                Self::request(&format!("prompt#{message}"), "POST", path, Some(&body), out);
            }
            Command::Steer { .. } => {
                return refused("OpenCode takes no message into a running turn; say it for the next one");
            }
            Command::Interrupt if self.turn.is_none() => return refused("no turn runs"),
            Command::Interrupt => self.abort(out),
            Command::Answer { approval, decision, answers } => {
                return self.answer(approval, *decision, answers.as_ref(), out);
            }
        }
        Ok(())
    }

    fn ready(&self) -> bool {
        self.session.is_some() && self.past_known && self.fatal.is_none()
    }

    /// The link connects again and says so; that is when all is asked for.
    fn resumed(&mut self, _out: &mut Output) {}

    fn fatal(&self) -> Option<&str> {
        self.fatal.as_deref()
    }
}
