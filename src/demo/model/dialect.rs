//! What the two protocols have in common: how a reply is written as server-sent events.

use serde_json::Value;

use super::turn::Turn;

/// A server-sent event: name and data.
pub(super) type Event = (&'static str, Value);

/// A tool call as the protocol writes it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    pub name: String,
    /// See [`super::turn::ToolDef::namespace`].
    pub namespace: Option<String>,
    pub args: Args,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Args {
    Json(Value),
    /// Input of a freeform tool.
    Free(String),
}

/// Writes a reply. The implementations number their items and keep what a closing event repeats.
pub(super) trait Dialect: Send + Sync {
    fn open(&mut self) -> Vec<Event>;
    fn reasoning(&mut self, text: &str) -> Vec<Event>;
    fn text_begin(&mut self) -> Vec<Event>;
    fn text_piece(&mut self, piece: &str) -> Event;
    fn text_end(&mut self) -> Vec<Event>;
    fn call(&mut self, call: &Call) -> Vec<Event>;
    /// The reply failed in mid-stream.
    fn failed(&mut self, status: u16, body: &Value) -> Vec<Event>;
    /// The reply is whole. Tokens are an estimate of four bytes each.
    fn close(&mut self) -> Vec<Event>;
    fn content_type(&self) -> &'static str {
        "text/event-stream"
    }
    /// An event as it travels: server-sent.
    fn frame(&self, name: &str, data: &Value) -> Vec<u8> {
        format!("event: {name}\ndata: {data}\n\n").into_bytes()
    }
    /// Translates a step that calls a tool into the tool that this caller offers; a text where it
    /// offers none that could do it.
    fn translate(&self, step: &super::Step, turn: &Turn) -> Result<Call, String>;
}

/// Counts of the closing event.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    pub input: u64,
    pub cached: u64,
    pub output: u64,
}

impl Tokens {
    /// `request`: bytes of the request. All but the newest quarter counts as cached.
    pub fn of_request(request: usize) -> Self {
        let input = (request as u64 / 4).max(1);
        Self { input, cached: input / 4 * 3, output: 0 }
    }

    pub fn said(&mut self, text: &str) {
        self.output += (text.len() as u64).div_ceil(4);
    }
}

/// A plan as text, for callers without a tool for it.
pub(super) fn plan_as_text(steps: &[(String, super::PlanMark)]) -> String {
    let mut out = String::from("Plan:\n");
    for (text, mark) in steps {
        let sign = match mark {
            super::PlanMark::Completed => "[x]",
            super::PlanMark::InProgress => "[>]",
            super::PlanMark::Pending => "[ ]",
        };
        out.push_str(&format!("- {sign} {text}\n"));
    }
    out.push('\n');
    out
}
