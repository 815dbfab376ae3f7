//! The real codex over plain pipes, through the adapter's launch and protocol: no shim, no server.
//!
//! Each test runs with the codex of `FRACTA_TEST_CLIS` or PATH, and where it says so also with the
//! older one that `FRACTA_TEST_CODEX_OLD` names (an executable).

use std::path::{Path, PathBuf};
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
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::support::{TestProject, clis_path, note, require_cli};

fn codex() -> &'static dyn Runtime {
    adapter("codex").unwrap()
}

/// A model, a project and one installed codex.
struct Bench {
    script: Arc<PromptScript>,
    model: ModelServer,
    project: TestProject,
    command: PathBuf,
    cli: CliInfo,
}

impl Bench {
    async fn with(command: PathBuf) -> Self {
        let script = Arc::new(PromptScript::new());
        let model = ModelServer::start(script.clone()).unwrap();
        let mut outputs = Vec::new();
        for args in codex().probes() {
            let mut probe = tokio::process::Command::new(&command);
            probe.args(args).env("PATH", clis_path()).stdin(Stdio::null());
            let out = probe.output().await.unwrap();
            outputs.push(String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned());
        }
        Self { script, model, project: TestProject::new(), command, cli: codex().probed(&outputs) }
    }

    async fn new() -> Option<Self> {
        Some(Self::with(require_cli("codex")?).await)
    }

    /// One bench for each installed version.
    async fn all() -> Vec<Self> {
        let mut all = Vec::from_iter(Self::new().await);
        match std::env::var_os("FRACTA_TEST_CODEX_OLD").map(PathBuf::from).filter(|p| p.is_file()) {
            Some(old) => all.push(Self::with(old).await),
            None => note("SKIPPED the older codex: FRACTA_TEST_CODEX_OLD names none"),
        }
        all
    }

    /// Codex's own sandbox is off: not every machine that runs tests has what it needs.
    fn spec(&self, mode: Mode, permissions: Permissions) -> SessionSpec {
        SessionSpec {
            runtime: "codex".to_owned(),
            command: vec![self.command.clone().into(), "-c".into(), "sandbox_mode=danger-full-access".into()],
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

    async fn stream(&self, permissions: Permissions) -> Agent {
        let mut agent = Agent::start(self, self.spec(Mode::Stream, permissions), None).await;
        agent.until("session.started", |b| matches!(b, Body::SessionStarted { .. })).await;
        assert!(agent.protocol.ready());
        agent
    }
}

/// A running codex and the protocol that speaks with it.
struct Agent {
    spec: SessionSpec,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    protocol: Box<dyn Protocol>,
    /// Lines of stdout, each with the facts that it gave.
    lines: Vec<(Vec<u8>, Vec<Fact>)>,
    /// All facts, those of commands too, and how many of them `until` has looked at.
    facts: Vec<Fact>,
    seen: usize,
    deliveries: Vec<(String, Result<(), String>)>,
}

impl Agent {
    async fn start(bench: &Bench, spec: SessionSpec, prompt: Option<&str>) -> Self {
        let launch = codex().launch(&spec, prompt).unwrap();
        if let Some(prompt) = prompt {
            assert!(!launch.argv.iter().any(|a| a.to_string_lossy().contains(prompt)), "{:?}", launch.argv);
        }
        let mut child = tokio::process::Command::new(&launch.argv[0])
            .args(&launch.argv[1..])
            .current_dir(&spec.cwd)
            .env("PATH", clis_path())
            .envs(bench.project.codex_env(&bench.model))
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
        let protocol = codex().protocol(&spec, prompt.map(|_| "m-prompt"));
        let (lines, facts, deliveries) = (Vec::new(), Vec::new(), Vec::new());
        let mut agent = Self { spec, child, stdin, stdout, protocol, lines, facts, seen: 0, deliveries };
        let mut out = Output::default();
        agent.protocol.open(&mut out);
        agent.carry_out(out).await;
        agent
    }

    async fn carry_out(&mut self, out: Output) {
        self.facts.extend(out.facts);
        self.deliveries.extend(out.deliveries);
        for send in out.sends {
            let Send::Message(mut bytes) = send;
            bytes.push(b'\n');
            self.stdin.as_mut().expect("only a stream is written to").write_all(&bytes).await.unwrap();
        }
    }

    /// Reads one line; false at the end.
    async fn line(&mut self) -> bool {
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
    async fn until(&mut self, what: &str, fits: impl Fn(&Body) -> bool) -> Body {
        loop {
            while let Some(fact) = self.facts.get(self.seen) {
                self.seen += 1;
                if fits(&fact.body) {
                    return fact.body.clone();
                }
            }
            if !self.line().await {
                let mut stderr = String::new();
                self.child.stderr.as_mut().unwrap().read_to_string(&mut stderr).await.unwrap();
                panic!("codex ended before {what}: {:#?}\n{stderr}", self.facts);
            }
        }
    }

    async fn command(&mut self, command: Command) -> Result<(), Refused> {
        let mut out = Output::default();
        let result = self.protocol.command(&command, &mut out);
        self.carry_out(out).await;
        result
    }

    async fn turn(&mut self, message: &str, text: &str) {
        self.command(Command::StartTurn { message: message.to_owned(), text: text.to_owned() })
            .await
            .unwrap();
    }

    async fn turn_end(&mut self) -> Outcome {
        match self.until("turn.completed", |b| matches!(b, Body::TurnCompleted { .. })).await {
            Body::TurnCompleted { outcome, .. } => outcome,
            other => panic!("{other:?}"),
        }
    }

    async fn approval(&mut self) -> String {
        match self.until("approval.requested", |b| matches!(b, Body::ApprovalRequested { .. })).await {
            Body::ApprovalRequested { approval, .. } => approval,
            other => panic!("{other:?}"),
        }
    }

    async fn answer(&mut self, approval: &str, decision: Decision) -> Result<(), Refused> {
        self.command(Command::Answer { approval: approval.to_owned(), decision, answers: None }).await
    }

    fn token(&self) -> Option<String> {
        self.facts.iter().find_map(|f| match &f.body {
            Body::SessionStarted { resume_token, .. } => resume_token.clone(),
            _ => None,
        })
    }

    fn said(&self) -> Vec<&str> {
        let texts = self.facts.iter().filter_map(|f| match &f.body {
            Body::MessageCompleted { role: Role::Assistant, text, .. } => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    fn has(&self, fits: impl Fn(&Body) -> bool) -> bool {
        self.facts.iter().any(|f| fits(&f.body))
    }

    /// The law of rebuilding: the lines alone, without any command, give each the same facts again;
    /// and nothing of what this codex said was not understood.
    fn check(&self) {
        let mut again = codex().protocol(&self.spec, Some("m-prompt"));
        again.open(&mut Output::default());
        for (line, facts) in &self.lines {
            let mut out = Output::default();
            again.input(Input::Message(line), &mut out);
            assert_eq!(&out.facts, facts, "{}", String::from_utf8_lossy(line));
        }
        assert!(!self.has(|b| matches!(b, Body::Raw { .. })), "{:#?}", self.facts);
    }

    fn kill_group(&self) {
        if let Some(pid) = self.child.id() {
            let _ = killpg(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
    }

    /// Ends a stream by closing its stdin.
    async fn close(mut self) {
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

#[tokio::test]
async fn batch_turns_on_one_thread() {
    for bench in Bench::all().await {
        // With the sandbox words of the adapter, which this version must know.
        let mut spec = bench.spec(Mode::Batch, Permissions::Auto);
        spec.command.truncate(1);
        let mut first = Agent::start(&bench, spec.clone(), Some("fracta:say first words")).await;
        while first.line().await {}
        assert!(first.child.wait().await.unwrap().success());
        assert_eq!(first.said(), ["first words"]);
        assert_eq!(first.deliveries, [("m-prompt".to_owned(), Ok(()))]);
        let kinds = |b: &Body| matches!(b, Body::TurnCompleted { outcome: Outcome::Completed, .. });
        assert!(first.has(kinds) && first.has(|b| matches!(b, Body::TurnStarted {})));
        assert!(first.facts.iter().all(|f| f.turn.as_deref().is_none_or(|t| t == "turn-1")));
        first.check();

        for permissions in [Permissions::Auto, Permissions::Ask] {
            let run = if permissions == Permissions::Auto { 2 } else { 3 };
            let spec = SessionSpec { run, permissions, resume_token: first.token(), ..spec.clone() };
            let mut next = Agent::start(&bench, spec, Some("fracta:say more words")).await;
            while next.line().await {}
            assert_eq!((next.token(), next.said()), (first.token(), vec!["more words"]));
            next.check();
        }
        let last = bench.model.requests().pop().unwrap();
        assert!(last.body.to_string().contains("first words"), "the thread went on");
    }
}

#[tokio::test]
async fn batch_commands_files_and_plan() {
    let Some(bench) = Bench::new().await else { return };
    let prompt = "fracta:plan +a|*b\nfracta:run echo out-$((40+2))\nfracta:patch notes.txt <<one\\ntwo\nfracta:say done";
    let spec = bench.spec(Mode::Batch, Permissions::Auto);
    let mut agent = Agent::start(&bench, spec, Some(prompt)).await;
    while agent.line().await {}
    assert!(agent.has(|b| matches!(b, Body::PlanUpdated(p) if p.steps.len() == 2)), "{:#?}", agent.facts);
    assert!(agent.has(|b| matches!(b, Body::CommandCompleted { text: Some(t), exit_code: Some(0), .. } if t.contains("out-42"))));
    assert!(agent.has(|b| matches!(b, Body::FileChanged { path, .. } if path.ends_with("notes.txt"))));
    agent.check();
}

#[tokio::test]
async fn a_failing_model_fails_the_turn() {
    let Some(bench) = Bench::new().await else { return };
    let prompt = "fracta:fail 404 The model nope does not exist";
    let says_so = |b: &Body| matches!(b, Body::TurnCompleted { outcome: Outcome::Failed, error: Some(e) } if e.contains("nope does not exist"));
    let mut batch = Agent::start(&bench, bench.spec(Mode::Batch, Permissions::Auto), Some(prompt)).await;
    while batch.line().await {}
    assert!(batch.has(says_so), "{:#?}", batch.facts);
    batch.check();

    let mut stream = bench.stream(Permissions::Auto).await;
    stream.turn("m-1", prompt).await;
    assert_eq!(stream.turn_end().await, Outcome::Failed);
    assert!(stream.has(says_so), "{:#?}", stream.facts);
    stream.close().await;
}

#[tokio::test]
async fn an_unknown_thread_is_told() {
    let Some(bench) = Bench::new().await else { return };
    let token = "01a203cf-0000-7801-9000-dd51630dc288".to_owned();
    let spec = SessionSpec { resume_token: Some(token), ..bench.spec(Mode::Batch, Permissions::Auto) };
    let mut batch = Agent::start(&bench, spec.clone(), Some("hello")).await;
    while batch.line().await {}
    let status = batch.child.wait().await.unwrap();
    let mut stderr = String::new();
    batch.child.stderr.as_mut().unwrap().read_to_string(&mut stderr).await.unwrap();
    let exit = fracta::transport::Exit { code: status.code(), signal: None, spawn_error: None };
    let reason = codex().failure(&stderr, &exit);
    assert!(reason.contains("no rollout found") && reason.contains("exit code 1"), "{reason}");

    let mut stream = Agent::start(&bench, SessionSpec { mode: Mode::Stream, ..spec }, None).await;
    stream
        .until("error", |b| matches!(b, Body::Error { text, .. } if text.contains("no rollout found")))
        .await;
    assert!(!stream.protocol.ready());
    assert!(stream.protocol.fatal().unwrap().contains("no rollout found"));
    stream.close().await;
}

#[tokio::test]
async fn stream_turn_with_all_kinds_of_items() {
    for bench in Bench::all().await {
        let mut agent = bench.stream(Permissions::Auto).await;
        let prompt = "fracta:think Hard thoughts\nfracta:plan +a|*b\nfracta:run echo out-$((40+2))\nfracta:patch notes.txt <<one\\ntwo\nfracta:say last words of it";
        agent.turn("m-1", prompt).await;
        assert_eq!(agent.turn_end().await, Outcome::Completed);
        assert_eq!(agent.deliveries, [("m-1".to_owned(), Ok(()))]);
        // Before the last words, the script may answer a note that 0.124 puts in the person's mouth.
        assert_eq!(agent.said().last(), Some(&"last words of it"));
        let deltas: String = agent.facts.iter().fold(String::new(), |all, f| match &f.body {
            Body::MessageDelta { text, .. } => all + text,
            _ => all,
        });
        assert_eq!(deltas, agent.said().concat());
        assert!(
            agent.has(
                |b| matches!(b, Body::ReasoningCompleted { text, .. } if text.contains("Hard thoughts"))
            )
        );
        assert!(agent.has(|b| matches!(b, Body::PlanUpdated(p) if p.steps.len() == 2)));
        assert!(agent.has(|b| matches!(b, Body::CommandStarted { command, .. } if command.contains("echo"))));
        assert!(agent.has(|b| matches!(b, Body::CommandCompleted { text: Some(t), exit_code: Some(0), .. } if t.contains("out-42"))));
        let diff = |b: &Body| matches!(b, Body::FileChanged { diff: Some(d), .. } if d == "@@ -0,0 +1,2 @@\n+one\n+two\n");
        assert!(agent.has(diff), "{:#?}", agent.facts);
        assert!(agent.has(|b| matches!(b, Body::Usage(u) if u.total && u.input_tokens > 0)));
        agent.close().await;
    }
}

#[tokio::test]
async fn a_running_turn_is_steered() {
    for bench in Bench::all().await {
        let mut agent = bench.stream(Permissions::Auto).await;
        agent.turn("m-1", "fracta:gate one\nfracta:say first").await;
        bench.script.gate("one").reached().await;
        agent.until("turn.started", |b| matches!(b, Body::TurnStarted {})).await;
        agent.command(Command::Steer { message: "m-2".into(), text: "to the left".into() }).await.unwrap();
        while agent.deliveries.len() < 2 {
            assert!(agent.line().await);
        }
        bench.script.gate("one").release();
        assert_eq!(agent.turn_end().await, Outcome::Completed);
        assert_eq!(agent.deliveries, [("m-1".to_owned(), Ok(())), ("m-2".to_owned(), Ok(()))]);
        assert!(agent.said().iter().any(|t| t.contains("steered: to the left")), "{:?}", agent.said());
        let late = agent.command(Command::Steer { message: "m-3".into(), text: "late".into() }).await;
        assert!(late.unwrap_err().0.contains("no turn runs"));
        agent.close().await;
    }
}

#[tokio::test]
async fn text_is_interrupted_and_the_session_goes_on() {
    let Some(bench) = Bench::new().await else { return };
    let mut agent = bench.stream(Permissions::Auto).await;
    agent.turn("m-1", "fracta:say some words\nfracta:hang").await;
    agent.until("message.delta", |b| matches!(b, Body::MessageDelta { .. })).await;
    agent.command(Command::Interrupt).await.unwrap();
    assert_eq!(agent.turn_end().await, Outcome::Interrupted);
    agent.turn("m-2", "fracta:say and on").await;
    assert_eq!(agent.turn_end().await, Outcome::Completed);
    assert_eq!(agent.said().last(), Some(&"and on"));
    agent.close().await;
}

/// Codex refuses both before it has said that the turn started; a person is not to notice.
#[tokio::test]
async fn a_turn_is_steered_and_interrupted_while_it_starts() {
    let Some(bench) = Bench::new().await else { return };
    let mut agent = bench.stream(Permissions::Auto).await;
    agent.turn("m-1", "fracta:hang").await;
    agent.command(Command::Steer { message: "m-2".into(), text: "quick".into() }).await.unwrap();
    agent.command(Command::Interrupt).await.unwrap();
    assert_eq!(agent.turn_end().await, Outcome::Interrupted);
    assert_eq!(agent.deliveries, [("m-1".to_owned(), Ok(())), ("m-2".to_owned(), Ok(()))]);
    agent.close().await;
}

#[tokio::test]
async fn an_interrupt_ends_the_running_command() {
    for bench in Bench::all().await {
        let mut agent = bench.stream(Permissions::Auto).await;
        agent.turn("m-1", "fracta:run echo pid=$$=; sleep 3600").await;
        let output = agent
            .until("command.output", |b| matches!(b, Body::CommandOutput { text, .. } if text.contains('=')))
            .await;
        let Body::CommandOutput { text, .. } = output else { panic!("{output:?}") };
        let pid = Pid::from_raw(text.split('=').nth(1).unwrap().parse().unwrap());
        assert_eq!(kill(pid, None), Ok(()), "it runs");
        agent.command(Command::Interrupt).await.unwrap();
        assert_eq!(agent.turn_end().await, Outcome::Interrupted);
        let end = agent.until("command.completed", |b| matches!(b, Body::CommandCompleted { .. })).await;
        assert!(!matches!(end, Body::CommandCompleted { exit_code: Some(0), .. }), "{end:?}");
        gone(pid).await;
        agent.close().await;
    }
}

/// Waits until a process is no more (or a corpse that its parent has not looked at).
async fn gone(pid: Pid) {
    let alive = || match std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")) {
        Ok(stat) => !stat.contains(") Z "),
        Err(_) => kill(pid, None).is_ok(),
    };
    let wait = async {
        while alive() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("the command still runs");
}

#[tokio::test]
async fn requests_are_approved_and_denied() {
    for bench in Bench::all().await {
        let mut agent = bench.stream(Permissions::Ask).await;
        agent.turn("m-1", "fracta:run echo yes > yes.txt\nfracta:say ran").await;
        let id = agent.approval().await;
        assert!(id.starts_with("a1-"), "{id}");
        assert_eq!(bench.project.read("yes.txt"), None, "nothing ran before the answer");
        agent.answer(&id, Decision::Approved).await.unwrap();
        assert!(agent.answer(&id, Decision::Denied).await.unwrap_err().0.contains("answered already"));
        assert_eq!(agent.turn_end().await, Outcome::Completed);
        assert_eq!(bench.project.read("yes.txt").as_deref(), Some("yes\n"));

        agent.turn("m-2", "fracta:run echo no > no.txt\nfracta:say went on").await;
        let id = agent.approval().await;
        agent.answer(&id, Decision::Denied).await.unwrap();
        let end = agent.until("command.completed", |b| matches!(b, Body::CommandCompleted { .. })).await;
        assert!(matches!(end, Body::CommandCompleted { exit_code: None, .. }), "{end:?}");
        assert_eq!(agent.turn_end().await, Outcome::Completed);
        assert_eq!(agent.said(), ["ran", "went on"], "the turn went on after the refusal");
        assert_eq!(bench.project.read("no.txt"), None);
        assert!(agent.answer("a1-77", Decision::Approved).await.unwrap_err().0.contains("no request a1-77"));
        let resolved: Vec<Decision> = agent
            .facts
            .iter()
            .filter_map(|f| match &f.body {
                Body::ApprovalResolved { decision, by, .. } if by == "person" => Some(*decision),
                _ => None,
            })
            .collect();
        assert_eq!(resolved, [Decision::Approved, Decision::Denied]);
        agent.close().await;
    }
}

#[tokio::test]
async fn a_patch_asks_with_its_diff() {
    let Some(bench) = Bench::new().await else { return };
    let mut agent = bench.stream(Permissions::Ask).await;
    agent.turn("m-1", "fracta:patch notes.txt <<one\\ntwo\nfracta:say written").await;
    let asked = agent.until("approval.requested", |b| matches!(b, Body::ApprovalRequested { .. })).await;
    let Body::ApprovalRequested { approval, what, diff, .. } = asked else { panic!("{asked:?}") };
    assert!(what.contains("notes.txt"), "{what}");
    assert!(diff.unwrap().contains("+one\n+two\n"));
    agent.answer(&approval, Decision::Approved).await.unwrap();
    assert_eq!(agent.turn_end().await, Outcome::Completed);
    assert_eq!(bench.project.read("notes.txt").as_deref(), Some("one\ntwo\n"));
    agent.close().await;
}

#[tokio::test]
async fn an_interrupt_withdraws_what_is_asked() {
    for bench in Bench::all().await {
        let mut agent = bench.stream(Permissions::Ask).await;
        agent.turn("m-1", "fracta:run echo never > never.txt").await;
        let id = agent.approval().await;
        agent.command(Command::Interrupt).await.unwrap();
        assert_eq!(agent.turn_end().await, Outcome::Interrupted);
        assert!(agent.has(|b| matches!(b, Body::ApprovalResolved { approval, decision: Decision::Withdrawn, by } if *approval == id && by == "runtime")));
        assert!(agent.has(|b| matches!(b, Body::CommandCompleted { exit_code: None, .. })));
        assert!(agent.answer(&id, Decision::Approved).await.is_err());
        assert_eq!(bench.project.read("never.txt"), None);
        agent.close().await;
    }
}

#[tokio::test]
async fn a_killed_session_is_resumed() {
    for bench in Bench::all().await {
        let mut agent = bench.stream(Permissions::Auto).await;
        agent.turn("m-1", "fracta:say remember the heron").await;
        assert_eq!(agent.turn_end().await, Outcome::Completed);
        agent.turn("m-2", "fracta:say half a\nfracta:hang").await;
        agent.until("message.delta", |b| matches!(b, Body::MessageDelta { .. })).await;
        agent.kill_group();
        while agent.line().await {}
        agent.child.wait().await.unwrap();
        agent.check();

        let spec = SessionSpec { resume_token: agent.token(), run: 2, ..agent.spec.clone() };
        let mut next = Agent::start(&bench, spec, None).await;
        next.until("session.started", |b| matches!(b, Body::SessionStarted { .. })).await;
        assert_eq!(next.token(), agent.token());
        next.turn("m-3", "fracta:say and on").await;
        assert_eq!(next.turn_end().await, Outcome::Completed);
        assert_eq!(next.said(), ["and on"]);
        let last = bench.model.requests().pop().unwrap();
        assert!(last.body.to_string().contains("remember the heron"));
        next.close().await;
    }
}
