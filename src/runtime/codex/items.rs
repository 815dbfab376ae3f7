//! Items (what happens in a turn) as facts. Every member is optional to us: versions differ.

use serde_json::{Value, json};

use super::rpc::{owned, text};
use crate::event::{Body, Change, Plan, PlanStatus, PlanStep, Role, Usage};
pub(super) use crate::runtime::json::{as_text, raw};

/// Totals of the thread, in the spelling of either protocol.
pub(super) fn usage(v: &Value) -> Body {
    let n = |snake: &str, camel: &str| {
        v.get(snake).or_else(|| v.get(camel)).and_then(Value::as_u64).unwrap_or_default()
    };
    Body::Usage(Usage {
        input_tokens: n("input_tokens", "inputTokens"),
        cached_tokens: n("cached_input_tokens", "cachedInputTokens"),
        output_tokens: n("output_tokens", "outputTokens"),
        cost_usd: None,
        // Both protocols report the thread's sum, also after a resume (seen with 0.124 and 0.169).
        total: true,
    })
}

/// Codex says -1 (or declined, without a code) where the command did not end by itself.
pub(super) fn exit_code(item: &Value, key: &str) -> Option<i64> {
    item.get(key).and_then(Value::as_i64).filter(|code| *code >= 0)
}

/// A call of a tool: started, or completed with what came out.
pub(super) fn tool(item: &Value, id: String, name: String, input: &str, done: bool) -> Body {
    let rest = || {
        let mut all = item.clone();
        if let Some(members) = all.as_object_mut() {
            for known in ["id", "type", "status", "startedAtMs", "completedAtMs", "durationMs"] {
                members.remove(known);
            }
            members.retain(|_, v| !v.is_null());
        }
        all
    };
    let input = if input.is_empty() { rest() } else { item.get(input).cloned().unwrap_or_default() };
    if !done {
        return Body::ToolStarted { item: id, name, input };
    }
    let outputs = ["result", "contentItems", "results", "output", "agentsStates", "agents_states"];
    let output = outputs.iter().find_map(|k| item.get(k).filter(|v| !v.is_null()).cloned());
    let error = match item.get("error") {
        Some(e) if !e.is_null() => Some(as_text(e.get("message").unwrap_or(e))),
        _ if text(item, "status") == Some("failed") => Some("failed".to_owned()),
        _ if item.get("success").and_then(Value::as_bool) == Some(false) => Some("failed".to_owned()),
        _ => None,
    };
    Body::ToolCompleted { item: id, name, input, output: output.unwrap_or_default(), error }
}

/// The changes of a patch, each file for itself; or one warning if it was not applied.
pub(super) fn file_changes(item: &Value, id: &str, failed: bool, mut fact: impl FnMut(Body)) {
    let changes = item.get("changes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if failed {
        let paths: Vec<_> = changes.iter().filter_map(|c| text(c, "path")).take(5).collect();
        let more = if changes.len() > paths.len() { ", …" } else { "" };
        return fact(Body::Warning { text: format!("a patch failed: {}{more}", paths.join(", ")) });
    }
    for c in changes {
        let (change, path) = kind(c);
        fact(Body::FileChanged { item: id.to_owned(), path, change, diff: diff(c) });
    }
}

/// What became of the file, and its path afterwards. `exec` gives the kind as a word, the app server
/// as `{type, move_path}`.
fn kind(change: &Value) -> (Change, String) {
    let path = owned(change, "path");
    let kind = change.get("kind").unwrap_or(&Value::Null);
    let moved = text(kind, "move_path").or_else(|| text(kind, "movePath"));
    match (kind.as_str().or_else(|| text(kind, "type")), moved) {
        (Some("add"), _) => (Change::Added, path),
        (Some("delete"), _) => (Change::Deleted, path),
        (_, Some(to)) => (Change::Renamed, to.to_owned()),
        _ => (Change::Modified, path),
    }
}

/// A unified diff. For added and deleted files the app server gives only the content.
pub(super) fn diff(change: &Value) -> Option<String> {
    let given = text(change, "diff").filter(|d| !d.is_empty())?;
    let (sign, header) = match kind(change).0 {
        Change::Added => ('+', format!("@@ -0,0 +1,{} @@\n", given.lines().count())),
        Change::Deleted => ('-', format!("@@ -1,{} +0,0 @@\n", given.lines().count())),
        Change::Modified | Change::Renamed => return Some(given.to_owned()),
    };
    let mut out = header;
    for line in given.lines() {
        out.push(sign);
        out.push_str(line);
        out.push('\n');
    }
    Some(out)
}

/// The plan of `turn/plan/updated`.
pub(super) fn plan(params: &Value) -> Body {
    let steps = params.get("plan").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let step = |s: &Value| PlanStep {
        text: owned(s, "step"),
        status: match text(s, "status") {
            Some("completed") => PlanStatus::Completed,
            Some("inProgress" | "in_progress") => PlanStatus::InProgress,
            _ => PlanStatus::Pending,
        },
    };
    Body::PlanUpdated(Plan { steps: steps.iter().map(step).collect() })
}

/// An item of the app server as facts: when it starts (`done` false) and when it is completed.
pub(super) fn item(item: &Value, done: bool, mut fact: impl FnMut(Body)) {
    let id = owned(item, "id");
    let kind = text(item, "type").unwrap_or_default();
    match kind {
        "userMessage" => {
            // Absent in versions that know no ids of clients: then nobody can tell, and ours are shown.
            if done && item.get("clientId").is_some_and(Value::is_null) {
                fact(Body::MessageCompleted { item: id, role: Role::User, text: content(item) });
            }
        }
        "agentMessage" | "plan" | "exitedReviewMode" => {
            if done {
                let key = if kind == "exitedReviewMode" { "review" } else { "text" };
                fact(Body::MessageCompleted { item: id, role: Role::Assistant, text: owned(item, key) });
            }
        }
        "reasoning" => {
            let text = if done { reasoning(item) } else { String::new() };
            if !text.is_empty() {
                fact(Body::ReasoningCompleted { item: id, text });
            }
        }
        "commandExecution" => fact(command(item, id, done)),
        "fileChange" => match text(item, "status") {
            // A declined patch is told by the answer to its request.
            Some("declined") => {}
            status if done => file_changes(item, &id, status == Some("failed"), fact),
            _ => {}
        },
        "enteredReviewMode" | "hookPrompt" => {}
        "contextCompaction" => {
            if done {
                fact(Body::Warning { text: "codex compacted the conversation to fit the model".to_owned() });
            }
        }
        _ => fact(tool_item(item, id, kind, done)),
    }
}

fn command(item: &Value, id: String, done: bool) -> Body {
    let command = owned(item, "command");
    let cwd = text(item, "cwd").map(str::to_owned);
    if !done {
        return Body::CommandStarted { item: id, command, cwd };
    }
    let output = text(item, "aggregatedOutput").map(str::to_owned);
    Body::CommandCompleted { item: id, command, cwd, text: output, exit_code: exit_code(item, "exitCode") }
}

fn tool_item(item: &Value, id: String, kind: &str, done: bool) -> Body {
    match kind {
        "mcpToolCall" => {
            let name = format!("{}/{}", owned(item, "server"), owned(item, "tool"));
            tool(item, id, name, "arguments", done)
        }
        "dynamicToolCall" => tool(item, id, owned(item, "tool"), "arguments", done),
        "collabAgentToolCall" => tool(item, id, format!("agents/{}", owned(item, "tool")), "", done),
        "webSearch" => {
            let mut search = tool(item, id, "web_search".to_owned(), "", done);
            if let Body::ToolStarted { input, .. } | Body::ToolCompleted { input, .. } = &mut search {
                *input = json!({ "query": item["query"], "action": item["action"] });
            }
            search
        }
        "imageView" => tool(item, id, "view_image".to_owned(), "path", done),
        other => tool(item, id, other.to_owned(), "", done),
    }
}

/// The summary, and the reasoning itself where the model shows it: what the deltas said.
fn reasoning(item: &Value) -> String {
    let parts = |key: &str| item.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut all = parts("summary");
    all.extend(parts("content"));
    all.iter().map(as_text).collect::<Vec<_>>().join("\n\n")
}

fn content(item: &Value) -> String {
    let parts = item.get("content").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let part = |p: &Value| text(p, "text").map_or_else(|| format!("[{}]", owned(p, "type")), str::to_owned);
    parts.iter().map(part).collect::<Vec<_>>().join("\n")
}
