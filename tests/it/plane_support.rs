//! A whole fracta in a throw-away project: the real `fracta` binary, its control plane and shims, the
//! real Codex, and a scripted model inside of the test.
//!
//! Everything that a [`Plane`] starts has the project's folder in its environment, so what is left of
//! it at the end is found, and a test that leaves a process behind fails.
#![allow(dead_code)] // each test module uses its own part of it

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use fracta::control::client::{Client, Endpoint};
use fracta::control::wire::{self, Watch};
use fracta::demo::homes::{CODEX_MODEL, Homes, OPENCODE_MODEL};
use fracta::demo::model::ModelServer;
use fracta::demo::script::PromptScript;
use fracta::paths::Layout;
use fracta::session::state::State;
use futures_util::StreamExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::{TestProject, clis_path, note, require_cli};

/// The binary under test.
pub const FRACTA: &str = env!("CARGO_BIN_EXE_fracta");

/// What the project's `fracta.yaml` says.
pub struct Setup {
    /// `ask` or `auto`; none: fracta's own default.
    pub permissions: Option<&'static str>,
    /// 0 = unlimited.
    pub max_running: u32,
    /// In place of the installed codex. Without Codex's own sandbox, like the usual one.
    pub command: Option<Vec<String>>,
    /// Codex's sandbox: off, since not every machine that runs tests has what it needs.
    pub sandbox: &'static str,
    /// In place of the installed opencode.
    pub opencode: Option<Vec<String>>,
    /// In place of the installed claude.
    pub claude: Option<Vec<String>>,
    /// OpenCode's guard.
    pub step_limit: Option<u32>,
    /// `(tier, model)` of the runtime.
    pub tiers: Vec<(&'static str, &'static str)>,
    /// Further entries of `agents.agent_runtimes`: name, adapter, and what else the entry says. They get
    /// the adapter's own home.
    pub entries: Vec<(&'static str, &'static str, Value)>,
    /// Further top-level YAML.
    pub more: String,
    /// Variables of every `fracta` that the test runs (and so of the control plane and its agents).
    pub env: Vec<(OsString, OsString)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            permissions: Some("auto"),
            max_running: 8,
            command: None,
            sandbox: "danger-full-access",
            opencode: None,
            claude: None,
            step_limit: None,
            tiers: Vec::new(),
            entries: Vec::new(),
            more: String::new(),
            env: Vec::new(),
        }
    }
}

impl Setup {
    /// An executable in place of an installed CLI.
    pub fn run_as(&mut self, cli: &str, executable: &Path) {
        let command = Some(vec![executable.to_str().unwrap().to_owned()]);
        match cli {
            "codex" => self.command = command,
            "opencode" => self.opencode = command,
            "claude" => self.claude = command,
            other => panic!("no CLI {other}"),
        }
    }
}

/// What a command did.
#[derive(Debug)]
pub struct Output {
    /// -1: killed by a signal.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// The output of a command that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self
    }

    /// The words on stderr of a command that must have failed with exit status 1.
    #[track_caller]
    pub fn refused(self) -> String {
        assert_eq!(self.code, 1, "{}{}", self.stdout, self.stderr);
        self.stderr
    }
}

/// The project, its model and its control plane (started by the first command that needs one).
pub struct Plane {
    pub script: Arc<PromptScript>,
    pub model: ModelServer,
    pub project: TestProject,
    pub homes: Homes,
    env: Vec<(OsString, OsString)>,
}

impl Plane {
    /// A project with the installed codex; none (said loudly) where there is none.
    pub fn new(setup: Setup) -> Option<Self> {
        require_cli("codex")?;
        Some(Self::without_cli(setup))
    }

    /// The same, codex installed or not.
    pub fn without_cli(setup: Setup) -> Self {
        let script = Arc::new(PromptScript::new());
        let model = ModelServer::start(script.clone()).unwrap();
        let project = TestProject::new();
        let homes = project.homes(&model);
        let home = homes.dir.join("home");
        let mut env: Vec<(OsString, OsString)> = vec![
            ("PATH".into(), clis_path()),
            // Also the mark by which processes are found: even a shim, whose environment is bare, has it.
            ("HOME".into(), home.into()),
            ("GIT_CONFIG_GLOBAL".into(), "/dev/null".into()),
            ("FRACTA_LOG".into(), "fracta=debug".into()),
        ];
        env.extend(setup.env.iter().cloned());
        let plane = Self { script, model, project, homes, env };
        plane.project.write("fracta.yaml", &plane.yaml(&setup));
        plane.project.git(&["add", "-A"]);
        plane.project.git(&["commit", "-q", "-m", "configure"]);
        plane
    }

    fn yaml(&self, setup: &Setup) -> String {
        let runtime_env: serde_json::Map<_, _> =
            self.homes.codex.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        let mut command = setup.command.clone().unwrap_or_else(|| vec!["codex".to_owned()]);
        command.extend(["-c".to_owned(), format!("sandbox_mode={}", setup.sandbox)]);
        let mut runtime = json!({
            "adapter": "codex", "command": command, "model": CODEX_MODEL, "env": runtime_env,
            "model_tiers": setup.tiers.iter().map(|(t, m)| ((*t).to_owned(), json!(m))).collect::<serde_json::Map<_, _>>(),
        });
        if let Some(p) = setup.permissions {
            runtime["permissions"] = json!(p);
        }
        let mut runtimes =
            json!({ "codex": runtime, "opencode": self.opencode(setup), "claude": self.claude(setup) });
        for (name, adapter, entry) in &setup.entries {
            runtimes[*name] = self.entry(adapter, entry);
        }
        let agents = json!({
            "default_runtime": "codex", "default_mode": "stream", "max_running": setup.max_running,
            "agent_runtimes": runtimes,
        });
        format!("agents: {agents}\n{}", setup.more)
    }

    /// An entry of a test's own.
    fn entry(&self, adapter: &str, own: &Value) -> Value {
        let home = match adapter {
            "claude" => &self.homes.claude,
            "opencode" => &self.homes.opencode,
            _ => &self.homes.codex,
        };
        let mut entry = json!({ "adapter": adapter, "permissions": "auto" });
        if adapter == "codex" {
            entry["command"] = json!(["codex", "-c", "sandbox_mode=danger-full-access"]);
        }
        for (key, value) in own.as_object().unwrap() {
            entry[key] = value.clone();
        }
        for (key, value) in home {
            entry["env"][key] = json!(value);
        }
        entry
    }

    /// The entry of Claude: the same permissions, its own home and model.
    fn claude(&self, setup: &Setup) -> Value {
        let env: serde_json::Map<_, _> =
            self.homes.claude.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        let command = setup.claude.clone().unwrap_or_else(|| vec!["claude".to_owned()]);
        let mut runtime = json!({ "command": command, "env": env });
        if let Some(p) = setup.permissions {
            runtime["permissions"] = json!(p);
        }
        runtime
    }

    /// The entry of OpenCode: the same permissions and limits, its own home and model.
    fn opencode(&self, setup: &Setup) -> Value {
        let env: serde_json::Map<_, _> =
            self.homes.opencode.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        let command = setup.opencode.clone().unwrap_or_else(|| vec!["opencode".to_owned()]);
        let mut runtime = json!({ "command": command, "model": OPENCODE_MODEL, "env": env });
        if let Some(p) = setup.permissions {
            runtime["permissions"] = json!(p);
        }
        if let Some(limit) = setup.step_limit {
            runtime["step_limit"] = json!(limit);
        }
        runtime
    }

    /// The project's root.
    pub fn root(&self) -> PathBuf {
        self.project.repo()
    }

    pub fn layout(&self) -> Layout {
        Layout::new(self.root())
    }

    /// A `fracta` with the project's environment and folder, to be run as the test likes.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(FRACTA);
        command
            .args(args)
            .current_dir(self.root())
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// The variables that [`Plane::command`] sets, for those who start `fracta` in another way.
    pub fn env(&self) -> &[(OsString, OsString)] {
        &self.env
    }

    /// Runs a verb to its end.
    pub async fn run(&self, args: &[&str]) -> Output {
        let out = self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).output().await.unwrap();
        Output {
            code: out.status.code().unwrap_or(-1),
            stdout: String::from_utf8(out.stdout).unwrap(),
            stderr: String::from_utf8(out.stderr).unwrap(),
        }
    }

    /// Runs a verb with `--json`; it must succeed.
    #[track_caller]
    pub fn json<'a>(&'a self, args: &'a [&'a str]) -> impl Future<Output = Value> + 'a {
        let at = std::panic::Location::caller();
        async move {
            let mut all = args.to_vec();
            all.push("--json");
            let out = self.run(&all).await;
            assert_eq!(out.code, 0, "{at}: {args:?}: {}{}", out.stdout, out.stderr);
            serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{at}: {e}: {}", out.stdout))
        }
    }

    /// `fracta spawn` with the directives (or any words) as contract; its row.
    pub async fn spawn_agent(&self, name: &str, mode: &str, contract: &str) -> Value {
        self.json(&["spawn", "--task", name, "--mode", mode, "--contract", contract]).await
    }

    /// The row of `fracta list`.
    pub async fn agent(&self, name: &str) -> Value {
        let all = self.json(&["list"]).await;
        let rows = all.as_array().unwrap();
        rows.iter().find(|a| a["name"] == name).unwrap_or_else(|| panic!("no {name} in {all}")).clone()
    }

    /// All events of an agent (or session), numbered 1, 2, … without gap or repeat.
    pub async fn events(&self, name: &str) -> Vec<Value> {
        let out = self.run(&["events", name]).await.ok();
        let events: Vec<Value> = out.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        for (i, e) in events.iter().enumerate() {
            assert_eq!(e["seq"], i as u64 + 1, "numbers go up by one: {events:#?}");
        }
        events
    }

    /// Follows an agent's events with `fracta events NAME --follow`.
    pub fn follow(&self, name: &str, after: u64) -> Follow {
        let after_text = after.to_string();
        let mut command = self.command(&["events", name, "--after", &after_text, "--follow"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Follow { child, lines, seq: after, seen: Vec::new() }
    }

    /// The first event of an agent, of those there and those to come, that fits.
    pub async fn wait_event(&self, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.follow(name, 0).until(fits).await
    }

    /// The same, of those after a number.
    pub async fn wait_event_after(&self, name: &str, after: u64, fits: impl Fn(&Value) -> bool) -> Value {
        self.follow(name, after).until(fits).await
    }

    /// Waits until the list shows an agent as wanted. Goes on where a control plane is killed meanwhile.
    pub async fn wait_agent(&self, name: &str, fits: impl Fn(&wire::Agent) -> bool) -> wire::Agent {
        loop {
            self.run(&["list"]).await.ok(); // starts a control plane if there is none
            let client = self.client();
            let Ok(mut list) = client.watch().await else { continue };
            while let Some(Ok(change)) = list.next().await {
                let agents = match change {
                    Watch::Agents { agents } => agents,
                    Watch::Agent { agent } => vec![*agent],
                    Watch::Gone { .. } => continue,
                };
                if let Some(found) = agents.into_iter().find(|a| a.name.as_str() == name && fits(a)) {
                    return found;
                }
            }
        }
    }

    pub async fn wait_state(&self, name: &str, state: State) -> wire::Agent {
        self.wait_agent(name, |a| a.state == state).await
    }

    /// A client of the running control plane.
    pub fn client(&self) -> Client {
        crate::support::crypto();
        Client::new(&Endpoint::Unix(self.layout().control_socket())).unwrap()
    }

    /// The control plane's process.
    pub async fn server_pid(&self) -> i32 {
        let status = self.json(&["status"]).await;
        i32::try_from(status["pid"].as_i64().unwrap_or_else(|| panic!("no control plane: {status}"))).unwrap()
    }

    /// `kill -9` of the control plane; returns when it is dead.
    pub async fn kill_server(&self) {
        let pid = self.server_pid().await;
        let lock = std::fs::File::open(self.layout().lock_file()).unwrap();
        signal(pid, Signal::SIGKILL);
        // It holds the lock as long as it lives.
        tokio::task::spawn_blocking(move || lock.lock().unwrap()).await.unwrap();
    }

    /// What the shim of an agent's newest run wrote down (`run.json`).
    pub fn run_record(&self, session: &str) -> Option<Value> {
        let text = std::fs::read(self.layout().session_dir(session).join("run.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Pid of the shim and of codex in an agent's newest run.
    pub fn pids(&self, session: &str) -> (i32, i32) {
        let record = self.run_record(session).unwrap();
        let pid = |v: &Value| i32::try_from(v["pid"].as_i64().unwrap()).unwrap();
        (pid(&record["shim"]), pid(&record["agent"]))
    }

    /// Living processes that this plane started, directly or not, other than the control plane.
    pub fn processes(&self) -> Vec<Found> {
        let mine = std::process::id();
        let all = processes_with(self.project.dir());
        all.into_iter().filter(|p| p.pid.cast_unsigned() != mine && !p.argv.contains(" serve ")).collect()
    }

    /// Waits until no process is left that fits.
    pub async fn gone(&self, fits: impl Fn(&Found) -> bool) {
        until(|| !self.processes().iter().any(&fits)).await;
    }

    /// Waits until no process of any agent is left: neither CLI nor shim nor what they started.
    pub async fn all_gone(&self) {
        self.gone(|_| true).await;
    }
}

/// Sends a signal to a process that this test owns; it must be there.
#[track_caller]
pub fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// Waits for something that nothing announces: the state of processes that are not our children.
/// Bounded by the test runner's own limit.
pub async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A process.
#[derive(Debug, Clone)]
pub struct Found {
    pub pid: i32,
    /// Its words, separated by blanks.
    pub argv: String,
}

/// Living processes with `folder` in the environment they were started with. Linux only: elsewhere
/// none are found.
fn processes_with(folder: &Path) -> Vec<Found> {
    let wanted = folder.as_os_str().as_encoded_bytes();
    let Ok(dir) = std::fs::read_dir("/proc") else { return Vec::new() };
    let mut all = Vec::new();
    for pid in dir.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok()) {
        let read = |what: &str| std::fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
        // A zombie has no environment any more.
        if memchr::memmem::find(&read("environ"), wanted).is_some() {
            let argv = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            all.push(Found { pid, argv });
        }
    }
    all
}

/// A running `fracta events --follow`.
pub struct Follow {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    seq: u64,
    /// All events that have come.
    pub seen: Vec<Value>,
}

impl Follow {
    /// The next event, whose number must be one more than the last one's; none at the stream's end.
    pub async fn next(&mut self) -> Option<Value> {
        let line = self.lines.next_line().await.unwrap()?;
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["seq"], self.seq + 1, "numbers go up by one: after {:?}: {line}", self.seen.last());
        self.seq += 1;
        self.seen.push(event.clone());
        Some(event)
    }

    /// Reads until an event fits.
    pub async fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            match self.next().await {
                Some(e) if fits(&e) => return e,
                Some(_) => {}
                None => panic!("the events ended: {:#?}", self.seen),
            }
        }
    }

    pub fn seq(&self) -> u64 {
        self.seq
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id().unwrap()).unwrap()
    }
}

impl Drop for Plane {
    /// Ends everything, and fails the test where something is left.
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            self.tell();
        }
        let stopped = std::process::Command::new(FRACTA)
            .args(["stop", "--agents"])
            .current_dir(self.root())
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .output();
        let left = self.left_in_the_end();
        for p in &left {
            // Ours by the mark in its environment.
            let _ = kill(Pid::from_raw(p.pid), Signal::SIGKILL);
        }
        if !failed {
            let stopped = stopped.unwrap();
            assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
            if !left.is_empty() {
                self.tell();
                panic!("processes are left after `fracta stop --agents`: {left:#?}");
            }
        }
    }
}

impl Plane {
    /// What is left some time after the end. (The control plane answers before it is gone, and its
    /// shims go when they have told the end.)
    #[allow(clippy::disallowed_methods, reason = "drop cannot await, and nothing announces these ends")]
    fn left_in_the_end(&self) -> Vec<Found> {
        let mut left = Vec::new();
        for _ in 0..1000 {
            left = processes_with(self.project.dir());
            left.retain(|p| p.pid.cast_unsigned() != std::process::id());
            if left.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        left
    }

    /// What there is to know, for the person who reads of the failure.
    fn tell(&self) {
        let state = self.layout().state_dir();
        let log = std::fs::read_to_string(self.layout().log_file()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        note(&format!("--- fracta.log\n{}", lines[lines.len().saturating_sub(60)..].join("\n")));
        for session in std::fs::read_dir(state.join("sessions")).into_iter().flatten().flatten() {
            for file in ["events.jsonl", "stderr.log"] {
                let text = std::fs::read(session.path().join(file)).unwrap_or_default();
                let text = String::from_utf8_lossy(&text).into_owned();
                let lines: Vec<&str> = text.lines().collect();
                let tail = lines[lines.len().saturating_sub(80)..].join("\n");
                note(&format!("--- {} {file}\n{tail}", session.file_name().to_string_lossy()));
            }
        }
        note(&format!("--- processes\n{:#?}", processes_with(self.project.dir())));
    }
}

/// `kind` of an event.
pub fn kind(e: &Value) -> &str {
    e["kind"].as_str().unwrap_or_default()
}

/// Does the event end a turn?
pub fn is_turn_end(e: &Value) -> bool {
    kind(e) == "turn.completed"
}

/// Is it (a part of, or a whole) message of the agent with this text?
pub fn says(e: &Value, text: &str) -> bool {
    ["message.delta", "message.completed"].contains(&kind(e))
        && e["text"].as_str().is_some_and(|t| t.contains(text))
}

/// The whole messages of the agent, in order.
pub fn messages(events: &[Value]) -> Vec<&str> {
    events.iter().filter(|e| kind(e) == "message.completed").filter_map(|e| e["text"].as_str()).collect()
}
