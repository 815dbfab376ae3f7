//! `fracta demo`: what it shows in its first seconds, and what it leaves.

use std::ffi::OsString;
use std::path::Path;

use nix::sys::signal::Signal;

use super::escapes;
use super::pty::Screen;
use crate::support::{clis_path, require_cli};

/// Variables of a demo with its temporary files in `dir`.
fn env(dir: &Path, path: OsString) -> Vec<(OsString, OsString)> {
    vec![
        ("PATH".into(), path),
        ("TMPDIR".into(), dir.into()),
        ("HOME".into(), dir.into()),
        ("GIT_CONFIG_GLOBAL".into(), "/dev/null".into()),
    ]
}

/// A folder of PATH with git and what a shell needs, and no CLI.
fn bare_path(dir: &Path) -> OsString {
    let bin = dir.join("bin");
    std::fs::create_dir(&bin).unwrap();
    for tool in ["git", "sh", "bash"] {
        let from = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|d| d.join(tool))
            .find(|p| p.is_file());
        std::os::unix::fs::symlink(from.unwrap(), bin.join(tool)).unwrap();
    }
    bin.into()
}

/// No file and no process of the demo is left.
fn nothing_is_left(dir: &Path) {
    let files: Vec<_> = std::fs::read_dir(dir).unwrap().flatten().map(|e| e.path()).collect();
    assert!(files.is_empty(), "{files:?}");
    let mark = dir.as_os_str().as_encoded_bytes();
    for pid in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = pid.file_name().to_str().and_then(|s| s.parse::<u32>().ok()) else { continue };
        if id == std::process::id() {
            continue;
        }
        let of = |what: &str| std::fs::read(pid.path().join(what)).unwrap_or_default();
        let cwd = std::fs::read_link(pid.path().join("cwd")).unwrap_or_default();
        let found = memchr::memmem::find(&of("environ"), mark).is_some()
            || memchr::memmem::find(&of("cmdline"), mark).is_some()
            || cwd.starts_with(dir);
        assert!(!found, "left: {} {}", id, String::from_utf8_lossy(&of("cmdline")));
    }
}

fn open(dir: &Path, path: OsString, args: &[&str]) -> Screen {
    let mut all = vec!["demo"];
    all.extend(args);
    Screen::start(dir, &all, &env(dir, path), 120, 34)
}

/// What a person does in the first minute. `summary`: the mode of OpenCode's agent.
fn first_minute(s: &mut Screen, summary: &str) {
    // Somebody of every runtime; they come when their CLI has told its version, the slowest last.
    for facts in ["codex·stream", "codex-ask·stream", "codex·batch", "claude·batch", summary] {
        s.wait_text(facts);
    }
    s.wait_for(|t| ["explain", "survey", "summary", "release", "nightly"].iter().all(|n| t.contains(n)));
    s.wait_for(|t| t.lines().any(|l| l.contains("explain") && l.contains("running")));
    // The request stands before the failure, whoever of them came first.
    s.wait_row(&["release", "approval"]);
    s.wait_row(&["nightly", "failed"]);
    s.keys("gw");
    s.wait_row(&["▌", "nightly"]);
    s.keys("w");
    s.wait_row(&["▌", "release"]);
    s.wait_row(&["▲ $ git tag", "a approve", "x deny"]);
    s.wait_row(&["▌ $", "git tag"]);
    s.keys("a");
    s.wait_text("release: approved");
    // Steer what streams.
    s.keys("/explain\r");
    s.wait_row(&["▌", "explain", "running"]);
    s.keys("i");
    s.wait_text("steer · goes into the running turn");
    s.keys("more about errors\r");
    s.wait_text("more about errors");
    s.keys("\x1b");
    s.wait_text("? help");
    s.keys("\x18");
    s.wait_text("End the running turn of explain?");
    s.keys("y");
    s.wait_text("explain: the turn was ended");
    s.keys("h");
    s.wait_text("enter open");
    s.keys("\x1b");
    // All are in the list again: a key that came together with esc would be another key.
    s.wait_row(&["nightly", "failed"]);
    s.command("spawn mine Look at the parser");
    s.wait_for(|t| t.lines().any(|l| l.contains("mine") && l.contains("idle")));
}

#[test]
fn the_demo_with_the_real_clis() {
    if ["codex", "claude", "opencode"].iter().any(|cli| require_cli(cli).is_none()) {
        return;
    }
    let dir = tempfile::Builder::new().prefix("d-").tempdir().unwrap();
    let mut s = open(dir.path(), clis_path(), &[]);
    s.wait_text("demo: the real codex, claude, opencode and a scripted model, no account");
    first_minute(&mut s, "opencode·stream");
    s.keys("q");
    let (ok, raw) = s.finish();
    assert!(ok);
    escapes::read(&raw).unwrap();
    nothing_is_left(dir.path());
}

#[test]
fn the_demo_without_any_cli() {
    let dir = tempfile::Builder::new().prefix("d-").tempdir().unwrap();
    let tools = tempfile::Builder::new().prefix("t-").tempdir().unwrap();
    let mut s = open(dir.path(), bare_path(tools.path()), &[]);
    let text = s.wait_text("recorded");
    assert!(text.contains("npm i -g @openai/codex"), "{text}");
    first_minute(&mut s, "opencode·batch");
    s.keys("r");
    s.wait_row(&["codex", "(default)"]);
    s.keys("\x1b");
    s.wait_text("enter open");
    s.keys("q");
    let (ok, _) = s.finish();
    assert!(ok);
    nothing_is_left(dir.path());
}

#[test]
fn signals_end_the_demo_without_a_trace() {
    for (signal, recorded) in [(Signal::SIGTERM, true), (Signal::SIGHUP, true), (Signal::SIGTERM, false)] {
        if !recorded && require_cli("codex").is_none() {
            return;
        }
        let dir = tempfile::Builder::new().prefix("d-").tempdir().unwrap();
        let mut s = open(dir.path(), clis_path(), if recorded { &["--recorded"] } else { &[] });
        s.wait_for(|t| t.contains("explain") && t.contains("running"));
        s.signal(signal);
        let (_, raw, settings) = s.finish_with_settings();
        assert_eq!(settings, s.settings);
        assert!(String::from_utf8_lossy(&raw).contains("\x1b[?1049l"));
        nothing_is_left(dir.path());
    }
}

#[test]
fn a_closed_window_ends_the_demo_without_a_trace() {
    let dir = tempfile::Builder::new().prefix("d-").tempdir().unwrap();
    let mut s = open(dir.path(), clis_path(), &["--recorded"]);
    s.wait_for(|t| t.contains("explain") && t.contains("running"));
    s.hang_up();
    nothing_is_left(dir.path());
}
