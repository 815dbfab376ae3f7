//! Stream: `claude --input-format stream-json`, from batch recordings.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Cli, End, Live, QUEUE, client, ended, for_prompt, fresh_id, pause, say};
use crate::demo::recording::Dir;

pub(super) fn play(args: &[String]) -> io::Result<u8> {
    let session = Cli::Claude.resumed(args).unwrap_or_else(fresh_id);
    let mut player = Player { client: client(), session, waiting: VecDeque::new() };
    ended(player.serve())
}

struct Player {
    client: Receiver<Value>,
    session: String,
    /// Messages that came while a turn was played.
    waiting: VecDeque<Value>,
}

impl Player {
    fn serve(&mut self) -> Result<(), End> {
        loop {
            let message = match self.waiting.pop_front() {
                Some(m) => m,
                None => self.client.recv().map_err(|_| End::Client)?,
            };
            match message["type"].as_str() {
                Some("control_request") => respond(&message)?,
                Some("user") => self.turn(&message)?,
                _ => {}
            }
        }
    }

    fn turn(&mut self, message: &Value) -> Result<(), End> {
        let prompt = message["message"]["content"].as_str().unwrap_or_default();
        let recording = for_prompt(Cli::Claude, prompt, true)?;
        let live = Live::new(Cli::Claude, &recording, Some(self.session.clone()));
        let mut before = recording.lines.first().map_or(0, |l| l.t);
        for (n, l) in recording.lines.iter().filter(|l| l.dir == Dir::Out).enumerate() {
            if self.wait(pause(before, l.t))? {
                return Ok(self.interrupted()?);
            }
            before = l.t;
            say(&live.line(&l.line))?;
            if n == 0 {
                // That the message was taken in, which batch mode does not say.
                let mut taken = message.clone();
                taken["session_id"] = self.session.clone().into();
                taken["isReplay"] = true.into();
                say(&taken.to_string())?;
            }
        }
        Ok(())
    }

    /// Waits for the recorded pace and serves what the client sends meanwhile. True: interrupted.
    fn wait(&mut self, pause: Duration) -> Result<bool, End> {
        let end = Instant::now() + pause;
        loop {
            match self.client.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Timeout) => return Ok(false),
                Err(RecvTimeoutError::Disconnected) => return Err(End::Client),
                Ok(message) if message["type"] == "control_request" => {
                    respond(&message)?;
                    if message["request"]["subtype"] == "interrupt" {
                        return Ok(true);
                    }
                }
                Ok(message) if self.waiting.len() < QUEUE => self.waiting.push_back(message),
                Ok(_) => {}
            }
        }
    }

    /// What Claude says where a turn was interrupted.
    fn interrupted(&self) -> io::Result<()> {
        let words = json!([{"type": "text", "text": "[Request interrupted by user]"}]);
        let note = json!({
            "type": "user", "message": {"role": "user", "content": words}, "parent_tool_use_id": null,
            "session_id": self.session, "uuid": fresh_id()
        });
        say(&note.to_string())?;
        let result = json!({
            "type": "result", "subtype": "error_during_execution", "is_error": true, "num_turns": 1,
            "stop_reason": null, "session_id": self.session, "uuid": fresh_id()
        });
        say(&result.to_string())
    }
}

/// Requests of the client: opening and interrupting. Both are done by saying so.
fn respond(request: &Value) -> io::Result<()> {
    let id = &request["request_id"];
    let response = json!({"subtype": "success", "request_id": id, "response": {}});
    say(&json!({"type": "control_response", "response": response}).to_string())
}
