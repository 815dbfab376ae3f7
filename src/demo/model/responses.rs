//! OpenAI Responses, as Codex calls it with `wire_api = "responses"`.

use serde_json::{Value, json};

use super::Step;
use super::dialect::{Args, Call, Dialect, Event, Tokens, plan_as_text};
use super::turn::{Entry, ToolDef, ToolResult, Turn, Walk};

/// Reads `input` and `instructions`.
pub(super) fn walk(body: &Value) -> Walk {
    let mut w = Walk::default();
    if let Some(s) = body["instructions"].as_str() {
        w.system.push(s.to_owned());
    }
    for item in body["input"].as_array().into_iter().flatten() {
        match item["type"].as_str().unwrap_or("message") {
            "message" => message(&mut w, item),
            "function_call" | "custom_tool_call" => {
                w.entries.push(Entry::Called { id: text_of(&item["call_id"]), name: text_of(&item["name"]) })
            }
            "function_call_output" | "custom_tool_call_output" => {
                let id = text_of(&item["call_id"]);
                let name = w.name_of(&id);
                w.entries.push(Entry::Result(ToolResult { id, name, output: text_of(&item["output"]) }));
            }
            _ => {}
        }
    }
    w
}

fn message(w: &mut Walk, item: &Value) {
    let parts: Vec<String> = match &item["content"] {
        Value::String(s) => vec![s.clone()],
        other => other.as_array().into_iter().flatten().map(|p| text_of(&p["text"])).collect(),
    };
    for t in parts {
        match item["role"].as_str() {
            Some("user") => {
                if t.starts_with('<') {
                    w.system.push(t.clone()); // the working folder is told in the user's role
                }
                w.user(&t);
            }
            Some("assistant") => w.entries.push(Entry::Said(t)),
            _ => w.system.push(t),
        }
    }
}

/// A string, or the texts of a list of content parts.
fn text_of(v: &Value) -> String {
    match v {
        Value::String(s) => s.clone(),
        Value::Array(a) => a.iter().map(|p| text_of(&p["text"])).collect::<Vec<_>>().join("\n"),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The tools of the request: `tools`, and what newer models get as an item of the input.
pub(super) fn tools(body: &Value) -> Vec<ToolDef> {
    let mut out = Vec::new();
    collect_tools(&body["tools"], None, &mut out);
    for item in body["input"].as_array().into_iter().flatten() {
        if item["type"] == "additional_tools" {
            collect_tools(&item["tools"], None, &mut out);
        }
    }
    out
}

fn collect_tools(list: &Value, namespace: Option<&str>, out: &mut Vec<ToolDef>) {
    for t in list.as_array().into_iter().flatten() {
        match (t["type"].as_str(), t["name"].as_str()) {
            (Some("namespace"), name) => collect_tools(&t["tools"], name, out),
            (kind, Some(name)) => out.push(ToolDef {
                name: name.to_owned(),
                namespace: namespace.map(str::to_owned),
                freeform: kind == Some("custom"),
                params: t["parameters"]["properties"]
                    .as_object()
                    .map(|o| o.keys().cloned().collect())
                    .unwrap_or_default(),
            }),
            _ => {}
        }
    }
}

/// The poll that a caller needs whose last command still runs: Codex answers a long command with a
/// session number and expects `write_stdin` until the command has ended.
pub(super) fn poll(turn: &Turn) -> Option<Step> {
    let last = turn.results().next_back()?;
    let session = running_session(&last.output)?;
    turn.tool(&["write_stdin"])?;
    Some(Step::Tool {
        name: "write_stdin".into(),
        args: json!({"session_id": session, "chars": "", "yield_time_ms": 30_000}),
    })
}

/// Takes polls out of the log, so that a command counts once, with its last output.
pub(super) fn fold_polls(log: Vec<Entry>) -> Vec<Entry> {
    let mut out: Vec<Entry> = Vec::with_capacity(log.len());
    for e in log {
        match e {
            Entry::Called { ref name, .. } if name == "write_stdin" => {}
            Entry::Result(r) if r.name == "write_stdin" => {
                let command = out.iter_mut().rev().find_map(|e| match e {
                    Entry::Result(r) => Some(r),
                    _ => None,
                });
                if let Some(c) = command {
                    c.output = r.output;
                }
            }
            other => out.push(other),
        }
    }
    out
}

fn running_session(output: &str) -> Option<u64> {
    let at = output.find("running with session ID ")? + "running with session ID ".len();
    let digits: String = output[at..].chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The writer of one reply.
pub(super) struct Writer {
    id: String,
    model: String,
    tokens: Tokens,
    items: Vec<Value>,
    /// Text of the message that is open.
    text: String,
}

impl Writer {
    pub fn new(number: u64, model: &str, tokens: Tokens) -> Self {
        let id = format!("resp_{number}");
        Self { id, model: model.to_owned(), tokens, items: Vec::new(), text: String::new() }
    }

    fn response(&self, status: &str) -> Value {
        json!({"id": self.id, "object": "response", "status": status, "model": self.model, "output": self.items})
    }

    /// Id of the item that is open or comes next.
    fn item_id(&self, kind: &str) -> String {
        format!("{kind}_{}_{}", self.id, self.items.len())
    }

    fn added(&self, item: Value) -> Event {
        ev("response.output_item.added", json!({"output_index": self.items.len(), "item": item}))
    }

    fn done(&mut self, item: Value) -> Event {
        let e = ev("response.output_item.done", json!({"output_index": self.items.len(), "item": item}));
        self.items.push(item);
        e
    }
}

/// An event's data repeats its name in `type`.
fn ev(name: &'static str, mut data: Value) -> Event {
    data["type"] = name.into();
    (name, data)
}

impl Dialect for Writer {
    fn open(&mut self) -> Vec<Event> {
        vec![
            ev("response.created", json!({"response": self.response("in_progress")})),
            ev("response.in_progress", json!({"response": self.response("in_progress")})),
        ]
    }

    fn reasoning(&mut self, text: &str) -> Vec<Event> {
        self.tokens.said(text);
        let (id, n) = (self.item_id("rs"), self.items.len());
        let part = |t: &str| json!({"type": "summary_text", "text": t});
        let at = |name, key: &str, v: Value| {
            let mut d = json!({"item_id": id, "output_index": n, "summary_index": 0});
            d[key] = v;
            ev(name, d)
        };
        vec![
            self.added(json!({"type": "reasoning", "id": id, "summary": []})),
            at("response.reasoning_summary_part.added", "part", part("")),
            at("response.reasoning_summary_text.delta", "delta", text.into()),
            at("response.reasoning_summary_text.done", "text", text.into()),
            at("response.reasoning_summary_part.done", "part", part(text)),
            self.done(
                json!({"type": "reasoning", "id": id, "summary": [part(text)], "encrypted_content": null}),
            ),
        ]
    }

    fn text_begin(&mut self) -> Vec<Event> {
        self.text.clear();
        let (id, n) = (self.item_id("msg"), self.items.len());
        vec![
            self.added(json!({
                "type": "message", "id": id, "role": "assistant", "status": "in_progress", "content": []
            })),
            ev(
                "response.content_part.added",
                json!({"item_id": id, "output_index": n, "content_index": 0,
                       "part": {"type": "output_text", "text": "", "annotations": []}}),
            ),
        ]
    }

    fn text_piece(&mut self, piece: &str) -> Event {
        self.tokens.said(piece);
        self.text.push_str(piece);
        ev(
            "response.output_text.delta",
            json!({"item_id": self.item_id("msg"), "output_index": self.items.len(),
                   "content_index": 0, "delta": piece}),
        )
    }

    fn text_end(&mut self) -> Vec<Event> {
        let (id, n) = (self.item_id("msg"), self.items.len());
        let text = std::mem::take(&mut self.text);
        let part = json!({"type": "output_text", "text": text, "annotations": []});
        let at = json!({"item_id": id, "output_index": n, "content_index": 0});
        let with = |name, key: &str, v: Value| {
            let mut d = at.clone();
            d[key] = v;
            ev(name, d)
        };
        vec![
            with("response.output_text.done", "text", text.as_str().into()),
            with("response.content_part.done", "part", part.clone()),
            self.done(json!({
                "type": "message", "id": id, "role": "assistant", "status": "completed", "content": [part]
            })),
        ]
    }

    fn call(&mut self, call: &Call) -> Vec<Event> {
        let (n, call_id) = (self.items.len(), self.item_id("call"));
        let (kind, prefix, field, input, delta, done) = match &call.args {
            Args::Json(v) => (
                "function_call",
                "fc",
                "arguments",
                v.to_string(),
                "response.function_call_arguments.delta",
                "response.function_call_arguments.done",
            ),
            Args::Free(s) => (
                "custom_tool_call",
                "ctc",
                "input",
                s.clone(),
                "response.custom_tool_call_input.delta",
                "response.custom_tool_call_input.done",
            ),
        };
        self.tokens.said(&input);
        let id = self.item_id(prefix);
        let item = |status: &str, input: &str| {
            let mut v =
                json!({"type": kind, "id": id, "call_id": call_id, "name": call.name, "status": status});
            v[field] = input.into();
            if let Some(namespace) = &call.namespace {
                v["namespace"] = namespace.as_str().into();
            }
            v
        };
        let at = |name, key: &str| {
            let mut v = json!({"item_id": id, "call_id": call_id, "output_index": n});
            v[key] = input.as_str().into();
            ev(name, v)
        };
        vec![
            self.added(item("in_progress", "")),
            at(delta, "delta"),
            at(done, field),
            self.done(item("completed", &input)),
        ]
    }

    fn failed(&mut self, _status: u16, body: &Value) -> Vec<Event> {
        let mut r = self.response("failed");
        r["error"] = body["error"].clone();
        vec![ev("response.failed", json!({"response": r}))]
    }

    fn close(&mut self) -> Vec<Event> {
        let t = &self.tokens;
        let mut r = self.response("completed");
        r["usage"] = json!({
            "input_tokens": t.input, "input_tokens_details": {"cached_tokens": t.cached},
            "output_tokens": t.output, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": t.input + t.output
        });
        vec![ev("response.completed", json!({"response": r}))]
    }

    fn translate(&self, step: &Step, turn: &Turn) -> Result<Call, String> {
        match step {
            Step::Shell { command } => shell(turn, command, None),
            Step::Ask { command, why } => shell(turn, command, Some(why)),
            Step::Write { path, text } => write(turn, path, text),
            Step::Plan { steps } => {
                let plan: Vec<Value> =
                    steps.iter().map(|(s, m)| json!({"step": s, "status": m.word()})).collect();
                match turn.tool(&["update_plan"]) {
                    Some(t) => Ok(json_call(&t.name, json!({"plan": plan}))),
                    None => Err(plan_as_text(steps)),
                }
            }
            Step::Tool { name, args } => Ok(match (args, turn.tool(&[name])) {
                (Value::String(s), Some(t)) if t.freeform => free_call(&t.name, s.clone()),
                (_, Some(t)) => Call { namespace: t.namespace.clone(), ..json_call(&t.name, args.clone()) },
                (_, None) => hidden_call(name, args.clone()),
            }),
            _ => Err(String::new()),
        }
    }
}

fn json_call(name: &str, args: Value) -> Call {
    Call { name: name.to_owned(), namespace: None, args: Args::Json(args) }
}

/// Codex shows newer models the tools of MCP servers only when they search for them, and takes a call
/// of one that was not searched for: its namespace is `mcp__SERVER`.
fn hidden_call(name: &str, args: Value) -> Call {
    match name.rsplit_once("__").filter(|(server, _)| server.starts_with("mcp__")) {
        Some((server, tool)) => Call { namespace: Some(server.to_owned()), ..json_call(tool, args) },
        None => json_call(name, args),
    }
}

fn free_call(name: &str, input: String) -> Call {
    Call { name: name.to_owned(), namespace: None, args: Args::Free(input) }
}

/// Codex's shell has had three shapes: `exec_command{cmd}`, `shell{command: [..]}` and
/// `shell_command{command}`; its newest models only get `exec`, which takes JavaScript.
fn shell(turn: &Turn, command: &str, ask: Option<&str>) -> Result<Call, String> {
    let Some(t) = turn.tool(&["exec_command", "shell_command", "shell", "local_shell", "exec"]) else {
        return Err(format!("(no shell tool was offered; I would have run `{command}`)\n"));
    };
    let mut args = match t.name.as_str() {
        "exec_command" | "exec" => json!({"cmd": command, "yield_time_ms": 30_000}),
        "shell_command" => json!({"command": command}),
        _ => json!({"command": ["bash", "-lc", command]}),
    };
    if let Some(why) = ask {
        let word = if t.params.iter().any(|p| p == "with_escalated_permissions") {
            ("with_escalated_permissions", json!(true))
        } else {
            ("sandbox_permissions", json!("require_escalated"))
        };
        args[word.0] = word.1;
        args["justification"] = why.into();
    }
    if t.name == "exec" {
        let js = format!("const r = await tools.exec_command({args});\ntext(r.output ?? r);");
        return Ok(free_call(&t.name, js));
    }
    Ok(json_call(&t.name, args))
}

fn write(turn: &Turn, path: &str, text: &str) -> Result<Call, String> {
    let mut patch = format!("*** Begin Patch\n*** Add File: {path}\n");
    for line in text.lines() {
        patch.push_str(&format!("+{line}\n"));
    }
    patch.push_str("*** End Patch\n");
    match turn.tool(&["apply_patch"]) {
        Some(t) if t.freeform => Ok(free_call(&t.name, patch)),
        Some(t) => Ok(json_call(&t.name, json!({"input": patch}))),
        // Codex reads a patch out of its shell tool, too.
        None => shell(turn, &format!("apply_patch <<'EOF'\n{patch}EOF\n"), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_of_mcp_servers_are_called_by_namespace_and_name() {
        let body = json!({"tools": [
            {"type": "namespace", "name": "mcp__x__", "tools": [{"type": "function", "name": "list"}]},
            {"type": "function", "name": "list_all"},
        ]});
        let tools = tools(&body);
        assert_eq!(tools[0].namespace.as_deref(), Some("mcp__x__"));
        assert!(tools[0].is_called("mcp__x__list") && tools[0].is_called("list"));
        assert!(!tools[0].is_called("mcp__y__list") && tools[1].is_called("list_all"));
        let hidden = hidden_call("mcp__my_server__say_it", json!({}));
        assert_eq!((hidden.namespace.as_deref(), hidden.name.as_str()), (Some("mcp__my_server"), "say_it"));
        assert_eq!(hidden_call("exec__command", json!({})).namespace, None);
    }

    #[test]
    fn a_command_that_still_runs_is_polled_and_counts_once() {
        let r = |name: &str, output: &str| {
            Entry::Result(ToolResult { id: "1".into(), name: name.into(), output: output.into() })
        };
        let c = |name: &str| Entry::Called { id: "1".into(), name: name.into() };
        let log = fold_polls(vec![
            c("exec_command"),
            r("exec_command", "Process running with session ID 7\nOutput:\n"),
            c("write_stdin"),
            r("write_stdin", "Process exited with code 0\n"),
        ]);
        assert_eq!(log, [c("exec_command"), r("exec_command", "Process exited with code 0\n")]);
        assert_eq!(running_session("x\nProcess running with session ID 71234\nOutput"), Some(71234));
        assert_eq!(running_session("Process exited with code 0"), None);
    }
}
