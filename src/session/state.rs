//! What a session is doing: a pure fold over its events. No clock, no IO, no guessing.

use serde::{Deserialize, Serialize};

use crate::event::{Event, Plan, Usage};

/// State of an agent. `Unknown` is said where evidence is missing; `Idle` is never a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for a free place (`agents.max_running`).
    Queued,
    /// Its process is being started, or its session opened.
    Starting,
    /// A turn runs.
    Running,
    /// A turn runs and waits for a person's answer.
    Waiting,
    /// The session is open and no turn runs.
    Idle,
    /// The process ended and the last turn completed.
    Completed,
    /// The turn or the process failed; the reason says how.
    Failed,
    /// Ended because a person asked for it.
    Stopped,
    /// Nothing is known. Never shown as anything better.
    #[default]
    Unknown,
}

impl State {
    /// The word used in events, tables and JSON.
    pub fn word(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Starting => "starting",
            State::Running => "running",
            State::Waiting => "waiting",
            State::Idle => "idle",
            State::Completed => "completed",
            State::Failed => "failed",
            State::Stopped => "stopped",
            State::Unknown => "unknown",
        }
    }

    /// A process of the agent is (or is about to be) alive.
    pub fn is_live(self) -> bool {
        matches!(self, State::Starting | State::Running | State::Waiting | State::Idle)
    }

    /// A turn runs.
    pub fn in_turn(self) -> bool {
        matches!(self, State::Running | State::Waiting)
    }

    /// Nothing more happens unless a person says something.
    pub fn is_final(self) -> bool {
        matches!(self, State::Completed | State::Failed | State::Stopped)
    }
}

/// An approval or question nobody has answered yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PendingApproval {
    /// What `fracta approve NAME ID` takes.
    pub id: String,
    pub what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub questions: Option<serde_json::Value>,
}

/// Everything that is known of a session from its events. Bounded: it holds no transcript.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SessionState {
    pub state: State,
    pub reason: Option<String>,
    /// Number of the last event folded; 0 before the first.
    pub last_seq: u64,
    pub runtime: Option<String>,
    pub model: Option<String>,
    pub resume_token: Option<String>,
    /// The running turn, if any.
    pub turn: Option<String>,
    /// When the running (else the last) turn started.
    pub turn_started_at: Option<jiff::Timestamp>,
    /// Turns started so far.
    pub turns: u64,
    /// Totals of the session.
    pub usage: Usage,
    pub pending: Vec<PendingApproval>,
    pub plan: Option<Plan>,
    /// Step of the running turn and its limit (OpenCode's guard).
    pub step: Option<(u32, u32)>,
    /// One line: what it is doing now (`$ cargo test`, the last line of its text, …). At most 200 chars.
    pub activity: String,
    /// Gaps and raw lines seen: facts that could not be shown.
    pub gaps: u64,
}

impl SessionState {
    /// Folds one event in.
    pub fn apply(&mut self, event: &Event) {
        self.last_seq = event.seq;
    }
}
