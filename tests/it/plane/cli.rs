//! The verbs: what they print, and with which exit status they end.

use serde_json::Value;

use super::bench::{Bench, open_fifo};

#[test]
fn the_fields_of_json_are_there() {
    let b = Bench::new();
    b.spawn_and_wait("a", "hello");
    let a = b.agent("a");
    for field in [
        "name",
        "state",
        "reason",
        "runtime",
        "adapter",
        "mode",
        "backend",
        "model",
        "session",
        "turn",
        "created_at",
        "updated_at",
        "usage",
        "pending_approvals",
        "workspace",
        "branch",
    ] {
        assert!(a.get(field).is_some(), "{field} in {a:#}");
    }
    assert_eq!(
        (&a["state"], &a["adapter"], &a["mode"], &a["backend"], &a["branch"]),
        (&"idle".into(), &"codex".into(), &"stream".into(), &"local".into(), &"fracta/a".into())
    );
    let s = b.status();
    for field in ["pid", "socket", "version", "agents", "running", "api", "root", "started_at"] {
        assert!(s.get(field).is_some(), "{field} in {s:#}");
    }
    assert_eq!(s["agents"], 1);
    let runtimes = b.json(&["runtimes"]);
    let codex = runtimes.as_array().unwrap().iter().find(|r| r["name"] == "codex").unwrap();
    assert_eq!((&codex["version"], &codex["default"]), (&"0.169.0".into(), &true.into()));
    assert_eq!(b.json(&["approvals"]), serde_json::json!([]));
    assert!(b.ok(&["list"]).starts_with("NAME"));
}

#[test]
fn every_verb_fails_with_its_exit_status() {
    let b = Bench::new();
    b.spawn_and_wait("agent-one", "hello");
    // 1: it makes sense, and cannot be done.
    for args in [
        &["events", "agent-two"][..],
        &["watch", "agent-two"],
        &["peek", "agent-two"],
        &["say", "agent-two", "x"],
        &["steer", "agent-two", "x"],
        &["steer", "agent-one", "x"],
        &["approve", "agent-two"],
        &["approve", "agent-one"],
        &["deny", "agent-one", "a1-1"],
        &["abort", "agent-two"],
        &["abort", "agent-one"],
        &["kill", "agent-two"],
        &["diff", "agent-two"],
        &["merge", "agent-two"],
        &["spawn", "--task", "agent-one", "--contract", "x"],
        &["spawn", "--task", "k", "--contract", "x", "--backend", "kubernetes"],
        &["serve"],
    ] {
        let words = b.fails(1, args);
        assert!(words.starts_with("fracta: ") && words.len() > 20, "{args:?}: {words}");
        let mut json = args.to_vec();
        json.push("--json");
        let words = b.fails(1, &json);
        let problem: Value =
            serde_json::from_str(&words).unwrap_or_else(|e| panic!("{args:?}: {e}: {words}"));
        assert!(problem["code"].is_string() && problem["message"].as_str().unwrap().len() > 10, "{problem}");
    }
    // 2: it makes no sense.
    for args in [
        &["spawn"][..],
        &["spawn", "--task", "Bad Name", "--contract", "x"],
        &["spawn", "--task", "x", "--runtime", "nosuch", "--contract", "x"],
        &["spawn", "--task", "x", "--mode", "batch"],
        &["spawn", "--task", "x", "--tier", "heavy", "--contract", "x"],
        &["spawn", "--task", "x", "--contract", "x", "--base", "no-such-branch"],
        &["list", "--nosuch"],
        &["runtimes", "extra"],
        &["events"],
        &["events", "agent-one", "--after", "-1"],
        &["peek", "agent-one", "-n", "x"],
        &["say", "agent-one"],
        &["approve", "agent-one", "--answers", "{"],
        &["prune", "--older-than", "soon"],
        &["config"],
        &["completions", "nosuch"],
        &["doctor", "--backend", "kubernetes"],
        &["serve", "--listen", "127.0.0.1:0"],
        &["stop", "extra"],
        &["status", "extra"],
        &["nosuch"],
    ] {
        b.fails(2, args);
        let mut json = vec!["--json"];
        json.extend(args);
        let words = b.fails(2, &json);
        let problem: Value =
            serde_json::from_str(&words).unwrap_or_else(|e| panic!("{args:?}: {e}: {words}"));
        assert_eq!(problem["code"], "bad_request", "{args:?}");
    }
    assert_eq!(b.json(&["list"]).as_array().unwrap().len(), 1, "nothing came of it");
    for args in [&["--help"][..], &["--version"], &["spawn", "--help"]] {
        assert!(b.ok(args).contains("fracta"));
    }
}

#[test]
fn names_are_refused_with_one_that_would_do() {
    let b = Bench::new();
    for (bad, good) in
        [("Fix Login!", "fix-login"), ("-x-", "x"), ("a/../b", "a-b"), ("\u{1b}[31mred", "31mred")]
    {
        let words = b.fails(2, &["spawn", &format!("--task={bad}"), "--contract", "x"]);
        assert!(words.contains(&format!("try \"{good}\"")), "{bad}: {words}");
        assert!(!words.contains('\u{1b}'));
    }
    let words = b.fails(2, &["spawn", "--task", &"y".repeat(64), "--contract", "x"]);
    assert!(words.contains("63"), "{words}");
    b.spawn_and_wait("fix-login", "hello");
    for (typed, near) in [("fix-logn", "did you mean fix-login?"), ("zzz", "fracta list")] {
        let words = b.fails(1, &["peek", typed]);
        assert!(words.contains(typed) && words.contains(near), "{words}");
    }
    let words = b.fails(2, &["spawn", "--task", "x", "--runtime", "codx", "--contract", "x"]);
    assert!(words.contains("codex"), "{words}");
}

#[test]
fn a_dry_run_touches_nothing() {
    let b = Bench::new();
    let args = ["spawn", "--task", "dry", "--contract", "hello", "--dry-run"];
    let yaml = b.ok(&args);
    assert!(yaml.contains("name: dry\n") && yaml.contains("adapter: codex\n"), "{yaml}");
    let with_format =
        |f| b.ok(&["spawn", "--task", "dry", "--contract", "hello", "--dry-run", "--format", f]);
    assert_eq!(with_format("yaml"), yaml);
    let plan: Value = serde_json::from_str(&with_format("json")).unwrap();
    assert_eq!(plan["branch"], "fracta/dry");
    assert_eq!(plan["argv"][1], "app-server");
    assert_eq!(plan, b.json(&args));
    assert_eq!(b.json(&["list", "--all"]), serde_json::json!([]));
    for folder in ["sessions", "worktrees"] {
        assert_eq!(std::fs::read_dir(b.root().join(".fracta").join(folder)).unwrap().count(), 0, "{folder}");
    }
    assert_eq!(b.project().git(&["branch", "--list", "fracta/*"]), "");
    assert_eq!(b.project().git(&["worktree", "list"]).lines().count(), 1);
    let db = rusqlite::Connection::open(b.root().join(".fracta/state.db")).unwrap();
    assert_eq!(db.query_row("SELECT count(*) FROM agents", [], |r| r.get::<_, i64>(0)).unwrap(), 0);
    assert!(b.fails(2, &["spawn", "--task", "dry", "--format", "json"]).contains("--dry-run"));
}

#[test]
fn a_contract_is_a_text_a_file_or_stdin() {
    let b = Bench::new();
    let text = "make one\nmake two";
    std::fs::write(b.root().join("todo.md"), text).unwrap();
    for (name, contract) in [("text", text), ("file", "todo.md"), ("stdin", "-")] {
        let said =
            b.run_with(&["spawn", "--task", name, "--contract", contract, "--mode", "batch", "--wait"], text);
        assert_eq!(said.code, Some(0), "{said:#?}");
        assert_eq!(b.agent(name)["contract"], text);
        assert!(b.root().join(format!(".fracta/worktrees/{name}/two")).exists(), "the agent got it whole");
    }
    let said = b.run_with(&["say", "stdin", "-"], "make three");
    assert_eq!(said.code, Some(0), "{said:#?}");
    let words = b.fails(2, &["spawn", "--task", "none", "--mode", "batch", "--contract", " "]);
    assert!(words.contains("--contract"), "{words}");
}

#[test]
fn spawn_waits_for_the_outcome() {
    let b = Bench::new();
    let said = b.run(&["spawn", "--task", "dies", "--contract", "die 3", "--wait", "--json"]);
    let a: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((said.code, &a["state"]), (Some(1), &"failed".into()), "{a:#}");
    assert!(a["reason"].as_str().unwrap().contains("exit code 3"), "{a:#}");
    let said =
        b.run(&["spawn", "--host-type", "codex", "--task", "old-flag", "--contract", "hello", "--wait"]);
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert!(
        said.stderr.contains("--host-type is deprecated") && said.stderr.contains("--runtime"),
        "{said:#?}"
    );
    assert_eq!(b.agent("old-flag")["runtime"], "codex");
    let both = ["spawn", "--host-type", "codex", "--runtime", "codex", "--task", "x", "--contract", "x"];
    b.fails(2, &both);
}

#[test]
fn prune_deletes_what_is_over_and_loses_no_work() {
    let b = Bench::new();
    b.spawn_and_wait("killed", "hello");
    let journal = b.session_dir("killed");
    b.ok(&["kill", "killed"]);
    assert!(b.ok(&["events", "killed"]).contains("turn.completed"), "the journal stays readable");
    let batch = |name: &str, prompt: &str| {
        b.ok(&["spawn", "--task", name, "--mode", "batch", "--contract", prompt, "--wait"]);
    };
    batch("clean", "hello");
    batch("worked", "make new-file");
    b.spawn_and_wait("idle", "hello");
    assert_eq!(b.json(&["prune"])["sessions"], 0, "all of them ended less than 30 days ago");
    assert!(journal.exists());
    let done = b.json(&["prune", "--older-than", "0s"]);
    assert_eq!(done["sessions"], 2, "{done:#}");
    assert!(done["bytes"].as_u64().unwrap() > 100);
    let kept = done["kept"].as_array().unwrap();
    assert!(kept.len() == 1 && kept[0].as_str().unwrap().starts_with("worked: "), "{done:#}");
    assert!(!journal.exists() && b.root().join(".fracta/worktrees/worked/new-file").exists());
    let left: Vec<Value> =
        b.json(&["list", "--all"]).as_array().unwrap().iter().map(|a| a["name"].clone()).collect();
    assert_eq!(left, ["worked", "idle"]);
    b.fails(1, &["events", "killed"]);
    b.ok(&["kill", "worked", "--force"]);
    assert_eq!(b.json(&["prune", "--older-than", "0s"])["sessions"], 1);
}

#[test]
fn completions_are_scripts_that_their_shell_takes() {
    let b = Bench::new();
    for (shell, word) in [("bash", "complete -F"), ("zsh", "#compdef fracta"), ("fish", "complete -c fracta")]
    {
        let script = b.ok(&["completions", shell]);
        assert!(script.contains(word) && script.contains("older-than"), "{shell}");
        let file = b.path("script");
        std::fs::write(&file, script).unwrap();
        // `-n`: read it and run nothing; where the shell is installed.
        if let Ok(out) = std::process::Command::new(shell).arg("-n").arg(&file).output() {
            assert!(out.status.success(), "{shell}: {}", String::from_utf8_lossy(&out.stderr));
        }
    }
}

#[test]
fn doctor_tells_what_is_missing_and_how_to_mend_it() {
    let b = Bench::new();
    let gate = b.fifo("gate");
    b.ok(&["spawn", "--task", "alive", "--contract", &format!("wait {}", gate.display())]);
    let held = open_fifo(&gate);
    let find = |all: &Value, what: &str| all.as_array().unwrap().iter().find(|f| f["what"] == what).cloned();
    let all = b.json(&["doctor"]);
    assert_eq!(find(&all, "git").unwrap()["status"], "ok");
    assert!(find(&all, "runtime codex").unwrap()["detail"].as_str().unwrap().contains("0.169.0"), "{all:#}");
    assert!(find(&all, "worktree of alive").is_none(), "{all:#}");

    // What a crash between making a worktree and writing its agent down would leave.
    let lost = b.root().join(".fracta/worktrees/lost");
    b.project().git(&["worktree", "add", "-q", "-b", "fracta/lost", lost.to_str().unwrap()]);
    let found = find(&b.json(&["doctor"]), "worktree of lost").expect("it is found");
    assert_eq!(found["status"], "warning");
    let mend = found["mend"].as_str().unwrap();
    assert!(b.ok(&["doctor"]).contains(mend));
    let out = std::process::Command::new("sh").args(["-c", mend]).current_dir(b.root()).output().unwrap();
    assert!(out.status.success(), "{mend}: {}", String::from_utf8_lossy(&out.stderr));
    assert!(find(&b.json(&["doctor"]), "worktree of lost").is_none() && !lost.exists());
    assert_eq!(b.project().git(&["branch", "--list", "fracta/lost"]), "");
    assert_eq!(b.agent("alive")["state"], "running");
    drop(held);

    b.raw_config("agents: 3\n");
    let said = b.run(&["doctor", "--json"]);
    let all: Value = serde_json::from_str(&said.stdout).unwrap();
    let config = find(&all, "config").unwrap();
    assert_eq!(
        (said.code, &config["status"], &config["mend"]),
        (Some(1), &"missing".into(), &"fracta config check".into())
    );
}
