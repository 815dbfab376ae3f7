//! What `fracta spawn --wait` costs over the bare CLI in batch mode: both in turns, in one run.
//!
//! Wall time is from the start of the command to its end. CPU is all that is used for the turn, user and
//! system: the command, the control plane, the shim and git, without what the bare CLI uses.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fracta::demo::homes;
use fracta::demo::model::ModelServer;
use fracta::demo::script::PromptScript;
use serde_json::{Value, json};

use crate::figures::{Report, Times};
use crate::proc;
use crate::project::Project;
use crate::scenarios::Plan;

const RUNTIMES: [&str; 3] = ["claude", "codex", "opencode"];
const PROMPT: &str = "survey";
const WANTED: &str = "\u{2264} 30 ms, \u{2264} 10 ms of CPU";

pub fn spawn(plan: &Plan, report: &mut Report) {
    let me = std::env::current_exe().unwrap();
    let fast = |name: &str| (json!({ "command": [me, "agent", name] }), Vec::new());
    for workspace in ["directory", "worktree"] {
        for name in RUNTIMES {
            let label = format!("a {name} that does nothing, {workspace}");
            Bench::new(plan, name, fast(name), workspace).measure(&label, plan.times(40), report);
        }
    }
    let Some(folder) = std::env::var_os("FRACTA_BENCH_CLIS").map(PathBuf::from) else { return };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let script = std::sync::Arc::new(PromptScript::new());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let model = ModelServer::start(script).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let homes = homes::make(dir.path(), &model.base_url()).unwrap();
    for (name, env) in RUNTIMES.into_iter().zip([&homes.claude, &homes.codex, &homes.opencode]) {
        let vars: serde_json::Map<_, _> = env.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        let entry = json!({ "command": [folder.join(name)], "env": vars });
        let label = format!("the real {name}, directory");
        Bench::new(plan, name, (entry, env.clone()), "directory").measure(&label, plan.times(10), report);
    }
}

struct Bench {
    project: Project,
    bare: Vec<String>,
    env: Vec<(String, String)>,
    exe: PathBuf,
}

impl Bench {
    fn new(plan: &Plan, name: &str, entry: (Value, Vec<(String, String)>), workspace: &str) -> Self {
        let config = json!({
            "project": { "workspace": workspace },
            "agents": { "default_mode": "batch", "agent_runtimes": { name: entry.0 } },
        });
        let project = Project::with(plan.exe.clone(), &config);
        if workspace == "worktree" {
            let git = |args: &[&str]| {
                let done = Command::new("git").args(args).current_dir(project.root()).output().unwrap();
                assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            };
            git(&["init", "-q"]);
            git(&["-c", "user.name=b", "-c", "user.email=b@b", "commit", "-q", "--allow-empty", "-m", "b"]);
        }
        // Also makes the control plane run and know the CLI's version.
        let bare = project.batch_command(name);
        Self { project, bare, env: entry.1, exe: plan.exe.clone() }
    }

    /// Seconds of wall time and of CPU of a command.
    fn run(&self, command: &mut Command, prompt: &str) -> (Duration, f64) {
        let before = proc::of_children();
        let started = Instant::now();
        command.current_dir(self.project.root()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        // One that reads nothing may be gone already.
        let _ = child.stdin.take().unwrap().write_all(prompt.as_bytes());
        let done = child.wait_with_output().unwrap();
        let took = started.elapsed();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        (took, proc::of_children() - before)
    }

    fn measure(&self, label: &str, n: usize, report: &mut Report) {
        let server = self.project.server();
        let (mut bare, mut whole) = (Times::default(), Times::default());
        let (mut bare_cpu, mut client_cpu) = (0.0, 0.0);
        let mut begun = proc::total(server);
        for i in 0..=n {
            let name = format!("b{i:02}");
            let words = ["spawn", "--contract", PROMPT, "--wait", "--task", &name];
            let envs = self.env.iter().map(|(k, v)| (k, v));
            let alone = self.run(Command::new(&self.bare[0]).args(&self.bare[1..]).envs(envs), PROMPT);
            let ours = self.run(Command::new(&self.exe).args(words), "");
            if i == 0 {
                // The first of each is not counted. What the shim leaves to its end is.
                settle();
                begun = proc::total(server);
                continue;
            }
            bare.add(alone.0);
            whole.add(ours.0);
            bare_cpu += alone.1;
            client_cpu += ours.1;
        }
        settle();
        let ended = proc::total(server);
        let each = |seconds: f64| seconds * 1e3 / n as f64;
        let parts = [each(client_cpu), each(ended.0 - begun.0), each(ended.1 - begun.1 - bare_cpu)];
        report.row(
            label,
            format!(
                "+{:.1} ms ({:.1} / {:.1}, \u{d7}{:.2})  CPU +{:.1} ms (\u{d7}{:.2}: command {:.1}, server {:.1}, shim and git {:.1})",
                whole.median() - bare.median(),
                whole.median(),
                bare.median(),
                whole.median() / bare.median(),
                parts.iter().sum::<f64>(),
                (parts.iter().sum::<f64>() + each(bare_cpu)) / each(bare_cpu),
                parts[0],
                parts[1],
                parts[2],
            ),
            WANTED,
        );
    }
}

/// Lets the last shim end and the control plane hear of it.
#[allow(clippy::disallowed_methods, reason = "nothing tells that a process was waited for")]
fn settle() {
    std::thread::sleep(Duration::from_millis(300));
}
