//! What Claude says, as facts: the same lines in batch and in stream mode.
//!
//! Claude has no ids of turns, so they are fracta's: `turn-{run}-{n}`, counted by what the process
//! says. Each turn begins with `system/init` and ends with `result`. A turn may begin without a message
//! of ours: when a command or a subagent in the background is done, Claude goes on by itself.

use std::collections::VecDeque;

use serde_json::Value;

use super::failure;
use super::tools::Tools;
use crate::event::{Body, Fact, Outcome, Role, Usage};
use crate::runtime::json::{list, owned, raw, text};
use crate::runtime::{Output, SessionSpec};

/// Most content blocks of one message whose numbers are kept until they are complete.
const MAX_BLOCKS: usize = 256;

/// The reader of one process.
#[derive(Debug)]
pub(super) struct Reader {
    runtime: String,
    run: u32,
    /// Session id and model as they were told last.
    session: Option<(String, Option<String>)>,
    turn: Option<String>,
    /// Turns begun in this process.
    turns: u64,
    /// Claude noted in this turn that it was interrupted.
    cut: bool,
    /// Claude said a text or an error in this turn.
    spoke: bool,
    /// Cost so far: Claude says the sum of the process.
    spent: f64,
    /// The message that is being streamed, and its blocks that are not complete: kind and number.
    message: String,
    blocks: VecDeque<(String, u64)>,
    tools: Tools,
    fatal: Option<String>,
}

impl Reader {
    pub(super) fn new(spec: &SessionSpec) -> Self {
        Self {
            runtime: spec.runtime.clone(),
            run: spec.run,
            session: None,
            turn: None,
            turns: 0,
            cut: false,
            spoke: false,
            spent: 0.0,
            message: String::new(),
            blocks: VecDeque::new(),
            tools: Tools::default(),
            fatal: None,
        }
    }

    /// The running turn.
    pub(super) fn turn(&self) -> Option<&String> {
        self.turn.as_ref()
    }

    /// Why there is no session and never will be.
    pub(super) fn fatal(&self) -> Option<&str> {
        self.fatal.as_deref()
    }

    /// The process can be of no use: why.
    pub(super) fn fail(&mut self, why: String, out: &mut Output) {
        self.fact(Body::Error { text: why.clone(), retryable: Some(false) }, out);
        self.fatal = Some(why);
    }

    /// A fact of the running turn.
    pub(super) fn fact(&self, body: Body, out: &mut Output) {
        out.facts.push(Fact { turn: self.turn.clone(), body });
    }

    /// Reads one message. `line` is the same as it was said.
    pub(super) fn read(&mut self, v: &Value, line: &[u8], out: &mut Output) {
        // What a subagent says is not the agent's own words; what it does is told.
        let foreign = v.get("parent_tool_use_id").is_some_and(|p| !p.is_null());
        match text(v, "type").unwrap_or_default() {
            "stream_event" if foreign => {}
            "stream_event" => self.stream_event(v.get("event").unwrap_or(&Value::Null), out),
            "assistant" => self.assistant(v, line, foreign, out),
            "user" => self.user(v, foreign, out),
            "system" => self.system(v, line, out),
            "result" => self.result(v, out),
            "rate_limit_event" => self.rate_limit(v.get("rate_limit_info").unwrap_or(v), out),
            // Newer versions tell more than once what they do with a message; only the first counts.
            "command_lifecycle" => {
                if matches!(text(v, "state"), Some("queued" | "started")) {
                    out.deliveries.push((owned(v, "command_uuid"), Ok(())));
                }
            }
            "auth_status" => {
                if let Some(error) = text(v, "error") {
                    self.fact(Body::Error { text: error.to_owned(), retryable: None }, out);
                }
            }
            "keep_alive" | "tool_progress" | "tool_use_summary" | "prompt_suggestion"
            | "conversation_reset" | "active_goal" | "transcript_mirror" => {}
            _ => self.fact(raw(line), out),
        }
    }

    fn system(&mut self, v: &Value, line: &[u8], out: &mut Output) {
        match text(v, "subtype").unwrap_or_default() {
            "init" => self.init(v, out),
            "api_retry" => {
                let n = |key: &str| v.get(key).and_then(Value::as_u64).unwrap_or_default();
                let why = text(v, "error").unwrap_or("error").replace('_', " ");
                let status = v.get("error_status").and_then(Value::as_u64);
                let status = status.map(|s| format!(" (HTTP {s})")).unwrap_or_default();
                let text =
                    format!("the model's API: {why}{status}; try {} of {}", n("attempt"), n("max_retries"));
                self.fact(Body::Error { text, retryable: Some(true) }, out);
            }
            "compact_boundary" => {
                let text = "claude compacted the conversation to fit the model".to_owned();
                self.fact(Body::Warning { text }, out);
            }
            "informational"
            | "notification"
            | "local_command_output"
            | "permission_denied"
            | "model_fallback"
            | "model_refusal_fallback"
            | "model_refusal_no_fallback"
            | "model_consent_fallback"
            | "session_writes_lost"
            | "instruction_size_warning"
            | "api_error"
            | "mirror_error" => {
                let said = ["content", "message", "text", "error"].iter().find_map(|key| text(v, key));
                match said {
                    Some(said) => self.fact(Body::Warning { text: said.to_owned() }, out),
                    None => self.fact(raw(line), out),
                }
            }
            // Bookkeeping, and what the facts tell already.
            "status"
            | "thinking_tokens"
            | "task_started"
            | "task_progress"
            | "task_updated"
            | "task_notification"
            | "task_summary"
            | "background_tasks_changed"
            | "hook_started"
            | "hook_progress"
            | "hook_response"
            | "session_state_changed"
            | "session_title_changed"
            | "session_metadata"
            | "files_persisted"
            | "file_snapshot"
            | "commands_changed"
            | "post_turn_summary"
            | "stop_hook_summary"
            | "turn_duration"
            | "turn_starting"
            | "turn_began_before_init"
            | "elicitation_complete"
            | "memory_saved"
            | "memory_recall"
            | "plugin_install"
            | "control_request_progress"
            | "permission_check_status"
            | "vcs_state_changed"
            | "code_change_published"
            | "per_turn_effort_changed"
            | "worker_shutting_down"
            | "away_summary" => {}
            _ => self.fact(raw(line), out),
        }
    }

    /// Said at the start of each turn; not of the process, whose session id is unknown until then.
    fn init(&mut self, v: &Value, out: &mut Output) {
        let session = (owned(v, "session_id"), text(v, "model").map(str::to_owned));
        if self.session.as_ref() != Some(&session) {
            out.facts.push(
                Body::SessionStarted {
                    runtime: self.runtime.clone(),
                    model: session.1.clone(),
                    resume_token: Some(session.0.clone()).filter(|id| !id.is_empty()),
                }
                .into(),
            );
            self.session = Some(session);
        }
        self.begin_turn(out);
    }

    fn begin_turn(&mut self, out: &mut Output) {
        if self.turn.is_none() {
            self.turns += 1;
            self.turn = Some(format!("turn-{}-{}", self.run, self.turns));
            self.cut = false;
            self.spoke = false;
            self.fact(Body::TurnStarted {}, out);
        }
    }

    fn stream_event(&mut self, e: &Value, out: &mut Output) {
        let number = e.get("index").and_then(Value::as_u64).unwrap_or_default();
        match text(e, "type").unwrap_or_default() {
            "message_start" => {
                self.begin_turn(out);
                self.message =
                    e.pointer("/message/id").and_then(Value::as_str).unwrap_or_default().to_owned();
                self.blocks.clear();
            }
            "content_block_start" => {
                let kind = e.pointer("/content_block/type").and_then(Value::as_str).unwrap_or_default();
                if self.blocks.len() >= MAX_BLOCKS {
                    self.blocks.pop_front();
                }
                self.blocks.push_back((kind.to_owned(), number));
            }
            "content_block_delta" => {
                let Some(delta) = e.get("delta") else { return };
                let item = || format!("{}-{number}", self.message);
                let body = match text(delta, "type") {
                    Some("text_delta") => {
                        Body::MessageDelta { item: item(), role: Role::Assistant, text: owned(delta, "text") }
                    }
                    Some("thinking_delta") => {
                        Body::ReasoningDelta { item: item(), text: owned(delta, "thinking") }
                    }
                    _ => return,
                };
                self.fact(body, out);
            }
            _ => {}
        }
    }

    /// A message, or a block of it: Claude says each block when it is complete.
    fn assistant(&mut self, v: &Value, line: &[u8], foreign: bool, out: &mut Output) {
        let message = v.get("message").unwrap_or(&Value::Null);
        if foreign {
            for block in list(message, "content").iter().filter(|b| text(b, "type") == Some("tool_use")) {
                self.tool_started(block, true, out);
            }
            return;
        }
        self.begin_turn(out);
        if v.get("error").is_some_and(|e| !e.is_null()) || v["isApiErrorMessage"] == true {
            let text: String = list(message, "content").iter().filter_map(|b| text(b, "text")).collect();
            let text = failure::clear(&text);
            self.spoke = true;
            return self.fact(Body::Error { text, retryable: Some(false) }, out);
        }
        for (i, block) in list(message, "content").iter().enumerate() {
            let kind = text(block, "type").unwrap_or_default();
            match kind {
                "text" => {
                    let item = self.item(v, message, kind, i);
                    self.spoke = true;
                    let text = owned(block, "text");
                    self.fact(Body::MessageCompleted { item, role: Role::Assistant, text }, out);
                }
                "thinking" => {
                    let (item, text) = (self.item(v, message, kind, i), owned(block, "thinking"));
                    if !text.is_empty() {
                        self.fact(Body::ReasoningCompleted { item, text }, out);
                    }
                }
                "redacted_thinking" | "fallback" => {}
                "tool_use" | "server_tool_use" | "mcp_tool_use" => self.tool_started(block, false, out),
                _ if block.get("tool_use_id").is_some() => self.tool_finished(block, &Value::Null, out),
                _ => self.fact(raw(line), out),
            }
        }
    }

    /// The item of a block: the same as its deltas had. Without deltas, the line's own id.
    fn item(&mut self, v: &Value, message: &Value, kind: &str, i: usize) -> String {
        let id = text(message, "id").unwrap_or_default();
        if id == self.message
            && let Some(at) = self.blocks.iter().position(|(k, _)| k == kind)
            && let Some((_, number)) = self.blocks.remove(at)
        {
            return format!("{id}-{number}");
        }
        format!("{}-{i}", text(v, "uuid").unwrap_or(id))
    }

    fn tool_started(&mut self, block: &Value, foreign: bool, out: &mut Output) {
        let turn = self.turn.clone();
        self.tools.started(block, foreign, |body| out.facts.push(Fact { turn: turn.clone(), body }));
    }

    fn tool_finished(&mut self, block: &Value, detail: &Value, out: &mut Output) {
        let turn = self.turn.clone();
        self.tools.finished(block, detail, |body| out.facts.push(Fact { turn: turn.clone(), body }));
    }

    /// Results of tools, our own messages again, and what Claude puts into the person's mouth.
    fn user(&mut self, v: &Value, foreign: bool, out: &mut Output) {
        if v["isReplay"] == true {
            return out.deliveries.push((owned(v, "uuid"), Ok(())));
        }
        let Some(message) = v.get("message") else { return };
        for block in list(message, "content") {
            match text(block, "type") {
                Some("tool_result") => {
                    let detail = v.get("tool_use_result").unwrap_or(&Value::Null);
                    self.tool_finished(block, detail, out);
                }
                Some("text") if !foreign => self.noted(text(block, "text").unwrap_or_default()),
                _ => {}
            }
        }
        if !foreign {
            self.noted(text(message, "content").unwrap_or_default());
        }
    }

    fn noted(&mut self, text: &str) {
        if text.starts_with("[Request interrupted by user") {
            self.cut = true;
        }
    }

    fn result(&mut self, v: &Value, out: &mut Output) {
        let failed = v["is_error"] == true || text(v, "subtype").is_some_and(|s| s != "success");
        let said = text(v, "result").unwrap_or_default();
        if self.session.is_none() && self.turn.is_none() && failed {
            return self.fail(failure::clear(&why(v)), out);
        }
        // The answer to a command of Claude's own (`/context`) stands nowhere else.
        if !failed && !self.spoke && !said.is_empty() {
            let item = format!("{}-result", self.turn.as_deref().unwrap_or("result"));
            let text = said.to_owned();
            self.fact(Body::MessageCompleted { item, role: Role::Assistant, text }, out);
        }
        self.usage(v, out);
        let aborted = text(v, "terminal_reason").is_some_and(|r| r.starts_with("aborted"));
        let (outcome, error) = match failed {
            false => (Outcome::Completed, None),
            true if self.cut || aborted => (Outcome::Interrupted, None),
            true => (Outcome::Failed, Some(failure::clear(&why(v)))),
        };
        if self.turn.is_some() {
            self.fact(Body::TurnCompleted { outcome, error }, out);
        }
        self.turn = None;
        self.tools.turn_ended();
        self.blocks.clear();
    }

    /// Tokens are said of the turn, the cost of the process.
    fn usage(&mut self, v: &Value, out: &mut Output) {
        let usage = v.get("usage").unwrap_or(&Value::Null);
        let n = |key: &str| usage.get(key).and_then(Value::as_u64).unwrap_or_default();
        let cached = n("cache_read_input_tokens");
        let sum = v.get("total_cost_usd").and_then(Value::as_f64).filter(|c| c.is_finite());
        let cost = sum.map(|sum| (sum - self.spent).max(0.0));
        self.spent = sum.unwrap_or(self.spent);
        let usage = Usage {
            input_tokens: n("input_tokens")
                .saturating_add(cached)
                .saturating_add(n("cache_creation_input_tokens")),
            cached_tokens: cached,
            output_tokens: n("output_tokens"),
            cost_usd: cost,
            total: false,
        };
        if usage.input_tokens > 0 || usage.output_tokens > 0 || cost.is_some_and(|c| c > 0.0) {
            self.fact(Body::Usage(usage), out);
        }
    }

    fn rate_limit(&self, info: &Value, out: &mut Output) {
        let which = text(info, "rateLimitType").unwrap_or("rate").replace('_', " ");
        let body = match text(info, "status") {
            Some("rejected") => Body::Error {
                text: format!("the {which} limit of the account is reached"),
                retryable: Some(false),
            },
            Some(status) if status.contains("warning") => {
                Body::Warning { text: format!("the {which} limit of the account is near") }
            }
            _ => return,
        };
        self.fact(body, out);
    }
}

/// Why a turn failed, in Claude's words.
fn why(v: &Value) -> String {
    let errors: Vec<&str> = list(v, "errors")
        .iter()
        .filter_map(Value::as_str)
        .filter(|e| !e.starts_with("[ede_diagnostic]")) // Claude's notes to its makers.
        .collect();
    if !errors.is_empty() {
        return errors.join("; ");
    }
    if let Some(said) = text(v, "result").filter(|r| !r.is_empty()) {
        return said.to_owned();
    }
    match text(v, "subtype").unwrap_or_default() {
        "error_max_turns" => "the limit of steps (--max-turns) is reached".to_owned(),
        "error_max_budget_usd" => "the limit of cost (--max-budget-usd) is reached".to_owned(),
        other => format!("claude says only {other:?}"),
    }
}
