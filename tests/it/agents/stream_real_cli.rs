//! Stream mode: one process for the session; messages between and into turns.

use fracta::session::state::State;
use serde_json::Value;

use super::{deliveries, turns_of};
use crate::plane_support::{Plane, Setup, is_turn_end, kind, messages, says};

#[tokio::test]
async fn a_message_to_an_idle_agent_is_accepted_and_starts_a_turn_on_the_same_thread() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    let row = p.json(&["spawn", "--task", "a", "--contract", "fracta:say one", "--wait"]).await;
    assert_eq!(row["state"], "idle", "{row}");
    let said = p.json(&["say", "a", "fracta:say two"]).await;
    assert_eq!(said["delivery"], "accepted", "{said}");
    p.wait_event("a", |e| says(e, "two") && kind(e) == "message.completed").await;
    let idle = p.wait_state("a", State::Idle).await;
    assert_eq!(idle.resume_token.as_deref(), row["resume_token"].as_str());
    let events = p.events("a").await;
    assert_eq!(messages(&events), ["one", "two"]);
    assert_eq!(deliveries(&events, "fracta:say two"), ["queued", "accepted"]);
    assert_eq!(events.iter().filter(|e| kind(e) == "session.started").count(), 1, "one process");
}

#[tokio::test]
async fn messages_to_a_busy_agent_are_queued_and_become_turns_in_their_order() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    p.spawn_agent("a", "stream", "fracta:say first\nfracta:gate g").await;
    p.wait_event("a", |e| says(e, "first")).await;
    for n in ["one", "two", "three"] {
        let said = p.json(&["say", "a", &format!("fracta:say answer-{n}")]).await;
        assert_eq!(said["delivery"], "queued", "{said}");
    }
    assert_eq!(p.agent("a").await["queued_messages"], 3);
    p.script.gate("g").release();
    p.wait_event("a", |e| kind(e) == "message.completed" && says(e, "answer-three")).await;
    p.wait_state("a", State::Idle).await;
    let events = p.events("a").await;
    assert_eq!(messages(&events), ["first", "answer-one", "answer-two", "answer-three"]);
    for n in ["one", "two", "three"] {
        assert_eq!(deliveries(&events, &format!("fracta:say answer-{n}")), ["queued", "accepted"]);
    }
    assert_eq!(turns_of(&events).len(), 4, "each one is a turn of its own");
}

/// Two messages at an idle agent at the same moment: one is a turn, the other the next one.
#[tokio::test]
async fn messages_said_at_once_are_both_turns() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    p.json(&["spawn", "--task", "a", "--contract", "fracta:say one", "--wait"]).await;
    let texts: Vec<String> = (0..4).map(|n| format!("fracta:say answer-{n}")).collect();
    let all = texts.iter().map(|t| async { p.json(&["say", "a", t]).await });
    for said in futures_util::future::join_all(all).await {
        assert!(said["delivery"] == "queued" || said["delivery"] == "accepted", "{said}");
    }
    p.wait_agent("a", |a| a.state == State::Idle && a.queued_messages == 0 && a.usage.input_tokens > 0).await;
    let mut follow = p.follow("a", 0);
    let mut ended = 0;
    while ended < 5 {
        follow.until(is_turn_end).await;
        ended += 1;
    }
    let events = p.events("a").await;
    for t in &texts {
        assert_eq!(deliveries(&events, t).last().map(String::as_str), Some("accepted"), "{events:#?}");
    }
    assert_eq!(messages(&events).len(), 5);
}

#[tokio::test]
async fn a_steered_message_reaches_the_model_in_the_running_turn() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    p.spawn_agent("a", "stream", "fracta:say first\nfracta:gate g\nfracta:run true\nfracta:say last").await;
    p.wait_event("a", |e| says(e, "first")).await;
    let said = p.json(&["steer", "a", "mind the gap"]).await;
    assert_eq!(said["delivery"], "accepted", "{said}");
    p.script.gate("g").release();
    p.wait_event("a", |e| kind(e) == "message.completed" && says(e, "steered: mind the gap")).await;
    p.wait_state("a", State::Idle).await;
    let events = p.events("a").await;
    assert_eq!(turns_of(&events).len(), 1, "no turn of its own");
    assert_eq!(deliveries(&events, "mind the gap"), ["queued", "accepted"]);
    let steers: Vec<&Value> = events.iter().filter(|e| e["steer"] == true).collect();
    assert_eq!(steers.len(), 2, "{steers:#?}");
}

#[tokio::test]
async fn a_steer_is_refused_where_no_turn_runs_or_the_mode_has_none_and_nothing_is_touched() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    p.json(&["spawn", "--task", "idle", "--contract", "fracta:say one", "--wait"]).await;
    p.spawn_agent("batch", "batch", "fracta:say one\nfracta:gate g").await;
    p.script.gate("g").reached().await;
    for (name, why) in [("idle", "no turn runs"), ("batch", "batch")] {
        let before = p.events(name).await;
        let words = p.run(&["steer", name, "hello"]).await.refused();
        assert!(words.contains(why) && words.contains("fracta say"), "{words}");
        assert_eq!(p.events(name).await, before, "nothing was written");
    }
    p.script.gate("g").release();
}

#[tokio::test]
async fn a_message_to_an_agent_that_is_gone_is_refused() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    let row = p.json(&["spawn", "--task", "a", "--contract", "fracta:say one", "--wait"]).await;
    p.run(&["kill", "a"]).await.ok();
    let before = p.events(row["session"].as_str().unwrap()).await;
    let words = p.run(&["say", "a", "hello"]).await.refused();
    assert!(words.contains("was killed"), "{words}");
    assert_eq!(p.events(row["session"].as_str().unwrap()).await, before);
    assert!(p.run(&["say", "never-was", "hello"]).await.refused().contains("no agent"));
}

/// A session without a first message opens and waits.
#[tokio::test]
async fn a_session_may_be_opened_without_a_turn() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    p.json(&["spawn", "--task", "a"]).await;
    p.wait_state("a", State::Idle).await;
    assert!(p.model.requests().is_empty(), "no turn, no request");
    p.run(&["say", "a", "fracta:say hello"]).await.ok();
    p.wait_event("a", |e| kind(e) == "message.completed" && says(e, "hello")).await;
}

/// The process of a session ends by itself (here: it is told to by its own command); the next message
/// starts another one on the same thread.
#[tokio::test]
async fn a_session_whose_process_ended_is_resumed() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    let row = p.json(&["spawn", "--task", "a", "--contract", "fracta:say one", "--wait"]).await;
    let (_, codex) = p.pids(row["session"].as_str().unwrap());
    crate::plane_support::signal(codex, nix::sys::signal::Signal::SIGTERM);
    p.wait_event("a", |e| kind(e) == "session.ended").await;
    p.run(&["say", "a", "fracta:say two"]).await.ok();
    p.wait_event("a", |e| kind(e) == "message.completed" && says(e, "two")).await;
    let now = p.wait_state("a", State::Idle).await;
    assert_eq!(now.resume_token.as_deref(), row["resume_token"].as_str(), "the same thread");
    let requests = p.model.requests();
    let last = requests.last().unwrap().body.to_string();
    assert!(
        last.contains("fracta:say one") && last.contains("fracta:say two"),
        "the model sees what was said before"
    );
}
