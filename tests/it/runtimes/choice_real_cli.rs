//! Which model a turn gets, entries of a person's own, and what is told of runtimes.

use fracta::session::state::State;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{World, each_runtime};
use crate::agents::session;
use crate::plane_support::{Setup, kind, says, signal};

each_runtime! {
    models: codex claude opencode;
    own_entry: codex claude opencode;
}

/// Of a runtime: the CLI's own default (none: not known), the entry's model, that of a tier, one more.
fn named(cli: &str) -> (Option<&'static str>, [&'static str; 3]) {
    match cli {
        "codex" => (Some("gpt-5.5"), ["gpt-5.4", "gpt-5.4-mini", "gpt-5.2"]),
        "claude" => (None, ["claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-5"]),
        _ => (
            Some("anthropic/claude-sonnet-4-6"),
            ["anthropic/claude-sonnet-4-5", "anthropic/claude-haiku-4-5", "anthropic/claude-opus-4-5"],
        ),
    }
}

/// Models of the requests that are turns: the CLIs also ask for titles, with a model of their own choice.
fn asked(w: &World, from: usize) -> Vec<String> {
    let all = w.model.requests();
    let turns = all.iter().skip(from).filter(|r| r.body["tools"].as_array().is_some_and(|t| !t.is_empty()));
    turns.map(|r| r.model().unwrap_or_default().to_owned()).collect()
}

/// `--model` before `--tier` before the entry's before the CLI's own, told by what the model's endpoint
/// is asked for, on first turns and on resumed ones.
async fn models(cli: &'static str) {
    let (default, [own, tier, chosen]) = named(cli);
    let entries = vec![
        ("with", cli, json!({"model": own, "model_tiers": {"light": tier}})),
        ("without", cli, json!({})),
    ];
    let w = World::new(cli, Setup { entries, ..Setup::default() });
    // Name, mode, runtime, options, what the endpoint must be asked for.
    type Case<'a> = (&'a str, &'a str, &'a str, &'a [&'a str], Option<&'a str>);
    let cases: [Case; 4] = [
        ("default", "batch", "without", &[], default),
        ("own", "stream", "with", &[], Some(own)),
        ("tier", "stream", "with", &["--tier", "light"], Some(tier)),
        ("both", "batch", "with", &["--tier", "light", "--model", chosen], Some(chosen)),
    ];
    let mut seen_default = None;
    for (name, mode, runtime, options, wanted) in cases {
        let from = w.model.requests().len();
        let first = [
            "spawn",
            "--task",
            name,
            "--runtime",
            runtime,
            "--mode",
            mode,
            "--wait",
            "--contract",
            "Say.\nfracta:say one",
        ];
        w.run(&[&first[..], options].concat()).await.ok();
        if name == "own" {
            // The next turn is one of a new process.
            signal(w.pids(session(&w.agent(name).await)).1, Signal::SIGTERM);
            w.wait_event(name, |e| kind(e) == "session.ended").await;
        }
        let one = asked(&w, from).len();
        w.run(&["say", name, "Say.\nfracta:say two"]).await.ok();
        w.wait_event(name, |e| kind(e) == "message.completed" && says(e, "two")).await;
        w.wait_agent(name, |a| matches!(a.state, State::Idle | State::Completed)).await;
        let all = asked(&w, from);
        assert!(one > 0 && all.len() > one, "{name}: both turns asked: {all:?}");
        // Claude completes a model's name by its date.
        let bare = |m: &str| m.trim_start_matches("anthropic/").to_owned();
        assert!(all.iter().all(|m| *m == all[0]), "{name}: {all:?}");
        match wanted {
            Some(wanted) => assert!(all[0].starts_with(&bare(wanted)), "{name}: {all:?}"),
            None => seen_default = Some(all[0].clone()),
        }
    }
    if let Some(default) = seen_default {
        assert!(![own, tier, chosen].iter().any(|m| default.starts_with(m)), "{default}");
    }
}

/// An entry of a person's own: another name, command, model and environment for an adapter.
async fn own_entry(cli: &'static str) {
    let (_, [own, ..]) = named(cli);
    let mut entry = json!({
        "command": ["env", "LED=by-me", cli], "model": own, "env": {"MINE": "${MY_WORD}"},
    });
    if cli == "codex" {
        entry["command"]
            .as_array_mut()
            .unwrap()
            .extend(["-c", "sandbox_mode=danger-full-access"].map(Value::from));
    }
    let entries = vec![("my-own", cli, entry)];
    let env = vec![("MY_WORD".into(), "told".into())];
    let w = World::new("my-own", Setup { entries, env, ..Setup::default() });
    let row = w.spawn("a", "batch", "Look.\nfracta:run echo $LED-$MINE > seen\nfracta:say over").await;
    assert_eq!((&row["runtime"], &row["adapter"]), (&"my-own".into(), &cli.into()));
    w.wait_state("a", State::Completed).await;
    assert_eq!(std::fs::read_to_string(w.file("a", "seen")).unwrap(), "by-me-told\n");
    let bare = own.trim_start_matches("anthropic/");
    let all = asked(&w, 0);
    assert!(!all.is_empty() && all.iter().all(|m| m.starts_with(bare)), "{all:?}");

    // What it can do is data, and shown.
    let rows = w.json(&["runtimes"]).await;
    let row = rows.as_array().unwrap().iter().find(|r| r["name"] == "my-own").unwrap();
    assert_eq!((&row["adapter"], &row["model"]), (&cli.into(), &own.into()));
    assert!(row["version"].as_str().is_some_and(|v| v.contains('.')), "{row}");
    let can = &row["capabilities"];
    for what in ["batch", "stream", "approvals", "interrupt", "resume", "mcp"] {
        assert_eq!(can[what], true, "{what}: {row}");
    }
    let steer = &can["steer"];
    match cli {
        "codex" => assert!(steer.get("Ok").is_some(), "{row}"),
        _ => assert!(steer["Err"].as_str().unwrap().contains("fracta say"), "{row}"),
    }
    let table = w.run(&["runtimes"]).await.ok().stdout;
    assert!(table.contains("my-own") && table.contains("steer"), "{table}");
}
