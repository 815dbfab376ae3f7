//! What is recorded of Claude Code.

use std::path::Path;

use anyhow::{Result, bail};
use fracta::demo::script::demo;
use serde_json::{Value, json};

use crate::driver::Process;
use crate::scenarios::{Stage, WORK};

/// `batch-…` take the prompt on stdin, the others speak stream-json both ways.
pub const NAMES: &[&str] = &[
    "batch-turn",
    "batch-resume",
    "batch-fail",
    "turn",
    "approval-accept",
    "approval-deny",
    "interrupt-text",
    "interrupt-command",
    "fail",
    "resume",
    "batch-demo-survey",
    "batch-demo-anything",
];

const BASE: &[&str] = &["-p", "--output-format", "stream-json", "--verbose", "--include-partial-messages"];
const STREAM: &[&str] =
    &["--input-format", "stream-json", "--replay-user-messages", "--permission-prompt-tool=stdio"];

pub async fn record(name: &str, claude: &Path, version: &str) -> Result<String> {
    let mut stage = Stage::new(name)?;
    let mode = if name.starts_with("batch-") { "batch" } else { "stream" };
    let (process, exit) = match mode {
        "batch" => batch(name, claude, &stage).await?,
        _ => stream(name, claude, &stage).await?,
    };
    let header = json!({
        "cli": "claude", "version": version, "mode": mode, "scenario": name, "exit": exit,
        "prompt": prompt(name), "made_by": "cargo run --example record"
    });
    Ok(process.recording(header, &mut stage.scrub))
}

/// The (last) prompt.
fn prompt(name: &str) -> &'static str {
    match name {
        "approval-accept" | "approval-deny" => {
            "Ask first.\nfracta:say I need your word.\nfracta:run touch asked.txt && echo made\nfracta:say Thanks."
        }
        "interrupt-text" => "Talk.\nfracta:say 30 words\nfracta:hang",
        "interrupt-command" => "Run long.\nfracta:run touch begun.txt; exec sleep 600",
        // Claude tries again for minutes where the server is to blame, and not at all here.
        "fail" | "batch-fail" => "Fail.\nfracta:fail 400 the model will not have it",
        "resume" | "batch-resume" => "And now?\nfracta:run cat notes/today.txt\nfracta:say Still here.",
        "batch-demo-survey" => demo::SURVEY,
        "batch-demo-anything" => demo::ANYTHING,
        _ => WORK,
    }
}

fn start(claude: &Path, stage: &Stage, more: &[&str]) -> Result<Process> {
    let args: Vec<String> = BASE.iter().chain(more).map(|a| (*a).to_owned()).collect();
    let mut env = stage.project.homes.claude.clone();
    env.push(("CLAUDECODE".to_owned(), String::new()));
    Process::start(claude, &args, &stage.project.root, &env)
}

fn is_result(v: &Value) -> bool {
    v["type"] == "result"
}

async fn batch(name: &str, claude: &Path, stage: &Stage) -> Result<(Process, Option<i32>)> {
    let auto = ["--permission-mode=acceptEdits", "--allowedTools=Bash"];
    let mut resume = Vec::new();
    if name == "batch-resume" {
        let mut first = start(claude, stage, &auto)?;
        first.feed(WORK).await?;
        resume.push(session(&first.until(is_result).await?)?);
        first.end().await?;
    }
    let more: Vec<&str> = auto.into_iter().chain(resume.iter().map(String::as_str)).collect();
    let mut p = start(claude, stage, &more)?;
    p.feed(prompt(name)).await?;
    p.until(is_result).await?;
    let exit = p.end().await?;
    Ok((p, exit))
}

fn session(result: &Value) -> Result<String> {
    match result["session_id"].as_str() {
        Some(id) => Ok(format!("--resume={id}")),
        None => bail!("no session id in {result}"),
    }
}

async fn stream(name: &str, claude: &Path, stage: &Stage) -> Result<(Process, Option<i32>)> {
    let mode = match name {
        "approval-accept" | "approval-deny" | "interrupt-command" => "--permission-mode=default",
        _ => "--permission-mode=acceptEdits",
    };
    let mut more = [STREAM, &[mode]].concat();
    let resume;
    if name == "resume" {
        let mut first = opened(claude, stage, &more).await?;
        turn(&mut first, "m1", WORK).await?;
        resume = session(&finished(&mut first).await?)?;
        first.end().await?;
        more.push(&resume);
    }
    let mut p = opened(claude, stage, &more).await?;
    turn(&mut p, "m2", prompt(name)).await?;
    act(name, &mut p).await?;
    finished(&mut p).await?;
    let exit = p.end().await?;
    Ok((p, exit))
}

async fn opened(claude: &Path, stage: &Stage, more: &[&str]) -> Result<Process> {
    let mut p = start(claude, stage, more)?;
    control(&mut p, "initialize").await?;
    p.until(|v| v["type"] == "control_response").await?;
    Ok(p)
}

async fn control(p: &mut Process, subtype: &str) -> Result<()> {
    let id = format!("{subtype}#1");
    p.send(&json!({"type": "control_request", "request_id": id, "request": {"subtype": subtype}})).await
}

async fn turn(p: &mut Process, message: &str, text: &str) -> Result<()> {
    p.send(&json!({
        "type": "user", "message": {"role": "user", "content": text},
        "parent_tool_use_id": null, "uuid": message
    }))
    .await
}

/// What the client does in the middle of the turn.
async fn act(name: &str, p: &mut Process) -> Result<()> {
    let asked = |v: &Value| v["type"] == "control_request";
    match name {
        "approval-accept" => {
            let ask = p.until(asked).await?;
            allow(p, &ask).await
        }
        "approval-deny" => {
            let ask = p.until(asked).await?;
            let no = json!({"behavior": "deny", "message": "The person said no."});
            respond(p, &ask, no).await
        }
        "interrupt-text" => {
            p.until(|v| v["event"]["type"] == "content_block_delta").await?;
            control(p, "interrupt").await
        }
        "interrupt-command" => {
            let ask = p.until(asked).await?;
            allow(p, &ask).await?;
            let begun = |v: &Value| v["type"] == "control_response";
            p.until(begun).await?;
            control(p, "interrupt").await
        }
        _ => Ok(()),
    }
}

async fn allow(p: &mut Process, ask: &Value) -> Result<()> {
    respond(p, ask, json!({"behavior": "allow", "updatedInput": ask["request"]["input"]})).await
}

async fn respond(p: &mut Process, ask: &Value, response: Value) -> Result<()> {
    let response = json!({"subtype": "success", "request_id": ask["request_id"], "response": response});
    p.send(&json!({"type": "control_response", "response": response})).await
}

/// Says yes to whatever is asked until the turn ends.
async fn finished(p: &mut Process) -> Result<Value> {
    loop {
        let v = p.until(|v| is_result(v) || v["type"] == "control_request").await?;
        if is_result(&v) {
            return Ok(v);
        }
        allow(p, &v).await?;
    }
}
