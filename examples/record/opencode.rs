//! What is recorded of OpenCode. The stream is `opencode serve`, driven by the adapter itself; what lies in
//! its recordings are the lines of [`fracta::transport::http`], and the requests that went in.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use fracta::demo::homes::OPENCODE_MODEL;
use fracta::demo::script::demo;
use fracta::event::{Body, Decision, Fact};
use fracta::runtime::{
    Command, Input, Mode, Output, Permissions, Protocol, Runtime, Send, SessionSpec, Wire, adapter,
};
use fracta::transport::http::{Conversation, Endpoint, Request};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use crate::driver::{Line, PATIENCE, Process, end_group, recording};
use crate::scenarios::{Stage, WORK};

/// `batch-…` are `opencode run`, the others `opencode serve`.
pub const NAMES: &[&str] = &[
    "batch-turn",
    "batch-resume",
    "batch-fail",
    "batch-task-denied",
    "turn",
    "approval-accept",
    "approval-deny",
    "interrupt-text",
    "interrupt-command",
    "fail",
    "resume",
    "task-denied",
    "subagent",
    "batch-demo-summary",
    "batch-demo-anything",
];

const TASK: &str = "Let another do it.\n\
    fracta:tool task {\"description\":\"look\",\"subagent_type\":\"general\",\"prompt\":\"Look.\\nfracta:run ls\\nfracta:say seen\"}\n\
    fracta:say Thanks.";

pub async fn record(name: &str, opencode: &Path, version: &str) -> Result<String> {
    let mut stage = Stage::new(name)?;
    let mode = if name.starts_with("batch-") { Mode::Batch } else { Mode::Stream };
    let (lines, exit) = match mode {
        Mode::Batch => batch(name, opencode, &stage).await?,
        Mode::Stream => (stream(name, opencode, &stage).await?, None),
    };
    let header = json!({
        "cli": "opencode", "version": version, "mode": mode, "scenario": name, "exit": exit,
        "prompt": prompt(name), "made_by": "cargo run --example record"
    });
    Ok(recording(&lines, header, &mut stage.scrub))
}

/// The (last) prompt.
fn prompt(name: &str) -> &'static str {
    match name {
        "approval-accept" | "approval-deny" => {
            "Ask first.\nfracta:say I need your word.\nfracta:run touch asked.txt && echo made\nfracta:say Thanks."
        }
        "interrupt-text" => "Talk.\nfracta:say 30 words\nfracta:hang",
        "interrupt-command" => "Run long.\nfracta:run echo begun; exec sleep 600",
        "fail" | "batch-fail" => "Fail.\nfracta:fail 400 the model will not have it",
        "resume" | "batch-resume" => "And now?\nfracta:run cat notes/today.txt\nfracta:say Still here.",
        "task-denied" | "batch-task-denied" | "subagent" => TASK,
        "batch-demo-summary" => demo::SUMMARY,
        "batch-demo-anything" => demo::ANYTHING,
        _ => WORK,
    }
}

fn opencode_adapter() -> Result<&'static dyn Runtime> {
    adapter("opencode").context("no adapter for opencode")
}

async fn spec(name: &str, opencode: &Path, stage: &Stage) -> Result<SessionSpec> {
    let adapter = opencode_adapter()?;
    let mut outputs = Vec::new();
    for args in adapter.probes() {
        let mut probe = tokio::process::Command::new(opencode);
        probe.args(args).envs(stage.project.homes.opencode.iter().cloned());
        let out = probe.stdin(Stdio::null()).output().await?;
        outputs.push(String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned());
    }
    let ask = name.starts_with("approval-");
    Ok(SessionSpec {
        runtime: "opencode".to_owned(),
        command: vec![opencode.into()],
        cli: adapter.probed(&outputs),
        mode: if name.starts_with("batch-") { Mode::Batch } else { Mode::Stream },
        model: Some(OPENCODE_MODEL.to_owned()),
        permissions: if ask { Permissions::Ask } else { Permissions::Auto },
        cwd: stage.project.root.clone(),
        resume_token: None,
        run: 1,
        step_limit: 0,
    })
}

async fn batch(name: &str, opencode: &Path, stage: &Stage) -> Result<(Vec<Line>, Option<i32>)> {
    let mut spec = spec(name, opencode, stage).await?;
    if name == "batch-resume" {
        let (lines, _) = run(&spec, stage, WORK).await?;
        let first: Value = serde_json::from_str(&lines.first().context("it said nothing")?.2)?;
        spec.resume_token = first["sessionID"].as_str().map(str::to_owned);
    }
    run(&spec, stage, prompt(name)).await
}

async fn run(spec: &SessionSpec, stage: &Stage, prompt: &str) -> Result<(Vec<Line>, Option<i32>)> {
    let launch = opencode_adapter()?.launch(spec, Some(prompt))?;
    let text = |s: &std::ffi::OsString| s.to_string_lossy().into_owned();
    let args: Vec<String> = launch.argv[1..].iter().map(text).collect();
    let mut env = stage.project.homes.opencode.clone();
    env.extend(launch.env.iter().map(|(k, v)| (text(k), text(v))));
    let mut p = Process::start(Path::new(&launch.argv[0]), &args, &spec.cwd, &env)?;
    p.feed(prompt).await?;
    p.rest().await?;
    let exit = p.end().await?;
    Ok((p.lines, exit))
}

async fn stream(name: &str, opencode: &Path, stage: &Stage) -> Result<Vec<Line>> {
    let mut spec = spec(name, opencode, stage).await?;
    if name == "resume" {
        let mut first = Server::start(&spec, stage, name).await?;
        first.turn("m-0", WORK).await?;
        first.until(|b| matches!(b, Body::TurnCompleted { .. })).await?;
        spec.resume_token = first.token();
        first.end().await?;
    }
    let mut s = Server::start(&spec, stage, name).await?;
    s.turn("m-1", prompt(name)).await?;
    match name {
        "approval-accept" | "approval-deny" => {
            let asked = s.until(|b| matches!(b, Body::ApprovalRequested { .. })).await?;
            let Body::ApprovalRequested { approval, .. } = asked else { bail!("not asked") };
            let decision = if name == "approval-accept" { Decision::Approved } else { Decision::Denied };
            s.command(&Command::Answer { approval, decision, answers: None }).await?;
        }
        "interrupt-text" => {
            s.until(|b| matches!(b, Body::MessageDelta { .. })).await?;
            s.command(&Command::Interrupt).await?;
        }
        "interrupt-command" => {
            s.until(|b| matches!(b, Body::CommandOutput { .. })).await?;
            s.command(&Command::Interrupt).await?;
        }
        _ => {}
    }
    s.until(|b| matches!(b, Body::TurnCompleted { .. })).await?;
    s.end().await
}

/// A running server, the link to it and the protocol.
struct Server {
    child: Child,
    dir: tempfile::TempDir,
    link: Conversation,
    protocol: Box<dyn Protocol>,
    start: Instant,
    read: usize,
    facts: Vec<Fact>,
    seen: usize,
    lines: Vec<Line>,
}

impl Server {
    async fn start(spec: &SessionSpec, stage: &Stage, name: &str) -> Result<Self> {
        let launch = opencode_adapter()?.launch(spec, None)?;
        let Wire::HttpSse(wire) = &launch.wire else { bail!("not by HTTP") };
        let dir = tempfile::tempdir()?;
        let endpoint = Endpoint {
            run: 1,
            user: wire.user.to_owned(),
            password: "recorded".to_owned(),
            announced: wire.announced.to_owned(),
            events: wire.events.to_owned(),
        };
        let mut command = tokio::process::Command::new(&launch.argv[0]);
        command
            .args(&launch.argv[1..])
            .current_dir(&spec.cwd)
            .env("PWD", &spec.cwd)
            .envs(stage.project.homes.opencode.iter().cloned())
            .envs(launch.env.iter().cloned())
            .env(wire.password_env, &endpoint.password);
        if name == "subagent" {
            // As `Task` in `project.allowed_tools` does.
            command.env("OPENCODE_CONFIG_CONTENT", json!({"permission": {"task": "allow"}}).to_string());
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start {:?}", launch.argv[0]))?;
        let link =
            Conversation::open(endpoint, &dir.path().join("raw.jsonl"), &dir.path().join("lock")).await?;
        let stdout = dir.path().join("stdout");
        let mut said = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        while let Some(line) = tokio::time::timeout(PATIENCE, said.next_line()).await?? {
            writeln!(std::fs::OpenOptions::new().create(true).append(true).open(&stdout)?, "{line}")?;
            if line.contains(wire.announced) {
                break;
            }
        }
        link.look(&stdout);
        // Who prints into a closed pipe dies.
        tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
        let protocol = opencode_adapter()?.protocol(spec, None);
        let (start, facts, lines) = (Instant::now(), Vec::new(), Vec::new());
        let mut server = Self { child, dir, link, protocol, start, read: 0, facts, seen: 0, lines };
        let mut out = Output::default();
        server.protocol.open(&mut out);
        server.take(out).await?;
        server.until(|b| matches!(b, Body::SessionStarted { .. })).await?;
        Ok(server)
    }

    fn raw(&self) -> PathBuf {
        self.dir.path().join("raw.jsonl")
    }

    async fn turn(&mut self, message: &str, text: &str) -> Result<()> {
        self.command(&Command::StartTurn { message: message.to_owned(), text: text.to_owned() }).await
    }

    async fn command(&mut self, command: &Command) -> Result<()> {
        let mut out = Output::default();
        self.protocol.command(command, &mut out)?;
        self.take(out).await
    }

    async fn take(&mut self, out: Output) -> Result<()> {
        self.facts.extend(out.facts);
        for send in out.sends {
            let Send::Http { id, method, path, body } = send else { bail!("not by HTTP") };
            let told = body.as_deref().map(serde_json::from_slice::<Value>).transpose()?;
            let line = json!({"id": id, "method": method, "path": path, "body": told}).to_string();
            self.lines.push((self.start.elapsed().as_millis(), "in", line));
            if !self.link.send(Request { id, method, path, body }).await {
                bail!("the link is gone");
            }
        }
        Ok(())
    }

    /// Reads the whole lines that are new.
    async fn read(&mut self) -> Result<()> {
        let all = std::fs::read(self.raw())?;
        let end = all.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        for line in all[self.read..end].split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            let text = String::from_utf8(line.to_vec())?;
            self.lines.push((self.start.elapsed().as_millis(), "out", text));
            let mut out = Output::default();
            self.protocol.input(Input::Message(line), &mut out);
            self.take(out).await?;
        }
        self.read = end;
        Ok(())
    }

    /// The next fact that fits.
    async fn until(&mut self, fits: impl Fn(&Body) -> bool) -> Result<Body> {
        loop {
            self.read().await?;
            while let Some(fact) = self.facts.get(self.seen) {
                self.seen += 1;
                if fits(&fact.body) {
                    return Ok(fact.body.clone());
                }
            }
            if let Some(why) = self.protocol.fatal() {
                bail!("{why}");
            }
            let news = tokio::time::timeout(PATIENCE, self.link.news()).await;
            news.with_context(|| format!("the server says nothing after {:?}", self.facts.last()))?;
        }
    }

    fn token(&self) -> Option<String> {
        self.facts.iter().find_map(|f| match &f.body {
            Body::SessionStarted { resume_token, .. } => resume_token.clone(),
            _ => None,
        })
    }

    /// Ends the server when it has answered; all that was said, without the end of the link, which is not the server's word.
    async fn end(mut self) -> Result<Vec<Line>> {
        let open = |lines: &[Line]| {
            let answers = lines.iter().filter(|l| l.2.starts_with("{\"fracta\":\"http\"")).count();
            lines.iter().filter(|l| l.1 == "in").count() > answers
        };
        while open(&self.lines) {
            tokio::time::timeout(PATIENCE, self.link.news()).await.context("a request has no answer")?;
            self.read().await?;
        }
        end_group(&mut self.child).await?;
        self.link.finish().await;
        self.read().await?;
        self.lines.retain(|(_, _, l)| !l.starts_with("{\"fracta\":\"disconnected\""));
        Ok(self.lines)
    }
}
