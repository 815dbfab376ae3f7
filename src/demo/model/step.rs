//! What a scripted model can do, in words that no CLI's protocol knows.

use std::time::Duration;

use serde_json::Value;

use super::Gate;

/// One thing the model does. A reply ends after its first tool call (`Shell`, `Ask`, `Write`, `Plan`,
/// `Tool`, `Together`), since the CLI has to run it and call again; steps after it are not played.
#[derive(Debug, Clone)]
pub enum Step {
    /// Says `text` in pieces of `chunk` characters with `delay` between them.
    Text { text: String, chunk: usize, delay: Duration },
    /// Thinks aloud (a reasoning summary).
    Reasoning { text: String },
    /// Runs a command with the shell tool that the caller offers.
    Shell { command: String },
    /// Runs a command and asks a person for permission first, where the caller's tool has a word for
    /// it (Codex: outside of the sandbox); elsewhere the same as `Shell`.
    Ask { command: String, why: String },
    /// Writes a whole file, with the caller's own tool for edits. `path` is relative to the workspace.
    Write { path: String, text: String },
    /// States the plan anew, with the caller's tool for it; as text where it offers none.
    Plan { steps: Vec<(String, PlanMark)> },
    /// Any tool as the caller offers it. A string is the input of a freeform tool as it is.
    Tool { name: String, args: Value },
    /// Calls the tools of these steps in one reply, so that the caller may run them side by side.
    Together(Vec<Step>),
    /// Waits until the gate is released.
    Gate(Gate),
    /// Says nothing more and keeps the connection open until the client closes it.
    Hang,
    /// Fails. As the first step this is the HTTP status; later it is the protocol's error event.
    Error { status: u16, body: Value },
    /// Drops the connection in the middle of the reply.
    Cut,
}

impl Step {
    /// Text in one piece, at once.
    pub fn text(text: impl Into<String>) -> Self {
        Step::Text { text: text.into(), chunk: usize::MAX, delay: Duration::ZERO }
    }

    /// The error body that both APIs' clients read.
    pub fn error(status: u16, message: &str) -> Self {
        let kind = if status == 429 { "rate_limit_error" } else { "api_error" };
        let body = serde_json::json!({
            "type": "error", "error": {"type": kind, "code": kind, "message": message}
        });
        Step::Error { status, body }
    }

    /// True for steps that end the reply because the caller has to run a tool.
    pub fn calls_tool(&self) -> bool {
        matches!(
            self,
            Step::Shell { .. }
                | Step::Ask { .. }
                | Step::Write { .. }
                | Step::Plan { .. }
                | Step::Tool { .. }
                | Step::Together(_)
        )
    }
}

/// Where a step of a plan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanMark {
    Pending,
    InProgress,
    Completed,
}

impl PlanMark {
    /// The word all three CLIs use.
    pub fn word(self) -> &'static str {
        match self {
            PlanMark::Pending => "pending",
            PlanMark::InProgress => "in_progress",
            PlanMark::Completed => "completed",
        }
    }
}
