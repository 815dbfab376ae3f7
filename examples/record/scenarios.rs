//! What is recorded of Codex.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use fracta::demo::homes::CODEX_MODEL;
use fracta::demo::model::{ModelServer, Script};
use fracta::demo::project::DemoProject;
use fracta::demo::script::{DemoScript, PromptScript, demo};
use serde_json::{Value, json};

use crate::driver::Process;
use crate::scrub::Scrub;

/// `batch-…` are `codex exec --json`, the others `codex app-server`; `demo-…` show the demo's contracts.
pub const NAMES: &[&str] = &[
    "batch-turn",
    "batch-resume",
    "batch-fail",
    "turn",
    "approval-accept",
    "approval-deny",
    "approval-patch",
    "steer",
    "interrupt-text",
    "interrupt-command",
    "fail",
    "resume",
    "demo-explain",
    "demo-summary",
    "demo-release-accept",
    "demo-release-decline",
    "demo-anything",
    "batch-demo-survey",
    "batch-demo-nightly",
    "batch-demo-anything",
];

pub const WORK: &str = "Do a bit of everything.\n\
    fracta:think **Looking around**\\n\\nFirst the plan.\n\
    fracta:say I begin with a plan.\n\
    fracta:plan look|write|check\n\
    fracta:run printf 'one\\ntwo\\n' && ls src\n\
    fracta:plan +look|*write|check\n\
    fracta:patch notes/today.txt <<first line\\nsecond line\n\
    fracta:plan +look|+write|*check\n\
    fracta:run cat notes/today.txt; exit 3\n\
    fracta:say **Done.** The notes are written; `ü` and 漢字 survive.\\n";

/// One scenario's stage.
pub struct Stage {
    pub project: DemoProject,
    script: Arc<PromptScript>,
    _model: ModelServer,
    pub scrub: Scrub,
}

impl Stage {
    pub fn new(name: &str) -> Result<Self> {
        let script = Arc::new(PromptScript::new());
        let played: Arc<dyn Script> =
            if name.contains("demo-") { Arc::new(DemoScript::new()) } else { script.clone() };
        let model = ModelServer::start(played)?;
        let project = DemoProject::make(&model.base_url(), &Default::default())?;
        let path = |p: &Path| p.to_string_lossy().into_owned();
        let port = model.base_url().replace("http://", "");
        let scrub = Scrub::new(vec![
            (path(&project.root), "/demo/stations".into()),
            // Claude's name of the folder of a project's sessions.
            (path(&project.root).replace(['/', '.', '_'], "-"), "-demo-stations".into()),
            (path(&project.homes.dir), "/demo/homes".into()),
            (path(project.dir()), "/demo".into()),
            (port, "127.0.0.1:1".into()),
        ]);
        Ok(Self { project, script, _model: model, scrub })
    }

    fn start(&self, codex: &Path, args: &[&str]) -> Result<Process> {
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        // Commands run in login shells, whose start files are nobody's business here.
        let mut env = self.project.homes.codex.clone();
        env.push(("HOME".to_owned(), self.project.homes.dir.join("home").to_string_lossy().into_owned()));
        Process::start(codex, &args, &self.project.root, &env)
    }
}

pub async fn record(name: &str, codex: &Path, version: &str) -> Result<String> {
    let mut stage = Stage::new(name)?;
    let (process, mode, exit) = if name.starts_with("batch-") {
        let (p, exit) = batch(name, codex, &stage).await?;
        (p, "batch", exit)
    } else {
        let (p, exit) = stream(name, codex, &stage).await?;
        (p, "stream", exit)
    };
    let header = json!({
        "cli": "codex", "version": version, "mode": mode, "scenario": name, "exit": exit,
        "prompt": prompt(name), "made_by": "cargo run --example record"
    });
    Ok(process.recording(header, &mut stage.scrub))
}

/// The first prompt.
fn prompt(name: &str) -> &'static str {
    match name {
        "approval-accept" | "approval-deny" => {
            "Ask first.\nfracta:say I need your word.\nfracta:run touch asked.txt && echo made\nfracta:say Thanks."
        }
        "approval-patch" => "Ask first.\nfracta:patch asked.txt <<by patch\nfracta:say Thanks.",
        "steer" => {
            "Wait for me.\nfracta:say one\nfracta:gate g\nfracta:say two\nfracta:run echo three\nfracta:say four"
        }
        "interrupt-text" => "Talk.\nfracta:say 30 words\nfracta:hang",
        "interrupt-command" => "Run long.\nfracta:run echo begun; exec sleep 600",
        "fail" | "batch-fail" => "Fail.\nfracta:fail 500 the model is overloaded",
        "resume" | "batch-resume" => "And now?\nfracta:run cat notes/today.txt\nfracta:say Still here.",
        "demo-explain" => demo::EXPLAIN,
        "demo-summary" => demo::SUMMARY,
        "demo-release-accept" | "demo-release-decline" => demo::RELEASE,
        "batch-demo-survey" => demo::SURVEY,
        "batch-demo-nightly" => demo::NIGHTLY,
        "demo-anything" | "batch-demo-anything" => demo::ANYTHING,
        _ => WORK,
    }
}

async fn batch(name: &str, codex: &Path, stage: &Stage) -> Result<(Process, Option<i32>)> {
    let args = [
        "exec",
        "--json",
        "--sandbox",
        "workspace-write",
        "-c",
        "approval_policy=\"never\"",
        "--model",
        CODEX_MODEL,
    ];
    if name != "batch-resume" {
        let mut p = stage.start(codex, &[&args[..], &["-"]].concat())?;
        p.feed(prompt(name)).await?;
        let exit = p.end().await?;
        return Ok((p, exit));
    }
    let mut first = stage.start(codex, &[&args[..], &["-"]].concat())?;
    first.feed(WORK).await?;
    let started = first.until(|v| v["type"] == "thread.started").await?;
    first.end().await?;
    let thread = started["thread_id"].as_str().context("no thread id")?;
    let mut p = stage.start(codex, &[&args[..], &["resume", thread, "-"]].concat())?;
    p.feed(prompt(name)).await?;
    let exit = p.end().await?;
    Ok((p, exit))
}

async fn stream(name: &str, codex: &Path, stage: &Stage) -> Result<(Process, Option<i32>)> {
    let ask = name.contains("approval") || name.contains("release");
    let approvals = if ask { "untrusted" } else { "never" };
    let options = json!({
        "cwd": stage.project.root, "model": CODEX_MODEL, "approvalPolicy": approvals, "sandbox": "workspace-write"
    });
    let mut p = opened(codex, stage).await?;
    let mut thread = p.request("thread/start", "1", options.clone()).await?;
    if name == "resume" {
        let id = thread["thread"]["id"].clone();
        turn(&mut p, &id, "m1", WORK).await?;
        p.until_method("turn/completed").await?;
        p.end().await?;
        p = opened(codex, stage).await?;
        let mut again = options;
        again["threadId"] = id;
        thread = p.request("thread/resume", "1", again).await?;
    }
    let thread = thread["thread"]["id"].clone();
    let started = turn(&mut p, &thread, "m1", prompt(name)).await?;
    let turn_id = started["turn"]["id"].clone();
    act(name, &mut p, stage, &thread, &turn_id).await?;
    let done = p.until_method("turn/completed").await?;
    if done["params"]["turn"]["id"] != turn_id {
        bail!("another turn ended: {done}");
    }
    let exit = p.end().await?;
    Ok((p, exit))
}

/// What the client does in the middle of the turn.
async fn act(name: &str, p: &mut Process, stage: &Stage, thread: &Value, turn: &Value) -> Result<()> {
    match name {
        "approval-accept" | "demo-release-accept" => {
            answer(p, "item/commandExecution/requestApproval", "accept").await
        }
        "approval-deny" | "demo-release-decline" => {
            answer(p, "item/commandExecution/requestApproval", "decline").await
        }
        "approval-patch" => answer(p, "item/fileChange/requestApproval", "accept").await,
        "steer" => {
            p.until_method("item/agentMessage/delta").await?;
            stage.script.gate("g").reached().await;
            let params = json!({
                "threadId": thread, "expectedTurnId": turn, "clientUserMessageId": "m2",
                "input": [{"type": "text", "text": "and mind the tests"}]
            });
            p.request("turn/steer", "m2", params).await?;
            stage.script.gate("g").release();
            Ok(())
        }
        "interrupt-text" => {
            p.until_method("item/agentMessage/delta").await?;
            interrupt(p, thread, turn).await
        }
        "interrupt-command" => {
            p.until(|v| v["method"] == "item/started" && v["params"]["item"]["type"] == "commandExecution")
                .await?;
            interrupt(p, thread, turn).await
        }
        _ => Ok(()),
    }
}

async fn opened(codex: &Path, stage: &Stage) -> Result<Process> {
    let mut p = stage.start(codex, &["app-server"])?;
    let client = json!({"clientInfo": {"name": "fracta", "title": "fracta", "version": "0.1.0"}});
    p.request("initialize", "1", client).await?;
    p.send(&json!({"method": "initialized"})).await?;
    Ok(p)
}

async fn turn(p: &mut Process, thread: &Value, message: &str, text: &str) -> Result<Value> {
    let params = json!({
        "threadId": thread, "clientUserMessageId": message, "input": [{"type": "text", "text": text}]
    });
    p.request("turn/start", message, params).await
}

async fn answer(p: &mut Process, method: &str, decision: &str) -> Result<()> {
    let asked = p.until_method(method).await?;
    p.send(&json!({"id": asked["id"], "result": {"decision": decision}})).await
}

/// The answer may come before or after the end of the turn, so it is not waited for.
async fn interrupt(p: &mut Process, thread: &Value, turn: &Value) -> Result<()> {
    let id = format!("turn/interrupt#{}", turn.as_str().unwrap_or_default());
    let params = json!({"threadId": thread, "turnId": turn});
    p.send(&json!({"id": id, "method": "turn/interrupt", "params": params})).await
}
