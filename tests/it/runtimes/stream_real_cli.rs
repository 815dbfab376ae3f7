//! Stream mode: one process for the session.

use fracta::session::state::State;
use nix::sys::signal::Signal;

use super::{World, all_understood, each_runtime, of};
use crate::agents::{daemons, daemons_run, deliveries, freeze, pieces_make_the_whole, session, turns_of};
use crate::plane_support::{Setup, is_turn_end, kind, messages, says, signal};

each_runtime! {
    turns: codex claude opencode;
    aborts: claude opencode;
    an_abort_cut_short: codex claude opencode;
}

const WORK: &str = "Work.\nfracta:think Hard thoughts\nfracta:say before\nfracta:run echo out; exit 3\n\
    fracta:patch notes.txt <<one\\n\nfracta:gate g\nfracta:say after";
const NEXT: &str = "Go on.\nfracta:say third";

/// All that a turn has; the control plane dies in it; messages wait for the next turn; the session
/// outlives its process.
async fn turns(cli: &'static str) {
    let w = World::new(cli, Setup::default());
    let row = w.spawn("a", "stream", WORK).await;
    let mut follow = w.follow("a", 0);
    follow.until(|e| says(e, "before")).await;
    w.script.gate("g").reached().await;
    let pids = w.pids(session(&row));
    w.kill_server().await;
    w.script.gate("g").release();
    follow.until(is_turn_end).await;
    w.wait_state("a", State::Idle).await;
    assert_eq!(w.pids(session(&row)), pids, "the agent was not touched");
    // What OpenCode said while nobody listened is fetched, and may come behind the turn's end.
    w.wait_event("a", |e| kind(e) == "message.completed" && says(e, "after")).await;
    let events = w.events("a").await;
    assert_eq!(messages(&events), ["before", "after"]);
    assert_eq!(turns_of(&events), ["completed"]);
    pieces_make_the_whole(&events);
    all_understood(&events);
    let command = of(&events, "command.completed")[0];
    // Claude tells it without its last line end.
    assert_eq!(
        (&command["exit_code"], command["text"].as_str().unwrap().trim_end()),
        (&3.into(), "out"),
        "{command}"
    );
    let file = of(&events, "file.changed")[0];
    assert!(file["path"].as_str().unwrap().ends_with("notes.txt"), "{file}");
    let thought = of(&events, "reasoning.completed")[0];
    assert_eq!(thought["text"].as_str().unwrap().trim(), "Hard thoughts");
    assert!(!of(&events, "reasoning.delta").is_empty());
    let usage = &w.agent("a").await["usage"];
    assert!(usage["input_tokens"].as_u64() > Some(0) && usage["output_tokens"].as_u64() > Some(0), "{usage}");
    assert_eq!(usage["cost_usd"].as_f64() > Some(0.0), cli != "codex", "{usage}");

    // While a turn runs: what is said waits for the next one, and that is told.
    w.run(&["say", "a", "Talk.\nfracta:say begun\nfracta:gate h"]).await.ok();
    w.script.gate("h").reached().await;
    let said = w.json(&["say", "a", NEXT]).await;
    assert_eq!(said["delivery"], "queued", "{said}");
    if cli != "codex" {
        w.refuses_to_steer("a").await;
    }
    w.script.gate("h").release();
    w.wait_event("a", |e| kind(e) == "message.completed" && says(e, "third")).await;
    let before = w.wait_state("a", State::Idle).await;
    let events = w.events("a").await;
    assert_eq!(deliveries(&events, NEXT), ["queued", "accepted"]);
    assert_eq!(turns_of(&events).len(), 3, "a turn of its own");

    // The process ends; the next message starts one that knows what was said.
    signal(w.pids(session(&row)).1, Signal::SIGTERM);
    w.wait_event("a", |e| kind(e) == "session.ended").await;
    w.goes_on("a").await;
    let after = w.agent("a").await;
    assert_eq!(after["resume_token"].as_str(), before.resume_token.as_deref());
    let last = w.model.requests().pop().unwrap().body.to_string();
    assert!(last.contains("fracta:say begun") && last.contains("third"), "the conversation is there");
    let events = w.events("a").await;
    assert_eq!(
        messages(&events),
        ["before", "after", "begun", "third", "still here"],
        "and is not told again"
    );
    pieces_make_the_whole(&events);
}

/// A turn is ended in text and in a command: nothing of it is left, and the same process goes on.
async fn aborts(cli: &'static str) {
    let w = World::new(cli, Setup::default());
    let row = w.spawn("a", "stream", "Talk.\nfracta:say begun\nfracta:hang").await;
    w.wait_event("a", |e| says(e, "begun")).await;
    let pids = w.pids(session(&row));
    let row = w.json(&["abort", "a"]).await;
    assert_eq!(row["state"], "idle", "{row}");
    let mark = "86420";
    w.run(&["say", "a", &format!("Run.\nfracta:run {}", daemons(mark))]).await.ok();
    daemons_run(&w, mark).await;
    let row = w.json(&["abort", "a"]).await;
    assert_eq!(row["state"], "idle", "{row}");
    w.none_left(mark);
    w.goes_on("a").await;
    assert_eq!(w.pids(session(&row)), pids, "the same process");
    assert!(w.run(&["abort", "a"]).await.refused().contains("no turn runs"));
    let events = w.events("a").await;
    assert_eq!(turns_of(&events), ["interrupted", "interrupted", "completed"]);
    pieces_make_the_whole(&events);
}

/// The control plane dies in the middle of an abort: who asked hears that it broke off, and the abort can
/// be asked for again. The turn ends once, and its command with it.
async fn an_abort_cut_short(cli: &'static str) {
    let w = World::new(cli, Setup::default());
    let mark = "75319";
    let row = w.spawn("a", "stream", &format!("Run.\nfracta:run {}", daemons(mark))).await;
    daemons_run(&w, mark).await;
    let pids = w.pids(session(&row));
    // It takes nothing in, so that the abort cannot end before the control plane does.
    let frozen = freeze(pids.1);
    if cli == "opencode" {
        // Whether the request had come when the control plane died cannot be seen from outside; so not by the
        // verb, which would start the next one if it had not.
        let client = w.client();
        let (out, ()) = tokio::join!(client.abort("a"), w.kill_server());
        out.unwrap_err();
    } else {
        let aborting = w.command(&["abort", "a"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
        frozen.has_input().await;
        w.kill_server().await;
        let out = aborting.wait_with_output().await.unwrap();
        assert_eq!(out.status.code(), Some(1), "{out:?}");
    }
    frozen.thaw();
    // What was handed over before may end the turn by itself.
    let again = w.run(&["abort", "a"]).await;
    assert!(again.code == 0 || again.stderr.contains("no turn runs"), "{again:?}");
    w.wait_state("a", State::Idle).await;
    w.goes_on("a").await;
    let events = w.events("a").await;
    assert_eq!(turns_of(&events), ["interrupted", "completed"]);
    assert_eq!(w.pids(session(&row)), pids, "the same process");
    if again.code == 0 {
        w.none_left(mark);
    }
}
