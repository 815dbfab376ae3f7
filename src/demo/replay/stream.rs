//! Stream: `codex app-server`, from recordings.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Cli, End, QUEUE, client, cwd_in_json, ended, for_prompt, fresh_id, pause, say};
use crate::demo::recording::{Dir, Line, Recording};

pub(super) fn play(chosen: Option<Recording>) -> io::Result<u8> {
    let opening = match &chosen {
        Some(r) => r.clone(),
        None => for_prompt(Cli::Codex, "", false)?,
    };
    let mut player = Player {
        client: client(),
        chosen,
        opening,
        thread: fresh_id(),
        waiting: VecDeque::new(),
        cwd: cwd_in_json(),
    };
    ended(player.serve())
}

struct Player {
    client: Receiver<Value>,
    /// None: by the prompt.
    chosen: Option<Recording>,
    /// Where the handshake is taken from.
    opening: Recording,
    /// The live thread id.
    thread: String,
    /// Requests that came while a turn was played and can wait until it has ended.
    waiting: VecDeque<Value>,
    cwd: String,
}

/// How recorded ids become live ones in one turn.
struct Ids {
    from_thread: String,
    from_turn: String,
    turn: String,
    /// What the person wrote, as the recording has it and as it is now (inside of JSON strings).
    text: (String, String),
    message: (String, String),
}

impl Player {
    fn serve(&mut self) -> Result<(), End> {
        loop {
            let message = match self.waiting.pop_front() {
                Some(m) => m,
                None => self.client.recv().map_err(|_| End::Client)?,
            };
            match message["method"].as_str() {
                Some("initialize") => self.reply_as_recorded(&message, &["initialize"])?,
                Some("thread/start" | "thread/resume") => {
                    if let Some(id) = message["params"]["threadId"].as_str() {
                        self.thread = id.to_owned();
                    }
                    self.reply_as_recorded(&message, &["thread/start", "thread/resume"])?;
                }
                Some("turn/start") => self.turn(&message)?,
                Some(method) if message.get("id").is_some() => self.refuse(&message, method)?,
                _ => {}
            }
        }
    }

    /// The recorded result of a request of one of these methods, under the client's id.
    fn reply_as_recorded(&mut self, message: &Value, methods: &[&str]) -> Result<(), End> {
        let answer = result_of(&self.opening.lines, methods).unwrap_or_else(|| json!({}));
        let recorded = thread_of(&self.opening.lines);
        let text = answer.to_string().replace("/demo/stations", &self.cwd).replace(&recorded, &self.thread);
        let result: Value = serde_json::from_str(&text).unwrap_or(answer);
        Ok(say(&json!({"id": message["id"], "result": result}).to_string())?)
    }

    fn refuse(&self, message: &Value, method: &str) -> Result<(), End> {
        let why =
            format!("this is a recording: it cannot answer {method}; install codex to work with a real one");
        Ok(say(&json!({"id": message["id"], "error": {"code": -32601, "message": why}}).to_string())?)
    }

    fn turn(&mut self, message: &Value) -> Result<(), End> {
        let prompt = message["params"]["input"][0]["text"].as_str().unwrap_or_default().to_owned();
        let recording = match &self.chosen {
            Some(r) => r.clone(),
            None => for_prompt(Cli::Codex, &prompt, false)?,
        };
        let Some(from) = recording.lines.iter().position(|l| is_in(l, "turn/start")) else {
            return self.refuse(message, "turn/start");
        };
        let asked: Value = serde_json::from_str(&recording.lines[from].line).unwrap_or_default();
        let result = result_of(&recording.lines, &["turn/start"]).unwrap_or_default();
        let word = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let ids = Ids {
            from_thread: thread_of(&recording.lines),
            from_turn: word(&result["turn"]["id"]),
            turn: fresh_id(),
            text: (inside(&word(&asked["params"]["input"][0]["text"])), inside(&prompt)),
            message: (
                format!("\"clientId\":{}", asked["params"]["clientUserMessageId"]),
                format!("\"clientId\":{}", message["params"]["clientUserMessageId"]),
            ),
        };
        self.play_turn(recording, from, message, &ids)
    }

    fn play_turn(
        &mut self,
        mut recording: Recording,
        from: usize,
        start: &Value,
        ids: &Ids,
    ) -> Result<(), End> {
        let mut at = from + 1;
        let mut before = recording.lines[from].t;
        while let Some(line) = recording.lines.get(at).cloned() {
            at += 1;
            if line.dir == Dir::In {
                if is_in(&line, "turn/start") {
                    return Ok(());
                }
                let Some(answer) = self.expect(&line, ids)? else { return Ok(()) };
                if let Some((other, next)) = alternative(&recording, &line, &answer) {
                    (recording, at) = (other, next);
                }
                before = recording.lines.get(at).map_or(line.t, |l| l.t);
                continue;
            }
            let value: Value = serde_json::from_str(&line.line).unwrap_or_default();
            // Thread notifications between request and reply belong to the opening of another session.
            if value["method"] == "thread/started" {
                continue;
            }
            if self.wait(pause(before, line.t), ids)? {
                return Ok(());
            }
            before = line.t;
            let mut text = self.live(&line.line, ids);
            if value.get("method").is_none()
                && value["id"].as_str().is_some_and(|i| i.starts_with("turn/start"))
            {
                let mut v: Value = serde_json::from_str(&text).unwrap_or_default();
                v["id"] = start["id"].clone();
                text = v.to_string();
            }
            say(&text)?;
            if value["method"] == "turn/completed" {
                return Ok(());
            }
        }
        Ok(())
    }

    fn live(&self, line: &str, ids: &Ids) -> String {
        let mut text = line.replace("/demo/stations", &self.cwd);
        let pairs = [
            (&ids.from_thread, &self.thread),
            (&ids.from_turn, &ids.turn),
            (&ids.text.0, &ids.text.1),
            (&ids.message.0, &ids.message.1),
        ];
        for (old, new) in pairs.into_iter().filter(|(old, _)| !old.is_empty()) {
            text = text.replace(old.as_str(), new);
        }
        text
    }

    /// Waits for the client's part of a dialogue: a message of the same method, or an answer to the
    /// same request. None: the turn was interrupted instead.
    fn expect(&mut self, line: &Line, ids: &Ids) -> Result<Option<Value>, End> {
        let wanted: Value = serde_json::from_str(&line.line).unwrap_or_default();
        loop {
            let message = self.client.recv().map_err(|_| End::Client)?;
            let same = match wanted["method"].as_str() {
                Some(m) => message["method"] == m,
                None => message.get("method").is_none() && message["id"] == wanted["id"],
            };
            if same {
                return Ok(Some(message));
            }
            if self.between(message, ids)? {
                return Ok(None);
            }
        }
    }

    /// Waits for the recorded pace and serves what the client sends meanwhile. True: interrupted.
    fn wait(&mut self, pause: Duration, ids: &Ids) -> Result<bool, End> {
        let end = Instant::now() + pause;
        loop {
            match self.client.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Timeout) => return Ok(false),
                Err(RecvTimeoutError::Disconnected) => return Err(End::Client),
                Ok(message) => {
                    if self.between(message, ids)? {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// A message that the recording does not foresee. True: it ended the turn.
    fn between(&mut self, message: Value, ids: &Ids) -> Result<bool, End> {
        match message["method"].as_str() {
            Some("turn/interrupt") => {
                say(&json!({"id": message["id"], "result": {}}).to_string())?;
                let turn = json!({"id": ids.turn, "items": [], "status": "interrupted", "error": null});
                let done =
                    json!({"method": "turn/completed", "params": {"threadId": self.thread, "turn": turn}});
                say(&done.to_string())?;
                return Ok(true);
            }
            Some("turn/start") if self.waiting.len() < QUEUE => self.waiting.push_back(message),
            Some(method) if message.get("id").is_some() => self.refuse(&message, method)?,
            _ => {}
        }
        Ok(false)
    }
}

/// Where a person decides otherwise than the recording: the recording of the other decision, from its
/// answer on.
fn alternative(now: &Recording, recorded: &Line, answer: &Value) -> Option<(Recording, usize)> {
    let recorded: Value = serde_json::from_str(&recorded.line).ok()?;
    let (was, is) = (recorded["result"]["decision"].as_str()?, answer["result"]["decision"].as_str()?);
    let is = if is.starts_with("accept") { "accept" } else { "decline" };
    if was == is {
        return None;
    }
    let other = Recording::embedded("codex", &now.header.scenario.replace(was, is))?;
    let at = other.lines.iter().position(|l| l.dir == Dir::In && l.line.contains("\"decision\""))?;
    Some((other, at + 1))
}

fn is_in(line: &Line, method: &str) -> bool {
    let value: Value = serde_json::from_str(&line.line).unwrap_or_default();
    line.dir == Dir::In && value["method"] == method
}

/// The recorded result of the first request of one of these methods.
fn result_of(lines: &[Line], methods: &[&str]) -> Option<Value> {
    let mut values = lines.iter().filter_map(|l| serde_json::from_str::<Value>(&l.line).ok());
    let request = values.find(|v| v["method"].as_str().is_some_and(|m| methods.contains(&m)))?;
    values.find(|v| v.get("method").is_none() && v["id"] == request["id"]).map(|mut v| v["result"].take())
}

fn thread_of(lines: &[Line]) -> String {
    let result = result_of(lines, &["thread/start", "thread/resume"]).unwrap_or_default();
    result["thread"]["id"].as_str().unwrap_or_default().to_owned()
}

/// A text as it stands inside of a JSON string.
fn inside(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}
