//! Plays recordings as if they were the CLI, for `fracta demo` on a machine without one.
//!
//! `fracta demo-replay NAME [the CLI's own arguments]`, where NAME is `codex` (the recording is chosen
//! by the prompt), an embedded scenario, or a file. Stream recordings follow the client: what it was
//! to send is waited for, its request ids are answered, thread and turn get fresh ids, and a turn that
//! was not recorded plays the nearest one again.

mod batch;
mod stream;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use super::recording::Recording;

/// Longest pause that is played; longer ones were waits for a person.
const MAX_PAUSE: Duration = Duration::from_millis(1500);

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
    if has("--version") {
        return said("codex-cli 0.169.0\n");
    }
    if has("--help") {
        return said("Replays a recording.\n\nOptions:\n  -s, --sandbox <SANDBOX_MODE>\n      --json\n");
    }
    let chosen = if name == "codex" { None } else { Some(load(name)?) };
    let batch = has("exec") || chosen.as_ref().is_some_and(|r| r.header.mode == "batch");
    if batch { batch::play(chosen, args) } else { stream::play(chosen) }
}

fn said(text: &str) -> io::Result<u8> {
    io::stdout().write_all(text.as_bytes())?;
    Ok(0)
}

fn load(name: &str) -> io::Result<Recording> {
    if let Some(r) = Recording::embedded(name) {
        return Ok(r);
    }
    let text = std::fs::read_to_string(name).map_err(|e| {
        io::Error::new(e.kind(), format!("{name} is no embedded recording and no readable file: {e}"))
    })?;
    Recording::parse(&text).map_err(|e| io::Error::other(format!("{name}: {e}")))
}

/// The embedded recording for a prompt: the one whose own prompt it holds, else the one for anything.
fn for_prompt(prompt: &str, batch: bool) -> io::Result<Recording> {
    let prefix = if batch { "batch-" } else { "demo-" };
    let of_mode = || super::recording::EMBEDDED.iter().filter(|(n, _)| n.starts_with(prefix));
    let read = |text: &str| Recording::parse(text).map_err(io::Error::other);
    for (name, text) in of_mode().filter(|(n, _)| !n.ends_with("anything")) {
        let r = read(text).map_err(|e| io::Error::other(format!("{name}: {e}")))?;
        if prompt.contains(&r.header.prompt) {
            return Ok(r);
        }
    }
    let (_, text) = of_mode().find(|(n, _)| n.ends_with("anything")).ok_or(io::ErrorKind::NotFound)?;
    read(text)
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
