//! Approvals in stream mode, answered from fracta.

use fracta::session::state::State;
use serde_json::Value;

use super::{World, all_understood, each_runtime, of};
use crate::agents::{freeze, session, turns_of};
use crate::plane_support::{Setup, is_turn_end, kind, messages};

each_runtime! {
    asked: claude opencode;
    auto: claude opencode;
}

fn decisions(events: &[Value]) -> Vec<(&str, &str)> {
    let all = of(events, "approval.resolved");
    all.iter().map(|e| (e["decision"].as_str().unwrap(), e["by"].as_str().unwrap())).collect()
}

/// Calls side by side: both wait at once, if the runtime asks so; each is answered by its own id, also by
/// the next control plane. An answer that was given is not lost with the control plane that took it.
async fn asked(cli: &'static str) {
    let w = World::new(cli, Setup { permissions: Some("ask"), ..Setup::default() });
    let contract = "Ask.\nfracta:runs touch yes ;; touch no\nfracta:say done";
    let row = w.spawn("a", "stream", contract).await;
    // Claude asks for one at a time: its commands do not run side by side.
    let at_once = if cli == "opencode" { 2 } else { 1 };
    let waiting = w.wait_agent("a", |a| a.pending_approvals.len() == at_once).await;
    assert_eq!(waiting.state, State::Waiting);
    let pids = w.pids(session(&row));
    let before = w.events("a").await;
    w.kill_server().await;

    let inbox = w.json(&["approvals"]).await;
    let ids: Vec<&str> =
        inbox.as_array().unwrap().iter().map(|a| a["approval"]["id"].as_str().unwrap()).collect();
    let kept: Vec<&str> = waiting.pending_approvals.iter().map(|p| p.id.as_str()).collect();
    assert_eq!(ids, kept, "{inbox}");
    let now = w.events("a").await;
    assert_eq!(now[..before.len()], before[..]);
    assert_eq!(of(&now, "approval.requested").len(), at_once, "nothing is told twice");
    let words = w.run(&["approve", "a", "no-such-id"]).await.refused();
    assert!(words.contains("no-such-id") && words.contains(ids[0]), "{words}");
    if at_once == 2 {
        let words = w.run(&["approve", "a"]).await;
        assert!(words.code != 0 && words.stderr.contains("several"), "{words:?}");
    }
    assert!(!w.file("a", "yes").exists(), "nothing runs before its answer");
    // By what they are for, whatever their order.
    for (file, verb) in [("no", "deny"), ("yes", "approve")] {
        let command = format!("touch {file}");
        let wants = |a: &fracta::control::wire::Agent| {
            a.pending_approvals.iter().find(|p| p.command.as_deref() == Some(&command)).map(|p| p.id.clone())
        };
        let first_of_all = at_once == 1 && file == "no";
        if first_of_all {
            // The other one is asked first.
            w.run(&["approve", "a", ids[0]]).await.ok();
        }
        if at_once == 1 && file == "yes" {
            break;
        }
        let id = wants(&w.wait_agent("a", |a| wants(a).is_some()).await).unwrap();
        w.run(&[verb, "a", &id]).await.ok();
        let again = w.run(&["approve", "a", &id]).await.refused();
        assert!(again.contains(&id) || again.contains("waits for no approval"), "{again}");
    }
    w.wait_state("a", State::Idle).await;
    assert!(w.file("a", "yes").exists() && !w.file("a", "no").exists());
    let events = w.events("a").await;
    assert_eq!(messages(&events), ["done"], "the turn goes on after a no");
    let mut said = decisions(&events);
    said.sort_unstable();
    assert_eq!(said, [("approved", "person"), ("denied", "person")]);
    assert_eq!(w.json(&["approvals"]).await, serde_json::json!([]));

    // The CLI takes nothing in until the control plane that took the answer is dead.
    w.run(&["say", "a", "Ask.\nfracta:run touch late\nfracta:say over"]).await.ok();
    w.wait_state("a", State::Waiting).await;
    let stale = w.run(&["approve", "a", ids[0]]).await.refused();
    assert!(stale.contains("waits for no approval"), "{stale}");
    let frozen = freeze(pids.1);
    w.run(&["approve", "a"]).await.ok();
    w.kill_server().await;
    frozen.thaw();
    w.wait_state("a", State::Idle).await;
    assert!(w.file("a", "late").exists());
    let events = w.events("a").await;
    assert_eq!(decisions(&events).last(), Some(&("approved", "person")));
    assert_eq!((messages(&events), decisions(&events).len()), (vec!["done", "over"], 3));

    // An abort takes back what was asked.
    w.run(&["say", "a", "Ask.\nfracta:run touch never\nfracta:say over"]).await.ok();
    w.wait_state("a", State::Waiting).await;
    w.run(&["abort", "a"]).await.ok();
    let row = w.wait_state("a", State::Idle).await;
    assert!(row.pending_approvals.is_empty() && !w.file("a", "never").exists());
    let events = w.events("a").await;
    assert_eq!(decisions(&events).last(), Some(&("withdrawn", "runtime")));
    assert_eq!(turns_of(&events), ["completed", "completed", "interrupted"]);
    assert_eq!(w.pids(session(&serde_json::to_value(&row).unwrap())), pids, "one process for all of it");
    w.goes_on("a").await;
    all_understood(&w.events("a").await);
}

/// `permissions: auto` asks nobody: what the runtime asks all the same is answered, and that is an event.
async fn auto(cli: &'static str) {
    let w = World::new(cli, Setup::default());
    let outside = w.project.dir().join("outside");
    std::fs::write(&outside, "seen from afar\n").unwrap();
    w.spawn("a", "stream", &format!("Look.\nfracta:run cat {}\nfracta:say over", outside.display())).await;
    let end = w.wait_event("a", is_turn_end).await;
    assert_eq!(end["outcome"], "completed", "{end}");
    let events = w.events("a").await;
    let asked = of(&events, "approval.requested");
    assert!(!asked.is_empty(), "{events:#?}");
    assert_eq!(decisions(&events), vec![("approved", "auto"); asked.len()]);
    let answered = of(&events, "approval.resolved");
    assert!(asked.iter().zip(&answered).all(|(a, b)| a["approval"] == b["approval"]));
    let command = events.iter().find(|e| kind(e) == "command.completed").unwrap();
    assert_eq!(command["text"].as_str().unwrap().trim_end(), "seen from afar", "{command}");
    let shown = w.run(&["peek", "a", "-n", "100"]).await.ok().stdout;
    assert!(shown.contains("auto"), "{shown}");
}
