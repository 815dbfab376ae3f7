//! Parts of messages that are no text, as facts. The same in batch and in stream.

use serde_json::Value;

use super::json::{owned, text};
use crate::event::{Body, Change, Plan, PlanStatus, PlanStep, Usage};

/// How a tool is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Command,
    /// Changes files; told when it has.
    Files,
    Plan,
    Other,
}

pub(super) fn kind(tool: &str) -> Kind {
    match tool {
        "bash" | "shell" => Kind::Command,
        "edit" | "write" | "multiedit" | "patch" | "apply_patch" => Kind::Files,
        "todowrite" => Kind::Plan,
        _ => Kind::Other,
    }
}

/// Tokens and cost of one step. OpenCode counts what came from or went to the cache apart.
pub(super) fn usage(part: &Value) -> Body {
    let n = |at: &str| part.pointer(at).and_then(Value::as_u64).unwrap_or_default();
    let cached = n("/tokens/cache/read");
    Body::Usage(Usage {
        input_tokens: n("/tokens/input") + cached + n("/tokens/cache/write"),
        cached_tokens: cached,
        output_tokens: n("/tokens/output") + n("/tokens/reasoning"),
        cost_usd: part.get("cost").and_then(Value::as_f64),
        total: false,
    })
}

/// The facts of a call that has begun.
pub(super) fn started(part: &Value, mut fact: impl FnMut(Body)) {
    let (item, tool) = (owned(part, "id"), owned(part, "tool"));
    let input = part.pointer("/state/input").cloned().unwrap_or_default();
    match kind(&tool) {
        Kind::Command => {
            let (command, cwd) = (owned(&input, "command"), text(&input, "workdir").map(str::to_owned));
            fact(Body::CommandStarted { item, command, cwd });
        }
        Kind::Files | Kind::Plan => {}
        Kind::Other => fact(Body::ToolStarted { item, name: tool, input }),
    }
}

/// The facts of a call that is over. `diff`: what a permission request said of the change.
pub(super) fn ended(part: &Value, diff: Option<&str>, mut fact: impl FnMut(Body)) {
    let (item, tool) = (owned(part, "id"), owned(part, "tool"));
    let nothing = Value::Null;
    let state = part.get("state").unwrap_or(&nothing);
    let input = state.get("input").cloned().unwrap_or_default();
    let error = (text(state, "status") == Some("error"))
        .then(|| text(state, "error").unwrap_or("failed").trim_start_matches("Error: ").to_owned());
    match (kind(&tool), &error) {
        (Kind::Command, _) => {
            let output = state.pointer("/metadata/output").and_then(Value::as_str);
            let words =
                output.map(str::to_owned).or(error).or_else(|| text(state, "output").map(str::to_owned));
            fact(Body::CommandCompleted {
                item,
                command: owned(&input, "command"),
                cwd: text(&input, "workdir").map(str::to_owned),
                text: words,
                exit_code: state.pointer("/metadata/exit").and_then(Value::as_i64),
            });
        }
        (Kind::Files, None) => files(&item, state, &input, diff, fact),
        (Kind::Plan, None) => fact(plan(state.pointer("/metadata/todos").or_else(|| input.get("todos")))),
        _ => {
            let output = state.get("output").cloned().unwrap_or_default();
            fact(Body::ToolCompleted { item, name: tool, input, output, error });
        }
    }
}

fn plan(todos: Option<&Value>) -> Body {
    let todos = todos.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let step = |s: &Value| PlanStep {
        text: owned(s, "content"),
        status: match text(s, "status") {
            Some("completed" | "cancelled") => PlanStatus::Completed,
            Some("in_progress") => PlanStatus::InProgress,
            _ => PlanStatus::Pending,
        },
    };
    Body::PlanUpdated(Plan { steps: todos.iter().map(step).collect() })
}

fn files(item: &str, state: &Value, input: &Value, asked: Option<&str>, mut fact: impl FnMut(Body)) {
    let metadata = state.get("metadata").unwrap_or(&Value::Null);
    if let Some(all) = metadata.get("files").and_then(Value::as_array) {
        for file in all {
            let (change, moved) = match text(file, "type") {
                Some("add") => (Change::Added, None),
                Some("delete") => (Change::Deleted, None),
                Some("move") => (Change::Renamed, text(file, "movePath")),
                _ => (Change::Modified, None),
            };
            let path = moved.or_else(|| text(file, "filePath")).or_else(|| text(file, "file"));
            let diff = text(file, "patch").or_else(|| text(file, "diff")).map(hunks);
            fact(Body::FileChanged {
                item: item.to_owned(),
                path: path.unwrap_or_default().to_owned(),
                change,
                diff,
            });
        }
        return;
    }
    let path = text(input, "filePath").or_else(|| text(metadata, "filepath")).unwrap_or_default();
    let new = metadata.get("exists").and_then(Value::as_bool) == Some(false);
    let given = text(metadata, "diff").or(asked).filter(|d| !d.is_empty()).map(hunks);
    let diff = given.or_else(|| new.then(|| added(text(input, "content").unwrap_or_default())));
    let change = if new { Change::Added } else { Change::Modified };
    fact(Body::FileChanged { item: item.to_owned(), path: path.to_owned(), change, diff });
}

/// A diff without the header that names the file: the fact names it.
pub(super) fn hunks(diff: &str) -> String {
    match diff.find("@@ ") {
        Some(at) if at == 0 || diff[..at].ends_with('\n') => diff[at..].to_owned(),
        _ => diff.to_owned(),
    }
}

/// The diff of a new file: OpenCode gives none.
fn added(content: &str) -> String {
    let mut out = format!("@@ -0,0 +1,{} @@\n", content.lines().count());
    for line in content.lines() {
        out.push('+');
        out.push_str(line);
        out.push('\n');
    }
    out
}
