//! `claude -p --output-format stream-json`: one process a turn, the prompt on stdin.

use serde_json::Value;

use super::reader::Reader;
use crate::event::Body;
use crate::runtime::json::raw;
use crate::runtime::{Input, Output, Protocol, SessionSpec};

/// The state machine of one batch process.
#[derive(Debug)]
pub(super) struct Batch {
    reader: Reader,
    /// The prompt's id, until its fate is known.
    message: Option<String>,
}

impl Batch {
    pub(super) fn new(spec: &SessionSpec, message: Option<&str>) -> Self {
        Self { reader: Reader::new(spec), message: message.map(str::to_owned) }
    }
}

impl Protocol for Batch {
    fn open(&mut self, _out: &mut Output) {}

    fn input(&mut self, input: Input<'_>, out: &mut Output) {
        let Input::Message(line) = input;
        match serde_json::from_slice::<Value>(line) {
            Ok(v) if v.is_object() => self.reader.read(&v, line, out),
            _ if line.trim_ascii().is_empty() => return,
            _ => return self.reader.fact(raw(line), out),
        }
        let began = out.facts.iter().any(|f| matches!(f.body, Body::TurnStarted {}));
        let fate = match self.reader.fatal() {
            Some(why) => Err(why.to_owned()),
            None if began => Ok(()),
            None => return,
        };
        out.deliveries.extend(self.message.take().map(|message| (message, fate)));
    }

    fn fatal(&self) -> Option<&str> {
        self.reader.fatal()
    }
}
