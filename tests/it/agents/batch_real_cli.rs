//! Batch mode: one process for each turn.

use fracta::session::state::State;

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
