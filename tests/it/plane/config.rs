//! `fracta.yaml` as the commands and a running control plane see it.

use super::bench::{Bench, open_fifo};

#[test]
fn config_check_tells_all_errors_with_their_places() {
    let b = Bench::new();
    b.raw_config(
        "agents:\n  default_mod: stream\n  default_mode: sometimes\n  agent_runtimes:\n    codex:\n      step_limit: many\nrun_time: {}\n",
    );
    let said = b.run(&["config", "check"]);
    assert_eq!(said.code, Some(2));
    for (place, word) in
        [("2:3", "default_mode"), ("3:17", "sometimes"), ("6:19", "step_limit"), ("7:1", "runtime")]
    {
        let line = said.stdout.lines().find(|l| l.contains(&format!("fracta.yaml:{place}")));
        assert!(line.is_some_and(|l| l.contains(word)), "{place} {word}: {}", said.stdout);
    }
    let said = b.run(&["config", "check", "--json"]);
    let all: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((said.code, all.as_array().unwrap().len()), (Some(2), 4), "{all:#}");
    b.config("");
    assert!(b.ok(&["config", "check"]).contains("fracta.yaml: ok"));
    assert!(!b.root().join(".fracta").exists(), "no control plane is needed for it");
}

#[test]
fn config_schema_is_the_one_in_the_repository() {
    let b = Bench::new();
    assert_eq!(b.ok(&["config", "schema"]), include_str!("../../../assets/fracta.schema.json"));
}

#[test]
fn older_places_of_runtimes_are_warned_of() {
    let b = Bench::new();
    let fake = b.path("fake-codex").display().to_string();
    for old in ["runtimes", "hosts"] {
        b.raw_config(&format!("{old}:\n  codex:\n    command: [{fake:?}]\n"));
        let said = b.run(&["spawn", "--task", "x", "--dry-run", "--contract", "hello"]);
        assert_eq!(said.code, Some(0), "{said:#?}");
        let said = b.run(&["config", "check"]);
        assert!(said.stdout.contains("agents.agent_runtimes") && said.code == Some(0), "{said:#?}");
        b.ok(&["stop"]);
        let said = b.run(&["list"]);
        assert!(said.stderr.contains(old) && said.stderr.contains("agents.agent_runtimes"), "{said:#?}");
        assert!(!said.stdout.contains("agent_runtimes"));
        b.ok(&["stop"]);
    }
}

#[test]
fn an_edited_config_counts_from_the_next_spawn_on() {
    let b = Bench::new();
    let gate = b.fifo("gate");
    b.ok(&["spawn", "--task", "old", "--contract", &format!("wait {}", gate.display())]);
    let held = open_fifo(&gate);
    let pid = b.server_pid();
    let plan = |name| b.json(&["spawn", "--task", name, "--contract", "hello", "--dry-run"]);
    assert_eq!(plan("new")["model"], serde_json::Value::Null);
    b.config("      model: edited-model\n");
    assert_eq!(plan("new")["model"], "edited-model");
    assert_eq!(b.spawn_and_wait("new", "hello")["state"], "idle");

    b.config("      modle: broken\n");
    let words = b.fails(2, &["spawn", "--task", "newer", "--contract", "hello"]);
    assert!(words.contains("fracta.yaml:") && words.contains("modle"), "{words}");
    assert!(b.root().join(".fracta/worktrees/new").exists());
    assert!(!b.root().join(".fracta/worktrees/newer").exists());
    assert_eq!(b.agent("old")["state"], "running", "agents go on");
    drop(held);
    b.follow("old", 0).until("turn.completed");
    assert_eq!(b.server_pid(), pid);
    b.config("");
    b.spawn_and_wait("newer", "hello");
}
