//! Runtimes: the adapters that speak the agents' own protocols.
//!
//! An adapter does no IO. [`Runtime`] says what to start; [`Protocol`] is a state machine that is fed
//! what the process said ([`Input`]) and what a person wants ([`Command`]) and answers with facts
//! ([`crate::event::Fact`]) and messages to send ([`Send`]). It never asks where the process runs nor
//! how the bytes travel. Being pure, it is tested by replaying recordings, and is rebuilt after a
//! restart of the control plane by feeding it the raw lines again. So it must be deterministic: the
//! same inputs give the same facts, whatever the clock says, and whether or not the commands that
//! caused them are fed too: what a reply means must follow from the reply (put what you need to know
//! into the request's id).

pub mod claude;
pub mod codex;
mod json;
pub mod opencode;
pub mod settings;
pub mod versions;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::event::{Decision, Fact};
pub use settings::{McpServer, McpTransport, Settings, SettingsRequest};

/// How an agent is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// One process for each turn.
    #[default]
    Batch,
    /// One long-lived process for the session.
    Stream,
}

impl Mode {
    pub fn word(self) -> &'static str {
        match self {
            Mode::Batch => "batch",
            Mode::Stream => "stream",
        }
    }
}

/// Who answers the runtime's approval requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Permissions {
    Ask,
    Auto,
}

impl Permissions {
    pub fn word(self) -> &'static str {
        match self {
            Permissions::Ask => "ask",
            Permissions::Auto => "auto",
        }
    }
}

/// What an adapter can do. Data, shown to people as it is; a verb that is not possible here is
/// refused before anything is touched, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    pub batch: bool,
    pub stream: bool,
    /// A message into a running stream turn; `Err` says why not and what to do instead.
    pub steer: Result<(), String>,
    /// Approval requests reach fracta in stream mode.
    pub approvals: bool,
    /// A running turn can be ended while the session goes on.
    pub interrupt: bool,
    pub resume: bool,
    pub mcp: bool,
}

impl Capabilities {
    /// What an adapter begins with: batch turns, and nothing else.
    pub fn batch_alone() -> Self {
        Self {
            batch: true,
            stream: false,
            steer: Err(
                "this runtime takes no message into a running turn; `fracta say` queues it for the next"
                    .to_owned(),
            ),
            approvals: false,
            interrupt: false,
            resume: false,
            mcp: false,
        }
    }
}

/// What a process of a runtime needs to know. Made by the supervisor from config and agent.
#[derive(Debug, Clone)]
pub struct SessionSpec {
    /// Name of the runtime entry.
    pub runtime: String,
    /// Executable and leading arguments; the first is already found on PATH.
    pub command: Vec<OsString>,
    /// CLI version as [`Runtime::probe`] found it.
    pub cli: CliInfo,
    pub mode: Mode,
    /// Precedence already applied; none: the CLI's own default.
    pub model: Option<String>,
    pub permissions: Permissions,
    /// The workspace.
    pub cwd: PathBuf,
    /// Set when the session goes on from an earlier process.
    pub resume_token: Option<String>,
    /// 1 for the first process of a session, then 2, …
    pub run: u32,
    /// OpenCode's guard; 0 = off.
    pub step_limit: u32,
}

/// What is known about an installed CLI.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CliInfo {
    /// As the CLI prints it, only the number (`0.169.0`).
    pub version: Option<String>,
    /// Features an adapter found by asking the CLI (its `--help`), in the adapter's own words.
    pub features: BTreeMap<String, String>,
}

/// How the bytes travel, decided by the adapter from what the backend offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wire {
    /// Lines on stdin and stdout.
    Stdio,
    /// Requests by HTTP on loopback, and one long response of server-sent events. What is said lies in
    /// `raw.jsonl` as lines, see [`crate::transport::http`].
    HttpSse(HttpSse),
    // WebSocket comes with the backends and adapters that use it.
}

/// How a process that is an HTTP server is talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSse {
    /// User of HTTP basic authentication.
    pub user: &'static str,
    /// Variable in which the process is told its password. It is made by the backend, for one run.
    pub password_env: &'static str,
    /// What stands before `127.0.0.1:PORT` in the line of stdout that tells where it listens.
    pub announced: &'static str,
    /// Path of the events.
    pub events: &'static str,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Launch {
    pub argv: Vec<OsString>,
    /// The adapter's own variables; later sources may override them.
    pub env: Vec<(OsString, OsString)>,
    pub wire: Wire,
    /// Messages go to the process while it runs. False: stdin is `/dev/null`, or [`Launch::input`].
    pub stdin: bool,
    /// Only with `stdin: false`: what the process reads from stdin, whole, and then its end (a batch
    /// prompt: so it is in no argument list, and has no length limit).
    pub input: Option<Vec<u8>>,
}

/// What reaches an adapter from its process.
#[derive(Debug)]
pub enum Input<'a> {
    /// A whole line of stdout (without its end), a WebSocket text frame, or the data of an SSE event.
    Message(&'a [u8]),
}

/// What a person (or the supervisor for one) wants of the session.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Start a turn. `message` is fracta's id of the message; its delivery is reported under it.
    StartTurn { message: String, text: String },
    /// A message into the running turn.
    Steer { message: String, text: String },
    /// End the running turn; the session goes on.
    Interrupt,
    /// Answer a request. `answers` only where the request had questions.
    Answer { approval: String, decision: Decision, answers: Option<serde_json::Value> },
}

/// A message for the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Send {
    /// One message: a line on stdio (the end of line is added by the transport), a frame on WebSocket.
    Message(Vec<u8>),
    /// A request, only with [`Wire::HttpSse`]. Its answer comes as a line
    /// `{"fracta":"http","id":…,"status":…,"body":…}`; the id says what it is about.
    Http { id: String, method: &'static str, path: String, body: Option<Vec<u8>> },
}

/// What an adapter gives back from one input or command.
#[derive(Debug, Default)]
pub struct Output {
    /// Facts for the journal, in order.
    pub facts: Vec<Fact>,
    /// Messages for the process, in order.
    pub sends: Vec<Send>,
    /// What the runtime said about messages of ours: (message id, confirmed or refused with reason).
    pub deliveries: Vec<(String, Result<(), String>)>,
}

/// Why a command cannot be carried out now. The text says why and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// The conversation with one process: a state machine without IO. What is not written here is right for
/// a batch process, which is ready at once, is told nothing and runs one turn.
pub trait Protocol: std::marker::Send + Sync {
    /// The transport is open: the handshake begins. Called once, before any input.
    fn open(&mut self, _out: &mut Output) {}

    /// The process said something. Never fails: what is not understood becomes a `raw` fact.
    fn input(&mut self, input: Input<'_>, out: &mut Output);

    /// Carries a command out, or refuses it and changes nothing.
    fn command(&mut self, command: &Command, _out: &mut Output) -> Result<(), Refused> {
        let why = match command {
            Command::StartTurn { .. } => "a batch process runs one turn; the next turn is a new process",
            Command::Steer { .. } => "a batch turn takes no messages; `fracta say` queues one for the next",
            Command::Interrupt => "a batch turn is ended by ending its process",
            Command::Answer { .. } => "a batch turn asks nothing; use mode stream to answer requests",
        };
        Err(Refused(why.to_owned()))
    }

    /// The session is open: turns may be started. (Batch processes are ready at once.)
    fn ready(&self) -> bool {
        true
    }

    /// A turn runs, or was taken and is about to: no other can be started. (A batch process is its turn.)
    fn busy(&self) -> bool {
        false
    }

    /// The control plane came back and fed all that had been said: answer again what must not be
    /// left hanging (requests that the adapter itself refuses).
    fn resumed(&mut self, _out: &mut Output) {}

    /// Why this process can never become ready (the session could not be opened); an `error` fact
    /// has said the same. The process may still run and should be ended.
    fn fatal(&self) -> Option<&str> {
        None
    }
}

/// An adapter: one CLI's protocol.
pub trait Runtime: std::marker::Send + Sync {
    /// The adapter's name in fracta.yaml.
    fn adapter(&self) -> &'static str;

    /// Executable when `command` is not given.
    fn default_command(&self) -> &'static str {
        self.adapter()
    }

    /// The command that installs the CLI, for people.
    fn install_hint(&self) -> &'static str;

    fn capabilities(&self) -> Capabilities;

    /// Argument lists to run, in order, to learn version and features (`[["--version"], …]`).
    fn probes(&self) -> Vec<Vec<&'static str>> {
        vec![vec!["--version"]]
    }

    /// Reads the outputs (stdout and stderr together) of [`Runtime::probes`], in the same order.
    fn probed(&self, outputs: &[String]) -> CliInfo {
        let mut words = outputs.first().map_or("", String::as_str).split_whitespace();
        let version = words.find(|w| w.starts_with(|c: char| c.is_ascii_digit()) && w.contains('.'));
        CliInfo { version: version.map(str::to_owned), ..CliInfo::default() }
    }

    /// What a person should know about this version of the CLI: that it was never tried
    /// ([`versions`]), or what it lacks. A warning, never a refusal.
    fn version_note(&self, cli: &CliInfo) -> Option<String> {
        versions::note(self.adapter(), cli)
    }

    /// What to start. In batch mode `prompt` is the turn's text.
    fn launch(&self, spec: &SessionSpec, prompt: Option<&str>) -> Result<Launch, Refused>;

    /// How MCP servers and allowed tools reach the CLI; merged there with what the user has set. An
    /// adapter without this hands over nothing, and a warning names each.
    fn settings(&self, request: &SettingsRequest<'_>) -> Settings {
        settings::none_passed_on(self.adapter(), request)
    }

    /// The state machine for the process that [`Runtime::launch`] described. In batch mode
    /// `message` is the id of the prompt.
    fn protocol(&self, spec: &SessionSpec, message: Option<&str>) -> Box<dyn Protocol>;

    /// Reads the reason out of a dead process's last lines of stderr (already limited to some KiB).
    fn failure(&self, stderr_tail: &str, exit: &crate::transport::Exit) -> String {
        let last = stderr_tail.lines().map(str::trim).rfind(|line| !line.is_empty());
        match last.filter(|_| exit.spawn_error.is_none()) {
            Some(line) => format!("{} ({})", line.chars().take(400).collect::<String>(), exit.describe()),
            None => exit.describe(),
        }
    }
}

/// The adapters that fracta.yaml may name: fracta's own ([`Adapters::default`]), or those that a program
/// which embeds the engine gives to [`crate::control::server::Options`].
#[derive(Clone, Copy)]
pub struct Adapters(&'static [&'static dyn Runtime]);

impl Adapters {
    /// No two may have the same name: the first one is found.
    pub const fn new(all: &'static [&'static dyn Runtime]) -> Self {
        Self(all)
    }

    pub fn get(self, name: &str) -> Option<&'static dyn Runtime> {
        self.iter().find(|a| a.adapter() == name)
    }

    pub fn iter(self) -> impl Iterator<Item = &'static dyn Runtime> {
        self.0.iter().copied()
    }

    pub fn names(self) -> Vec<&'static str> {
        self.iter().map(Runtime::adapter).collect()
    }
}

impl Default for Adapters {
    fn default() -> Self {
        Self(&[&claude::Claude, &codex::Codex, &opencode::OpenCode])
    }
}

impl std::fmt::Debug for Adapters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Adapters").field(&self.names()).finish()
    }
}

/// The adapter of a name among fracta's own.
pub fn adapter(name: &str) -> Option<&'static dyn Runtime> {
    Adapters::default().get(name)
}
