//! New agents.

use std::path::PathBuf;
use std::sync::Arc;

use super::plane::Plane;
use crate::config::{self, WorkspaceKind as Configured};
use crate::control::wire::{self, Code, Problem, Spawn};
use crate::credentials::environment::Layer;
use crate::event::journal::Journal;
use crate::event::{Body, Fact};
use crate::id::{self, AgentName};
use crate::runtime::{Mode, Runtime, SessionSpec};
use crate::session::entry::Entry;
use crate::session::launch;
use crate::session::state::SessionState;
use crate::session::supervisor::{Begin, now, problem};
use crate::store::{AgentRecord, MessageRecord};
use crate::workspace::{self, Workspace, WorkspaceKind};

/// Longest first message, in bytes.
const MAX_CONTRACT: usize = 1 << 20;

/// A spawn with everything decided and nothing touched.
struct Decided {
    name: AgentName,
    runtime: String,
    adapter: &'static dyn Runtime,
    mode: Mode,
    backend: String,
    model: Option<String>,
    contract: Option<String>,
    workspace: Workspace,
    argv: Vec<String>,
    env: Vec<String>,
}

impl Plane {
    /// Decides everything a spawn needs, and refuses what cannot be before anything is touched.
    async fn decide(&self, spawn: &Spawn) -> Result<Decided, Problem> {
        let bad = |text: String| problem(Code::BadRequest, text);
        let name: AgentName = spawn.name.parse().map_err(|e: id::BadName| bad(e.to_string()))?;
        if let Ok(e) = self.find(name.as_str())
            && !e.live().killed
        {
            return Err(taken(&name));
        }
        let loaded = self.env.launcher.config()?;
        let config = &loaded.config;
        let chosen =
            config.runtime(spawn.runtime.as_deref(), &launch::lookup).map_err(|e| bad(e.to_string()))?;
        let (runtime, entry) = (chosen.name, chosen.config);
        let adapter = self.env.launcher.adapter(chosen.adapter)?;
        let mode = spawn.mode.unwrap_or(config.agents.default_mode);
        check_mode(adapter, mode)?;
        let contract = spawn.contract.clone().filter(|c| !c.trim().is_empty());
        check_contract(mode, contract.as_deref())?;
        let model = entry
            .model_for(spawn.model.as_deref(), spawn.tier, &launch::lookup)
            .map_err(|e| bad(format!("runtime {runtime}: {e}")))?;
        let backend = spawn.backend.clone().unwrap_or_else(|| config.runtime.backend.word().to_owned());
        self.env.launcher.backend(&backend)?;
        let command = launch::command(entry, adapter.default_command())?;
        let own_env = launch::own_env(entry)?;
        let found = self.env.launcher.find(&command, adapter, &own_env).await?;
        let workspace = self.plan_workspace(config, &name, spawn.base.as_deref()).await?;
        let mut argv: Vec<_> = command.iter().map(Into::into).collect();
        if let Some(first) = argv.first_mut() {
            *first = found.path.into_os_string();
        }
        let spec = SessionSpec {
            runtime: runtime.to_owned(),
            command: argv,
            cli: found.cli,
            mode,
            model: model.clone(),
            permissions: entry.permissions_for(mode),
            cwd: workspace.cwd(),
            resume_token: None,
            run: 1,
            step_limit: entry.step_limit,
        };
        let mut start = adapter
            .launch(&spec, contract.as_deref().filter(|_| mode == Mode::Batch))
            .map_err(|r| problem(Code::Unsupported, r.0))?;
        let dir = self.layout.session_dir("SESSION");
        let files = crate::session::settings::credentials_for(&backend, &dir);
        let host = launch::inherited();
        let credentials = launch::credentials(config, chosen, &backend, &host, &start, &spec.cwd, &files);
        if let Some(why) = credentials.refusal() {
            return Err(problem(Code::Unsupported, why));
        }
        let planned = credentials.planned();
        // Also looks whether everything is there that they need; the warnings are told by each run.
        let about = crate::session::settings::About {
            config,
            agent: &name,
            runtime: adapter,
            spec: &spec,
            env: &planned,
            helper: credentials.helper(),
        };
        let settings = crate::session::settings::of(&about, &dir)?.settings;
        launch::insert_args(&mut start, &spec, &settings.args);
        let own = planned.iter().filter(|(_, v)| v.from != Layer::Inherited).map(|(name, _)| name);
        let names = own.chain(settings.env.iter().map(|(name, _)| name.as_os_str()));
        let names: std::collections::BTreeSet<String> =
            names.map(|name| name.to_string_lossy().into_owned()).collect();
        let env = names.into_iter().filter(|name| name != "PWD").collect();
        Ok(Decided {
            name,
            runtime: runtime.to_owned(),
            adapter,
            mode,
            backend,
            model,
            contract,
            workspace,
            argv: start.argv.iter().map(|a| a.to_string_lossy().into_owned()).collect(),
            env,
        })
    }

    async fn plan_workspace(
        &self,
        config: &config::Config,
        name: &AgentName,
        base: Option<&str>,
    ) -> Result<Workspace, Problem> {
        let bad = |text: String| problem(Code::BadRequest, text);
        let default_base = config
            .project
            .default_base_branch
            .as_ref()
            .map(|t| t.expand(&launch::lookup))
            .transpose()
            .map_err(|e| bad(e.to_string()))?;
        let kind = match config.project.workspace {
            None => WorkspaceKind::Auto,
            Some(Configured::Worktree) => WorkspaceKind::Worktree,
            Some(Configured::Directory) => WorkspaceKind::Directory,
        };
        workspace::plan(&self.layout, name, base.or(default_base.as_deref()), kind)
            .await
            .map_err(|e| bad(e.to_string()))
    }

    /// What a spawn would do.
    pub(super) async fn plan(&self, spawn: &Spawn) -> Result<wire::Plan, Problem> {
        let d = self.decide(spawn).await?;
        Ok(wire::Plan {
            name: d.name,
            runtime: d.runtime,
            adapter: d.adapter.adapter().to_owned(),
            mode: d.mode,
            backend: d.backend,
            model: d.model,
            workspace: d.workspace.dir.display().to_string(),
            branch: d.workspace.branch,
            base: d.workspace.base,
            argv: d.argv,
            env: d.env,
        })
    }

    /// A new agent and its first turn.
    pub(super) async fn spawn(self: &Arc<Self>, spawn: &Spawn) -> Result<Arc<Entry>, Problem> {
        let internal = |text: String| problem(Code::Internal, text);
        let open = self.open.read().await;
        if !*open {
            let text = "the control plane is being ended; any fracta command starts a new one";
            return Err(problem(Code::Conflict, text));
        }
        let d = self.decide(spawn).await?;
        let record = AgentRecord {
            name: d.name,
            session: id::random("s").map_err(|e| internal(format!("no randomness: {e}")))?,
            runtime: d.runtime,
            adapter: d.adapter.adapter().to_owned(),
            mode: d.mode,
            backend: d.backend,
            model: d.model,
            contract: d.contract.clone(),
            workspace: d.workspace,
            created_at: now(),
            killed_at: None,
            seen: 0,
        };
        // The name is taken before anything is made, so two spawns at once cannot share a worktree.
        if !self.env.store.add_agent(&record).await.map_err(|e| internal(e.to_string()))? {
            return Err(taken(&record.name));
        }
        let session = record.session.clone();
        let made = match self.make(record).await {
            Ok(made) => self.first_message(&session, d.contract).await.map(|m| (made, m)),
            Err(p) => Err(p),
        };
        match made {
            Ok(((record, dir, journal), message)) => {
                let state = super::plane::fold(&dir, SessionState::default());
                Ok(self.start(record, dir, state, journal, Begin::New(message)).await)
            }
            Err(p) => {
                if let Err(e) = self.env.store.forget_session(&session).await {
                    tracing::error!(error = %e, "cannot take a failed spawn back");
                }
                Err(p)
            }
        }
    }

    /// Writes the first message down: a spawn that was answered outlives the control plane.
    async fn first_message(
        &self,
        session: &str,
        contract: Option<String>,
    ) -> Result<Option<MessageRecord>, Problem> {
        let Some(text) = contract else { return Ok(None) };
        let internal = |e: String| problem(Code::Internal, e);
        let message = MessageRecord::new(text, false).map_err(|e| internal(format!("no randomness: {e}")))?;
        let added = self.env.store.add_message(session, &message).await;
        added.map_err(|e| internal(e.to_string()))?;
        Ok(Some(message))
    }

    async fn make(&self, record: AgentRecord) -> Result<(AgentRecord, PathBuf, Journal), Problem> {
        let dir = self.layout.session_dir(&record.session);
        crate::paths::private_dir(&dir).map_err(|e| problem(Code::Internal, e.to_string()))?;
        workspace::create(&record.workspace).await.map_err(|e| problem(Code::Conflict, e.to_string()))?;
        let internal = |e: crate::event::journal::JournalError| problem(Code::Internal, e.to_string());
        let (mut journal, _) =
            Journal::open(&dir, record.name.as_str(), &record.session).map_err(internal)?;
        let notes = record.workspace.notes.iter().cloned();
        let facts = notes.map(|text| Fact::from(Body::Warning { text }));
        journal.append(None, facts, now(), |_, _| {}).map_err(internal)?;
        Ok((record, dir, journal))
    }
}

fn taken(name: &AgentName) -> Problem {
    problem(
        Code::Conflict,
        format!(
            "there is an agent {name} already; `fracta say {name} …` talks to it, `fracta kill {name}` frees the name"
        ),
    )
}

fn check_mode(adapter: &dyn Runtime, mode: Mode) -> Result<(), Problem> {
    let c = adapter.capabilities();
    let can = match mode {
        Mode::Batch => c.batch,
        Mode::Stream => c.stream,
    };
    if can {
        return Ok(());
    }
    Err(problem(Code::Unsupported, format!("{} cannot run in {} mode", adapter.adapter(), mode.word())))
}

fn check_contract(mode: Mode, contract: Option<&str>) -> Result<(), Problem> {
    match contract {
        None if mode == Mode::Batch => Err(problem(
            Code::BadRequest,
            "a batch agent needs to be told what to do: --contract TEXT (or a file's path), or --mode stream to talk to it later",
        )),
        Some(c) if c.len() > MAX_CONTRACT => Err(problem(
            Code::BadRequest,
            format!(
                "the contract is {} bytes long, more than {MAX_CONTRACT}; put it into a file of the project and name the file",
                c.len()
            ),
        )),
        _ => Ok(()),
    }
}
