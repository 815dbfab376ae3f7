//! What the tools do, and the texts they answer with. These are bounded and clean of control
//! characters, whatever agents say.

use fracta::control::client::{Client, ClientError, EventQuery};
use fracta::control::wire;
use fracta::session::state::PendingApproval;
use fracta::text::summary;
use futures_util::StreamExt;
use rmcp::model::JsonObject;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::plane::Plane;
use super::tools::{self, Name};
use crate::cli::readable::Readable;
use crate::cli::talk;

/// Most bytes of rows or of an agent's text in one answer.
const LIMIT: usize = 20 << 10;
/// Most characters of one text in a row.
const CELL: usize = 300;
/// Most characters of what an approval asks for: a person decides by its words.
const ASKED: usize = 2_000;
/// Most events that `peek` looks back at.
const MAX_EVENTS: u64 = 500;

/// Calls a tool; its answer.
///
/// # Errors
/// Arguments that do not fit, what the control plane refuses, or that none can be reached.
pub async fn call(plane: &Plane, tool: Name, arguments: JsonObject) -> anyhow::Result<String> {
    match tool {
        Name::Spawn => spawn(plane, parse(arguments)?).await,
        Name::List => list(plane, parse(arguments)?).await,
        Name::Peek => peek(plane, parse(arguments)?).await,
        Name::Say => {
            let m: &tools::Message = &parse(arguments)?;
            let said = plane.ask(|c| async move { c.say(&m.name, &m.text).await }).await?;
            talk::delivered(&m.name, &said)
        }
        Name::Steer => {
            let m: &tools::Message = &parse(arguments)?;
            let said = plane.ask(|c| async move { c.steer(&m.name, &m.text).await }).await?;
            talk::delivered(&m.name, &said)
        }
        Name::Abort => {
            let tools::Agent { name } = &parse(arguments)?;
            let agent = plane.ask(|c| async move { c.abort(name).await }).await?;
            Ok(format!("{name}: the turn has ended; it is {} now", agent.state.word()))
        }
        Name::Approvals => {
            let tools::Nothing {} = parse(arguments)?;
            approvals(plane).await
        }
    }
}

fn parse<T: DeserializeOwned>(arguments: JsonObject) -> anyhow::Result<T> {
    serde_json::from_value(Value::Object(arguments))
        .map_err(|e| anyhow::anyhow!("these arguments do not fit the tool's schema: {e}"))
}

async fn spawn(plane: &Plane, args: tools::Spawn) -> anyhow::Result<String> {
    let spawn = &wire::Spawn {
        name: args.task,
        runtime: args.runtime,
        mode: args.mode,
        tier: args.tier,
        model: args.model,
        contract: Some(args.contract),
        base: args.base,
        backend: None,
        dry_run: false,
    };
    let agent = plane.ask(|c| async move { c.spawn(spawn).await }).await?;
    text(&row(&agent))
}

async fn list(plane: &Plane, args: tools::List) -> anyhow::Result<String> {
    let mut agents = plane.ask(|c| async move { c.agents(args.all).await }).await?;
    if agents.is_empty() {
        return Ok("no agents".to_owned());
    }
    // Where not all fit, those that still matter do.
    agents.sort_by_key(|a| (a.killed, a.state.is_final(), !a.state.in_turn()));
    rows("agents", agents.iter().map(row).collect())
}

/// What a model needs of an agent. Left out: what is unset, and what only a person's screen shows.
fn row(a: &wire::Agent) -> Value {
    let mut row = json!({
        "name": a.name,
        "state": a.state,
        "runtime": a.runtime,
        "mode": a.mode,
        "workspace": a.workspace,
        "tokens": a.usage.input_tokens + a.usage.output_tokens,
        "last_event": a.last_seq,
        "updated_at": a.updated_at,
    });
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            row[key] = value;
        }
    };
    let short = |t: &str| (!t.is_empty()).then(|| Value::from(summary(t, CELL)));
    set("reason", a.reason.as_deref().and_then(short));
    set("activity", short(&a.activity));
    set("model", a.model.as_deref().and_then(short));
    set("branch", a.branch.as_deref().and_then(short));
    set("contract", a.contract.as_deref().and_then(short));
    let some = |n: u64| (n > 0).then(|| Value::from(n));
    set("queued_messages", some(a.queued_messages));
    set("pending_approvals", some(a.pending_approvals.len() as u64));
    set("killed", a.killed.then_some(Value::Bool(true)));
    row
}

async fn approvals(plane: &Plane) -> anyhow::Result<String> {
    let agents = plane.ask(|c| async move { c.agents(false).await }).await?;
    let of = |a: &wire::Agent| {
        let name = a.name.clone();
        a.pending_approvals.iter().map(move |p| asked(name.as_str(), p)).collect::<Vec<_>>()
    };
    let all: Vec<Value> = agents.iter().flat_map(of).collect();
    if all.is_empty() {
        return Ok("nothing waits for an answer".to_owned());
    }
    rows("approvals", all)
}

fn asked(agent: &str, p: &PendingApproval) -> Value {
    let mut row = json!({ "agent": agent, "id": p.id, "what": summary(&p.what, ASKED) });
    let questions = p.questions.as_ref().map(Value::to_string);
    for (key, value) in
        [("command", &p.command), ("cwd", &p.cwd), ("diff", &p.diff), ("questions", &questions)]
    {
        if let Some(value) = value {
            row[key] = cut(value, ASKED).into();
        }
    }
    row
}

/// The beginning of a text, its line breaks kept.
fn cut(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}… (cut)", &text[..at]),
    }
}

/// `{what: rows}`, with as many rows as fit, and how many did not.
fn rows(what: &str, all: Vec<Value>) -> anyhow::Result<String> {
    let (mut bytes, total) = (0, all.len());
    let mut shown = Vec::new();
    for row in all {
        bytes += fracta::event::encode::json(&row)?.len();
        if bytes > LIMIT && !shown.is_empty() {
            break;
        }
        shown.push(row);
    }
    let left_out = total - shown.len();
    let mut answer = json!({ what: shown });
    if left_out > 0 {
        answer["left_out"] = left_out.into();
    }
    text(&answer)
}

/// JSON as `--json` prints it: nothing in it moves a cursor, whoever shows it.
fn text(value: &Value) -> anyhow::Result<String> {
    Ok(String::from_utf8(fracta::event::encode::json(value)?)?)
}

async fn peek(plane: &Plane, args: tools::Peek) -> anyhow::Result<String> {
    let tools::Peek { name, events } = &args;
    let limit = (*events).clamp(1, MAX_EVENTS);
    let (agent, tail) = plane.ask(|c| read(c, name, limit)).await?;
    let reason = agent.reason.as_ref().map(|r| format!(" ({})", summary(r, CELL))).unwrap_or_default();
    let head = format!("{}: {}{reason}; last event {}\n\n", agent.name, agent.state.word(), agent.last_seq);
    Ok(format!("{head}{}", fracta::text::block(&tail.finish())))
}

/// The agent and the end of what it said and did. Nobody has *seen* it by that: a model is no person.
async fn read(client: Client, name: &str, limit: u64) -> Result<(wire::Agent, Tail), ClientError> {
    let agent = client.agent(name).await?;
    let query = EventQuery { before: Some(u64::MAX), limit: Some(limit), ..EventQuery::default() };
    let mut events = client.events(&agent.session, query).await?;
    let (mut readable, mut tail) = (Readable::new(), Tail::default());
    while let Some(event) = events.next().await {
        tail.push(&readable.show(&event?));
    }
    tail.push(&readable.finish());
    Ok((agent, tail))
}

/// The last [`LIMIT`] bytes of a text that comes in pieces.
#[derive(Default)]
struct Tail {
    text: String,
    cut: bool,
}

impl Tail {
    fn push(&mut self, piece: &str) {
        self.text.push_str(piece);
        // Cut seldom: each cut moves what is left.
        if self.text.len() > 2 * LIMIT {
            self.trim();
        }
    }

    fn trim(&mut self) {
        let Some(over) = self.text.len().checked_sub(LIMIT).filter(|over| *over > 0) else { return };
        let at = (over..=self.text.len()).find(|i| self.text.is_char_boundary(*i)).unwrap_or(over);
        // From a line's beginning on, where one is near.
        let line = self.text[at..].find('\n').map(|n| at + n + 1).filter(|i| *i < at + LIMIT / 4);
        self.text.drain(..line.unwrap_or(at));
        self.cut = true;
    }

    fn finish(mut self) -> String {
        self.trim();
        if self.cut { format!("(… what came before is cut)\n{}", self.text) } else { self.text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_the_end_of_the_text_and_says_that_it_was_cut() {
        let mut tail = Tail::default();
        tail.push("short\n");
        assert_eq!(tail.finish(), "short\n");
        let mut tail = Tail::default();
        for i in 0..10_000 {
            tail.push(&format!("zeile {i} größer\n"));
        }
        let text = tail.finish();
        assert!(text.len() < LIMIT + 64 && text.len() > LIMIT / 2, "{}", text.len());
        assert!(
            text.starts_with("(… what came before is cut)\nzeile ") && text.ends_with("zeile 9999 größer\n")
        );
        // One line, longer than all: cut between characters.
        let mut tail = Tail::default();
        tail.push(&"ü".repeat(LIMIT * 3));
        assert!(tail.finish().ends_with("üü"));
    }

    #[test]
    fn rows_that_do_not_fit_are_counted() {
        let row = json!({ "name": "x".repeat(1_000) });
        let answer: Value = serde_json::from_str(&rows("agents", vec![row; 100]).unwrap()).unwrap();
        let shown = answer["agents"].as_array().unwrap().len();
        assert!(shown > 10 && shown < 25, "{shown}");
        assert_eq!(answer["left_out"], 100 - shown);
        let one: Value =
            serde_json::from_str(&rows("agents", vec![json!("y".repeat(LIMIT * 2))]).unwrap()).unwrap();
        assert_eq!(one["agents"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn wrong_arguments_are_told_in_words_that_mend_them() {
        let object = |v: Value| v.as_object().unwrap().clone();
        let words = |v| parse::<tools::Spawn>(object(v)).unwrap_err().to_string();
        assert!(words(json!({"task": "x"})).contains("missing field `contract`"));
        assert!(words(json!({"task": "x", "contract": "y", "mode": "fast"})).contains("`batch`"));
        assert!(words(json!({"task": "x", "contract": "y", "backend": "local"})).contains("unknown field"));
        parse::<tools::Spawn>(object(json!({"task": "x", "contract": "y", "tier": null}))).unwrap();
    }
}
