//! The control plane dies under the screen.

use super::pty::Screen;
use crate::plane_support::{Plane, Setup, messages};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_control_plane_is_started_again() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    p.spawn_agent("a", "stream", "fracta:say before\nfracta:run true\nfracta:gate g\nfracta:say after it")
        .await;
    let mut s = Screen::open(&p, &[], 120, 34);
    s.wait_text("• before");
    p.script.gate("g").reached().await;
    let old = p.server_pid().await;
    let mark = s.mark();
    p.kill_server().await;
    s.wait_bytes(mark, |b| memchr::memmem::find(b, b"disconnected").is_some());
    // Nobody else starts one.
    s.wait_for(|t| !t.contains("disconnected") && !t.contains("stream broken"));
    assert_ne!(p.server_pid().await, old);
    p.script.gate("g").release();
    let text =
        s.wait_for(|t| t.contains("• after it") && t.lines().any(|l| l.contains("▌") && l.contains("idle")));
    assert_eq!(text.matches("• before").count(), 1, "nothing is shown twice: {text}");
    assert_eq!(text.matches("• after it").count(), 1, "{text}");
    assert_eq!(messages(&p.events("a").await), ["before", "after it"]);
    s.keys("i");
    s.keys("still there?\r");
    s.wait_text("You asked: still there?");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_control_plane_stays_stopped_until_somebody_wants_it() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    p.spawn_agent("a", "stream", "fracta:say before\nfracta:hang").await;
    let s = Screen::open(&p, &[], 120, 34);
    s.wait_text("• before");
    p.run(&["stop"]).await.ok();
    s.wait_text("disconnected, trying again: the control plane was stopped");
    let status = p.run(&["status"]).await;
    assert!(!status.stdout.contains("\"pid\""), "{}", status.stdout);
    p.agent("a").await;
    s.wait_for(|t| !t.contains("disconnected") && !t.contains("stream broken") && t.contains("running"));
}
