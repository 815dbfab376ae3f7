//! Aborts: the turn ends, nothing of it is left, and the session goes on.

use fracta::session::state::State;

use super::{daemons, daemons_run, deliveries, freeze, session, turns_of};
use crate::plane_support::{Plane, Setup, kind, says};

/// What the abort says is true: no process with the mark is alive when it returns.
fn none_left(p: &Plane, mark: &str) {
    let left: Vec<_> = p.processes().into_iter().filter(|f| f.argv.contains(mark)).collect();
    assert!(left.is_empty(), "{left:#?}");
}

/// The session's next turn works.
async fn goes_on(p: &Plane, name: &str) {
    p.run(&["say", name, "fracta:say still here"]).await.ok();
    p.wait_event(name, |e| kind(e) == "message.completed" && says(e, "still here")).await;
}

#[tokio::test]
async fn text_is_cut_off_and_the_session_goes_on() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    let row = p.spawn_agent("a", "stream", "fracta:say begun\nfracta:hang").await;
    p.wait_event("a", |e| says(e, "begun")).await;
    let pids = p.pids(session(&row));
    let row = p.json(&["abort", "a"]).await;
    assert_eq!(row["state"], "idle", "{row}");
    assert_eq!(turns_of(&p.events("a").await), ["interrupted"]);
    goes_on(&p, "a").await;
    assert_eq!(p.pids(session(&row)), pids, "the same process");
    let words = p.run(&["abort", "a"]).await;
    assert!(words.code == 0 || words.stderr.contains("no turn runs"), "{words:?}");
}

#[tokio::test]
async fn an_idle_agent_has_nothing_to_abort() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    p.json(&["spawn", "--task", "a", "--contract", "fracta:say one", "--wait"]).await;
    let before = p.events("a").await;
    assert!(p.run(&["abort", "a"]).await.refused().contains("no turn runs"));
    assert_eq!(p.events("a").await, before);
}

#[tokio::test]
async fn a_command_and_its_daemons_end_with_the_turn_while_codex_lives_on() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    let row = p.spawn_agent("a", "stream", &format!("fracta:run {}", daemons("98765"))).await;
    daemons_run(&p, "98765").await;
    let pids = p.pids(session(&row));
    let row = p.json(&["abort", "a"]).await;
    none_left(&p, "98765");
    assert_eq!(row["state"], "idle", "{row}");
    goes_on(&p, "a").await;
    assert_eq!(p.pids(session(&row)), pids, "the same process");
    let events = p.events("a").await;
    assert_eq!(turns_of(&events)[0], "interrupted");
}

/// What an earlier turn left running on purpose is not the aborted turn's.
#[tokio::test]
async fn an_abort_spares_what_an_earlier_turn_left_running() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    let first = "fracta:run (setsid sleep 56789 >/dev/null 2>&1 &)\nfracta:say left";
    p.json(&["spawn", "--task", "a", "--contract", first, "--wait"]).await;
    p.run(&["say", "a", &format!("fracta:run {}", daemons("98764"))]).await.ok();
    daemons_run(&p, "98764").await;
    p.run(&["abort", "a"]).await.ok();
    none_left(&p, "98764");
    assert!(p.processes().iter().any(|f| f.argv.contains("56789")), "{:#?}", p.processes());
}

#[tokio::test]
async fn a_batch_turn_ends_with_all_its_processes() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    p.spawn_agent("a", "batch", &format!("fracta:run {}", daemons("98763"))).await;
    daemons_run(&p, "98763").await;
    let row = p.json(&["abort", "a"]).await;
    none_left(&p, "98763");
    assert_eq!(row["state"], "stopped", "{row}");
    p.all_gone().await;
    let events = p.events("a").await;
    assert_eq!(turns_of(&events), ["interrupted"]);
    goes_on(&p, "a").await;
}

#[tokio::test]
async fn what_waits_behind_an_aborted_turn_is_refused() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    p.spawn_agent("a", "stream", "fracta:say begun\nfracta:hang").await;
    p.wait_event("a", |e| says(e, "begun")).await;
    p.run(&["say", "a", "fracta:say later"]).await.ok();
    p.run(&["abort", "a"]).await.ok();
    assert_eq!(deliveries(&p.events("a").await, "fracta:say later"), ["queued", "rejected"]);
    goes_on(&p, "a").await;
}

/// Right after the spawn: before codex has said a word.
#[tokio::test]
async fn a_starting_agent_can_be_aborted() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    for mode in ["stream", "batch"] {
        p.spawn_agent(mode, mode, "fracta:say begun\nfracta:hang").await;
        p.run(&["abort", mode]).await.ok();
        let row = p.agent(mode).await;
        let (state, reason) = (row["state"].as_str().unwrap(), row["reason"].as_str().unwrap_or_default());
        assert!(state == "idle" || (state == "stopped" && reason.contains("aborted")), "{row}");
        goes_on(&p, mode).await;
    }
}

#[tokio::test]
async fn two_aborts_at_once_are_one() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    p.spawn_agent("a", "stream", &format!("fracta:run {}", daemons("98762"))).await;
    daemons_run(&p, "98762").await;
    let abort = ["abort", "a"];
    let (x, y) = tokio::join!(p.run(&abort), p.run(&abort));
    // The second may also come when all is over.
    assert!(x.code == 0 || y.code == 0, "{x:?} {y:?}");
    for out in [x, y] {
        assert!(out.code == 0 || out.stderr.contains("no turn runs"), "{out:?}");
    }
    none_left(&p, "98762");
    assert_eq!(turns_of(&p.events("a").await), ["interrupted"]);
    goes_on(&p, "a").await;
}

/// Takes the deadlines of interrupt and TERM: codex is stopped and can do neither.
#[tokio::test]
async fn a_codex_that_does_not_react_is_killed_with_all_it_started() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    let row = p.spawn_agent("a", "stream", &format!("fracta:run {}", daemons("98761"))).await;
    daemons_run(&p, "98761").await;
    let (_, codex) = p.pids(session(&row));
    let _frozen = freeze(codex);
    let row = p.json(&["abort", "a"]).await;
    none_left(&p, "98761");
    assert_eq!(row["state"], "stopped", "{row}");
    assert!(row["reason"].as_str().unwrap().contains("aborted"), "{row}");
    p.all_gone().await;
    goes_on(&p, "a").await;
}

/// A message that waits for a place is given up; an open session stays open.
#[tokio::test]
async fn a_queued_agent_can_be_aborted() {
    let Some(p) = Plane::new(Setup { max_running: 1, ..Setup::default() }) else { return };
    p.json(&["spawn", "--task", "open", "--contract", "fracta:say one", "--wait"]).await;
    p.spawn_agent("busy", "stream", "fracta:say begun\nfracta:gate g").await;
    p.wait_event("busy", |e| says(e, "begun")).await;
    p.spawn_agent("new", "stream", "fracta:say never").await;
    p.run(&["say", "open", "fracta:say never"]).await.ok();
    for (name, after) in [("new", State::Stopped), ("open", State::Idle)] {
        p.wait_state(name, State::Queued).await;
        p.run(&["abort", name]).await.ok();
        p.wait_state(name, after).await;
        assert_eq!(deliveries(&p.events(name).await, "fracta:say never"), ["queued", "rejected"]);
    }
    p.script.gate("g").release();
    p.wait_state("busy", State::Idle).await;
    // The place is free again, for both.
    goes_on(&p, "open").await;
    goes_on(&p, "new").await;
}
