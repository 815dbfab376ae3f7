//! OpenCode's guard: the steps of a turn, counted, shown, warned of, and limited.

use std::sync::Arc;

use fracta::demo::homes::OPENCODE_MODEL;
use fracta::demo::model::Recorded;
use fracta::session::state::State;
use serde_json::{Value, json};

use super::{World, of};
use crate::agents::{session, turns_of};
use crate::opencode_protocol::proxy::Proxy;
use crate::plane_support::{Setup, is_turn_end, kind, messages};
use crate::support::require_cli;

fn steps(events: &[Value]) -> Vec<u64> {
    of(events, "step").iter().map(|e| e["n"].as_u64().unwrap()).collect()
}

fn warned(events: &[Value]) -> Vec<&str> {
    let all = of(events, "warning").into_iter().filter_map(|e| e["text"].as_str());
    all.filter_map(|t| t.strip_prefix("the turn is at step ")?.split(' ').next()).collect()
}

fn subagent(prompt: &str) -> String {
    let call = json!({"description": "look", "prompt": prompt, "subagent_type": "general"});
    format!("fracta:tool task {call}")
}

/// A subagent is denied unless the config says otherwise, each attempt is a step, and past the limit the
/// turn ends; in a stream by the API, so that the session lives on.
#[tokio::test]
async fn a_runaway_turn_is_warned_of_and_ended() {
    if require_cli("opencode").is_none() {
        return;
    }
    let entries = vec![("short", "opencode", json!({"model": OPENCODE_MODEL, "step_limit": 6}))];
    let w = World::new("opencode", Setup { entries, ..Setup::default() });
    for (runtime, mode, limit, warnings) in
        [("short", "batch", 6, &["5"][..]), ("opencode", "stream", 20, &["5", "10", "15", "20"])]
    {
        let mut contract = format!("Loop.\n{}\n", subagent("fracta:say a subagent ran"));
        contract.extend((0..limit + 3).map(|n| format!("fracta:run true {n}\n")));
        let spawn = ["spawn", "--task", mode, "--runtime", runtime, "--mode", mode, "--contract", &contract];
        let row = w.json(&spawn).await;
        let end = w.wait_event(mode, is_turn_end).await;
        let why = format!("more than {limit} steps");
        assert_eq!(end["outcome"], "failed", "{end}");
        assert!(end["error"].as_str().unwrap().contains(&why), "{end}");
        let failed = w.wait_state(mode, State::Failed).await;
        assert!(failed.reason.as_deref().unwrap().contains(&why), "{failed:?}");
        // Where the count is shown: events, the row, and with it the screen's gauge.
        assert_eq!(failed.step, Some((limit + 1, limit)));
        let events = w.events(mode).await;
        assert_eq!(steps(&events), (1..=u64::from(limit) + 1).collect::<Vec<_>>());
        assert_eq!(warned(&events), warnings);
        assert_eq!(turns_of(&events), ["failed"]);
        let told = |r: &Recorded| r.body["messages"][0]["content"][0]["text"].as_str().map(str::to_owned);
        let prompts = w.model.requests().iter().filter_map(told).collect::<Vec<_>>();
        let ran = prompts.iter().filter(|t| t.starts_with("fracta:say a subagent")).count();
        assert!(!prompts.is_empty() && ran == 0, "no subagent was started: {prompts:?}");
        if mode == "stream" {
            let pids = w.pids(session(&row));
            w.goes_on(mode).await;
            assert_eq!(w.pids(session(&row)), pids, "the process was not ended");
            let next = w.events(mode).await.split_off(usize::try_from(end["seq"].as_u64().unwrap()).unwrap());
            assert_eq!(steps(&next)[0], 1, "each turn is counted anew");
        }
    }
}

/// Where the config allows subagents their steps count like the agent's own, and what they say is not
/// the agent's word. Also while the link is down: what was missed is counted, once.
#[tokio::test]
async fn steps_of_subagents_count_whatever_the_link_does() {
    let Some(opencode) = require_cli("opencode") else { return };
    let dir = tempfile::tempdir().unwrap();
    let proxy = Arc::new(Proxy::start(dir.path().join("port")).await);
    let wrapper = proxy.wrapper(dir.path(), &opencode);
    let more = "project: {allowed_tools: [Task]}\n".to_owned();
    let w = World::new(
        "opencode",
        Setup { opencode: Some(vec![wrapper]), more, step_limit: Some(6), ..Setup::default() },
    );
    let deep = "fracta:run echo one\nfracta:gate before\nfracta:run echo two\nfracta:run echo three\nfracta:gate after\nfracta:say from below";
    let contract = format!("Delegate.\n{}\nfracta:say from above", subagent(deep));
    w.spawn("a", "stream", &contract).await;
    w.script.gate("before").reached().await;
    w.wait_agent("a", |a| a.step.is_some_and(|(n, _)| n == 3)).await;
    proxy.cut().await;
    w.script.gate("before").release();
    w.script.gate("after").reached().await;
    proxy.mend();
    // 1 of the agent's own, then 4 of the subagent's: two of them while the link was down.
    w.wait_agent("a", |a| a.step.is_some_and(|(n, _)| n == 5)).await;
    w.script.gate("after").release();
    let end = w.wait_event("a", is_turn_end).await;
    assert_eq!(end["outcome"], "completed", "{end}");
    let events = w.events("a").await;
    assert_eq!(steps(&events), [1, 2, 3, 4, 5, 6]);
    assert_eq!(warned(&events), ["5"]);
    assert_eq!(messages(&events), ["from above"], "a subagent's words are not the agent's");
    assert!(of(&events, "gap").is_empty() && of(&events, "raw").is_empty());

    // Past the limit the turn ends, whoever took the steps.
    let deep: String = (0..9).map(|n| format!("fracta:run echo {n}\n")).collect();
    w.run(&["say", "a", &format!("Delegate.\n{}\nfracta:say never", subagent(&deep))]).await.ok();
    let seq = end["seq"].as_u64().unwrap();
    let end = w.wait_event_after("a", seq, is_turn_end).await;
    assert_eq!(end["outcome"], "failed", "{end}");
    assert!(end["error"].as_str().unwrap().contains("more than 6 steps"), "{end}");
    w.wait_state("a", State::Failed).await;
    let last = w.events("a").await.into_iter().rfind(|e| kind(e) == "step").unwrap();
    assert_eq!(last["n"], 7);
    w.goes_on("a").await;

    // A batch process tells nothing of subagents: that is said.
    w.spawn(
        "b",
        "batch",
        &format!("Delegate.\n{}\nfracta:say over", subagent("fracta:run true\nfracta:run true")),
    )
    .await;
    w.wait_state("b", State::Completed).await;
    let events = w.events("b").await;
    assert_eq!(steps(&events), [1, 2], "{events:#?}");
    assert!(of(&events, "warning")[0]["text"].as_str().unwrap().contains("subagents"), "{events:#?}");
}
