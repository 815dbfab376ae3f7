//! What a session is doing: a pure fold over its events. No clock, no IO, no guessing.

use serde::{Deserialize, Serialize};

use crate::event::encode::{hidden, prefix};
use crate::event::{Body, Delivery, Event, Outcome, Plan, PlanStep, Role, Usage};

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
    /// When it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<jiff::Timestamp>,
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
    /// The end of the last process was told, and nothing that could have started another one since.
    #[serde(default)]
    pub ended: bool,
    /// Memory of the activity line. Part of the state, so that a fold may go on from a copy of it.
    #[serde(default)]
    pub voice: Voice,
}

/// What the activity line must remember between events.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Voice {
    /// The message whose line is being written; empty where the next delta begins a new line.
    pub item: String,
    /// The activity is text of a message (and not a command, a tool, …).
    pub speaking: bool,
    /// The last line of a message, kept while the activity shows something else.
    pub said: String,
}

/// Most approvals kept open; later ones count as gaps.
const MAX_PENDING: usize = 100;
/// Longest activity, in characters.
const MAX_ACTIVITY: usize = 200;
/// Longest id, token, path or reason kept, in bytes.
const MAX_WORD: usize = 4 << 10;
/// Longest command, diff or set of questions kept of an approval, in bytes.
const MAX_DETAIL: usize = 64 << 10;
/// Most steps kept of a plan.
const MAX_STEPS: usize = 200;

impl SessionState {
    /// Folds one event in. Total: any event in any order gives a state that keeps its promises
    /// (`Waiting` exactly if a turn runs and something is pending; bounded size; `last_seq` never
    /// falls). An event that is not after `last_seq` was folded already and changes nothing, so a
    /// replay that overlaps is harmless.
    ///
    /// | event | effect |
    /// |---|---|
    /// | session.started | runtime, model, token; `Idle` unless a turn runs |
    /// | turn.started | `Running`; turn and its time; `turns` + 1; pending, step, reason and activity cleared |
    /// | turn.completed | no turn, nothing pending; `Idle`, or `Failed` with the error as reason. Of another turn than the running one, or after the process ended: nothing |
    /// | approval.requested | pending (same id: replaced; more than 100: a gap); `Waiting` if a turn runs |
    /// | approval.resolved | no longer pending; `Running` if it was the last |
    /// | session.ended | the event's state and reason (`Unknown` for one that needs a running turn); no turn, nothing pending |
    /// | usage | replaces the totals, or adds to them |
    /// | plan.updated, step | kept |
    /// | gap, raw | counted |
    /// | message, reasoning, command, tool, file | the activity line |
    /// | user.message, warning, error | nothing: queue and notices are others' (a queued message may start a process: `ended` is over) |
    pub fn apply(&mut self, event: &Event) {
        if event.seq <= self.last_seq {
            return;
        }
        self.last_seq = event.seq;
        match &event.body {
            Body::MessageDelta { item, role: Role::Assistant, text } => self.speak(item, text),
            Body::MessageCompleted { role: Role::Assistant, text, .. } => self.spoke(text),
            Body::ReasoningDelta { .. } => self.act("", "thinking"),
            Body::CommandStarted { command, .. } => self.act("$ ", command),
            Body::ToolStarted { name, .. } => self.act("", name),
            Body::FileChanged { path, .. } => self.act("", path),
            Body::Usage(usage) => self.count(usage),
            Body::Step { n, limit } => self.step = Some((*n, *limit)),
            Body::PlanUpdated(plan) => self.plan = Some(bounded_plan(plan)),
            Body::Gap { .. } | Body::Raw { .. } => self.gaps = self.gaps.saturating_add(1),
            Body::SessionStarted { runtime, model, resume_token } => {
                self.session_started(runtime, model.as_deref(), resume_token.as_deref());
            }
            Body::TurnStarted {} => self.turn_started(event),
            Body::TurnCompleted { outcome, error } => {
                self.turn_completed(event.turn.as_deref(), *outcome, error.as_deref());
            }
            Body::ApprovalRequested { .. } => self.requested(event),
            Body::ApprovalResolved { approval, .. } => self.resolved(approval),
            Body::SessionEnded { state, reason } => self.session_ended(*state, reason.as_deref()),
            Body::UserMessage { delivery: Delivery::Queued, .. } => self.ended = false,
            Body::MessageDelta { .. }
            | Body::MessageCompleted { .. }
            | Body::ReasoningCompleted { .. }
            | Body::CommandOutput { .. }
            | Body::CommandCompleted { .. }
            | Body::ToolCompleted { .. }
            | Body::UserMessage { .. }
            | Body::Warning { .. }
            | Body::Error { .. } => {}
        }
    }

    fn session_started(&mut self, runtime: &str, model: Option<&str>, token: Option<&str>) {
        self.ended = false;
        self.runtime = Some(word(runtime));
        if let Some(model) = model {
            self.model = Some(word(model));
        }
        // A token cut short is another token: none is better.
        if let Some(token) = token.filter(|t| t.len() <= MAX_WORD) {
            self.resume_token = Some(token.to_owned());
        }
        if self.turn.is_none() {
            self.state = State::Idle;
            self.reason = None;
        }
    }

    fn turn_started(&mut self, event: &Event) {
        self.ended = false;
        self.state = State::Running;
        self.reason = None;
        self.turn = Some(event.turn.as_deref().map(word).unwrap_or_default());
        self.turn_started_at = Some(event.ts);
        self.turns = self.turns.saturating_add(1);
        self.pending.clear();
        self.step = None;
        self.activity.clear();
        self.voice = Voice::default();
    }

    fn turn_completed(&mut self, turn: Option<&str>, outcome: Outcome, error: Option<&str>) {
        match (&self.turn, turn) {
            // A late end of another turn says nothing of the running one. (A turn may have no id.)
            (Some(running), Some(ended)) if !running.is_empty() && *running != word(ended) => return,
            (None, _) if self.state.is_final() => return,
            _ => {}
        }
        self.turn = None;
        self.pending.clear();
        if outcome == Outcome::Failed {
            self.state = State::Failed;
            self.reason = Some(word(error.unwrap_or("the turn failed")));
        } else {
            self.state = State::Idle;
            self.reason = None;
        }
        match error {
            Some(error) => self.act("", error),
            None => self.recall(),
        }
    }

    fn session_ended(&mut self, state: State, reason: Option<&str>) {
        self.ended = true;
        // No turn runs in a process that is gone.
        self.state = if state.in_turn() { State::Unknown } else { state };
        self.reason = reason.map(word);
        self.turn = None;
        self.pending.clear();
    }

    fn requested(&mut self, event: &Event) {
        let Body::ApprovalRequested { approval, what, command, cwd, diff, questions } = &event.body else {
            return;
        };
        self.act("wants: ", what);
        let detail = |s: &Option<String>| s.as_deref().map(|s| cut(s, MAX_DETAIL));
        let entry = PendingApproval {
            since: Some(event.ts),
            id: approval.clone(),
            what: word(what),
            command: detail(command),
            cwd: cwd.as_deref().map(word),
            diff: detail(diff),
            questions: questions.as_ref().map(bounded_value),
        };
        // A cut id would answer another request (or none).
        let kept = approval.len() <= MAX_WORD;
        match self.pending.iter().position(|p| p.id == entry.id) {
            Some(at) => self.pending[at] = entry,
            None if kept && self.pending.len() < MAX_PENDING => self.pending.push(entry),
            None => self.gaps = self.gaps.saturating_add(1),
        }
        if self.turn.is_some() && !self.pending.is_empty() {
            self.state = State::Waiting;
        }
    }

    fn resolved(&mut self, approval: &str) {
        self.pending.retain(|p| p.id != approval);
        if self.pending.is_empty() && self.state == State::Waiting {
            self.state = State::Running;
        }
    }

    fn count(&mut self, u: &Usage) {
        let sum = &mut self.usage;
        if u.total {
            // A total of tokens that names no cost does not take a known cost back.
            *sum = Usage { cost_usd: u.cost_usd.or(sum.cost_usd), ..u.clone() };
            return;
        }
        sum.input_tokens = sum.input_tokens.saturating_add(u.input_tokens);
        sum.cached_tokens = sum.cached_tokens.saturating_add(u.cached_tokens);
        sum.output_tokens = sum.output_tokens.saturating_add(u.output_tokens);
        if let Some(cost) = u.cost_usd.filter(|c| c.is_finite()) {
            let cost = sum.cost_usd.unwrap_or(0.0) + cost;
            sum.cost_usd = Some(cost.clamp(f64::MIN, f64::MAX));
        }
        sum.total = true;
    }

    /// The activity becomes something else than a message: the first line of `text` behind `prefix`.
    fn act(&mut self, prefix: &str, text: &str) {
        if self.voice.speaking {
            std::mem::swap(&mut self.voice.said, &mut self.activity);
            self.voice.speaking = false;
            self.voice.item.clear();
        }
        self.activity.clear();
        self.activity.push_str(prefix);
        let line = text.lines().find(|l| !is_blank(l)).unwrap_or_default();
        push_clean(&mut self.activity, line);
    }

    /// More text of a message: the activity is its last line that is not blank. Costs no more than
    /// the delta is long.
    fn speak(&mut self, item: &str, delta: &str) {
        let goes_on = self.voice.speaking && !self.voice.item.is_empty() && self.voice.item == item;
        // What ends in this delta, and the line that stays open after it.
        let (done, open) = match delta.rsplit_once('\n') {
            Some((done, open)) => (Some(done), open),
            None => (None, delta),
        };
        if goes_on && done.is_none() {
            push_clean(&mut self.activity, open);
        } else if !is_blank(open) {
            self.say(open);
            self.voice.item.clear();
            push_id(&mut self.voice.item, item);
        } else if let Some(done) = done {
            match last_line(done) {
                // It began in an earlier delta.
                Some((0, line)) if goes_on => push_clean(&mut self.activity, line),
                Some((_, line)) => self.say(line),
                None => {}
            }
            self.voice.item.clear();
        }
    }

    /// The whole text of a message.
    fn spoke(&mut self, text: &str) {
        if let Some((_, line)) = last_line(text) {
            self.say(line);
        }
        self.voice.item.clear();
    }

    fn say(&mut self, line: &str) {
        self.voice.speaking = true;
        self.activity.clear();
        push_clean(&mut self.activity, line);
    }

    /// The last line that was said, if anything was.
    fn recall(&mut self) {
        if !self.voice.speaking && !self.voice.said.is_empty() {
            std::mem::swap(&mut self.voice.said, &mut self.activity);
            self.voice.said.clear();
            self.voice.speaking = true;
        }
        self.voice.item.clear();
    }
}

/// The last line that is not blank, and where it starts.
fn last_line(text: &str) -> Option<(usize, &str)> {
    let mut end = text.len();
    loop {
        let start = text[..end].rfind('\n').map_or(0, |i| i + 1);
        let line = &text[start..end];
        if !is_blank(line) {
            return Some((start, line));
        }
        end = start.checked_sub(1)?;
    }
}

fn is_unseen(c: char) -> bool {
    c.is_control() || hidden(c)
}

fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || is_unseen(c))
}

/// Appends what can be seen of `text`, up to [`MAX_ACTIVITY`] characters in all and without leading
/// blanks.
fn push_clean(out: &mut String, text: &str) {
    let room = MAX_ACTIVITY.saturating_sub(out.chars().count());
    let text = if out.is_empty() { text.trim_start() } else { text };
    let seen = text.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !is_unseen(*c));
    out.extend(seen.take(room));
}

/// Ids longer than any real one make every delta a new line, and nothing worse.
fn push_id(out: &mut String, id: &str) {
    if id.len() <= MAX_WORD {
        out.push_str(id);
    }
}

fn word(s: &str) -> String {
    cut(s, MAX_WORD)
}

/// At most `max` bytes, and an ellipsis where something is missing.
fn cut(s: &str, max: usize) -> String {
    if s.len() <= max {
        return s.to_owned();
    }
    let mut kept = prefix(s, max).to_owned();
    kept.push('…');
    kept
}

fn bounded_plan(plan: &Plan) -> Plan {
    let step = |s: &PlanStep| PlanStep { text: word(&s.text), status: s.status };
    Plan { steps: plan.steps.iter().take(MAX_STEPS).map(step).collect() }
}

fn bounded_value(value: &serde_json::Value) -> serde_json::Value {
    let text = value.to_string();
    if text.len() <= MAX_DETAIL { value.clone() } else { serde_json::Value::String(cut(&text, MAX_DETAIL)) }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
