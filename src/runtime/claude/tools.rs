//! The tools that Claude calls, as facts: commands, changed files, plans, and any other.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::event::{Body, Change, Plan, PlanStatus, PlanStep};
use crate::runtime::json::{as_text, list, owned, text};

/// Most calls that are kept in mind while they run.
const MAX_OPEN: usize = 256;
/// Longest input kept of a call, in bytes of JSON; its completion repeats it.
const MAX_INPUT: usize = 64 << 10;
/// Most tasks of a plan.
const MAX_TASKS: usize = 200;

/// The calls that run, and the plan.
#[derive(Debug, Default)]
pub(super) struct Tools {
    open: BTreeMap<String, Call>,
    /// The tasks of `TaskCreate` and `TaskUpdate`, by Claude's id.
    tasks: Vec<(String, PlanStep)>,
}

/// A call that has started and not ended.
#[derive(Debug)]
struct Call {
    name: String,
    input: Value,
    /// Of a subagent, which may outlive the turn.
    foreign: bool,
}

/// What a tool is, as far as facts differ by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Command,
    File,
    /// States the whole plan.
    Todos,
    /// Changes one task of the plan.
    Task,
    Other,
}

fn kind(name: &str) -> Kind {
    match name {
        "Bash" => Kind::Command,
        "Edit" | "Write" | "MultiEdit" | "NotebookEdit" => Kind::File,
        "TodoWrite" => Kind::Todos,
        "TaskCreate" | "TaskUpdate" | "TaskList" => Kind::Task,
        _ => Kind::Other,
    }
}

impl Tools {
    /// A `tool_use` block: the call begins. `foreign`: a subagent makes it.
    pub(super) fn started(&mut self, block: &Value, foreign: bool, mut fact: impl FnMut(Body)) {
        let (id, name) = (owned(block, "id"), owned(block, "name"));
        let input = block.get("input").unwrap_or(&Value::Null);
        match kind(&name) {
            Kind::Command => {
                fact(Body::CommandStarted { item: id.clone(), command: owned(input, "command"), cwd: None });
            }
            Kind::Todos if !foreign => fact(Body::PlanUpdated(todos(input))),
            // Told when they are done; a subagent's plan is its own.
            Kind::File | Kind::Task | Kind::Todos => {}
            Kind::Other => {
                let (item, name) = (id.clone(), shown(&name));
                fact(Body::ToolStarted { item, name, input: kept(input) });
            }
        }
        if self.open.len() >= MAX_OPEN {
            self.open.pop_first();
        }
        self.open.insert(id, Call { name, input: kept(input), foreign });
    }

    /// A `tool_result` block: the call is over. `detail` is the line's `tool_use_result`, which says
    /// more than the model is told.
    pub(super) fn finished(&mut self, block: &Value, detail: &Value, mut fact: impl FnMut(Body)) {
        let id = owned(block, "tool_use_id");
        let Some(call) = self.open.remove(&id) else {
            // Of a call that nobody saw begin: an honest Claude says none.
            let (output, error) = outcome(block);
            let (name, input) = ("tool".to_owned(), Value::Null);
            return fact(Body::ToolCompleted { item: id, name, input, output, error });
        };
        let failed = block.get("is_error").and_then(Value::as_bool) == Some(true);
        match kind(&call.name) {
            Kind::Command => fact(command(id, &call.input, block, detail, failed)),
            Kind::File if failed => {
                let why = content(block);
                let first = why.lines().next().unwrap_or_default();
                fact(Body::Warning { text: format!("{} of {}: {first}", call.name, path(&call.input)) });
            }
            Kind::File => fact(file(id, &call, detail)),
            Kind::Todos if !failed => {}
            Kind::Task if !failed => {
                if !call.foreign && self.task(&call, detail) {
                    let steps = self.tasks.iter().map(|(_, step)| step.clone()).collect();
                    fact(Body::PlanUpdated(Plan { steps }));
                }
            }
            Kind::Todos | Kind::Task | Kind::Other => {
                let (output, error) = outcome(block);
                let name = shown(&call.name);
                fact(Body::ToolCompleted { item: id, name, input: call.input, output, error });
            }
        }
    }

    /// The turn ended: what its own calls were is of no use any more.
    pub(super) fn turn_ended(&mut self) {
        self.open.retain(|_, call| call.foreign);
    }

    /// Takes over what a task tool did; whether the plan changed.
    fn task(&mut self, call: &Call, detail: &Value) -> bool {
        match call.name.as_str() {
            "TaskCreate" => {
                let Some(id) = detail.pointer("/task/id").map(as_text) else { return false };
                let step = PlanStep { text: owned(&call.input, "subject"), status: PlanStatus::Pending };
                self.put(id, step);
            }
            "TaskUpdate" => {
                let id = call.input.get("taskId").map(as_text).unwrap_or_default();
                let status = text(&call.input, "status");
                if status == Some("deleted") {
                    self.tasks.retain(|(known, _)| *known != id);
                    return true;
                }
                let Some((_, step)) = self.tasks.iter_mut().find(|(known, _)| *known == id) else {
                    return false; // Made before this process: `TaskList` will tell.
                };
                if let Some(status) = status {
                    step.status = plan_status(status);
                }
                if let Some(subject) = text(&call.input, "subject") {
                    subject.clone_into(&mut step.text);
                }
            }
            _ => {
                self.tasks.clear();
                for task in list(detail, "tasks") {
                    let status = plan_status(text(task, "status").unwrap_or_default());
                    let id = task.get("id").map(as_text).unwrap_or_default();
                    self.put(id, PlanStep { text: owned(task, "subject"), status });
                }
            }
        }
        true
    }

    fn put(&mut self, id: String, step: PlanStep) {
        self.tasks.retain(|(known, _)| *known != id);
        if self.tasks.len() < MAX_TASKS {
            self.tasks.push((id, step));
        }
    }
}

/// The name for people: `server/tool` for a tool of an MCP server.
pub(super) fn shown(name: &str) -> String {
    match name.strip_prefix("mcp__").and_then(|rest| rest.split_once("__")) {
        Some((server, tool)) => format!("{server}/{tool}"),
        None => name.to_owned(),
    }
}

/// The file that an edit is about.
pub(super) fn path(input: &Value) -> String {
    text(input, "file_path").or_else(|| text(input, "notebook_path")).unwrap_or_default().to_owned()
}

/// What an edit would do, as a diff without line numbers: only its input is known before it is done.
pub(super) fn wanted(name: &str, input: &Value) -> Option<String> {
    let path = path(input);
    let mut out = format!("--- {path}\n+++ {path}\n");
    let mut hunk = |old: &str, new: &str| {
        out.push_str("@@\n");
        signed(&mut out, '-', old);
        signed(&mut out, '+', new);
    };
    match name {
        "Write" => hunk("", text(input, "content")?),
        "NotebookEdit" => hunk("", text(input, "new_source")?),
        "Edit" => hunk(text(input, "old_string")?, text(input, "new_string")?),
        "MultiEdit" => {
            for edit in list(input, "edits") {
                hunk(text(edit, "old_string")?, text(edit, "new_string")?);
            }
        }
        _ => return None,
    }
    Some(out)
}

fn signed(out: &mut String, sign: char, text: &str) {
    for line in text.lines() {
        out.push(sign);
        out.push_str(line);
        out.push('\n');
    }
}

/// An input that is not too long to be kept, or its beginning.
fn kept(input: &Value) -> Value {
    let text = input.to_string();
    if text.len() <= MAX_INPUT {
        return input.clone();
    }
    // What completions need of any tool, however long the rest.
    let mut short = json!({ "cut": format!("{} bytes", text.len()) });
    for key in ["command", "file_path", "notebook_path", "subject", "taskId", "status"] {
        if let Some(value) = self::text(input, key).filter(|v| v.len() <= MAX_INPUT) {
            short[key] = json!(value);
        }
    }
    short
}

/// What the model is told of a result.
fn content(block: &Value) -> String {
    match block.get("content") {
        Some(Value::Array(parts)) => {
            let part =
                |p: &Value| text(p, "text").map_or_else(|| format!("[{}]", owned(p, "type")), str::to_owned);
            parts.iter().map(part).collect::<Vec<_>>().join("\n")
        }
        Some(Value::Null) | None => String::new(),
        Some(other) => as_text(other),
    }
}

/// Output, or the error that came in its place.
fn outcome(block: &Value) -> (Value, Option<String>) {
    let text = content(block);
    match block.get("is_error").and_then(Value::as_bool) {
        Some(true) => (Value::Null, Some(text)),
        _ => (Value::String(text), None),
    }
}

/// Claude says an exit code only in words, and only where it is not 0: `Exit code 3`, then the output.
fn command(id: String, input: &Value, block: &Value, detail: &Value, failed: bool) -> Body {
    let said = content(block);
    let coded = said.strip_prefix("Exit code ").map(|rest| rest.split_once('\n').unwrap_or((rest, "")));
    let coded = coded.and_then(|(code, rest)| Some((code.trim().parse::<i64>().ok()?, rest.to_owned())));
    let cut = detail.get("interrupted").and_then(Value::as_bool) == Some(true)
        || detail.get("backgroundTaskId").is_some_and(|id| !id.is_null());
    let (text, exit_code) = match coded {
        Some((code, rest)) if failed => (rest, Some(code)),
        _ if failed || cut => (said, None),
        _ => (output(detail).unwrap_or(said), Some(0)),
    };
    Body::CommandCompleted {
        item: id,
        command: owned(input, "command"),
        cwd: None,
        text: Some(text),
        exit_code,
    }
}

/// What the command printed, as it is; the model is told `(Bash completed with no output)` for nothing.
fn output(detail: &Value) -> Option<String> {
    let (out, err) = (text(detail, "stdout")?, text(detail, "stderr").unwrap_or_default());
    let between = if out.is_empty() || err.is_empty() || out.ends_with('\n') { "" } else { "\n" };
    Some(format!("{out}{between}{err}"))
}

fn file(id: String, call: &Call, detail: &Value) -> Body {
    let path = text(detail, "filePath").map_or_else(|| path(&call.input), str::to_owned);
    let added = text(detail, "type") == Some("create");
    let change = if added { Change::Added } else { Change::Modified };
    Body::FileChanged { item: id, path, change, diff: diff(detail, added) }
}

/// The hunks that Claude says, or the whole text of a new file.
fn diff(detail: &Value, added: bool) -> Option<String> {
    let mut out = String::new();
    for hunk in list(detail, "structuredPatch") {
        let n = |key: &str| hunk.get(key).and_then(Value::as_u64).unwrap_or_default();
        let (old, new) = ((n("oldStart"), n("oldLines")), (n("newStart"), n("newLines")));
        out.push_str(&format!("@@ -{},{} +{},{} @@\n", old.0, old.1, new.0, new.1));
        for line in list(hunk, "lines").iter().filter_map(Value::as_str) {
            out.push_str(line);
            out.push('\n');
        }
    }
    if let (true, true, Some(text)) = (out.is_empty(), added, text(detail, "content")) {
        out.push_str(&format!("@@ -0,0 +1,{} @@\n", text.lines().count()));
        signed(&mut out, '+', text);
    }
    (!out.is_empty()).then_some(out)
}

fn todos(input: &Value) -> Plan {
    let step = |s: &Value| PlanStep {
        text: owned(s, "content"),
        status: plan_status(text(s, "status").unwrap_or_default()),
    };
    Plan { steps: list(input, "todos").iter().take(MAX_TASKS).map(step).collect() }
}

fn plan_status(word: &str) -> PlanStatus {
    match word {
        "completed" => PlanStatus::Completed,
        "in_progress" => PlanStatus::InProgress,
        _ => PlanStatus::Pending,
    }
}
