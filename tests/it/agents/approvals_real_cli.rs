//! Approvals: asked, answered, withdrawn, and remembered.

use fracta::session::state::State;
use serde_json::Value;

use super::turns_of;
use crate::plane_support::{Plane, Setup, kind, messages, says};

fn ask() -> Setup {
    Setup { permissions: Some("ask"), ..Setup::default() }
}

/// Spawns an agent that wants to make a file, and waits until it asks; the request's id.
async fn asking(p: &Plane, file: &str) -> String {
    p.spawn_agent("a", "stream", &format!("fracta:run touch {file}\nfracta:say done")).await;
    let asked = p.wait_event("a", |e| kind(e) == "approval.requested").await;
    assert!(asked["command"].as_str().unwrap().contains(&format!("touch {file}")), "{asked}");
    p.wait_state("a", State::Waiting).await;
    asked["approval"].as_str().unwrap().to_owned()
}

fn made(p: &Plane, file: &str) -> bool {
    p.layout().state_dir().join("worktrees/a").join(file).exists()
}

fn resolutions(events: &[Value]) -> Vec<(&str, &str)> {
    let of = events.iter().filter(|e| kind(e) == "approval.resolved");
    of.map(|e| (e["decision"].as_str().unwrap(), e["by"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn an_approved_command_runs() {
    let Some(p) = Plane::new(ask()) else { return };
    asking(&p, "made").await;
    let open = p.json(&["approvals"]).await;
    assert_eq!(open[0]["agent"], "a", "{open}");
    assert!(!made(&p, "made"), "nothing runs before the answer");
    p.run(&["approve", "a"]).await.ok();
    p.wait_state("a", State::Idle).await;
    assert!(made(&p, "made"));
    let events = p.events("a").await;
    assert_eq!(resolutions(&events), [("approved", "person")]);
    assert_eq!(messages(&events), ["done"]);
    assert_eq!(p.json(&["approvals"]).await, serde_json::json!([]));
}

#[tokio::test]
async fn a_denied_command_does_not_run_and_the_turn_goes_on() {
    let Some(p) = Plane::new(ask()) else { return };
    let id = asking(&p, "made").await;
    p.run(&["deny", "a", &id]).await.ok();
    p.wait_state("a", State::Idle).await;
    assert!(!made(&p, "made"));
    let events = p.events("a").await;
    assert_eq!(resolutions(&events), [("denied", "person")]);
    assert_eq!((messages(&events), turns_of(&events)), (vec!["done"], vec!["completed"]));
}

#[tokio::test]
async fn answers_to_nothing_and_second_answers_are_refused() {
    let Some(p) = Plane::new(ask()) else { return };
    let id = asking(&p, "one").await;
    let words = p.run(&["approve", "a", "a9-99"]).await.refused();
    assert!(words.contains("a9-99") && words.contains(&id), "it says what it waits for: {words}");
    // Two at once: one of them is the answer.
    let (yes, no) = (["approve", "a", &id], ["deny", "a", &id]);
    let (x, y) = tokio::join!(p.run(&yes), p.run(&no));
    assert_eq!([x.code, y.code].iter().sum::<i32>(), 1, "{x:?} {y:?}");
    p.wait_state("a", State::Idle).await;
    let again = p.run(&["approve", "a", &id]).await.refused();
    assert!(again.contains("waits for no approval"), "{again}");
    let events = p.events("a").await;
    assert_eq!(resolutions(&events).len(), 1);
    assert_eq!(made(&p, "one"), x.code == 0, "what was answered is what happened");
    // The id of an earlier request answers no later one.
    p.run(&["say", "a", "fracta:run touch two\nfracta:say done"]).await.ok();
    p.wait_state("a", State::Waiting).await;
    p.run(&["approve", "a", &id]).await.refused();
    p.run(&["approve", "a"]).await.ok();
    p.wait_state("a", State::Idle).await;
    assert!(made(&p, "two"));
}

#[tokio::test]
async fn a_request_outlives_the_control_plane_and_can_be_answered_after() {
    let Some(p) = Plane::new(ask()) else { return };
    let id = asking(&p, "made").await;
    let before = p.events("a").await;
    p.kill_server().await;
    let row = p.wait_state("a", State::Waiting).await;
    assert_eq!(row.pending_approvals[0].id, id);
    assert_eq!(p.events("a").await, before, "nothing is told twice");
    p.run(&["approve", "a", &id]).await.ok();
    p.wait_state("a", State::Idle).await;
    assert!(made(&p, "made"));
    assert_eq!(resolutions(&p.events("a").await), [("approved", "person")]);
}

#[tokio::test]
async fn an_answer_is_not_lost_with_the_control_plane_that_gave_it() {
    let Some(p) = Plane::new(ask()) else { return };
    let row = p.spawn_agent("a", "stream", "fracta:run touch made\nfracta:say done").await;
    p.wait_state("a", State::Waiting).await;
    // It takes nothing in until the control plane is dead.
    let (_, codex) = p.pids(super::session(&row));
    let frozen = super::freeze(codex);
    p.run(&["approve", "a"]).await.ok();
    p.kill_server().await;
    frozen.thaw();
    p.wait_state("a", State::Idle).await;
    assert!(made(&p, "made"));
    let events = p.events("a").await;
    assert_eq!(resolutions(&events), [("approved", "person")]);
    assert_eq!(messages(&events), ["done"]);
}

#[tokio::test]
async fn an_abort_withdraws_what_was_asked() {
    let Some(p) = Plane::new(ask()) else { return };
    let id = asking(&p, "made").await;
    p.run(&["abort", "a"]).await.ok();
    let row = p.wait_state("a", State::Idle).await;
    assert!(row.pending_approvals.is_empty());
    assert!(!made(&p, "made"));
    let events = p.events("a").await;
    assert_eq!(resolutions(&events), [("withdrawn", "runtime")]);
    assert_eq!(turns_of(&events), ["interrupted"]);
    p.run(&["approve", "a", &id]).await.refused();
    p.run(&["say", "a", "fracta:say next"]).await.ok();
    p.wait_event("a", |e| kind(e) == "message.completed" && says(e, "next")).await;
}

/// Requests of two agents do not mix, and each is answered by its own.
#[tokio::test]
async fn agents_wait_for_their_own_answers() {
    let Some(p) = Plane::new(ask()) else { return };
    for name in ["a", "b"] {
        p.spawn_agent(name, "stream", "fracta:run touch made\nfracta:say done").await;
    }
    for name in ["a", "b"] {
        p.wait_state(name, State::Waiting).await;
    }
    assert_eq!(p.json(&["approvals"]).await.as_array().unwrap().len(), 2);
    p.run(&["deny", "b"]).await.ok();
    p.wait_state("b", State::Idle).await;
    assert_eq!(p.agent("a").await["state"], "waiting");
    p.run(&["approve", "a"]).await.ok();
    p.wait_state("a", State::Idle).await;
    assert!(made(&p, "made") && !p.layout().state_dir().join("worktrees/b/made").exists());
}
