//! Batch: prints the lines at their pace and exits as the CLI did.

use std::io::{self, Read, Write};

use serde_json::Value;

use super::{cwd_in_json, for_prompt, fresh_id, pause};
use crate::demo::recording::{Dir, Recording};

/// Longest prompt that is read from stdin, in bytes.
const MAX_PROMPT: u64 = 1 << 20;

#[allow(clippy::disallowed_methods, reason = "the recorded pace is the point")]
pub(super) fn play(chosen: Option<Recording>, args: &[String]) -> io::Result<u8> {
    let recording = match chosen {
        Some(r) => r,
        None => for_prompt(&prompt(args)?, true)?,
    };
    let resumed = args.iter().position(|a| a == "resume").and_then(|i| args.get(i + 1));
    let recorded = recording.lines.iter().find_map(|l| {
        let v: Value = serde_json::from_str(&l.line).ok()?;
        v["thread_id"].as_str().map(str::to_owned)
    });
    let recorded = recorded.unwrap_or_default();
    let thread = resumed.cloned().unwrap_or_else(fresh_id);
    let cwd = cwd_in_json();
    let mut before = recording.lines.first().map_or(0, |l| l.t);
    let mut out = io::stdout().lock();
    for l in recording.lines.iter().filter(|l| l.dir == Dir::Out) {
        std::thread::sleep(pause(before, l.t));
        before = l.t;
        let mut line = l.line.replace("/demo/stations", &cwd);
        if !recorded.is_empty() {
            line = line.replace(&recorded, &thread);
        }
        writeln!(out, "{line}")?;
        out.flush()?;
    }
    Ok(recording.header.exit.and_then(|c| u8::try_from(c).ok()).unwrap_or(0))
}

/// The last argument, or stdin where that is `-`.
fn prompt(args: &[String]) -> io::Result<String> {
    match args.last().map(String::as_str) {
        Some("-") => {
            let mut text = String::new();
            io::stdin().take(MAX_PROMPT).read_to_string(&mut text)?;
            Ok(text)
        }
        last => Ok(last.unwrap_or_default().to_owned()),
    }
}
