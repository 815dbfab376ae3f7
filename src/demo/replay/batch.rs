//! Batch: prints the lines at their pace and exits as the CLI did.

use std::io::{self, Read, Write};

use super::{Cli, for_prompt, pause};
use crate::demo::recording::{Dir, Recording};

/// Longest prompt that is read from stdin, in bytes.
const MAX_PROMPT: u64 = 1 << 20;

#[allow(clippy::disallowed_methods, reason = "the recorded pace is the point")]
pub(super) fn play(cli: Cli, chosen: Option<Recording>, args: &[String]) -> io::Result<u8> {
    let recording = match chosen {
        Some(r) => r,
        None => for_prompt(cli, &prompt(cli, args)?, true)?,
    };
    let live = super::Live::new(cli, &recording, cli.resumed(args));
    let mut before = recording.lines.first().map_or(0, |l| l.t);
    let mut out = io::stdout().lock();
    for l in recording.lines.iter().filter(|l| l.dir == Dir::Out) {
        std::thread::sleep(pause(before, l.t));
        before = l.t;
        writeln!(out, "{}", live.line(&l.line))?;
        out.flush()?;
    }
    Ok(recording.header.exit.and_then(|c| u8::try_from(c).ok()).unwrap_or(0))
}

/// Stdin; Codex's is its last argument where that is not `-`.
fn prompt(cli: Cli, args: &[String]) -> io::Result<String> {
    match args.last() {
        Some(last) if cli == Cli::Codex && last != "-" => Ok(last.clone()),
        _ => {
            let mut text = String::new();
            io::stdin().take(MAX_PROMPT).read_to_string(&mut text)?;
            Ok(text)
        }
    }
}
