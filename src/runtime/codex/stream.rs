//! `codex app-server`: one process for the session, JSON-RPC both ways.
//!
//! What a line means follows from the lines alone (see [`Protocol`]): replies are understood by the
//! ids of our requests ([`rpc::id`]), and no fact that is read from a line depends on a command.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::approvals::{self, Ask, Kind};
use super::items::raw;
use super::policy::Policy;
use super::rpc::{self, Frame, text};
use crate::event::{Body, Decision, Fact};
use crate::runtime::{Command, Input, Output, Permissions, Protocol, Refused, Send, SessionSpec};

mod notes;

/// Most open requests, commands and patches that are kept in mind; more than this is no honest server.
const MAX_OPEN: usize = 256;

/// Most messages that are held back for a starting turn.
const MAX_HELD: usize = 16;

/// The state machine of one `codex app-server`.
#[derive(Debug)]
pub(super) struct Stream {
    spec: SessionSpec,
    initialized: bool,
    thread: Option<String>,
    fatal: Option<String>,
    /// The running turn of our thread.
    turn: Option<String>,
    /// The turn that ended last: a late reply does not make it run again.
    ended: Option<String>,
    /// `turn/start` was sent and `turn/started` has not come. Codex has an id for the turn by then, but
    /// says "no active turn" to who steers or interrupts it (seen with 0.169): both are held back.
    starting: bool,
    /// A person interrupted the turn that is starting.
    interrupt: bool,
    /// Messages steered into the turn that is starting: id and text.
    held: Vec<(String, String)>,
    /// Open requests by fracta's approval id.
    asks: BTreeMap<String, Ask>,
    /// Requests that were refused and are still open: id as written, and method.
    refused: BTreeMap<String, String>,
    /// Running commands by item id.
    commands: BTreeMap<String, Running>,
    /// Paths and diff of patches that are not applied yet, by item id.
    patches: BTreeMap<String, (String, String)>,
}

/// A command that has started and not ended.
#[derive(Debug)]
struct Running {
    turn: String,
    command: String,
    cwd: Option<String>,
    /// The app server's id of the process; unknown for a command that had to be approved.
    process: Option<String>,
    /// Its turn was interrupted: it is being ended.
    cut: bool,
}

impl Stream {
    pub(super) fn new(spec: &SessionSpec) -> Self {
        Self {
            spec: spec.clone(),
            initialized: false,
            thread: None,
            fatal: None,
            turn: None,
            ended: None,
            starting: false,
            interrupt: false,
            held: Vec::new(),
            asks: BTreeMap::new(),
            refused: BTreeMap::new(),
            commands: BTreeMap::new(),
            patches: BTreeMap::new(),
        }
    }

    fn request(&self, method: &str, about: &str, params: &Value, out: &mut Output) {
        out.sends.push(Send::Message(rpc::request(method, about, params)));
    }

    fn initialize(&self, out: &mut Output) {
        let params = json!({
            "clientInfo": { "name": "fracta", "title": "fracta", "version": env!("CARGO_PKG_VERSION") },
            // For thread/backgroundTerminals/*: without them an interrupt leaves commands running.
            "capabilities": { "experimentalApi": true },
        });
        self.request("initialize", "1", &params, out);
    }

    /// Opens the thread. `approval` overrides the approval policy.
    fn open_thread(&self, approval: Option<&str>, out: &mut Output) {
        let leading = Policy::leading(self.spec.command.get(1..).unwrap_or_default());
        let wanted = match self.spec.permissions {
            Permissions::Ask => "untrusted",
            Permissions::Auto => "never",
        };
        let mut params = json!({
            "cwd": self.spec.cwd.to_string_lossy(),
            "approvalPolicy": leading.approval.as_deref().or(approval).unwrap_or(wanted),
            "sandbox": leading.sandbox.as_deref().unwrap_or("workspace-write"),
        });
        if let Some(model) = &self.spec.model {
            params["model"] = json!(model);
        }
        let about = approval.unwrap_or("1");
        match &self.spec.resume_token {
            Some(token) => {
                params["threadId"] = json!(token);
                // fracta has the history in its journal.
                params["excludeTurns"] = json!(true);
                self.request("thread/resume", about, &params, out);
            }
            None => self.request("thread/start", about, &params, out),
        }
    }

    fn reply(&mut self, frame: &Frame<'_>, line: &[u8], out: &mut Output) {
        let id: String = frame.id.and_then(|i| serde_json::from_str(i.get()).ok()).unwrap_or_default();
        let Some((method, about)) = id.split_once('#') else { return out.facts.push(raw(line).into()) };
        let result = match frame.error {
            Some(e) => {
                let e = rpc::value(Some(e));
                Err(text(&e, "message").map_or_else(|| e.to_string(), str::to_owned))
            }
            None => Ok(rpc::value(frame.result)),
        };
        match method {
            "initialize" => self.initialize_replied(result, out),
            "thread/start" | "thread/resume" => self.thread_replied(about, result, out),
            "turn/start" => {
                let turn = result.as_ref().ok().and_then(|r| r.pointer("/turn/id")).and_then(Value::as_str);
                match turn {
                    Some(id) => self.starting = ![&self.turn, &self.ended].contains(&&Some(id.to_owned())),
                    None => self.not_started(out),
                }
                out.deliveries.push((about.to_owned(), result.map(|_| ())));
            }
            "turn/steer" => out.deliveries.push((about.to_owned(), result.map(|_| ()))),
            "turn/interrupt" => {
                if let (Err(why), true) = (result, self.turn.as_deref() == Some(about)) {
                    self.fact(
                        Body::Warning { text: format!("codex did not interrupt the turn: {why}") },
                        out,
                    );
                }
            }
            "thread/backgroundTerminals/terminate" => {
                if result.is_err() {
                    self.clean(out);
                }
            }
            "thread/backgroundTerminals/clean" => {
                if let Err(why) = result {
                    let text = format!("commands of the interrupted turn may still run: {why}");
                    out.facts.push(Body::Warning { text }.into());
                }
            }
            _ => out.facts.push(raw(line).into()),
        }
    }

    fn initialize_replied(&mut self, result: Result<Value, String>, out: &mut Output) {
        match result {
            Err(why) if !self.initialized && !why.contains("Already initialized") => {
                self.fail(format!("codex app-server did not start: {why}"), out);
            }
            // The second reply, where the request had to be sent again after a restart.
            _ if self.initialized => {}
            _ => {
                self.initialized = true;
                self.initialized_sent(out);
            }
        }
    }

    fn initialized_sent(&self, out: &mut Output) {
        out.sends.push(Send::Message(br#"{"method":"initialized"}"#.to_vec()));
        self.open_thread(None, out);
    }

    fn thread_replied(&mut self, about: &str, result: Result<Value, String>, out: &mut Output) {
        if self.thread.is_some() {
            return;
        }
        match result {
            Ok(r) => {
                let Some(id) = r.pointer("/thread/id").and_then(Value::as_str) else {
                    return self.fail("codex opened a thread without an id".to_owned(), out);
                };
                self.thread = Some(id.to_owned());
                let model = text(&r, "model").map(str::to_owned).or_else(|| self.spec.model.clone());
                let runtime = self.spec.runtime.clone();
                out.facts
                    .push(Body::SessionStarted { runtime, model, resume_token: self.thread.clone() }.into());
            }
            Err(why) if about == "1" && why.contains("unknown variant `untrusted`") => {
                let text = "this codex knows no approval policy `untrusted`; `on-request` is used: the model decides when to ask";
                out.facts.push(Body::Warning { text: text.to_owned() }.into());
                self.open_thread(Some("on-request"), out);
            }
            Err(why) => {
                let what = match &self.spec.resume_token {
                    Some(token) => format!("codex cannot resume thread {token}"),
                    None => "codex cannot start a thread".to_owned(),
                };
                self.fail(format!("{what}: {why}"), out);
            }
        }
    }

    fn fail(&mut self, text: String, out: &mut Output) {
        out.facts.push(Body::Error { text: text.clone(), retryable: Some(false) }.into());
        self.fatal = Some(text);
    }

    /// A turn of our thread runs: what was held back for it may go.
    fn turn_runs(&mut self, id: &str, out: &mut Output) {
        self.turn = Some(id.to_owned());
        self.starting = false;
        for (message, text) in std::mem::take(&mut self.held) {
            self.send_steer(id, &message, &text, out);
        }
        if std::mem::take(&mut self.interrupt) {
            self.send_interrupt(id, out);
        }
    }

    /// The turn that was to start never will.
    fn not_started(&mut self, out: &mut Output) {
        self.starting = false;
        self.interrupt = false;
        for (message, _) in std::mem::take(&mut self.held) {
            out.deliveries.push((message, Err("the turn that it was meant for did not start".to_owned())));
        }
    }

    fn send_steer(&self, turn: &str, message: &str, text: &str, out: &mut Output) {
        let params = json!({
            "threadId": self.thread, "expectedTurnId": turn, "clientUserMessageId": message,
            "input": [{ "type": "text", "text": text }],
        });
        self.request("turn/steer", message, &params, out);
    }

    fn send_interrupt(&self, turn: &str, out: &mut Output) {
        let params = json!({ "threadId": self.thread, "turnId": turn });
        self.request("turn/interrupt", turn, &params, out);
    }

    fn clean(&self, out: &mut Output) {
        let params = json!({ "threadId": self.thread });
        self.request("thread/backgroundTerminals/clean", "1", &params, out);
    }

    /// Ends the commands that an interrupted turn left: `turn/interrupt` does not (seen with 0.124 and
    /// 0.169; they go on as "background terminals"). One whose process id is unknown costs all.
    fn end_cut_commands(&self, out: &mut Output) {
        let cut = || self.commands.values().filter(|c| c.cut);
        if cut().any(|c| c.process.is_none()) {
            return self.clean(out);
        }
        for process in cut().filter_map(|c| c.process.as_deref()) {
            let params = json!({ "threadId": self.thread, "processId": process });
            self.request("thread/backgroundTerminals/terminate", process, &params, out);
        }
    }

    /// A fact of the running turn.
    fn fact(&self, body: Body, out: &mut Output) {
        out.facts.push(Fact { turn: self.turn.clone(), body });
    }

    /// Whether a notification is about another thread (a subagent) of the same server.
    fn foreign(&self, thread: &str) -> bool {
        self.thread.as_deref().is_some_and(|ours| ours != thread)
    }

    fn ask(&mut self, method: &str, frame: &Frame<'_>, out: &mut Output) {
        let rpc = frame.id.map_or("null", |i| i.get()).to_owned();
        let params = frame.params();
        let id = approval_id(self.spec.run, &rpc);
        let item = text(&params, "itemId").map(str::to_owned);
        let patch = item.as_ref().and_then(|i| self.patches.get(i));
        let known = approvals::read(method, &params, &id, patch);
        let Some((kind, mut body)) = known.filter(|_| self.asks.len() < MAX_OPEN) else {
            return self.refuse(rpc, method, out);
        };
        // Its item may be waiting in a subagent's thread: the person should know who asks.
        let thread = text(&params, "threadId").or_else(|| text(&params, "conversationId"));
        if let (true, Body::ApprovalRequested { what, .. }) =
            (thread.is_some_and(|t| self.foreign(t)), &mut body)
        {
            *what = format!("(a subagent) {what}");
        }
        let turn = text(&params, "turnId").map(str::to_owned).or_else(|| self.turn.clone());
        let mut ask = Ask { rpc, kind, turn, item, answered: None, by_itself: None };
        self.fact(body, out);
        if self.spec.permissions == Permissions::Auto {
            let (decision, result) = approvals::by_itself(&ask.kind);
            let message = rpc::result(&ask.rpc, &result);
            out.sends.push(Send::Message(message.clone()));
            self.fact(Body::ApprovalResolved { approval: id.clone(), decision, by: "auto".to_owned() }, out);
            ask.answered = Some(decision);
            ask.by_itself = Some(message);
        }
        self.asks.insert(id, ask);
    }

    fn refuse(&mut self, rpc: String, method: &str, out: &mut Output) {
        out.sends.push(Send::Message(rpc::refusal(&rpc, method)));
        let text = format!("codex asked for {method}, which fracta does not serve; it was refused");
        self.fact(Body::Warning { text }, out);
        if self.refused.len() < MAX_OPEN {
            self.refused.insert(rpc, method.to_owned());
        }
    }

    fn withdraw(&self, id: &str, ask: &Ask, out: &mut Output) {
        // What was answered without a person was resolved by the same line that asked.
        if ask.by_itself.is_none() {
            let decision = Decision::Withdrawn;
            let body = Body::ApprovalResolved { approval: id.to_owned(), decision, by: "runtime".to_owned() };
            out.facts.push(Fact { turn: ask.turn.clone().or_else(|| self.turn.clone()), body });
        }
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
        if ask.answered.is_some() {
            return Err(Refused(format!("request {id} was answered already")));
        }
        let result = approvals::answer(&ask.kind, decision, answers)?;
        ask.answered = Some(decision);
        out.sends.push(Send::Message(rpc::result(&ask.rpc, &result)));
        // One that can expire is resolved by the line that says so, whoever was first.
        if !matches!(ask.kind, Kind::Questions { expires: true, .. }) {
            let by = "person".to_owned();
            self.fact(Body::ApprovalResolved { approval: id.to_owned(), decision, by }, out);
        }
        Ok(())
    }
}

/// `a{run}-{id}`: unique in the session, and short enough to be typed.
fn approval_id(run: u32, rpc: &str) -> String {
    let fits = |c: &char| c.is_ascii_alphanumeric() || *c == '-' || *c == '_';
    format!("a{run}-{}", rpc.chars().filter(fits).take(64).collect::<String>())
}

impl Protocol for Stream {
    fn open(&mut self, out: &mut Output) {
        self.initialize(out);
    }

    fn input(&mut self, input: Input<'_>, out: &mut Output) {
        let Input::Message(line) = input;
        // serde would read an array as a struct too.
        let object = line.trim_ascii_start().first() == Some(&b'{');
        match serde_json::from_slice::<Frame<'_>>(line) {
            Ok(frame) if object => match (&frame.method, frame.id) {
                (Some(method), None) => self.note(&method.0, &frame, line, out),
                (Some(method), Some(_)) => self.ask(&method.0, &frame, out),
                (None, Some(_)) => self.reply(&frame, line, out),
                (None, None) => out.facts.push(raw(line).into()),
            },
            _ if line.trim_ascii().is_empty() => {}
            _ => out.facts.push(raw(line).into()),
        }
    }

    fn command(&mut self, command: &Command, out: &mut Output) -> Result<(), Refused> {
        let refused = |why: &str| Err(Refused(why.to_owned()));
        if let Some(why) = &self.fatal {
            return refused(why);
        }
        let Some(thread) = &self.thread else {
            return refused("the codex session is not open yet; try again when it is");
        };
        match command {
            Command::StartTurn { message, text } => {
                if self.turn.is_some() || self.starting {
                    return refused("a turn runs; steer it, or wait until it ends");
                }
                let params = json!({
                    "threadId": thread, "clientUserMessageId": message,
                    "input": [{ "type": "text", "text": text }],
                });
                self.request("turn/start", message, &params, out);
                self.starting = true;
                self.interrupt = false;
            }
            Command::Steer { message, text } => match &self.turn {
                Some(turn) => self.send_steer(turn, message, text, out),
                None if self.starting && self.held.len() < MAX_HELD => {
                    self.held.push((message.clone(), text.clone()));
                }
                None if self.starting => return refused("too many messages wait for the turn to start"),
                None => return refused("no turn runs that could be steered; say it as a new turn"),
            },
            Command::Interrupt => match &self.turn {
                Some(turn) => self.send_interrupt(turn, out),
                None if self.starting => self.interrupt = true,
                None => return refused("no turn runs"),
            },
            Command::Answer { approval, decision, answers } => {
                return self.answer(approval, *decision, answers.as_ref(), out);
            }
        }
        Ok(())
    }

    fn ready(&self) -> bool {
        self.thread.is_some() && self.fatal.is_none()
    }

    fn busy(&self) -> bool {
        self.starting || self.turn.is_some()
    }

    fn resumed(&mut self, out: &mut Output) {
        if self.fatal.is_none() && self.thread.is_none() {
            // Whether these had been sent is not known; a second one does no harm.
            if self.initialized { self.initialized_sent(out) } else { self.initialize(out) }
        }
        for (rpc, method) in &self.refused {
            out.sends.push(Send::Message(rpc::refusal(rpc, method)));
        }
        for message in self.asks.values().filter_map(|a| a.by_itself.as_ref()) {
            out.sends.push(Send::Message(message.clone()));
        }
        self.end_cut_commands(out);
    }

    fn fatal(&self) -> Option<&str> {
        self.fatal.as_deref()
    }
}
