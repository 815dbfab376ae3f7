//! A real CLI, the scripted model and a project; and the pipes between the CLI and its protocol.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use fracta::demo::model::ModelServer;
use fracta::demo::script::PromptScript;
use fracta::event::{Body, Decision, Fact, Outcome, Role};
use fracta::runtime::{
    CliInfo, Command, Input, Mode, Output, Permissions, Protocol, Refused, Runtime, Send, SessionSpec,
    adapter,
};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::support::{TestProject, clis_path, require_cli, require_oldest};

pub fn codex() -> &'static dyn Runtime {
    adapter("codex").unwrap()
}

pub fn claude() -> &'static dyn Runtime {
    adapter("claude").unwrap()
}

/// A model, a project and one installed CLI.
pub struct Bench {
    runtime: &'static dyn Runtime,
    pub script: Arc<PromptScript>,
    pub model: ModelServer,
    pub project: TestProject,
    command: PathBuf,
    cli: CliInfo,
}

impl Bench {
    pub async fn with(runtime: &'static dyn Runtime, command: PathBuf) -> Self {
        let script = Arc::new(PromptScript::new());
        let model = ModelServer::start(script.clone()).unwrap();
        let mut outputs = Vec::new();
        for args in runtime.probes() {
            let mut probe = tokio::process::Command::new(&command);
            probe.args(args).env("PATH", clis_path()).stdin(Stdio::null());
            let out = probe.output().await.unwrap();
            outputs.push(String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned());
        }
        let cli = runtime.probed(&outputs);
        Self { runtime, script, model, project: TestProject::new(), command, cli }
    }

    pub async fn new() -> Option<Self> {
        Some(Self::with(codex(), require_cli("codex")?).await)
    }

    /// One bench for the usual version, and one for the oldest.
    pub async fn all() -> Vec<Self> {
        Self::newer_and_oldest(codex()).await
    }

    /// The same of claude.
    pub async fn claudes() -> Vec<Self> {
        Self::newer_and_oldest(claude()).await
    }

    async fn newer_and_oldest(runtime: &'static dyn Runtime) -> Vec<Self> {
        let mut all = Vec::new();
        let cli = runtime.adapter();
        for command in [require_cli(cli), require_oldest(cli)].into_iter().flatten() {
            all.push(Self::with(runtime, command).await);
        }
        all
    }

    pub async fn claude() -> Option<Self> {
        Some(Self::with(claude(), require_cli("claude")?).await)
    }

    /// Codex's own sandbox is off: not every machine that runs tests has what it needs.
    pub fn spec(&self, mode: Mode, permissions: Permissions) -> SessionSpec {
        let mut command = vec![self.command.clone().into()];
        if self.runtime.adapter() == "codex" {
            command.extend(["-c".into(), "sandbox_mode=danger-full-access".into()]);
        }
        SessionSpec {
            runtime: self.runtime.adapter().to_owned(),
            command,
            cli: self.cli.clone(),
            mode,
            model: None,
            permissions,
            cwd: self.project.repo(),
            resume_token: None,
            run: 1,
            step_limit: 0,
        }
    }

    pub async fn stream(&self, permissions: Permissions) -> Agent {
        let mut agent = Agent::start(self, self.spec(Mode::Stream, permissions), None).await;
        agent.until("session.started", |b| matches!(b, Body::SessionStarted { .. })).await;
        assert!(agent.protocol.ready());
        agent
    }
}

/// A running CLI and the protocol that speaks with it.
pub struct Agent {
    runtime: &'static dyn Runtime,
    pub spec: SessionSpec,
    pub child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    pub protocol: Box<dyn Protocol>,
    /// Lines of stdout, each with the facts that it gave.
    lines: Vec<(Vec<u8>, Vec<Fact>)>,
    /// All facts, those of commands too, and how many of them `until` has looked at.
    pub facts: Vec<Fact>,
    seen: usize,
    pub deliveries: Vec<(String, Result<(), String>)>,
}

impl Agent {
    pub async fn start(bench: &Bench, spec: SessionSpec, prompt: Option<&str>) -> Self {
        let runtime = bench.runtime;
        let launch = runtime.launch(&spec, prompt).unwrap();
        if let Some(prompt) = prompt {
            assert!(!launch.argv.iter().any(|a| a.to_string_lossy().contains(prompt)), "{:?}", launch.argv);
        }
        let env = match runtime.adapter() {
            "claude" => bench.project.claude_env(&bench.model),
            _ => bench.project.codex_env(&bench.model),
        };
        let mut child = tokio::process::Command::new(&launch.argv[0])
            .args(&launch.argv[1..])
            .current_dir(&spec.cwd)
            .env("PATH", clis_path())
            .envs(launch.env.clone())
            .envs(env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take();
        if let (Some(input), Some(mut pipe)) = (&launch.input, stdin.take_if(|_| !launch.stdin)) {
            // One that dies at once reads nothing; how it died is the test's business.
            let _ = pipe.write_all(input).await;
        }
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let protocol = runtime.protocol(&spec, prompt.map(|_| "m-prompt"));
        let (lines, facts, deliveries) = (Vec::new(), Vec::new(), Vec::new());
        let mut agent =
            Self { runtime, spec, child, stdin, stdout, protocol, lines, facts, seen: 0, deliveries };
        let mut out = Output::default();
        agent.protocol.open(&mut out);
        agent.carry_out(out).await;
        agent
    }

    pub async fn carry_out(&mut self, out: Output) {
        self.facts.extend(out.facts);
        self.deliveries.extend(out.deliveries);
        for send in out.sends {
            let Send::Message(mut bytes) = send else { panic!("codex speaks no HTTP") };
            bytes.push(b'\n');
            self.stdin.as_mut().expect("only a stream is written to").write_all(&bytes).await.unwrap();
        }
    }

    /// Reads one line; false at the end.
    pub async fn line(&mut self) -> bool {
        let mut line = Vec::new();
        let limit = Duration::from_secs(60); // a guard against hanging for ever, not a measure
        let read = tokio::time::timeout(limit, self.stdout.read_until(b'\n', &mut line)).await;
        let read = read.unwrap_or_else(|_| panic!("nothing came any more after {:#?}", self.facts));
        if read.unwrap() == 0 {
            return false;
        }
        line.pop();
        let mut out = Output::default();
        self.protocol.input(Input::Message(&line), &mut out);
        self.lines.push((line, out.facts.clone()));
        self.carry_out(out).await;
        true
    }

    /// The next fact that fits, reading as far as needed.
    pub async fn until(&mut self, what: &str, fits: impl Fn(&Body) -> bool) -> Body {
        loop {
            while let Some(fact) = self.facts.get(self.seen) {
                self.seen += 1;
                if fits(&fact.body) {
                    return fact.body.clone();
                }
            }
            if !self.line().await {
                let stderr = self.stderr().await;
                panic!("it ended before {what}: {:#?}\n{stderr}", self.facts);
            }
        }
    }

    pub async fn command(&mut self, command: Command) -> Result<(), Refused> {
        let mut out = Output::default();
        let result = self.protocol.command(&command, &mut out);
        self.carry_out(out).await;
        result
    }

    pub async fn turn(&mut self, message: &str, text: &str) {
        self.command(Command::StartTurn { message: message.to_owned(), text: text.to_owned() })
            .await
            .unwrap();
    }

    pub async fn turn_end(&mut self) -> Outcome {
        match self.until("turn.completed", |b| matches!(b, Body::TurnCompleted { .. })).await {
            Body::TurnCompleted { outcome, .. } => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub async fn approval(&mut self) -> String {
        match self.until("approval.requested", |b| matches!(b, Body::ApprovalRequested { .. })).await {
            Body::ApprovalRequested { approval, .. } => approval,
            other => panic!("{other:?}"),
        }
    }

    pub async fn answer(&mut self, approval: &str, decision: Decision) -> Result<(), Refused> {
        self.command(Command::Answer { approval: approval.to_owned(), decision, answers: None }).await
    }

    pub fn token(&self) -> Option<String> {
        self.facts.iter().find_map(|f| match &f.body {
            Body::SessionStarted { resume_token, .. } => resume_token.clone(),
            _ => None,
        })
    }

    /// Claude knows its session only with the first turn.
    pub fn last_token(&self) -> Option<String> {
        self.facts.iter().rev().find_map(|f| match &f.body {
            Body::SessionStarted { resume_token, .. } => resume_token.clone(),
            _ => None,
        })
    }

    /// All of stderr, once the process has ended.
    pub async fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.as_mut().unwrap().read_to_string(&mut text).await.unwrap();
        text
    }

    pub fn said(&self) -> Vec<&str> {
        let texts = self.facts.iter().filter_map(|f| match &f.body {
            Body::MessageCompleted { role: Role::Assistant, text, .. } => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    pub fn has(&self, fits: impl Fn(&Body) -> bool) -> bool {
        self.facts.iter().any(|f| fits(&f.body))
    }

    /// The law of rebuilding: the lines alone, without any command, give each the same facts again;
    /// and nothing of what this CLI said was not understood.
    pub fn check(&self) {
        let mut again = self.runtime.protocol(&self.spec, Some("m-prompt"));
        again.open(&mut Output::default());
        for (line, facts) in &self.lines {
            let mut out = Output::default();
            again.input(Input::Message(line), &mut out);
            assert_eq!(&out.facts, facts, "{}", String::from_utf8_lossy(line));
        }
        assert!(!self.has(|b| matches!(b, Body::Raw { .. })), "{:#?}", self.facts);
    }

    pub fn kill_group(&self) {
        if let Some(pid) = self.child.id() {
            let _ = killpg(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
    }

    /// Ends a stream by closing its stdin.
    pub async fn close(mut self) {
        self.check();
        self.stdin = None;
        while self.line().await {}
        self.child.wait().await.unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill_group();
    }
}
