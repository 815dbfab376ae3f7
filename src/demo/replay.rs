//! Plays recordings as if they were the CLI, for `fracta demo` on a machine without one.
//!
//! `fracta demo-replay NAME [the CLI's own arguments]`, where NAME is `codex`, `claude` or `opencode` (the
//! recording is chosen by the prompt), an embedded scenario of Codex, or a file. Stream recordings follow
//! the client: what it was to send is waited for, its request ids are answered, thread and turn get fresh
//! ids, and a turn that was not recorded plays the nearest one again. Claude says the same lines in both
//! modes, so its batch recordings are its stream ones, too. OpenCode's stream mode is a server, which is
//! not replayed.

mod batch;
mod claude;
mod stream;

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use serde_json::Value;

use super::recording::{EMBEDDED, Embedded, Recording};

/// Longest pause that is played; longer ones were waits for a person.
const MAX_PAUSE: Duration = Duration::from_millis(1500);

/// Messages of the client that wait to be read; then the client waits.
const QUEUE: usize = 64;

/// The replayer's command: `args` are those after `demo-replay`. Speaks on stdout as the CLI would.
pub fn main(args: &[String]) -> ExitCode {
    let result = match args.split_first() {
        Some((name, rest)) => run(name, rest),
        None => Err(io::Error::other("usage: fracta demo-replay NAME [ARGUMENTS OF THE CLI]")),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            let _ = writeln!(io::stderr(), "demo-replay: {e}");
            ExitCode::from(2)
        }
    }
}

fn run(name: &str, args: &[String]) -> io::Result<u8> {
    let has = |word: &str| args.iter().any(|a| a == word);
    let (cli, chosen) = match Cli::of(name) {
        Some(cli) => (cli, None),
        None => {
            let r = load(name)?;
            (Cli::of(&r.header.cli).unwrap_or(Cli::Codex), Some(r))
        }
    };
    if has("--version") {
        return said(&cli.version());
    }
    if has("--help") {
        return said(cli.help());
    }
    match cli {
        Cli::Codex if has("exec") || chosen.as_ref().is_some_and(|r| r.header.mode == "batch") => {
            batch::play(cli, chosen, args)
        }
        Cli::Codex => stream::play(chosen),
        Cli::Claude if has("--input-format") => claude::play(args),
        Cli::OpenCode if has("serve") => Err(io::Error::other(
            "this is a recording of opencode, and only its batch turns are replayed: use --mode batch, \
             or install opencode (npm install -g opencode-ai)",
        )),
        Cli::Claude | Cli::OpenCode => batch::play(cli, chosen, args),
    }
}

/// Whose recordings are played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cli {
    Codex,
    Claude,
    OpenCode,
}

impl Cli {
    fn of(name: &str) -> Option<Self> {
        match name {
            "codex" => Some(Self::Codex),
            "claude" => Some(Self::Claude),
            "opencode" => Some(Self::OpenCode),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Codex => "codex",
            Self::Claude => "claude",
            Self::OpenCode => "opencode",
        }
    }

    /// What the recorded CLI says to `--version`.
    fn version(self) -> String {
        let number = EMBEDDED.iter().find(|e| e.cli == self.name()).map_or("0.0.0", |e| e.version);
        match self {
            Self::Codex => format!("codex-cli {number}\n"),
            Self::Claude => format!("{number} (Claude Code)\n"),
            Self::OpenCode => format!("{number}\n"),
        }
    }

    /// The flags that the adapters look for.
    fn help(self) -> &'static str {
        match self {
            Self::Codex => "Replays a recording.\n\nOptions:\n  -s, --sandbox <SANDBOX_MODE>\n      --json\n",
            Self::Claude => {
                "Replays a recording.\n\nOptions:\n  --include-partial-messages\n  --replay-user-messages\n"
            }
            Self::OpenCode => "Replays a recording.\n\nOptions:\n  --thinking\n",
        }
    }

    /// The members that hold the session's id in what it says.
    fn session_member(self) -> &'static str {
        match self {
            Self::Codex => "thread_id",
            Self::Claude => "session_id",
            Self::OpenCode => "sessionID",
        }
    }

    /// The session that the arguments resume.
    fn resumed(self, args: &[String]) -> Option<String> {
        let after = |word: &str| args.iter().position(|a| a == word).and_then(|i| args.get(i + 1)).cloned();
        match self {
            Self::Codex => after("resume"),
            Self::Claude => args.iter().find_map(|a| a.strip_prefix("--resume=")).map(str::to_owned),
            Self::OpenCode => after("--session"),
        }
    }
}

fn said(text: &str) -> io::Result<u8> {
    io::stdout().write_all(text.as_bytes())?;
    Ok(0)
}

fn load(name: &str) -> io::Result<Recording> {
    if let Some(r) = Recording::embedded("codex", name) {
        return Ok(r);
    }
    let text = std::fs::read_to_string(name).map_err(|e| {
        io::Error::new(e.kind(), format!("{name} is no embedded recording and no readable file: {e}"))
    })?;
    Recording::parse(&text).map_err(|e| io::Error::other(format!("{name}: {e}")))
}

/// The embedded recording for a prompt: the one whose own prompt it holds, else the one for anything.
fn for_prompt(cli: Cli, prompt: &str, batch: bool) -> io::Result<Recording> {
    let prefix = if batch { "batch-" } else { "demo-" };
    let of_mode = || EMBEDDED.iter().filter(|e| e.cli == cli.name() && e.scenario.starts_with(prefix));
    let read = |e: &Embedded| {
        Recording::parse(e.text).map_err(|why| io::Error::other(format!("{}: {why}", e.scenario)))
    };
    for e in of_mode().filter(|e| !e.scenario.ends_with("anything")) {
        let r = read(e)?;
        if prompt.contains(&r.header.prompt) {
            return Ok(r);
        }
    }
    read(of_mode().find(|e| e.scenario.ends_with("anything")).ok_or(io::ErrorKind::NotFound)?)
}

/// Makes a recorded line a live one: the folder, the session, and ids of items that no other turn has.
struct Live {
    cwd: String,
    /// The session's id as recorded, and now.
    session: (String, String),
    /// Beginnings of ids, and what they become.
    items: Vec<(&'static str, String)>,
}

impl Live {
    fn new(cli: Cli, recording: &Recording, session: Option<String>) -> Self {
        let recorded = recording.lines.iter().find_map(|l| {
            let v: Value = serde_json::from_str(&l.line).ok()?;
            v[cli.session_member()].as_str().map(str::to_owned)
        });
        let fresh = fresh_id();
        let items: &[&'static str] = match cli {
            // Codex counts its items anew in every turn, and says so.
            Cli::Codex => &[],
            Cli::Claude => &["msg_"],
            Cli::OpenCode => &["msg_", "prt_", "call_"],
        };
        let items = items.iter().map(|i| (*i, format!("{i}{}", &fresh[..8]))).collect();
        let session = session.unwrap_or_else(|| match cli {
            Cli::OpenCode => format!("ses_{}", fresh.replace('-', "")),
            _ => fresh,
        });
        Self { cwd: cwd_in_json(), session: (recorded.unwrap_or_default(), session), items }
    }

    fn line(&self, line: &str) -> String {
        let mut line = line.replace("/demo/stations", &self.cwd);
        if !self.session.0.is_empty() {
            line = line.replace(&self.session.0, &self.session.1);
        }
        for (from, to) in &self.items {
            line = line.replace(from, to);
        }
        line
    }
}

/// What the client sends, line by line, from a thread of its own.
fn client() -> Receiver<Value> {
    let (tx, rx) = sync_channel(QUEUE);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            let message = serde_json::from_str::<Value>(&line).unwrap_or(Value::Null);
            if tx.send(message).is_err() {
                break;
            }
        }
    });
    rx
}

/// Why a replay that follows its client ends.
enum End {
    /// The client closed stdin.
    Client,
    Io(io::Error),
}

impl From<io::Error> for End {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

/// The exit code of such a replay.
fn ended(result: Result<(), End>) -> io::Result<u8> {
    match result {
        Err(End::Client) | Ok(()) => Ok(0),
        Err(End::Io(e)) if e.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Err(End::Io(e)) => Err(e),
    }
}

/// A line of the CLI, at once.
fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// The pause before a line.
fn pause(before: u64, now: u64) -> Duration {
    Duration::from_millis(now.saturating_sub(before)).min(MAX_PAUSE)
}

/// A fresh id in the form of the recorded ones.
fn fresh_id() -> String {
    let mut b = [0u8; 16];
    // Without random numbers ids repeat between processes, which a demo survives.
    let _ = getrandom::fill(&mut b);
    let hex: String = b.iter().map(|b| format!("{b:02x}")).collect();
    format!("{}-{}-7{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

/// The working folder as it stands inside of a JSON string.
fn cwd_in_json() -> String {
    let cwd = std::env::current_dir().unwrap_or_default();
    let quoted = serde_json::Value::from(cwd.to_string_lossy().into_owned()).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}
