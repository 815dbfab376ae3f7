//! A project with a control plane of its own in this process, which knows no other adapters than those given.

use std::path::PathBuf;
use std::thread::JoinHandle;

use fracta::control::client::{Client, ClientError, Endpoint, EventQuery};
use fracta::control::server::{Options, Server};
use fracta::control::wire::{Agent, Spawn, Watch};
use fracta::event::{Body, Event, Role};
use fracta::paths::Layout;
use fracta::runtime::{Adapters, Mode};
use fracta::session::launch::ConfigSource;
use futures_util::StreamExt;
use serde_json::json;

use crate::support::{TestProject, crypto};

pub struct World {
    project: TestProject,
    adapters: Adapters,
    pub client: Client,
    server: Option<JoinHandle<()>>,
}

impl World {
    /// `more` is the rest of `fracta.yaml`, or `auto` for `permissions: auto`.
    pub fn new(adapters: Adapters, more: &str) -> Self {
        crypto();
        let project = TestProject::new();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/adapter/parrot.sh");
        let mut parrot = json!({"command": ["sh", script], "env": {"PARROT_HOME": project.dir()}});
        let more = match more {
            "auto" => {
                parrot["permissions"] = "auto".into();
                ""
            }
            more => more,
        };
        let agents = json!({"agent_runtimes": {"parrot": parrot}});
        project.write("fracta.yaml", &format!("agents: {agents}\n{more}\n"));
        let (client, server) = serve(&project, adapters);
        Self { project, adapters, client, server: Some(server) }
    }

    pub fn root(&self) -> PathBuf {
        self.project.repo().canonicalize().unwrap()
    }

    pub async fn spawn(&self, name: &str, mode: Mode, contract: Option<&str>) -> Result<Agent, ClientError> {
        let spawn = Spawn {
            name: name.to_owned(),
            runtime: None,
            mode: Some(mode),
            tier: None,
            model: None,
            contract: contract.map(str::to_owned),
            base: None,
            backend: None,
            dry_run: false,
        };
        self.client.spawn(&spawn).await
    }

    /// Waits until the agent's row fits.
    pub async fn until(&self, name: &str, fits: impl Fn(&Agent) -> bool) -> Agent {
        let mut list = self.client.watch().await.unwrap();
        loop {
            let rows = match list.next().await.expect("the control plane lives").unwrap() {
                Watch::Agents { agents } => agents,
                Watch::Agent { agent } => vec![*agent],
                Watch::Gone { .. } => continue,
            };
            if let Some(row) = rows.into_iter().find(|a| a.name.as_str() == name && fits(a)) {
                return row;
            }
        }
    }

    pub async fn events(&self, name: &str) -> Vec<Event> {
        let events = self.client.events(name, EventQuery::default()).await.unwrap();
        events.map(Result::unwrap).collect().await
    }

    /// Another control plane takes the agents up.
    pub async fn restart(&mut self) {
        self.client.shutdown(false).await.unwrap();
        self.server.take().unwrap().join().unwrap();
        let (client, server) = serve(&self.project, self.adapters);
        (self.client, self.server) = (client, Some(server));
    }
}

fn layout(project: &TestProject) -> Layout {
    Layout::new(project.repo().canonicalize().unwrap())
}

fn connect(project: &TestProject) -> Client {
    Client::new(&Endpoint::Unix(layout(project).control_socket())).unwrap()
}

/// A control plane on a thread of its own, so that a test that failed can still end it.
fn serve(project: &TestProject, adapters: Adapters) -> (Client, JoinHandle<()>) {
    let layout = layout(project);
    let client = connect(project);
    let options = Options {
        config: ConfigSource { file: None, cwd: layout.root().to_owned() },
        layout,
        adapters,
        listen: None,
        exe: env!("CARGO_BIN_EXE_fracta").into(),
    };
    let (ready, bound) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let server = Server::bind(options).await.unwrap();
            ready.send(()).unwrap();
            server.run(std::future::pending()).await.unwrap();
        });
    });
    bound.recv().expect("the control plane began");
    (client, thread)
}

impl Drop for World {
    fn drop(&mut self) {
        let Some(server) = self.server.take() else { return };
        // Not the test's own client, whose connections live on the test's thread, which waits here.
        let client = connect(&self.project);
        let ended = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(client.shutdown(true))
        });
        let told = ended.join().is_ok_and(|r| r.is_ok());
        if told && server.join().is_ok() || std::thread::panicking() {
            return;
        }
        panic!("the control plane did not end");
    }
}

/// The whole messages of the agent.
pub fn texts(events: &[Event]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|e| match &e.body {
            Body::MessageCompleted { role: Role::Assistant, text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect()
}
