//! `agents.max_running`: more are queued, first come first served.

use fracta::session::state::State;
use serde_json::Value;

use crate::plane_support::{Plane, Setup, kind, says};

async fn began(p: &Plane, name: &str) -> String {
    let e: Value = p.wait_event(name, |e| kind(e) == "turn.started").await;
    e["ts"].as_str().unwrap().to_owned()
}

fn one() -> Setup {
    Setup { max_running: 1, ..Setup::default() }
}

#[tokio::test]
async fn the_second_waits_until_the_first_turn_ends() {
    let Some(p) = Plane::new(one()) else { return };
    p.spawn_agent("a", "stream", "fracta:say begun\nfracta:gate g").await;
    p.wait_event("a", |e| says(e, "begun")).await;
    p.spawn_agent("b", "batch", "fracta:say mine").await;
    p.spawn_agent("c", "stream", "fracta:say mine").await;
    for name in ["b", "c"] {
        let row = p.wait_state(name, State::Queued).await;
        assert!(row.turn.is_none());
    }
    assert_eq!(p.model.requests().len(), 1, "nobody else has asked the model");
    p.script.gate("g").release();
    // First come, first served; an idle session keeps no place.
    assert!(began(&p, "b").await <= began(&p, "c").await);
    p.wait_state("b", State::Completed).await;
    p.wait_state("c", State::Idle).await;
}

/// The running turn keeps its place and the others their order, whoever is quicker to start again.
#[tokio::test]
async fn the_order_outlives_the_control_plane() {
    let Some(p) = Plane::new(one()) else { return };
    p.json(&["spawn", "--task", "z-first", "--contract", "fracta:say one", "--wait"]).await;
    p.spawn_agent("busy", "stream", "fracta:say begun\nfracta:gate g").await;
    p.wait_event("busy", |e| says(e, "begun")).await;
    // The older agent comes second to the line.
    p.spawn_agent("b", "stream", "fracta:say mine\nfracta:gate b").await;
    p.wait_state("b", State::Queued).await;
    p.run(&["say", "z-first", "fracta:say mine\nfracta:gate z"]).await.ok();
    p.spawn_agent("c", "stream", "fracta:say mine").await;
    p.kill_server().await;
    for name in ["b", "z-first", "c"] {
        p.wait_state(name, State::Queued).await;
    }
    assert_eq!(p.agent("busy").await["state"], "running");
    assert_eq!(p.model.requests().len(), 2, "the place is taken");
    p.script.gate("g").release();
    p.script.gate("b").reached().await;
    for name in ["z-first", "c"] {
        p.wait_state(name, State::Queued).await;
    }
    p.script.gate("b").release();
    p.script.gate("z").reached().await;
    p.wait_state("c", State::Queued).await;
    p.script.gate("z").release();
    p.wait_event("c", |e| kind(e) == "message.completed" && says(e, "mine")).await;
}

/// An agent that dies gives its place back.
#[tokio::test]
async fn a_dead_agent_holds_no_place() {
    let Some(p) = Plane::new(one()) else { return };
    let row = p.spawn_agent("a", "stream", "fracta:say begun\nfracta:hang").await;
    p.wait_event("a", |e| says(e, "begun")).await;
    p.spawn_agent("b", "stream", "fracta:say mine").await;
    p.wait_state("b", State::Queued).await;
    let (_, codex) = p.pids(super::session(&row));
    crate::plane_support::signal(codex, nix::sys::signal::Signal::SIGKILL);
    p.wait_state("a", State::Failed).await;
    p.wait_event("b", |e| kind(e) == "message.completed" && says(e, "mine")).await;
}
