//! Every version of `assets/clis.txt` that is installed beside the main one (`FRACTA_TEST_OLD`): a batch
//! turn and its resumption, and a stream with a request approved and one denied, an interrupt and a
//! resumption, through the whole `fracta`. And a version that nobody tried: a warning, not a failure.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fracta::runtime::versions;
use fracta::session::state::State;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::plane_support::{Plane, Setup, is_turn_end, kind, messages, says, signal};
use crate::support::{require_cli, require_version};

macro_rules! matrix {
    ($($name:ident: $cli:literal $version:literal,)*) => {
        const MATRIX: &[(&str, &str)] = &[$(($cli, $version)),*];

        mod batch {
            $(#[tokio::test] async fn $name() { super::batch($cli, $version).await; })*
        }

        mod stream {
            $(#[tokio::test] async fn $name() { super::stream($cli, $version).await; })*
        }
    };
}

matrix! {
    claude_2_0_73: "claude" "2.0.73",
    claude_2_1_92: "claude" "2.1.92",
    claude_2_1_330: "claude" "2.1.330",
    codex_0_124_0: "codex" "0.124.0",
    codex_0_155_0: "codex" "0.155.0",
    opencode_1_1_53: "opencode" "1.1.53",
    opencode_1_18_4: "opencode" "1.18.4",
}

#[test]
fn the_tests_and_the_table_have_the_same_versions() {
    let table = versions::all().filter(|t| ["older", "newest"].contains(&t.role));
    let table: BTreeSet<_> = table.map(|t| (t.cli, t.version)).collect();
    assert_eq!(table, MATRIX.iter().copied().collect());
}

/// A project whose entry of this CLI runs that executable.
fn plane(cli: &str, executable: &Path, permissions: &'static str) -> Plane {
    let mut setup = Setup { permissions: Some(permissions), ..Setup::default() };
    setup.run_as(cli, executable);
    Plane::without_cli(setup)
}

async fn spawn(p: &Plane, cli: &str, mode: &str, contract: &str) -> Value {
    p.json(&["spawn", "--task", "a", "--runtime", cli, "--mode", mode, "--contract", contract]).await
}

fn of_kind<'e>(events: &'e [Value], wanted: &str) -> Vec<&'e Value> {
    events.iter().filter(|e| kind(e) == wanted).collect()
}

/// All was understood, nothing was missed, and the version is no reason to warn.
fn clean(events: &[Value]) {
    for unwanted in ["raw", "gap"] {
        assert_eq!(of_kind(events, unwanted), Vec::<&Value>::new());
    }
    let warned = |e: &&&Value| e["text"].as_str().is_some_and(|t| t.contains("fracta was tried with"));
    assert_eq!(of_kind(events, "warning").iter().find(warned), None);
}

/// The session went on: with the new words the model got the old ones.
fn went_on(p: &Plane, old: &str) {
    let both = |body: String| body.contains("fracta:say again") && body.contains(old);
    assert!(p.model.requests().iter().any(|r| both(r.body.to_string())), "the session went on");
}

async fn batch(cli: &str, version: &str) {
    let Some(executable) = require_version(cli, version) else { return };
    let p = plane(cli, &executable, "auto");
    let work =
        "Work.\nfracta:say one\nfracta:run echo out; exit 3\nfracta:patch notes.txt <<first\nfracta:say two";
    spawn(&p, cli, "batch", work).await;
    let token = p.wait_state("a", State::Completed).await.resume_token.unwrap();
    let events = p.events("a").await;
    clean(&events);
    // Between them Codex 0.124 puts a note into the person's mouth, which the script answers.
    let said = messages(&events);
    assert_eq!((said.first(), said.last()), (Some(&"one"), Some(&"two")));
    let command = of_kind(&events, "command.completed")[0];
    assert!(command["text"].as_str().unwrap().contains("out"), "{command}");
    assert!(command["exit_code"] == 3, "{command}");
    let file = of_kind(&events, "file.changed")[0];
    assert!(file["path"].as_str().unwrap().ends_with("notes.txt"), "{file}");
    assert!(!of_kind(&events, "usage").is_empty());
    p.run(&["say", "a", "And?\nfracta:say again"]).await.ok();
    p.wait_event("a", |e| kind(e) == "message.completed" && says(e, "again")).await;
    assert_eq!(p.wait_state("a", State::Completed).await.resume_token.unwrap(), token);
    went_on(&p, "notes.txt");
    // What `fracta runtimes` says of it: this version, and no warning.
    let row = runtime(&p, cli).await;
    assert_eq!((&row["version"], &row["warnings"]), (&version.into(), &Value::Array(Vec::new())));
}

async fn stream(cli: &str, version: &str) {
    let Some(executable) = require_version(cli, version) else { return };
    let p = plane(cli, &executable, "ask");
    let ask = "Ask.\nfracta:say one\nfracta:run touch yes.txt\nfracta:say two";
    let row = spawn(&p, cli, "stream", ask).await;
    let workspace = std::path::PathBuf::from(row["workspace"].as_str().unwrap());
    let asked = |e: &Value| kind(e) == "approval.requested";
    let first = p.wait_event("a", asked).await;
    assert!(first["command"].as_str().unwrap().contains("touch yes.txt"), "{first}");
    p.run(&["approve", "a"]).await.ok();
    let seq = end(&p, 0, "completed").await;
    p.run(&["say", "a", "Ask.\nfracta:run touch no.txt\nfracta:say three"]).await.ok();
    p.wait_event_after("a", seq, asked).await;
    p.run(&["deny", "a"]).await.ok();
    let seq = end(&p, seq, "completed").await;
    assert!(workspace.join("yes.txt").exists() && !workspace.join("no.txt").exists());
    let events = p.events("a").await;
    clean(&events);
    assert_eq!(messages(&events), ["one", "two", "three"]);
    assert!(!of_kind(&events, "message.delta").is_empty() && !of_kind(&events, "usage").is_empty());
    let decisions: Vec<_> =
        of_kind(&events, "approval.resolved").iter().map(|e| e["decision"].clone()).collect();
    assert_eq!(decisions, ["approved", "denied"]);

    p.run(&["say", "a", "Talk.\nfracta:say 30 words\nfracta:hang"]).await.ok();
    p.wait_event_after("a", seq, |e| kind(e) == "message.delta").await;
    p.run(&["abort", "a"]).await.ok();
    end(&p, seq, "interrupted").await;

    let token = p.wait_state("a", State::Idle).await.resume_token.unwrap();
    let (shim, _) = p.pids(row["session"].as_str().unwrap());
    signal(shim, Signal::SIGTERM);
    p.wait_agent("a", |a| a.state.is_final()).await;
    p.run(&["say", "a", "And?\nfracta:say again"]).await.ok();
    p.wait_event("a", |e| kind(e) == "message.completed" && says(e, "again")).await;
    assert_eq!(p.wait_state("a", State::Idle).await.resume_token.unwrap(), token);
    went_on(&p, "touch no.txt");
    clean(&p.events("a").await);
}

/// Waits for the next end of a turn after a number; its own number.
async fn end(p: &Plane, after: u64, outcome: &str) -> u64 {
    let end = p.wait_event_after("a", after, is_turn_end).await;
    assert_eq!(end["outcome"], outcome, "{end}");
    end["seq"].as_u64().unwrap()
}

async fn runtime(p: &Plane, name: &str) -> Value {
    let all = p.json(&["runtimes"]).await;
    all.as_array().unwrap().iter().find(|r| r["name"] == name).unwrap().clone()
}

#[tokio::test]
async fn a_version_that_was_never_tried_is_a_warning_and_works() {
    let clis = ["claude", "codex", "opencode"];
    let said = ["99.0.0 (Claude Code)", "codex-cli 99.0.0", "99.0.0"];
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::default();
    for (cli, said) in clis.into_iter().zip(said) {
        let Some(real) = require_cli(cli) else { return };
        // The real one, but for what it says of its version.
        let liar = dir.path().join(cli);
        let script = format!(
            "#!/bin/sh\ncase \" $* \" in *\" --version \"*) echo '{said}'; exit;; esac\nexec {real:?} \"$@\"\n"
        );
        std::fs::write(&liar, script).unwrap();
        std::fs::set_permissions(&liar, std::fs::Permissions::from_mode(0o755)).unwrap();
        setup.run_as(cli, &liar);
    }
    let p = Plane::without_cli(setup);
    let findings = p.run(&["doctor", "--json"]).await;
    let findings: Value = serde_json::from_str(&findings.ok().stdout).unwrap();
    for cli in clis {
        let wanted = format!("{cli} 99.0.0 is newer than any that was tried");
        let row = runtime(&p, cli).await;
        assert_eq!(row["version"], "99.0.0");
        assert!(row["warnings"][0].as_str().unwrap().starts_with(&wanted), "{row}");
        let what = format!("runtime {cli}");
        let finding = findings.as_array().unwrap().iter().find(|f| f["what"] == what.as_str()).unwrap();
        assert_eq!(finding["status"], "warning");
        assert!(finding["detail"].as_str().unwrap().starts_with(&wanted), "{finding}");
        let args = ["spawn", "--task", cli, "--runtime", cli, "--mode", "batch", "--wait", "--contract"];
        p.run(&[&args[..], &["fracta:say fine"]].concat()).await.ok();
        p.run(&["say", cli, "fracta:say again"]).await.ok();
        p.wait_event(cli, |e| kind(e) == "message.completed" && says(e, "again")).await;
        p.wait_state(cli, State::Completed).await;
        let events = p.events(cli).await;
        let warnings = of_kind(&events, "warning");
        let told = |w: &&&Value| w["text"].as_str().unwrap().starts_with(&wanted);
        assert_eq!(warnings.iter().filter(told).count(), 1, "once, not by each turn: {warnings:?}");
    }
}
