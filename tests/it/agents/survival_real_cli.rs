//! What outlives whom: control plane, screen, shim and codex are killed with SIGKILL, one or several.

use std::io::Read;

use fracta::session::state::State;
use nix::sys::signal::Signal;

use super::{deliveries, freeze, pieces_make_the_whole, session, story, turns_of};
use crate::plane_support::{FRACTA, Plane, Setup, is_turn_end, kind, messages, says, signal};

pub const TURN: &str = "fracta:pace 9 2\nfracta:think Let me see.\nfracta:say 60 words\nfracta:run echo one; echo two\n\
                    fracta:plan +a|*b\nfracta:say 40 words\nfracta:patch notes.txt <<x\nfracta:say the end";

/// The same of batch processes, which the control plane's death must not touch either.
#[tokio::test]
async fn a_batch_turn_is_told_whole_and_once_wherever_the_control_plane_dies() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    p.json(&["spawn", "--task", "a", "--mode", "batch", "--contract", TURN, "--wait"]).await;
    let first = p.events("a").await;
    let wanted = story(&first);
    for point in 1..first.len() {
        let before = p.events("a").await.len() as u64;
        p.run(&["say", "a", TURN]).await.ok();
        let mut follow = p.follow("a", before);
        for _ in 0..point {
            follow.next().await.unwrap();
        }
        drop(follow);
        p.kill_server().await;
        p.wait_event_after("a", before, |e| kind(e) == "session.ended").await;
        p.wait_state("a", State::Completed).await;
        let events = p.events("a").await.split_off(usize::try_from(before).unwrap());
        assert_eq!(story(&events), wanted, "killed after {point} events");
    }
}

#[tokio::test]
async fn a_control_plane_killed_in_text_and_in_a_command_is_followed_by_the_next() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    let turn = "fracta:say begun\nfracta:gate text\nfracta:run echo in; until [ -e go ]; do sleep 0.05; done; echo out\nfracta:say end";
    let row = p.spawn_agent("a", "stream", turn).await;
    // One follower sees it all: it goes on by itself with the next control plane.
    let mut follow = p.follow("a", 0);
    follow.until(|e| says(e, "begun")).await;
    p.script.gate("text").reached().await;
    let pids = p.pids(session(&row));
    p.kill_server().await;
    p.script.gate("text").release();
    follow.until(|e| kind(e) == "command.started").await;
    p.kill_server().await;
    std::fs::write(p.layout().state_dir().join("worktrees/a/go"), "").unwrap();
    follow.until(is_turn_end).await;
    assert_eq!(p.pids(session(&row)), pids, "the agent was not touched");
    let events = p.events("a").await;
    assert_eq!(messages(&events), ["begun", "end"]);
    pieces_make_the_whole(&events);
    assert_eq!(turns_of(&events), ["completed"]);
    assert_eq!(follow.seen, events[..follow.seen.len()]);
}

/// Right after `spawn` has answered: the agent and its first message are there for good.
#[tokio::test]
async fn a_spawn_that_was_answered_outlives_the_control_plane() {
    let Some(p) = Plane::new(Setup { max_running: 0, ..Setup::default() }) else { return };
    for n in 0..6 {
        let (name, mode) = (format!("a{n}"), if n % 2 == 0 { "stream" } else { "batch" });
        p.spawn_agent(&name, mode, "fracta:say here").await;
        p.kill_server().await;
        let row = p
            .wait_agent(&name, |a| {
                a.state == State::Idle && a.usage.input_tokens > 0
                    || a.state.is_final()
                    || told_unconfirmed(a)
            })
            .await;
        let events = p.events(&name).await;
        let fate = deliveries(&events, "fracta:say here");
        // Killed between the handing over and the start, nobody can know: then it is told so.
        match fate.last().map(String::as_str) {
            Some("accepted") => assert_eq!(messages(&events), ["here"], "{row:?}"),
            Some("unconfirmed" | "rejected") => assert!(messages(&events).is_empty(), "{events:#?}"),
            _ => panic!("{name}: {events:#?}"),
        }
        let asked = p
            .model
            .requests()
            .iter()
            .filter(|r| r.body.to_string().contains(&format!("worktrees/{name}")))
            .count();
        assert!(asked <= 1, "{name}: asked {asked} times");
    }
}

fn told_unconfirmed(a: &fracta::control::wire::Agent) -> bool {
    a.state == State::Unknown && a.last_seq > 1
}

#[tokio::test]
async fn queued_messages_outlive_the_control_plane() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    p.spawn_agent("a", "stream", "fracta:say begun\nfracta:gate g").await;
    p.wait_event("a", |e| says(e, "begun")).await;
    for n in ["one", "two"] {
        p.run(&["say", "a", &format!("fracta:say {n}")]).await.ok();
    }
    p.kill_server().await;
    assert_eq!(p.wait_agent("a", |a| a.queued_messages == 2).await.state, State::Running);
    p.script.gate("g").release();
    p.wait_event("a", |e| kind(e) == "message.completed" && says(e, "two")).await;
    let events = p.events("a").await;
    assert_eq!(messages(&events), ["begun", "one", "two"]);
    assert_eq!(deliveries(&events, "fracta:say one"), ["queued", "accepted"]);
}

/// The control plane dies between handing a message over and its confirmation.
#[tokio::test]
async fn a_message_on_its_way_is_unconfirmed_and_never_sent_twice() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    let row = p.json(&["spawn", "--task", "a", "--contract", "fracta:say one", "--wait"]).await;
    let (_, codex) = p.pids(session(&row));
    let frozen = freeze(codex);
    let before = p.events("a").await.len() as u64;
    let mut say = p.command(&["say", "a", "fracta:say two"]).spawn().unwrap();
    frozen.has_input().await;
    p.kill_server().await;
    let _ = say.wait().await;
    let told = p
        .wait_event_after("a", before.saturating_sub(1), |e| {
            e["delivery"] == "unconfirmed" || e["delivery"] == "accepted"
        })
        .await;
    assert_eq!(told["delivery"], "unconfirmed", "{told}");
    let asked = |p: &Plane| {
        p.model.requests().iter().filter(|r| r.body.to_string().contains("fracta:say two")).count()
    };
    assert_eq!(asked(&p), 0);
    frozen.thaw();
    p.wait_event("a", |e| kind(e) == "message.completed" && says(e, "two")).await;
    p.wait_state("a", State::Idle).await;
    let events = p.events("a").await;
    assert_eq!(deliveries(&events, "fracta:say two"), ["queued", "unconfirmed", "accepted"]);
    assert_eq!((messages(&events), asked(&p)), (vec!["one", "two"], 1));
}

#[tokio::test]
async fn a_killed_screen_stops_nothing() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    let row = p.spawn_agent("a", "stream", "fracta:say begun\nfracta:gate g\nfracta:say end").await;
    p.wait_event("a", |e| says(e, "begun")).await;
    let (pids, server) = (p.pids(session(&row)), p.server_pid().await);
    let size = portable_pty::PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 };
    let pty = portable_pty::native_pty_system().openpty(size).unwrap();
    let mut command = portable_pty::CommandBuilder::new(FRACTA);
    command.cwd(p.root());
    command.env("TERM", "xterm-256color");
    p.env().iter().for_each(|(k, v)| command.env(k, v));
    let mut screen = pty.slave.spawn_command(command).unwrap();
    drop(pty.slave);
    let mut reader = pty.master.try_clone_reader().unwrap();
    // It shows the agent.
    let shown = tokio::task::spawn_blocking(move || {
        let mut terminal = vt100::Parser::new(24.try_into().unwrap(), 80.try_into().unwrap(), 0);
        let mut bytes = [0; 4096];
        while !terminal.screen().contents().contains("begun") {
            let n = reader.read(&mut bytes).unwrap();
            assert!(n > 0, "the screen ended: {}", terminal.screen().contents());
            terminal.process(&bytes[..n]);
        }
    });
    shown.await.unwrap();
    screen.kill().unwrap();
    tokio::task::spawn_blocking(move || screen.wait().unwrap()).await.unwrap();
    p.script.gate("g").release();
    p.wait_state("a", State::Idle).await;
    assert_eq!((p.pids(session(&row)), p.server_pid().await), (pids, server));
    assert_eq!(messages(&p.events("a").await), ["begun", "end"]);
}

#[tokio::test]
async fn a_killed_shim_takes_its_agent_along_and_that_is_told() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    for (mode, mark) in [("stream", "76543"), ("batch", "76542")] {
        let row = p.spawn_agent(mode, mode, &format!("fracta:run {}", super::daemons(mark))).await;
        super::daemons_run(&p, mark).await;
        signal(p.pids(session(&row)).0, Signal::SIGKILL);
        let now = p.wait_state(mode, State::Failed).await;
        assert!(now.reason.as_deref().unwrap().contains("shim was killed"), "{now:?}");
        assert!(now.turn.is_none());
        p.all_gone().await;
        assert_eq!(turns_of(&p.events(mode).await), ["failed"]);
        p.run(&["say", mode, "fracta:say again"]).await.ok();
        p.wait_event(mode, |e| kind(e) == "message.completed" && says(e, "again")).await;
        p.run(&["kill", mode, "--force"]).await.ok();
        p.all_gone().await;
    }
}

#[tokio::test]
async fn a_killed_codex_is_a_failure_with_its_signal() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    for mode in ["stream", "batch"] {
        let row = p.spawn_agent(mode, mode, "fracta:run true\nfracta:say begun\nfracta:hang").await;
        p.wait_event(mode, |e| kind(e) == "command.completed").await;
        let (_, codex) = p.pids(session(&row));
        nix::sys::signal::killpg(nix::unistd::Pid::from_raw(codex), Signal::SIGKILL).unwrap();
        let now = p.wait_state(mode, State::Failed).await;
        let reason = now.reason.as_deref().unwrap();
        assert!(reason.contains("SIGKILL") || reason.contains("signal 9"), "{reason}");
        assert_eq!(turns_of(&p.events(mode).await), ["failed"]);
        p.all_gone().await;
    }
}

/// Control plane and shim: nobody is left who knows how it went, and that is what is said.
#[tokio::test]
async fn control_plane_and_shim_killed_together() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    let row = p.spawn_agent("a", "stream", &format!("fracta:run {}", super::daemons("76541"))).await;
    super::daemons_run(&p, "76541").await;
    let shim = p.pids(session(&row)).0;
    p.kill_server().await;
    signal(shim, Signal::SIGKILL);
    let now = p.wait_state("a", State::Failed).await;
    assert!(now.reason.as_deref().unwrap().contains("not known"), "{now:?}");
    p.all_gone().await;
    let before = p.events("a").await;
    p.kill_server().await;
    assert_eq!(p.events("a").await, before, "the end is told once");
    p.run(&["say", "a", "fracta:say again"]).await.ok();
    p.wait_event("a", |e| kind(e) == "message.completed" && says(e, "again")).await;
}
