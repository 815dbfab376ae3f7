//! Batch mode: one process for each turn.

use fracta::demo::homes::CODEX_MODEL;
use fracta::session::state::State;

use super::{deliveries, session, turns_of};
use crate::plane_support::{Plane, Setup, is_turn_end, kind, messages, says};

#[tokio::test]
async fn events_arrive_while_the_process_runs() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    p.spawn_agent("a", "batch", "fracta:say before\nfracta:run true\nfracta:gate g\nfracta:say after").await;
    p.wait_event("a", |e| says(e, "before")).await;
    p.script.gate("g").reached().await;
    let row = p.agent("a").await;
    assert_eq!(row["state"], "running", "{row}");
    assert!(!p.events("a").await.iter().any(|e| says(e, "after") || is_turn_end(e)));
    p.script.gate("g").release();
    p.wait_state("a", State::Completed).await;
    let events = p.events("a").await;
    assert_eq!(messages(&events), ["before", "after"]);
    let last = events.last().unwrap();
    assert_eq!((kind(last), last["state"].as_str()), ("session.ended", Some("completed")), "{last}");
}

#[tokio::test]
async fn waiting_for_the_end_tells_it_by_the_exit_status() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    let good =
        p.run(&["spawn", "--task", "good", "--mode", "batch", "--contract", "fracta:say fine", "--wait"]);
    assert!(good.await.ok().stdout.contains("completed"));
    let bad = [
        "spawn",
        "--task",
        "bad",
        "--mode",
        "batch",
        "--contract",
        "fracta:fail 400 no model today",
        "--wait",
    ];
    let out = p.run(&bad).await;
    assert_eq!(out.code, 1, "{out:?}");
    assert!(out.stdout.contains("failed") && out.stdout.contains("no model today"), "{out:?}");
    let events = p.events("bad").await;
    assert_eq!(turns_of(&events), ["failed"]);
    // A stream agent lives on, and is as truthful.
    let out = p.run(&["spawn", "--task", "stream", "--contract", "fracta:fail 400 not now", "--wait"]).await;
    assert_eq!(out.code, 1, "{out:?}");
    assert!(out.stdout.contains("failed") && out.stdout.contains("not now"), "{out:?}");
}

#[tokio::test]
async fn the_next_message_resumes_the_thread_in_a_new_process() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    let first =
        p.json(&["spawn", "--task", "a", "--mode", "batch", "--contract", "fracta:say one", "--wait"]).await;
    assert_eq!(first["state"], "completed", "{first}");
    let old = p.pids(session(&first));
    p.run(&["say", "a", "fracta:say two"]).await.ok();
    p.wait_event("a", |e| kind(e) == "message.completed" && says(e, "two")).await;
    let second = p.wait_state("a", State::Completed).await;
    assert_eq!(second.resume_token.as_deref(), first["resume_token"].as_str());
    assert_ne!(p.pids(session(&first)), old, "a process for each turn");
    let events = p.events("a").await;
    assert_eq!(turns_of(&events), ["completed", "completed"]);
    assert_eq!(deliveries(&events, "fracta:say two"), ["queued", "accepted"]);
    let requests = p.model.requests();
    assert!(requests.last().unwrap().body.to_string().contains("fracta:say one"), "the thread goes on");
}

#[tokio::test]
async fn a_message_to_a_running_batch_agent_is_the_next_turn() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    p.spawn_agent("a", "batch", "fracta:say one\nfracta:run true\nfracta:gate g").await;
    p.script.gate("g").reached().await;
    for n in ["two", "three"] {
        let said = p.json(&["say", "a", &format!("fracta:say {n}")]).await;
        assert_eq!(said["delivery"], "queued", "{said}");
    }
    p.script.gate("g").release();
    p.wait_event("a", |e| kind(e) == "message.completed" && says(e, "three")).await;
    p.wait_agent("a", |a| a.state == State::Completed && a.queued_messages == 0).await;
    let events = p.events("a").await;
    assert_eq!(messages(&events).last_chunk(), Some(&["two", "three"]), "{:?}", messages(&events));
    assert_eq!(turns_of(&events).len(), 3);
}

/// `--model` before `--tier` before the runtime's own; seen by the model on the first turn and on
/// resumed ones.
#[tokio::test]
async fn the_model_is_the_one_that_was_chosen() {
    let tiers = vec![("light", "gpt-5.4-mini"), ("heavy", "gpt-5.4")];
    let Some(p) = Plane::new(Setup { tiers, ..Setup::default() }) else { return };
    let cases: [(&str, &[&str], &str); 3] = [
        ("own", &[], CODEX_MODEL),
        ("tier", &["--tier", "light"], "gpt-5.4-mini"),
        ("both", &["--tier", "light", "--model", "gpt-5.2"], "gpt-5.2"),
    ];
    for mode in ["batch", "stream"] {
        for (name, options, model) in cases {
            let name = format!("{mode}-{name}");
            let before = p.model.requests().len();
            let first = ["spawn", "--task", &name, "--mode", mode, "--contract", "fracta:say one", "--wait"];
            p.run(&[&first, options].concat()).await.ok();
            p.run(&["say", &name, "fracta:say two"]).await.ok();
            p.wait_event(&name, |e| kind(e) == "message.completed" && says(e, "two")).await;
            p.wait_agent(&name, |a| a.state.is_final() || a.state == State::Idle).await;
            let seen: Vec<_> = p
                .model
                .requests()
                .iter()
                .skip(before)
                .map(|r| r.model().unwrap_or_default().to_owned())
                .collect();
            assert!(seen.len() >= 2 && seen.iter().all(|m| m == model), "{name}: {seen:?}");
        }
    }
    let none = ["spawn", "--task", "x", "--tier", "medium", "--contract", "hello"];
    assert_eq!(p.run(&none).await.code, 2, "a tier that is not there is an error");
}
