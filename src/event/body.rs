//! The kinds of events and their fields.

use serde::{Deserialize, Serialize};

use crate::session::state::State;

/// What happened. The JSON field `kind` names the variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Body {
    /// A process of the runtime is ready for turns. A resumed session starts again with the same token.
    #[serde(rename = "session.started")]
    SessionStarted {
        runtime: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
        /// Claude's session id, Codex's thread id, OpenCode's session id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume_token: Option<String>,
    },
    #[serde(rename = "turn.started")]
    TurnStarted {},
    #[serde(rename = "turn.completed")]
    TurnCompleted {
        outcome: Outcome,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    #[serde(rename = "message.delta")]
    MessageDelta { item: String, role: Role, text: String },
    /// The whole text of a message; it makes good any delta that was missed.
    #[serde(rename = "message.completed")]
    MessageCompleted { item: String, role: Role, text: String },
    #[serde(rename = "reasoning.delta")]
    ReasoningDelta { item: String, text: String },
    #[serde(rename = "reasoning.completed")]
    ReasoningCompleted { item: String, text: String },
    #[serde(rename = "command.started")]
    CommandStarted {
        item: String,
        command: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cwd: Option<String>,
    },
    #[serde(rename = "command.output")]
    CommandOutput { item: String, text: String },
    #[serde(rename = "command.completed")]
    CommandCompleted {
        item: String,
        command: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cwd: Option<String>,
        /// The whole output as the runtime gives it at the end; absent where it gives none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// Absent where the command was declined or cut off.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i64>,
    },
    #[serde(rename = "tool.started")]
    ToolStarted { item: String, name: String, input: serde_json::Value },
    #[serde(rename = "tool.completed")]
    ToolCompleted {
        item: String,
        name: String,
        input: serde_json::Value,
        output: serde_json::Value,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    #[serde(rename = "file.changed")]
    FileChanged {
        item: String,
        path: String,
        change: Change,
        /// Unified diff, as the runtime gives it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        diff: Option<String>,
    },
    #[serde(rename = "plan.updated")]
    PlanUpdated(Plan),
    #[serde(rename = "usage")]
    Usage(Usage),
    /// A step of a turn (one call of the model), counted by the step monitor.
    #[serde(rename = "step")]
    Step { n: u32, limit: u32 },
    #[serde(rename = "approval.requested")]
    ApprovalRequested {
        /// Unique in the session; what `fracta approve NAME ID` takes.
        approval: String,
        /// One line for a person: what is asked for, and the runtime's reason if it gave one.
        what: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cwd: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        diff: Option<String>,
        /// Set where an answer is more than yes or no: the questions, as the runtime gives them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        questions: Option<serde_json::Value>,
    },
    #[serde(rename = "approval.resolved")]
    ApprovalResolved {
        approval: String,
        decision: Decision,
        /// Who decided: `person`, `auto` (permissions: auto), `runtime` (withdrawn), `fracta` (refused as unknown).
        by: String,
    },
    #[serde(rename = "user.message")]
    UserMessage {
        /// fracta's id of the message; a later event with the same id updates its delivery.
        item: String,
        text: String,
        delivery: Delivery,
        /// True for a message into a running turn.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        steer: bool,
        /// Why it was rejected or is unconfirmed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    #[serde(rename = "warning")]
    Warning { text: String },
    #[serde(rename = "error")]
    Error {
        text: String,
        /// True where the runtime says that it tries again by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retryable: Option<bool>,
    },
    /// Something was lost or left out; `text` says what and why. Never silent.
    #[serde(rename = "gap")]
    Gap { text: String },
    /// A line that no adapter knows, kept whole (up to [`crate::transport::MAX_LINE`]).
    #[serde(rename = "raw")]
    Raw { text: String },
    /// The process of the session ended.
    #[serde(rename = "session.ended")]
    SessionEnded {
        state: State,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Completed,
    Interrupted,
    Failed,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Assistant,
    User,
    System,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Added,
    Modified,
    Deleted,
    Renamed,
}

/// What became of an approval request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    Approved,
    Denied,
    /// The turn ended or the runtime took the request back before anyone answered.
    Withdrawn,
}

/// What is known about a message on its way to the runtime. Never resent by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// fracta holds it until the running turn ends, or until the runtime answers.
    Queued,
    /// The runtime confirmed it.
    Accepted,
    /// The runtime refused it, or can no longer get it.
    Rejected,
    /// It was written to the runtime and no answer came before the link or a process died.
    Unconfirmed,
}

/// The agent's plan, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub steps: Vec<PlanStep>,
}

/// A step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanStep {
    pub text: String,
    pub status: PlanStatus,
}

/// Where a step of a plan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanStatus {
    Pending,
    InProgress,
    Completed,
}

/// Tokens used, as the runtime reports them. `total` says whether the figures are the session's so
/// far (replace) or this turn's or step's alone (add).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    pub input_tokens: u64,
    pub cached_tokens: u64,
    pub output_tokens: u64,
    /// Only where the runtime reports it; fracta computes no prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// True: totals of the session. False: to be added.
    #[serde(default)]
    pub total: bool,
}
