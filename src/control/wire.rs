//! What travels between client and control plane, and what `--json` prints. Field names are stable.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::{Decision, Usage};
use crate::id::AgentName;
use crate::runtime::{Capabilities, Mode, Permissions};
use crate::session::state::{PendingApproval, State};

/// Version of this API. A server answers only clients of the same number; both say theirs.
pub const API: u32 = 1;
/// Header with the client's [`API`].
pub const API_HEADER: &str = "fracta-api";

/// `GET /v1/status`, `fracta status --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub pid: u32,
    /// Path of the Unix socket.
    pub socket: String,
    /// TCP address, where it listens on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// fracta's version.
    pub version: String,
    pub api: u32,
    /// The project's root.
    pub root: String,
    pub started_at: Timestamp,
    /// Agents that are not killed.
    pub agents: u64,
    /// Agents whose turn runs.
    pub running: u64,
}

/// One row of `fracta list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    pub name: AgentName,
    pub state: State,
    pub reason: Option<String>,
    pub runtime: String,
    pub adapter: String,
    pub mode: Mode,
    pub backend: String,
    pub model: Option<String>,
    /// fracta's session id.
    pub session: String,
    pub resume_token: Option<String>,
    /// Id of the running turn.
    pub turn: Option<String>,
    /// When the running, else the last, turn started.
    pub turn_started_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub usage: Usage,
    pub pending_approvals: Vec<PendingApproval>,
    pub workspace: String,
    pub branch: Option<String>,
    /// Branch or commit it started from.
    pub base: Option<String>,
    /// The first message.
    pub contract: Option<String>,
    /// One line: what it does now.
    pub activity: String,
    /// Number of its last event.
    pub last_seq: u64,
    /// Events that nobody has looked at.
    pub unread: u64,
    /// Messages that wait for the running turn to end.
    pub queued_messages: u64,
    pub step: Option<(u32, u32)>,
    /// Killed: only its journal is left.
    pub killed: bool,
}

/// `POST /v1/agents`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spawn {
    pub name: String,
    pub runtime: Option<String>,
    pub mode: Option<Mode>,
    pub tier: Option<Tier>,
    pub model: Option<String>,
    /// The first message; none: the session opens and waits (stream only).
    pub contract: Option<String>,
    pub base: Option<String>,
    pub backend: Option<String>,
    /// Plan only: nothing is touched.
    #[serde(default)]
    pub dry_run: bool,
}

/// Model tiers of a runtime.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    Heavy,
    Medium,
    Light,
}

impl Tier {
    pub fn word(self) -> &'static str {
        match self {
            Tier::Heavy => "heavy",
            Tier::Medium => "medium",
            Tier::Light => "light",
        }
    }
}

/// What a dry run answers: what would be started, and where. Values of secrets are not in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub name: AgentName,
    pub runtime: String,
    pub adapter: String,
    pub mode: Mode,
    pub backend: String,
    pub model: Option<String>,
    pub workspace: String,
    pub branch: Option<String>,
    pub base: Option<String>,
    pub argv: Vec<String>,
    /// Names of the variables the agent gets beyond the inherited ones.
    pub env: Vec<String>,
}

/// `POST /v1/agents/NAME/say` and `/steer`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Say {
    pub text: String,
}

/// What became of a message by the time the answer was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// fracta's id of the message; `user.message` events with this `item` tell what became of it.
    pub message: String,
    pub delivery: crate::event::Delivery,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `POST /v1/agents/NAME/approvals`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// None: the only pending one; an error where there are several.
    pub approval: Option<String>,
    pub decision: Decision,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<serde_json::Value>,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    pub approval: String,
    pub decision: Decision,
}

/// `POST /v1/agents/NAME/kill`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Kill {
    #[serde(default)]
    pub keep_files: bool,
    #[serde(default)]
    pub force: bool,
}

/// `GET /v1/agents/NAME/diff`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diff {
    pub base: String,
    /// Unified diff of the agent's work, uncommitted work included, against its base.
    pub diff: String,
    pub files: Vec<FileStat>,
    /// True where `diff` was cut at the limit; the workspace has it all.
    pub truncated: bool,
}

/// One changed file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileStat {
    pub path: String,
    /// Lines; none for binary files.
    pub added: Option<u64>,
    pub removed: Option<u64>,
}

/// `POST /v1/agents/NAME/merge`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Merged {
    /// The branch merged into.
    pub into: String,
    /// The commit that the branch is at now; none where there was nothing to merge.
    pub commit: Option<String>,
}

/// One row of `fracta runtimes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Runtime {
    pub name: String,
    pub adapter: String,
    pub command: Vec<String>,
    /// Where the executable was found; none: not installed.
    pub path: Option<String>,
    pub version: Option<String>,
    /// How to install it.
    pub install: String,
    /// None where this build has no such adapter.
    pub capabilities: Option<Capabilities>,
    pub model: Option<String>,
    pub model_tiers: std::collections::BTreeMap<String, String>,
    pub auth_profile: Option<String>,
    /// Which credential the CLI would use, in one line and without its value.
    #[serde(default)]
    pub credential: String,
    /// Who answers its requests, for each mode it is run in: `ask` or `auto`.
    #[serde(default)]
    pub permissions: std::collections::BTreeMap<String, Permissions>,
    /// Version outside the known range, missing CLI, …
    pub warnings: Vec<String>,
    pub default: bool,
}

/// `POST /v1/auth/diagnose`; answered with a [`crate::credentials::report::Report`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Diagnose {
    /// None: the runtime of a spawn that names none.
    pub runtime: Option<String>,
    pub backend: Option<String>,
    pub mode: Option<Mode>,
}

/// `POST /v1/prune`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prune {
    /// Only what ended longer ago than this many seconds.
    pub older_than_secs: u64,
}

/// What was pruned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pruned {
    pub sessions: u64,
    pub bytes: u64,
    /// Finished agents that were left, and why (work that would be lost).
    pub kept: Vec<String>,
}

/// `POST /v1/shutdown`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Shutdown {
    /// End the agents too.
    #[serde(default)]
    pub agents: bool,
}

/// Body of every answer that is not 2xx.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    pub code: Code,
    /// What happened and what to do, for a person.
    pub message: String,
}

/// What kind of error it is; decides the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request makes no sense: exit 2.
    BadRequest,
    /// No such agent, approval, …
    NotFound,
    /// The name is taken, the work conflicts, the state does not allow it.
    Conflict,
    /// The runtime or adapter cannot do this.
    Unsupported,
    /// Token missing or wrong.
    Unauthorized,
    /// Client and server speak different versions.
    Version,
    /// Anything else.
    Internal,
}

/// Frames of `GET /v1/watch` (SSE): the list as it changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Watch {
    /// The whole list, first.
    Agents { agents: Vec<Agent> },
    /// A new or changed agent. Changes of one agent coalesce.
    Agent { agent: Box<Agent> },
    /// The agent is gone from the list (killed or pruned).
    Gone { name: AgentName, session: String },
}
