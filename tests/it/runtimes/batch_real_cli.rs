//! Batch mode: one process for each turn, and all of it told while it runs.

use fracta::session::state::State;

use super::{World, all_understood, each_runtime};
use crate::agents::{daemons, daemons_run, deliveries, session, turns_of};
use crate::plane_support::{Setup, is_turn_end, kind, messages, says};

each_runtime! {
    turns: codex claude opencode;
    ends: codex claude opencode;
}

const SECOND: &str = "Go on.\nfracta:say second";

/// Events arrive while the process runs; the control plane dies meanwhile; what was said meanwhile is the
/// next turn, in a new process of the same session.
async fn turns(cli: &'static str) {
    let w = World::new(cli, Setup::default());
    let contract = "Work.\nfracta:say before\nfracta:run true\nfracta:gate g\nfracta:say after";
    let row = w.spawn("a", "batch", contract).await;
    let mut follow = w.follow("a", 0);
    follow.until(|e| says(e, "before")).await;
    w.script.gate("g").reached().await;
    let running = w.agent("a").await;
    assert_eq!(running["state"], "running", "{running}");
    assert!(!w.events("a").await.iter().any(|e| says(e, "after") || is_turn_end(e)));
    w.refuses_to_steer("a").await;
    let said = w.json(&["say", "a", SECOND]).await;
    assert_eq!(said["delivery"], "queued", "{said}");
    let first = w.pids(session(&row));

    w.kill_server().await;
    w.script.gate("g").release();
    follow.until(|e| kind(e) == "message.completed" && says(e, "second")).await;
    let end = w.wait_agent("a", |a| a.state == State::Completed && a.queued_messages == 0).await;
    assert_eq!(end.resume_token.as_deref(), w.agent("a").await["resume_token"].as_str());
    assert_ne!(w.pids(session(&row)), first, "a process for each turn");
    let events = w.events("a").await;
    assert_eq!(messages(&events), ["before", "after", "second"]);
    assert_eq!(turns_of(&events), ["completed", "completed"]);
    assert_eq!(deliveries(&events, SECOND), ["queued", "accepted"]);
    assert_eq!(follow.seen, events[..follow.seen.len()]);
    all_understood(&events);
    let tokens: std::collections::BTreeSet<_> =
        events.iter().filter_map(|e| e["resume_token"].as_str()).collect();
    assert_eq!(tokens.len(), 1, "one session: {tokens:?}");
    assert!(end.usage.input_tokens > 0 && end.usage.output_tokens > 0, "{:?}", end.usage);
    let last = w.model.requests().pop().unwrap().body.to_string();
    assert!(last.contains("fracta:say before") && last.contains("after"), "the conversation is there");
}

/// A turn that fails says why; one that is aborted, in text or in a command, leaves nothing behind.
async fn ends(cli: &'static str) {
    let w = World::new(cli, Setup::default());
    let fail = "Fail.\nfracta:fail 400 no model today";
    let spawn = ["spawn", "--task", "a", "--runtime", cli, "--mode", "batch", "--contract", fail, "--wait"];
    let out = w.run(&spawn).await;
    assert_eq!(out.code, 1, "{out:?}");
    let row = w.agent("a").await;
    assert_eq!(row["state"], "failed", "{row}");
    assert!(row["reason"].as_str().unwrap().contains("no model today"), "{row}");

    let seq = row["last_seq"].as_u64().unwrap();
    w.run(&["say", "a", "Talk.\nfracta:say begun\nfracta:hang"]).await.ok();
    w.wait_event_after("a", seq, |e| kind(e) == "turn.started").await;
    let row = w.json(&["abort", "a"]).await;
    assert_eq!(row["state"], "stopped", "{row}");

    let mark = "97531";
    w.run(&["say", "a", &format!("Run.\nfracta:run {}", daemons(mark))]).await.ok();
    daemons_run(&w, mark).await;
    let row = w.json(&["abort", "a"]).await;
    assert_eq!(row["state"], "stopped", "{row}");
    w.none_left(mark);
    w.all_gone().await;
    w.goes_on("a").await;
    let events = w.events("a").await;
    assert_eq!(turns_of(&events), ["failed", "interrupted", "interrupted", "completed"]);
}
