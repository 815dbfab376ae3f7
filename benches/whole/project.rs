//! A throw-away project whose agents are [`crate::agent`], and its control plane.

#![allow(clippy::disallowed_methods)] // it looks again and again, as a person would

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fracta::control::client::Client;
use fracta::control::{connect, wire};
use fracta::paths::Layout;
use fracta::runtime::Mode;
use fracta::session::state::State;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The longest that anything here is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Project {
    _dir: TempDir,
    pub exe: PathBuf,
    layout: Layout,
    tokio: Runtime,
    names: Vec<String>,
}

impl Project {
    /// A project with so many agents, all idle; the control plane runs.
    pub fn new(exe: PathBuf, agents: usize) -> Self {
        let me = std::env::current_exe().unwrap();
        let config = serde_json::json!({
            "project": { "workspace": "directory" },
            "agents": {
                "default_mode": "stream",
                "max_running": 0,
                "agent_runtimes": { "codex": { "command": [me, "agent"], "permissions": "auto" } },
            },
        });
        let mut project = Self::with(exe, &config);
        for i in 0..agents {
            project.spawn(&format!("a{i:02}"));
        }
        project.idle();
        project
    }

    /// A project with this `fracta.yaml`.
    pub fn with(exe: PathBuf, config: &serde_json::Value) -> Self {
        let dir = tempfile::Builder::new().prefix("fracta-bench-").tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        std::fs::write(root.join("fracta.yaml"), config.to_string()).unwrap();
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let layout = Layout::new(root);
        Self { _dir: dir, exe, layout, tokio, names: Vec::new() }
    }

    /// The command that a batch turn of a runtime would be, its prompt being on stdin.
    pub fn batch_command(&self, runtime: &str) -> Vec<String> {
        let spawn = wire::Spawn {
            name: "plan".to_owned(),
            runtime: Some(runtime.to_owned()),
            mode: Some(Mode::Batch),
            tier: None,
            model: None,
            contract: Some("plan".to_owned()),
            base: None,
            backend: None,
            dry_run: true,
        };
        let client = self.client();
        self.tokio.block_on(client.plan(&spawn)).unwrap().argv
    }

    pub fn root(&self) -> PathBuf {
        self.layout.root().to_owned()
    }

    /// The client of the control plane, which is started if there is none.
    fn client(&self) -> Client {
        self.tokio.block_on(connect::ensure(&self.layout, None, &self.exe)).unwrap()
    }

    fn spawn(&mut self, name: &str) {
        let spawn = wire::Spawn {
            name: name.to_owned(),
            runtime: Some("codex".to_owned()),
            mode: Some(Mode::Stream),
            tier: None,
            model: None,
            contract: None,
            base: None,
            backend: None,
            dry_run: false,
        };
        let client = self.client();
        self.tokio.block_on(client.spawn(&spawn)).unwrap();
        self.names.push(name.to_owned());
    }

    /// Says the same to all agents.
    pub fn say(&self, text: &str) {
        let client = self.client();
        for name in &self.names {
            self.tokio.block_on(client.say(name, text)).unwrap();
        }
    }

    pub fn say_one(&self, agent: usize, text: &str) {
        let client = self.client();
        self.tokio.block_on(client.say(&self.names[agent], text)).unwrap();
    }

    pub fn agents(&self) -> Vec<wire::Agent> {
        let client = self.client();
        self.tokio.block_on(client.agents(false)).unwrap()
    }

    /// Events of all agents so far.
    pub fn events(&self) -> u64 {
        self.agents().iter().map(|a| a.last_seq).sum()
    }

    /// Waits until all agents are idle.
    pub fn idle(&self) {
        let until = Instant::now() + PATIENCE * 3;
        while Instant::now() < until {
            if self.names.is_empty() || self.agents().iter().all(|a| a.state == State::Idle) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!(
            "the agents do not come to rest: {:?}",
            self.agents().iter().map(|a| (a.state, a.reason.clone())).collect::<Vec<_>>()
        );
    }

    pub fn server(&self) -> u32 {
        let client = self.client();
        self.tokio.block_on(client.status()).unwrap().pid
    }

    /// Ends the control plane, and the agents too if wanted.
    pub fn stop(&self, agents: bool) {
        let Some(client) = self.tokio.block_on(connect::running(&self.layout)).unwrap() else { return };
        let pid = self.tokio.block_on(client.status()).unwrap().pid;
        self.tokio.block_on(client.shutdown(agents)).unwrap();
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && std::path::Path::new("/proc").join(pid.to_string()).exists() {
            // It was started from here, and is a zombie until somebody waits for it.
            let _ = nix::sys::wait::waitpid(
                nix::unistd::Pid::from_raw(pid.cast_signed()),
                Some(nix::sys::wait::WaitPidFlag::WNOHANG),
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        while self.tokio.block_on(connect::running(&self.layout)).unwrap().is_some() && Instant::now() < until
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        self.stop(true);
    }
}
