//! The control plane itself: all agents of a project.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use secrecy::SecretString;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::Options;
use crate::backend::local::Local;
use crate::config;
use crate::control::wire::{self, Code, Problem};
use crate::event::encode;
use crate::event::journal::{self, Journal, JournalError, Reader, ResumePoint};
use crate::paths::{Layout, PathError, private_dir};
use crate::session::entry::{Entry, Phase};
use crate::session::hub::Hub;
use crate::session::launch::Launcher;
use crate::session::state::SessionState;
use crate::session::supervisor::recover::Saved;
use crate::session::supervisor::{Ask, Begin, Env, INBOX, Place, Supervisor};
use crate::store::{AgentRecord, Store, StoreError};

/// Why there is no control plane.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{} has a control plane already; `fracta status` shows it, `fracta stop` ends it (agents go on)", root.display())]
    Running { root: PathBuf },
    #[error("cannot {what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Config(#[from] config::LoadError),
}

/// All agents of a project, and what they share.
pub struct Plane {
    pub(super) env: Arc<Env>,
    pub(super) layout: Layout,
    /// By session id.
    entries: RwLock<BTreeMap<String, Arc<Entry>>>,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
    socket: PathBuf,
    listen: Option<String>,
    token: Option<SecretString>,
    started_at: Timestamp,
    stop: watch::Sender<bool>,
    /// Read while an agent is made: true as long as new ones may begin. Ending waits for those under way,
    /// so that none begins when the others were ended.
    pub(super) open: tokio::sync::RwLock<bool>,
}

impl Plane {
    pub(super) async fn open(
        options: Options,
        socket: PathBuf,
        listen: Option<String>,
    ) -> Result<Arc<Self>, ServeError> {
        let adapters = options.adapters;
        let loaded = config::load_for(options.config.file.as_deref(), &options.config.cwd, adapters)?;
        let store = Store::open(&options.layout.database())?;
        let places = match loaded.config.agents.max_running {
            0 => Semaphore::MAX_PERMITS,
            n => n as usize,
        };
        let local = Local::new(options.exe);
        let launcher = Launcher::new(options.config, adapters, loaded, store.clone(), local);
        let env = Env { store, hub: Hub::default(), slots: Arc::new(Semaphore::new(places)), launcher };
        let plane = Arc::new(Self {
            env: Arc::new(env),
            layout: options.layout,
            entries: RwLock::default(),
            tasks: tokio::sync::Mutex::default(),
            socket,
            listen,
            token: options.listen.map(|(_, token)| token),
            started_at: Timestamp::now(),
            stop: watch::Sender::new(false),
            open: tokio::sync::RwLock::new(true),
        });
        plane.adopt_all().await?;
        Ok(plane)
    }

    /// Takes the agents of an earlier control plane up again. Places are given out before any of them
    /// begins: to the turns that run, then to those that waited, in their order.
    async fn adopt_all(self: &Arc<Self>) -> Result<(), StoreError> {
        let mut found: Vec<Adopted> = Vec::new();
        for record in self.env.store.agents().await? {
            found.extend(self.look_at(record));
        }
        let waiting = self.env.store.waiting_sessions().await?;
        let mut places = BTreeMap::new();
        let slots = &self.env.slots;
        let handed = |session: &str| waiting.iter().any(|(s, handed_over)| s == session && *handed_over);
        for a in found.iter().filter(|a| a.state.turn.is_some() || handed(&a.record.session)) {
            places.insert(a.record.session.clone(), Place::taken(slots));
        }
        for (session, _) in &waiting {
            if found.iter().any(|a| a.record.session == *session) && !places.contains_key(session) {
                places.insert(session.clone(), Place::ask(slots));
            }
        }
        for Adopted { record, dir, state, journal, resume, runs } in found {
            let place = places.remove(&record.session).unwrap_or(Place::None);
            self.start(record, dir, state, journal, Begin::Again { resume, runs, place }).await;
        }
        Ok(())
    }

    /// Reads what is known of an agent; of a killed one that is all there is to do.
    fn look_at(&self, record: AgentRecord) -> Option<Adopted> {
        let dir = self.layout.session_dir(&record.session);
        let saved = Saved::load(&dir).unwrap_or_default();
        if record.killed_at.is_some() {
            let state = fold(&dir, saved.state);
            let (asks, _) = mpsc::channel(1);
            self.insert(Arc::new(Entry::new(record, dir, state, asks)));
            return None;
        }
        // The folder is not there if the control plane was killed in the middle of a spawn.
        let opened = match private_dir(&dir) {
            Ok(()) => self.open_journal(&dir, &record).map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        };
        match opened {
            Ok((journal, resume)) => {
                let state = fold(&dir, saved.state);
                Some(Adopted { record, dir, state, journal, resume, runs: saved.runs })
            }
            Err(e) => {
                tracing::error!(agent = %record.name, error = e, "cannot open the journal: nobody drives this agent");
                let state = SessionState { reason: Some(e), ..SessionState::default() };
                let (asks, _) = mpsc::channel(1);
                self.insert(Arc::new(Entry::new(record, dir, state, asks)));
                None
            }
        }
    }

    fn open_journal(
        &self,
        dir: &Path,
        record: &AgentRecord,
    ) -> Result<(Journal, Option<ResumePoint>), JournalError> {
        let (mut journal, found) = Journal::open(dir, record.name.as_str(), &record.session)?;
        if let Some(bytes) = found.torn {
            let text = format!(
                "the last line of the journal was torn by a crash: {bytes} bytes that were no whole event were removed; what they told is read again from the process's output"
            );
            let fact = crate::event::Fact::from(crate::event::Body::Gap { text });
            journal.append(None, [fact], crate::session::supervisor::now(), |_, _| {})?;
        }
        Ok((journal, found.resume))
    }

    /// Starts the task of an agent.
    pub(super) async fn start(
        self: &Arc<Self>,
        record: AgentRecord,
        dir: PathBuf,
        state: SessionState,
        journal: Journal,
        begin: Begin,
    ) -> Arc<Entry> {
        let (asks, inbox) = mpsc::channel(INBOX);
        let entry = Arc::new(Entry::new(record, dir, state, asks));
        if matches!(begin, Begin::New(_)) {
            // Known before its task has run for the first time.
            entry.live().phase = Phase::Starting;
        }
        self.insert(Arc::clone(&entry));
        let supervisor = Supervisor::new(Arc::clone(&self.env), Arc::clone(&entry), journal, inbox);
        let mut tasks = self.tasks.lock().await;
        while tasks.try_join_next().is_some() {}
        tasks.spawn(supervisor.drive(begin));
        entry
    }

    fn insert(&self, entry: Arc<Entry>) {
        let session = entry.record.session.clone();
        self.entries.write().unwrap_or_else(PoisonError::into_inner).insert(session.clone(), entry);
        self.env.hub.mark(&session);
    }

    /// Takes an agent out that never began, or whose journal was pruned.
    pub(super) fn remove(&self, session: &str) -> Option<Arc<Entry>> {
        let gone = self.entries.write().unwrap_or_else(PoisonError::into_inner).remove(session);
        self.env.hub.mark(session);
        gone
    }

    /// All agents, oldest first.
    pub(super) fn entries(&self, killed: bool) -> Vec<Arc<Entry>> {
        let all = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<_> = all.values().filter(|e| killed || !e.live().killed).cloned().collect();
        list.sort_by(|a, b| {
            (a.record.created_at, &a.record.session).cmp(&(b.record.created_at, &b.record.session))
        });
        list
    }

    /// The agent of a session id.
    pub(super) fn session(&self, session: &str) -> Option<Arc<Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).get(session).cloned()
    }

    /// The agent of a name or session id; of several killed ones of a name the last.
    pub(super) fn find(&self, name: &str) -> Result<Arc<Entry>, Problem> {
        if let Some(e) = self.session(name) {
            return Ok(e);
        }
        let all = self.entries(true);
        let of_name = || all.iter().filter(|e| e.record.name.as_str() == name);
        let found = of_name().find(|e| !e.live().killed).or_else(|| of_name().next_back()).cloned();
        found.ok_or_else(|| self.no_such(name, &all))
    }

    /// As [`Plane::find`], of those that can still be asked something.
    pub(super) fn find_live(&self, name: &str) -> Result<Arc<Entry>, Problem> {
        let e = self.find(name)?;
        if e.live().killed {
            let text = format!("{name} was killed; only its journal is left (`fracta events {name}`)");
            return Err(Problem { code: Code::NotFound, message: text });
        }
        Ok(e)
    }

    fn no_such(&self, name: &str, all: &[Arc<Entry>]) -> Problem {
        let near = all
            .iter()
            .filter(|e| !e.live().killed)
            .map(|e| e.record.name.as_str())
            .filter(|n| strsim::damerau_levenshtein(n, name) <= 2)
            .min_by_key(|n| strsim::damerau_levenshtein(n, name));
        let hint = match near {
            Some(n) => format!("; did you mean {n}?"),
            None => "; `fracta list` shows the agents there are".to_owned(),
        };
        Problem { code: Code::NotFound, message: format!("there is no agent {name:?}{hint}") }
    }

    pub(super) fn status(&self) -> wire::Status {
        let all = self.entries(false);
        wire::Status {
            pid: std::process::id(),
            socket: self.socket.display().to_string(),
            listen: self.listen.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api: wire::API,
            root: self.layout.root().display().to_string(),
            started_at: self.started_at,
            agents: all.len() as u64,
            running: all.iter().filter(|e| e.state().in_turn()).count() as u64,
        }
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(super) fn token(&self) -> Option<SecretString> {
        self.token.clone()
    }

    /// Ready when the control plane ends.
    pub(super) fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.subscribe();
        async move {
            // An error means that the plane is gone, which is the same.
            let _ = stop.wait_for(|s| *s).await;
        }
    }

    /// Ends the control plane; agents go on unless `agents`.
    pub(super) async fn shut_down(&self, agents: bool) {
        *self.open.write().await = false;
        let mut waits = Vec::new();
        for entry in self.entries(false) {
            let (reply, done) = oneshot::channel();
            if entry.ask(Ask::Shutdown { agents, reply }).await {
                waits.push(done);
            }
        }
        for done in waits {
            // A supervisor that is gone has nothing left to end.
            let _ = done.await;
        }
        let mut tasks = self.tasks.lock().await;
        while tasks.join_next().await.is_some() {}
        self.stop.send_replace(true);
    }
}

/// What is known of an agent of an earlier control plane.
struct Adopted {
    record: AgentRecord,
    dir: PathBuf,
    state: SessionState,
    journal: Journal,
    resume: Option<ResumePoint>,
    runs: u32,
}

/// Folds what the journal holds beyond a saved state.
pub(super) fn fold(dir: &Path, mut state: SessionState) -> SessionState {
    let path = dir.join(journal::FILE);
    if !path.exists() {
        return state;
    }
    if let Err(e) = fold_from(&path, &mut state) {
        tracing::error!(dir = %dir.display(), error = %e, "cannot read the journal to its end");
    }
    state
}

fn fold_from(path: &Path, state: &mut SessionState) -> Result<(), JournalError> {
    let reader = Reader::open(path)?;
    let mut chunk = reader.read_after(state.last_seq, journal::MAX_CHUNK)?;
    while chunk.goes_on() {
        for line in chunk.bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            match encode::parse(line) {
                Ok(event) => state.apply(&event),
                // A kind that a newer fracta wrote: it changes nothing that this one knows.
                Err(e) => tracing::warn!(path = %path.display(), error = %e, "an event is not understood"),
            }
        }
        chunk = reader.read_from(chunk.next_offset, chunk.last_seq, journal::MAX_CHUNK)?;
    }
    Ok(())
}
