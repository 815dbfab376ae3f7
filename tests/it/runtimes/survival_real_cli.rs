//! A turn is told whole and once wherever the control plane dies.

use fracta::session::state::State;

use super::{World, all_understood, each_runtime};
use crate::agents::survival_real_cli::TURN;
use crate::agents::{deliveries, pieces_make_the_whole, story, turns_of};
use crate::plane_support::{Setup, is_turn_end};

each_runtime! {
    dies_anywhere: codex claude opencode;
}

/// The numbers of the loop below: the same on every run.
fn numbers() -> impl Iterator<Item = u64> {
    std::iter::successors(Some(0x9e37_79b9_u64), |x| {
        Some(x.wrapping_mul(6_364_136_223_846_793_005) ^ (x >> 29))
    })
    .map(|x| x >> 13)
}

/// The control plane is killed at many points of a turn; what is told is the same.
async fn dies_anywhere(cli: &'static str) {
    let w = World::new(cli, Setup::default());
    w.spawn("a", "stream", "Open.\nfracta:say open").await;
    w.wait_event("a", is_turn_end).await;
    // Only Codex writes a file that it has not read before.
    let turn: String =
        TURN.lines().filter(|l| cli == "codex" || !l.contains("patch")).collect::<Vec<_>>().join("\n");
    let rounds = if cli == "codex" { 21 } else { 7 };
    let mut stories = Vec::new();
    let mut points = numbers();
    let mut length = 0;
    for round in 0..rounds {
        w.wait_state("a", State::Idle).await;
        let before = w.events("a").await.len() as u64;
        w.run(&["say", "a", &turn]).await.ok();
        if round > 0 {
            let point = points.next().unwrap() % length;
            let mut follow = w.follow("a", before);
            for _ in 0..point {
                follow.next().await.unwrap();
            }
            drop(follow);
            w.kill_server().await;
        }
        w.wait_event_after("a", before, is_turn_end).await;
        w.wait_state("a", State::Idle).await;
        let events = w.events("a").await.split_off(usize::try_from(before).unwrap());
        assert_eq!(deliveries(&events, &turn), ["queued", "accepted"], "round {round}");
        if round == 0 {
            length = events.len() as u64;
        }
        let mut told = story(&events);
        if cli == "opencode" {
            // What was missed is fetched, and told behind what came meanwhile: whole and once, but later.
            told.retain(|(kind, _)| !kind.ends_with(".delta") && kind != "command.output");
            told.sort();
        }
        stories.push(told);
        assert_eq!(stories[0], stories[round], "round {round}");
    }
    assert!(length > 20, "{length} events are too few to be killed between");
    let events = w.events("a").await;
    pieces_make_the_whole(&events);
    all_understood(&events);
    assert_eq!(turns_of(&events).len(), rounds + 1);
}
