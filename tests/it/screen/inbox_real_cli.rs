//! Requests of all agents in one list, with the real Codex.

use super::pty::Screen;
use crate::plane_support::{Plane, Setup};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_all_agents_are_answered_from_one_list() {
    let Some(p) = Plane::new(Setup { permissions: Some("ask"), ..Setup::default() }) else { return };
    let file = |name: &str| p.root().join(format!("{name}.made"));
    for name in ["one", "two", "three"] {
        let contract = format!("fracta:ask touch {}\nfracta:say over", file(name).display());
        p.spawn_agent(name, "stream", &contract).await;
        // One after the other: the oldest stands first.
        p.wait_event(name, |e| e["kind"] == "approval.requested").await;
    }
    let mut s = Screen::open(&p, &[], 120, 34);
    s.wait_row(&["needs you 3", "3 requests wait", "A"]);
    s.command("approvals");
    s.wait_row(&["▌ ▲ one", "asked"]);
    s.wait_row(&["▌", "touch", "one.made"]);

    // The first is answered elsewhere while it is in focus: a key for it falls on no other.
    p.run(&["deny", "one"]).await.ok();
    s.wait_row(&["▌ · one", "waits no more"]);
    s.keys("a");
    s.wait_text("one: this request waits no more (answered, or its turn ended); nothing was sent");
    for name in ["two", "three"] {
        assert_eq!(p.agent(name).await["state"], "waiting");
    }

    s.keys("j");
    s.wait_row(&["▌ ▲ two"]);
    s.keys("j");
    s.wait_row(&["▌ ▲ three"]);
    s.keys("a");
    s.wait_row(&["▌ · three", "approved"]);
    p.wait_event("three", |e| e["kind"] == "turn.completed").await;
    assert!(file("three").exists() && !file("two").exists() && !file("one").exists());
    s.keys("k");
    s.wait_row(&["▌ ▲ two"]);
    s.keys("x");
    s.wait_row(&["▌ · two", "denied"]);
    p.wait_event("two", |e| e["kind"] == "turn.completed").await;
    s.keys("k");
    s.wait_text("0 requests wait");
    let decisions = async |name: &str| {
        let events = p.events(name).await;
        events.iter().filter_map(|e| e["decision"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(decisions("one").await, ["denied"]);
    assert_eq!(decisions("two").await, ["denied"]);
    assert_eq!(decisions("three").await, ["approved"]);
}
