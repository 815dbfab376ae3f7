//! Records the real CLIs against the scripted model:
//!
//!     cargo run --example record -- --out assets/recordings [--codex PATH | --claude PATH | --opencode PATH] [SCENARIO…]
//!
//! For every scenario it makes a fresh demo project, runs one real process, and writes what went in
//! and came out to `OUT/<cli>-<version>/<scenario>.jsonl`. Paths, ids, dates and times that differ
//! from run to run are replaced, so that a recording made again differs only where the CLI does.
#![allow(clippy::print_stderr)]

#[path = "record/claude.rs"]
mod claude;
#[path = "record/driver.rs"]
mod driver;
#[path = "record/opencode.rs"]
mod opencode;
#[path = "record/scenarios.rs"]
mod scenarios;
#[path = "record/scrub.rs"]
mod scrub;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (mut out, mut cli, mut path, mut only) = (None, "codex", PathBuf::from("codex"), Vec::new());
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--out" => out = args.next().map(PathBuf::from),
            "--codex" | "--claude" | "--opencode" => {
                path = args.next().with_context(|| format!("{arg} needs a path"))?.into();
                cli = ["codex", "claude", "opencode"].into_iter().find(|c| arg[2..] == **c).unwrap_or(cli);
            }
            a if a.starts_with('-') => bail!("unknown argument {a}"),
            _ => only.push(arg),
        }
    }
    let out =
        out.context("usage: record --out DIR [--codex PATH | --claude PATH | --opencode PATH] [SCENARIO…]")?;
    let said = tokio::process::Command::new(&path).arg("--version").output().await?;
    let said = String::from_utf8_lossy(&said.stdout);
    // `codex-cli 0.169.0`, `2.1.197 (Claude Code)`, `1.18.33`.
    let version = said.split_whitespace().find(|w| w.starts_with(|c: char| c.is_ascii_digit()));
    let version = version.context("--version said no version")?;
    let dir = out.join(format!("{cli}-{version}"));
    std::fs::create_dir_all(&dir)?;
    let names = match cli {
        "claude" => claude::NAMES,
        "opencode" => opencode::NAMES,
        _ => scenarios::NAMES,
    };
    for name in names.iter().filter(|n| only.is_empty() || only.iter().any(|o| o == *n)) {
        let text = match cli {
            "claude" => claude::record(name, &path, version).await,
            "opencode" => opencode::record(name, &path, version).await,
            _ => scenarios::record(name, &path, version).await,
        };
        let text = text.with_context(|| format!("scenario {name}"))?;
        let file = dir.join(format!("{name}.jsonl"));
        std::fs::write(&file, &text)?;
        writeln!(
            std::io::stderr(),
            "{}: {} lines, {} bytes",
            file.display(),
            text.lines().count(),
            text.len()
        )?;
    }
    Ok(())
}
