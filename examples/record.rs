//! Records the real Codex against the scripted model:
//!
//!     cargo run --example record -- --out assets/recordings [--codex PATH] [SCENARIO…]
//!
//! For every scenario it makes a fresh demo project, runs one real process, and writes what went in
//! and came out to `OUT/codex-<version>/<scenario>.jsonl`. Paths, ids, dates and times that differ
//! from run to run are replaced, so that a recording made again differs only where the CLI does.
#![allow(clippy::print_stderr)]

#[path = "record/driver.rs"]
mod driver;
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
    let (mut out, mut codex, mut only) = (None, PathBuf::from("codex"), Vec::new());
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--out" => out = args.next().map(PathBuf::from),
            "--codex" => codex = args.next().context("--codex needs a path")?.into(),
            a if a.starts_with('-') => bail!("unknown argument {a}"),
            _ => only.push(arg),
        }
    }
    let out = out.context("usage: record --out DIR [--codex PATH] [SCENARIO…]")?;
    let version = tokio::process::Command::new(&codex).arg("--version").output().await?;
    let version = String::from_utf8_lossy(&version.stdout);
    let version = version.split_whitespace().last().context("codex --version said nothing")?.to_owned();
    let dir = out.join(format!("codex-{version}"));
    std::fs::create_dir_all(&dir)?;
    for name in scenarios::NAMES.iter().filter(|n| only.is_empty() || only.iter().any(|o| o == *n)) {
        let text =
            scenarios::record(name, &codex, &version).await.with_context(|| format!("scenario {name}"))?;
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
