//! Nothing happens, nothing is written.

use super::pty::Screen;
use crate::plane_support::{Plane, Setup};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_agents_cost_no_byte() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    for name in ["one", "two"] {
        p.spawn_agent(name, "stream", "fracta:say settled words").await;
        p.wait_event(name, |e| e["kind"] == "turn.completed").await;
    }
    let mut s = Screen::open(&p, &[], 120, 34);
    s.wait_for(|t| t.matches("idle").count() >= 3 && t.contains("• settled words"));
    // What is seen was reported, and came back as a change of the list: then all is still.
    p.wait_agent("two", |a| a.unread == 0).await;
    s.keys("?");
    s.wait_text("keys and commands");
    s.keys("\x1b");
    s.wait_for(|t| !t.contains("keys and commands"));
    let mark = s.mark();
    // Time goes by: so many whole requests to the same control plane.
    for _ in 0..100 {
        p.run(&["status"]).await.ok();
    }
    let written = s.bytes_since(mark);
    assert!(written.is_empty(), "{:?}", String::from_utf8_lossy(&written));
    // It is alive all the same.
    s.keys("?");
    s.wait_text("keys and commands");
}
