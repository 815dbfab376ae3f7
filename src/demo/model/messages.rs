//! Anthropic Messages, as Claude Code and OpenCode call it.

use serde_json::{Value, json};

use super::dialect::{Args, Call, Dialect, Event, Tokens, plan_as_text};
use super::turn::{Entry, ToolDef, ToolResult, Turn, Walk};
use super::{PlanMark, Step};

/// Reads `system` and `messages`.
pub(super) fn walk(body: &Value) -> Walk {
    let mut w = Walk::default();
    for t in texts(&body["system"]) {
        w.system.push(t);
    }
    for m in body["messages"].as_array().into_iter().flatten() {
        let role = m["role"].as_str().unwrap_or("user");
        match &m["content"] {
            Value::String(s) => part(&mut w, role, &json!({"type": "text", "text": s})),
            list => list.as_array().into_iter().flatten().for_each(|p| part(&mut w, role, p)),
        }
    }
    w
}

fn part(w: &mut Walk, role: &str, p: &Value) {
    let word = |key: &str| p[key].as_str().unwrap_or_default().to_owned();
    match (p["type"].as_str().unwrap_or_default(), role) {
        ("text", "user") => w.user(&unquoted(p["text"].as_str().unwrap_or_default())),
        ("text", "assistant") => w.entries.push(Entry::Said(word("text"))),
        ("text", _) => w.system.push(word("text")),
        ("tool_use", _) => w.entries.push(Entry::Called { id: word("id"), name: word("name") }),
        ("tool_result", _) => {
            let id = word("tool_use_id");
            let name = w.name_of(&id);
            w.entries.push(Entry::Result(ToolResult { id, name, output: texts(&p["content"]).join("\n") }));
        }
        _ => {}
    }
}

/// OpenCode's `run` puts a prompt that holds spaces between quotation marks and escapes those within.
fn unquoted(text: &str) -> String {
    match text.strip_prefix('"').and_then(|t| t.trim_end().strip_suffix('"')) {
        Some(inner) => inner.replace("\\\"", "\""),
        None => text.to_owned(),
    }
}

/// A string, or the texts of a list of blocks.
fn texts(v: &Value) -> Vec<String> {
    match v {
        Value::String(s) => vec![s.clone()],
        other => other
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|b| b["text"].as_str().map(str::to_owned))
            .collect(),
    }
}

pub(super) fn tools(body: &Value) -> Vec<ToolDef> {
    let list = body["tools"].as_array().into_iter().flatten();
    list.filter_map(|t| {
        let params = t["input_schema"]["properties"].as_object();
        Some(ToolDef {
            name: t["name"].as_str()?.to_owned(),
            namespace: None,
            freeform: false,
            params: params.map(|o| o.keys().cloned().collect()).unwrap_or_default(),
        })
    })
    .collect()
}

/// The answer to what the CLIs ask beside the conversation (a title, a topic, a summary): requests
/// with a system text and no tools. None: it is a turn.
pub(super) fn side_answer(body: &Value) -> Option<&'static str> {
    let has_tools = body["tools"].as_array().is_some_and(|t| !t.is_empty());
    let system = texts(&body["system"]);
    if has_tools || system.is_empty() {
        return None;
    }
    let json_wanted = system.iter().any(|s| s.contains("JSON")) || body.get("output_format").is_some();
    Some(if json_wanted { r#"{"isNewTopic": false, "title": "Demo session"}"# } else { "Demo session" })
}

/// The writer of one reply.
pub(super) struct Writer {
    id: String,
    model: String,
    tokens: Tokens,
    /// Content blocks so far.
    blocks: u64,
    called: bool,
}

impl Writer {
    pub fn new(number: u64, model: &str, tokens: Tokens) -> Self {
        Self { id: format!("msg_{number}"), model: model.to_owned(), tokens, blocks: 0, called: false }
    }

    fn block(&mut self, start: Value, deltas: Vec<Value>) -> Vec<Event> {
        let n = self.blocks;
        self.blocks += 1;
        let mut out = vec![ev("content_block_start", json!({"index": n, "content_block": start}))];
        out.extend(deltas.into_iter().map(|d| ev("content_block_delta", json!({"index": n, "delta": d}))));
        out.push(ev("content_block_stop", json!({"index": n})));
        out
    }
}

fn ev(name: &'static str, mut data: Value) -> Event {
    data["type"] = name.into();
    (name, data)
}

impl Dialect for Writer {
    fn open(&mut self) -> Vec<Event> {
        let t = &self.tokens;
        vec![ev(
            "message_start",
            json!({"message": {
                "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": [],
                "stop_reason": null, "stop_sequence": null,
                "usage": {"input_tokens": t.input - t.cached, "cache_read_input_tokens": t.cached,
                          "cache_creation_input_tokens": 0, "output_tokens": 1}
            }}),
        )]
    }

    fn reasoning(&mut self, text: &str) -> Vec<Event> {
        self.tokens.said(text);
        self.block(
            json!({"type": "thinking", "thinking": "", "signature": ""}),
            vec![
                json!({"type": "thinking_delta", "thinking": text}),
                json!({"type": "signature_delta", "signature": "c2NyaXB0ZWQ="}),
            ],
        )
    }

    fn text_begin(&mut self) -> Vec<Event> {
        vec![ev(
            "content_block_start",
            json!({"index": self.blocks, "content_block": {"type": "text", "text": ""}}),
        )]
    }

    fn text_piece(&mut self, piece: &str) -> Event {
        self.tokens.said(piece);
        ev(
            "content_block_delta",
            json!({"index": self.blocks, "delta": {"type": "text_delta", "text": piece}}),
        )
    }

    fn text_end(&mut self) -> Vec<Event> {
        let n = self.blocks;
        self.blocks += 1;
        vec![ev("content_block_stop", json!({"index": n}))]
    }

    fn call(&mut self, call: &Call) -> Vec<Event> {
        let input = match &call.args {
            Args::Json(v) => v.to_string(),
            Args::Free(s) => json!({"input": s}).to_string(),
        };
        self.tokens.said(&input);
        self.called = true;
        let id = format!("toolu_{}_{}", self.id, self.blocks);
        self.block(
            json!({"type": "tool_use", "id": id, "name": call.name, "input": {}}),
            vec![json!({"type": "input_json_delta", "partial_json": input})],
        )
    }

    fn failed(&mut self, _status: u16, body: &Value) -> Vec<Event> {
        vec![ev("error", json!({"error": body["error"]}))]
    }

    fn close(&mut self) -> Vec<Event> {
        let reason = if self.called { "tool_use" } else { "end_turn" };
        vec![
            ev(
                "message_delta",
                json!({"delta": {"stop_reason": reason, "stop_sequence": null},
                       "usage": {"output_tokens": self.tokens.output.max(1)}}),
            ),
            ev("message_stop", json!({})),
        ]
    }

    fn translate(&self, step: &Step, turn: &Turn) -> Result<Call, String> {
        let (name, args) = match step {
            Step::Shell { command } => shell(turn, command, "Run a command")?,
            Step::Ask { command, why } => shell(turn, command, why)?,
            Step::Write { path, text } => write(turn, path, text)?,
            Step::Plan { steps } => plan(turn, steps)?,
            Step::Tool { name, args } => (name.clone(), args.clone()),
            _ => return Err(String::new()),
        };
        Ok(Call { name, namespace: None, args: Args::Json(args) })
    }
}

fn shell(turn: &Turn, command: &str, why: &str) -> Result<(String, Value), String> {
    let Some(t) = turn.tool(&["Bash", "bash"]) else {
        return Err(format!("(no shell tool was offered; I would have run `{command}`)\n"));
    };
    let mut args = json!({"command": command});
    if t.params.iter().any(|p| p == "description") {
        args["description"] = why.into();
    }
    Ok((t.name.clone(), args))
}

fn write(turn: &Turn, path: &str, text: &str) -> Result<(String, Value), String> {
    let Some(t) = turn.tool(&["Write", "write"]) else {
        return Err(format!("(no tool to write files was offered; I would have written `{path}`)\n"));
    };
    let full = match &turn.cwd {
        Some(d) => format!("{}/{path}", d.trim_end_matches('/')),
        None => path.to_owned(),
    };
    let key = if t.params.iter().any(|p| p == "filePath") { "filePath" } else { "file_path" };
    let mut args = json!({"content": text});
    args[key] = full.into();
    Ok((t.name.clone(), args))
}

/// `TodoWrite{todos}` (older Claude), `todowrite{todos}` (OpenCode). Newer Claude has tools for one
/// task each, so a whole plan is said as text there.
fn plan(turn: &Turn, steps: &[(String, PlanMark)]) -> Result<(String, Value), String> {
    let Some(t) = turn.tool(&["TodoWrite", "todowrite"]) else {
        return Err(plan_as_text(steps));
    };
    let todos: Vec<Value> = steps
        .iter()
        .map(|(s, m)| match t.name.as_str() {
            "TodoWrite" => json!({"content": s, "status": m.word(), "activeForm": s}),
            _ => json!({"content": s, "status": m.word(), "priority": "medium"}),
        })
        .collect();
    Ok((t.name.clone(), json!({"todos": todos})))
}
