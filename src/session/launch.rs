//! From an agent and the config to a process: which executable, which arguments, which environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::entry::Entry;
use super::settings;
use super::supervisor::problem;
use crate::backend::{Backend, RunSpec, local};
use crate::config::{self, Chosen, Config, Loaded, RuntimeConfig};
use crate::control::wire::{Code, Problem};
use crate::credentials::environment::{Environment, Layer, Value};
use crate::credentials::mask::Mask;
use crate::credentials::plan::{Plan, Request, plan};
use crate::credentials::{Topology, deliver, prepare};
use crate::runtime::{Adapters, CliInfo, Launch, Protocol, Runtime, SessionSpec};
use crate::store::Store;

/// How long a CLI may take to say its version.
const PROBE: Duration = Duration::from_secs(20);
/// How much of what it says is read, in bytes.
const PROBE_OUTPUT: usize = 256 << 10;

/// Where the config is read from.
#[derive(Debug, Clone)]
pub struct ConfigSource {
    /// `--config`
    pub file: Option<PathBuf>,
    /// Where to look for one.
    pub cwd: PathBuf,
}

/// Makes processes out of agents.
pub struct Launcher {
    source: ConfigSource,
    adapters: Adapters,
    /// The config as last read, with the file's stamp.
    config: RwLock<(String, Arc<Loaded>)>,
    store: Store,
    local: local::Local,
}

/// All that a start needs.
pub struct Prepared {
    /// What the agent cannot be given, for people.
    pub warnings: Vec<String>,
    pub runtime: &'static dyn Runtime,
    pub session: SessionSpec,
    pub run: RunSpec,
    /// What is to be masked in what the process says.
    pub mask: Mask,
}

/// An executable that was found.
#[derive(Debug, Clone)]
pub struct Found {
    pub path: PathBuf,
    pub cli: CliInfo,
}

impl Launcher {
    pub fn new(
        source: ConfigSource,
        adapters: Adapters,
        loaded: Loaded,
        store: Store,
        local: local::Local,
    ) -> Self {
        let stamp = loaded.file.as_deref().map(stamp).unwrap_or_default();
        Self { source, adapters, config: RwLock::new((stamp, Arc::new(loaded))), store, local }
    }

    /// The config, read again if its file changed.
    ///
    /// # Errors
    /// The file has errors now; what runs goes on.
    pub fn config(&self) -> Result<Arc<Loaded>, Problem> {
        let (old, loaded) = self.config.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(file) = loaded.file.as_deref() else { return Ok(loaded) };
        let new = stamp(file);
        if new == old {
            return Ok(loaded);
        }
        let fresh = config::load_for(self.source.file.as_deref(), &self.source.cwd, self.adapters)
            .map_err(|e| problem(Code::BadRequest, e.to_string()))?;
        let fresh = Arc::new(fresh);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = (new, Arc::clone(&fresh));
        Ok(fresh)
    }

    /// The adapters that the config may name.
    pub fn adapters(&self) -> Adapters {
        self.adapters
    }

    /// The adapter of a name.
    ///
    /// # Errors
    /// There is none: the config has changed, or fracta is an older one than the agent's.
    pub fn adapter(&self, name: &str) -> Result<&'static dyn Runtime, Problem> {
        self.adapters.get(name).ok_or_else(|| {
            let known = self.adapters.names().join(", ");
            problem(
                Code::Unsupported,
                format!("this version of fracta has no adapter for {name}; it has: {known}"),
            )
        })
    }

    pub fn backend(&self, name: &str) -> Result<&dyn Backend, Problem> {
        match name {
            "local" => Ok(&self.local),
            other => Err(problem(
                Code::Unsupported,
                format!("this version of fracta has no backend {other:?}; it has: local"),
            )),
        }
    }

    /// All that the next process of an agent needs.
    pub async fn prepare(
        &self,
        entry: &Entry,
        run: u32,
        resume_token: Option<String>,
        prompt: Option<&str>,
    ) -> Result<Prepared, Problem> {
        let (runtime, session, loaded) = self.session(entry, run, resume_token).await?;
        let mut launch = runtime.launch(&session, prompt).map_err(|r| problem(Code::Unsupported, r.0))?;
        let chosen = chosen(&loaded.config, &entry.record.runtime)?;
        let host = inherited();
        let files = settings::credentials_for(&entry.record.backend, &entry.dir);
        let plan =
            credentials(&loaded.config, chosen, &entry.record.backend, &host, &launch, &session.cwd, &files);
        let context = prepare::Context { root: &loaded.root, host: &host, cwd: &session.cwd };
        let prepared = prepare::prepare(&plan, &context).await;
        let mut given = deliver::deliver(&plan, &prepared, &files)
            .map_err(|refusal| problem(Code::Unsupported, refusal.to_string()))?;
        let about = settings::About {
            config: &loaded.config,
            agent: &entry.record.name,
            runtime,
            spec: &session,
            env: &given.env,
            helper: given.helper.as_ref(),
        };
        let settings = settings::of(&about, &entry.dir)?;
        given.known.extend(settings.secrets);
        let mask = mask(&given.known, &mut given.warnings)?;
        // Those of a pod are made where it runs.
        let here = if given.topology == Topology::Host { given.files.as_slice() } else { &[] };
        settings::write(&entry.dir, &settings.settings.files, here, &mask)?;
        insert_args(&mut launch, &session, &settings.settings.args);
        for (name, value) in settings.settings.env {
            given.env.set(name, Value::Plain(value), Layer::Adapter);
        }
        let env = texts(&given.env);
        let note = runtime.version_note(&session.cli);
        let warnings = note.into_iter().chain(settings.settings.warnings).chain(given.warnings.drain(..));
        let warnings = warnings.collect();
        let (session_dir, cwd) = (entry.dir.clone(), session.cwd.clone());
        let run = RunSpec { session_dir, run, cwd, launch, env, credentials: given };
        Ok(Prepared { warnings, runtime, session, run, mask })
    }

    /// The adapter's side of a process that runs already; in batch mode `message` is the id of its
    /// prompt, where that is not settled.
    pub async fn conversation(
        &self,
        entry: &Entry,
        run: u32,
        message: Option<&str>,
    ) -> Result<(&'static dyn Runtime, Box<dyn Protocol>), Problem> {
        let token = entry.live().state.resume_token.clone();
        let (runtime, session, _) = self.session(entry, run, token).await?;
        Ok((runtime, runtime.protocol(&session, message)))
    }

    async fn session(
        &self,
        entry: &Entry,
        run: u32,
        resume_token: Option<String>,
    ) -> Result<(&'static dyn Runtime, SessionSpec, Arc<Loaded>), Problem> {
        let record = &entry.record;
        let loaded = self.config()?;
        let config = chosen(&loaded.config, &record.runtime)?.config;
        let runtime = self.adapter(&record.adapter)?;
        let command = command(config, runtime.default_command())?;
        let own_env = own_env(config)?;
        let found = self.find(&command, runtime, &own_env).await?;
        let mut argv: Vec<OsString> = command.iter().map(OsString::from).collect();
        if let Some(first) = argv.first_mut() {
            *first = found.path.into_os_string();
        }
        let session = SessionSpec {
            runtime: record.runtime.clone(),
            command: argv,
            cli: found.cli,
            mode: record.mode,
            model: record.model.clone(),
            permissions: config.permissions_for(record.mode),
            cwd: record.workspace.cwd(),
            resume_token,
            run,
            step_limit: config.step_limit,
        };
        Ok((runtime, session, loaded))
    }

    /// Finds a runtime's executable and what it can do; asked once for each version of the file.
    pub async fn find(
        &self,
        command: &[String],
        runtime: &dyn Runtime,
        env: &[(String, String)],
    ) -> Result<Found, Problem> {
        let name = command.first().map_or("", String::as_str);
        let path = which(name).ok_or_else(|| {
            problem(
                Code::Unsupported,
                format!("{name:?} is not on PATH; install it with: {}", runtime.install_hint()),
            )
        })?;
        // Leading arguments and a real file's stamp: an entry may wrap a CLI in another one.
        let key = std::iter::once(path.display().to_string())
            .chain(command.iter().skip(1).cloned())
            .collect::<Vec<_>>()
            .join("\u{1f}");
        let stamp = stamp(&path);
        let internal = |e: crate::store::StoreError| problem(Code::Internal, e.to_string());
        if let Some(cli) = self.store.probe(&key, &stamp).await.map_err(internal)? {
            return Ok(Found { path, cli });
        }
        let mut outputs = Vec::new();
        for args in runtime.probes() {
            outputs.push(ask_cli(&path, &command[1..], &args, env).await?);
        }
        let cli = runtime.probed(&outputs);
        self.store.set_probe(&key, &stamp, &cli).await.map_err(internal)?;
        Ok(Found { path, cli })
    }
}

/// A runtime's executable and leading arguments; `default` is its adapter's own.
pub fn command(config: &RuntimeConfig, default: &str) -> Result<Vec<String>, Problem> {
    config.command_for(default, &lookup).map_err(|e| problem(Code::BadRequest, e.to_string()))
}

/// A runtime's own variables, expanded.
pub fn own_env(config: &RuntimeConfig) -> Result<Vec<(String, String)>, Problem> {
    config
        .env
        .iter()
        .map(|(k, v)| {
            Ok((k.clone(), v.expand(&lookup).map_err(|e| problem(Code::BadRequest, e.to_string()))?))
        })
        .collect()
}

/// A variable of the control plane's own environment.
pub fn lookup(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The names of the runtimes in a config, and which one a spawn gets that names none.
pub fn default_runtime(config: &Config) -> Option<&str> {
    config.runtime(None, &lookup).ok().map(|chosen| chosen.name)
}

/// Puts arguments right behind the command's own.
pub fn insert_args(launch: &mut Launch, spec: &SessionSpec, args: &[OsString]) {
    let at = spec.command.len().clamp(1, launch.argv.len());
    launch.argv.splice(at..at, args.iter().cloned());
}

/// The runtime of a name.
fn chosen<'a>(config: &'a Config, name: &str) -> Result<Chosen<'a>, Problem> {
    config.runtime(Some(name), &lookup).map_err(|e| problem(Code::BadRequest, e.to_string()))
}

/// The credential plan of a runtime's process. `files`: where its files will be.
pub fn credentials(
    config: &Config,
    chosen: Chosen<'_>,
    backend: &str,
    host: &BTreeMap<OsString, OsString>,
    launch: &Launch,
    cwd: &Path,
    files: &Path,
) -> Plan {
    // Some CLIs believe PWD more than their real working folder.
    let mut adapter = vec![("PWD".into(), cwd.into())];
    adapter.extend(launch.env.iter().cloned());
    let runs = |program: &str| which(program).is_some();
    plan(&Request { config, runtime: chosen, backend, host, adapter: &adapter, files, runs: &runs })
}

/// What an agent inherits: the control plane's own environment.
pub fn inherited() -> BTreeMap<OsString, OsString> {
    std::env::vars_os().filter(|(k, _)| !is_ours(k)).collect()
}

/// The variables that fracta has the values of: all of a local agent's.
fn texts(env: &Environment) -> Vec<(OsString, OsString)> {
    env.iter().filter_map(|(name, v)| Some((name.to_owned(), v.value.text()?.to_owned()))).collect()
}

/// A mask for what is known; warns of what is too short for one.
fn mask(known: &[(String, secrecy::SecretString)], warnings: &mut Vec<String>) -> Result<Mask, Problem> {
    let (mask, short) =
        Mask::new(known).map_err(|e| problem(Code::Internal, format!("no randomness: {e}")))?;
    for name in short {
        warnings.push(format!(
            "the value of {name} is shorter than {} characters, so it is not masked in what the agent says",
            crate::credentials::mask::SHORTEST
        ));
    }
    Ok(mask)
}

/// What fracta and the terminal that started it know themselves by, and an agent must not.
fn is_ours(name: &OsString) -> bool {
    ["FRACTA_LOG", "FRACTA_RUN", "TMUX", "TMUX_PANE"].iter().any(|n| name == n)
}

/// Where an executable is: a path as it is given, a plain name by PATH.
pub fn which(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let runs =
        |p: &Path| std::fs::metadata(p).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if name.contains('/') {
        let path = PathBuf::from(name);
        return runs(&path).then_some(path);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|d| d.join(name)).find(|p| p.is_absolute() && runs(p))
}

/// Tells one version of a file from another: the target of its links, size and time of change.
fn stamp(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match std::fs::metadata(&real) {
        Ok(m) => format!("{}:{}:{}:{}", real.display(), m.size(), m.mtime(), m.mtime_nsec()),
        Err(_) => String::new(),
    }
}

/// What a CLI prints when asked; bounded in time and size. A CLI that fails has said nothing.
async fn ask_cli(
    path: &Path,
    leading: &[String],
    args: &[&str],
    env: &[(String, String)],
) -> Result<String, Problem> {
    let mut command = tokio::process::Command::new(path);
    command
        .args(leading)
        .args(args)
        .envs(env.iter().map(|(k, v)| (k, v)))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let asked = || format!("{} {}", path.display(), args.join(" "));
    let mut child =
        command.spawn().map_err(|e| problem(Code::Unsupported, format!("cannot run {}: {e}", asked())))?;
    let read = async {
        let out = read_some(child.stdout.take());
        let err = read_some(child.stderr.take());
        let (mut out, err) = tokio::join!(out, err);
        out.extend(err);
        let _ = child.wait().await;
        String::from_utf8_lossy(&out).into_owned()
    };
    tokio::time::timeout(PROBE, read).await.map_err(|_| {
        problem(Code::Unsupported, format!("{} gave no answer within {} s", asked(), PROBE.as_secs()))
    })
}

async fn read_some(pipe: Option<impl tokio::io::AsyncRead + Unpin>) -> Vec<u8> {
    use tokio::io::AsyncReadExt;
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // What was read until an error is what it said.
        let _ = pipe.take(PROBE_OUTPUT as u64).read_to_end(&mut bytes).await;
    }
    bytes
}
