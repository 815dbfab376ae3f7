//! The real codex over plain pipes, through the adapter's launch and protocol: no shim, no server.
//!
//! Each test runs with the codex of `FRACTA_TEST_CLIS` or PATH, and where it says so also with the
//! oldest one that fracta was tried with (`assets/clis.txt`).

use std::path::Path;
use std::time::Duration;

use fracta::event::{Body, Decision, Outcome};
use fracta::runtime::{Command, Mode, Permissions, SessionSpec};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;

use crate::bench::{Agent, Bench, codex};

#[tokio::test]
async fn batch_turns_on_one_thread() {
    for bench in Bench::all().await {
        // With the sandbox words of the adapter, which this version must know.
        let mut spec = bench.spec(Mode::Batch, Permissions::Auto);
        spec.command.truncate(1);
        let mut first = Agent::start(&bench, spec.clone(), Some("fracta:say first words")).await;
        while first.line().await {}
        assert!(first.child.wait().await.unwrap().success());
        assert_eq!(first.said(), ["first words"]);
        assert_eq!(first.deliveries, [("m-prompt".to_owned(), Ok(()))]);
        let kinds = |b: &Body| matches!(b, Body::TurnCompleted { outcome: Outcome::Completed, .. });
        assert!(first.has(kinds) && first.has(|b| matches!(b, Body::TurnStarted {})));
        assert!(first.facts.iter().all(|f| f.turn.as_deref().is_none_or(|t| t == "turn-1")));
        first.check();

        for permissions in [Permissions::Auto, Permissions::Ask] {
            let run = if permissions == Permissions::Auto { 2 } else { 3 };
            let spec = SessionSpec { run, permissions, resume_token: first.token(), ..spec.clone() };
            let mut next = Agent::start(&bench, spec, Some("fracta:say more words")).await;
            while next.line().await {}
            assert_eq!((next.token(), next.said()), (first.token(), vec!["more words"]));
            next.check();
        }
        let last = bench.model.requests().pop().unwrap();
        assert!(last.body.to_string().contains("first words"), "the thread went on");
    }
}

#[tokio::test]
async fn batch_commands_files_and_plan() {
    let Some(bench) = Bench::new().await else { return };
    let prompt = "fracta:plan +a|*b\nfracta:run echo out-$((40+2))\nfracta:patch notes.txt <<one\\ntwo\nfracta:say done";
    let spec = bench.spec(Mode::Batch, Permissions::Auto);
    let mut agent = Agent::start(&bench, spec, Some(prompt)).await;
    while agent.line().await {}
    assert!(agent.has(|b| matches!(b, Body::PlanUpdated(p) if p.steps.len() == 2)), "{:#?}", agent.facts);
    assert!(agent.has(|b| matches!(b, Body::CommandCompleted { text: Some(t), exit_code: Some(0), .. } if t.contains("out-42"))));
    assert!(agent.has(|b| matches!(b, Body::FileChanged { path, .. } if path.ends_with("notes.txt"))));
    agent.check();
}

#[tokio::test]
async fn a_failing_model_fails_the_turn() {
    let Some(bench) = Bench::new().await else { return };
    let prompt = "fracta:fail 404 The model nope does not exist";
    let says_so = |b: &Body| matches!(b, Body::TurnCompleted { outcome: Outcome::Failed, error: Some(e) } if e.contains("nope does not exist"));
    let mut batch = Agent::start(&bench, bench.spec(Mode::Batch, Permissions::Auto), Some(prompt)).await;
    while batch.line().await {}
    assert!(batch.has(says_so), "{:#?}", batch.facts);
    batch.check();

    let mut stream = bench.stream(Permissions::Auto).await;
    stream.turn("m-1", prompt).await;
    assert_eq!(stream.turn_end().await, Outcome::Failed);
    assert!(stream.has(says_so), "{:#?}", stream.facts);
    stream.close().await;
}

#[tokio::test]
async fn an_unknown_thread_is_told() {
    let Some(bench) = Bench::new().await else { return };
    let token = "01a203cf-0000-7801-9000-dd51630dc288".to_owned();
    let spec = SessionSpec { resume_token: Some(token), ..bench.spec(Mode::Batch, Permissions::Auto) };
    let mut batch = Agent::start(&bench, spec.clone(), Some("hello")).await;
    while batch.line().await {}
    let status = batch.child.wait().await.unwrap();
    let mut stderr = String::new();
    batch.child.stderr.as_mut().unwrap().read_to_string(&mut stderr).await.unwrap();
    let exit = fracta::transport::Exit { code: status.code(), signal: None, spawn_error: None };
    let reason = codex().failure(&stderr, &exit);
    assert!(reason.contains("no rollout found") && reason.contains("exit code 1"), "{reason}");

    let mut stream = Agent::start(&bench, SessionSpec { mode: Mode::Stream, ..spec }, None).await;
    stream
        .until("error", |b| matches!(b, Body::Error { text, .. } if text.contains("no rollout found")))
        .await;
    assert!(!stream.protocol.ready());
    assert!(stream.protocol.fatal().unwrap().contains("no rollout found"));
    stream.close().await;
}

#[tokio::test]
async fn stream_turn_with_all_kinds_of_items() {
    for bench in Bench::all().await {
        let mut agent = bench.stream(Permissions::Auto).await;
        let prompt = "fracta:think Hard thoughts\nfracta:plan +a|*b\nfracta:run echo out-$((40+2))\nfracta:patch notes.txt <<one\\ntwo\nfracta:say last words of it";
        agent.turn("m-1", prompt).await;
        assert_eq!(agent.turn_end().await, Outcome::Completed);
        assert_eq!(agent.deliveries, [("m-1".to_owned(), Ok(()))]);
        // Before the last words, the script may answer a note that 0.124 puts in the person's mouth.
        assert_eq!(agent.said().last(), Some(&"last words of it"));
        let deltas: String = agent.facts.iter().fold(String::new(), |all, f| match &f.body {
            Body::MessageDelta { text, .. } => all + text,
            _ => all,
        });
        assert_eq!(deltas, agent.said().concat());
        assert!(
            agent.has(
                |b| matches!(b, Body::ReasoningCompleted { text, .. } if text.contains("Hard thoughts"))
            )
        );
        assert!(agent.has(|b| matches!(b, Body::PlanUpdated(p) if p.steps.len() == 2)));
        assert!(agent.has(|b| matches!(b, Body::CommandStarted { command, .. } if command.contains("echo"))));
        assert!(agent.has(|b| matches!(b, Body::CommandCompleted { text: Some(t), exit_code: Some(0), .. } if t.contains("out-42"))));
        let diff = |b: &Body| matches!(b, Body::FileChanged { diff: Some(d), .. } if d == "@@ -0,0 +1,2 @@\n+one\n+two\n");
        assert!(agent.has(diff), "{:#?}", agent.facts);
        assert!(agent.has(|b| matches!(b, Body::Usage(u) if u.total && u.input_tokens > 0)));
        agent.close().await;
    }
}

#[tokio::test]
async fn a_running_turn_is_steered() {
    for bench in Bench::all().await {
        let mut agent = bench.stream(Permissions::Auto).await;
        agent.turn("m-1", "fracta:gate one\nfracta:say first").await;
        bench.script.gate("one").reached().await;
        agent.until("turn.started", |b| matches!(b, Body::TurnStarted {})).await;
        agent.command(Command::Steer { message: "m-2".into(), text: "to the left".into() }).await.unwrap();
        while agent.deliveries.len() < 2 {
            assert!(agent.line().await);
        }
        bench.script.gate("one").release();
        assert_eq!(agent.turn_end().await, Outcome::Completed);
        assert_eq!(agent.deliveries, [("m-1".to_owned(), Ok(())), ("m-2".to_owned(), Ok(()))]);
        assert!(agent.said().iter().any(|t| t.contains("steered: to the left")), "{:?}", agent.said());
        let late = agent.command(Command::Steer { message: "m-3".into(), text: "late".into() }).await;
        assert!(late.unwrap_err().0.contains("no turn runs"));
        agent.close().await;
    }
}

#[tokio::test]
async fn text_is_interrupted_and_the_session_goes_on() {
    let Some(bench) = Bench::new().await else { return };
    let mut agent = bench.stream(Permissions::Auto).await;
    agent.turn("m-1", "fracta:say some words\nfracta:hang").await;
    agent.until("message.delta", |b| matches!(b, Body::MessageDelta { .. })).await;
    agent.command(Command::Interrupt).await.unwrap();
    assert_eq!(agent.turn_end().await, Outcome::Interrupted);
    agent.turn("m-2", "fracta:say and on").await;
    assert_eq!(agent.turn_end().await, Outcome::Completed);
    assert_eq!(agent.said().last(), Some(&"and on"));
    agent.close().await;
}

/// Codex refuses both before it has said that the turn started; a person is not to notice.
#[tokio::test]
async fn a_turn_is_steered_and_interrupted_while_it_starts() {
    let Some(bench) = Bench::new().await else { return };
    let mut agent = bench.stream(Permissions::Auto).await;
    agent.turn("m-1", "fracta:hang").await;
    agent.command(Command::Steer { message: "m-2".into(), text: "quick".into() }).await.unwrap();
    agent.command(Command::Interrupt).await.unwrap();
    assert_eq!(agent.turn_end().await, Outcome::Interrupted);
    assert_eq!(agent.deliveries, [("m-1".to_owned(), Ok(())), ("m-2".to_owned(), Ok(()))]);
    agent.close().await;
}

#[tokio::test]
async fn an_interrupt_ends_the_running_command() {
    for bench in Bench::all().await {
        for permissions in [Permissions::Auto, Permissions::Ask] {
            let mut agent = bench.stream(permissions).await;
            // Again and again: codex does not tell of output that comes before it listens.
            agent.turn("m-1", "fracta:run while sleep 1; do echo pid=$$=; done").await;
            if permissions == Permissions::Ask {
                // Of a command that had to be approved, codex never says the process id.
                let id = agent.approval().await;
                agent.answer(&id, Decision::Approved).await.unwrap();
            }
            let output = agent
                .until(
                    "command.output",
                    |b| matches!(b, Body::CommandOutput { text, .. } if text.contains('=')),
                )
                .await;
            let Body::CommandOutput { text, .. } = output else { panic!("{output:?}") };
            let pid = Pid::from_raw(text.split('=').nth(1).unwrap().parse().unwrap());
            assert_eq!(kill(pid, None), Ok(()), "it runs");
            agent.command(Command::Interrupt).await.unwrap();
            assert_eq!(agent.turn_end().await, Outcome::Interrupted);
            let end = agent.until("command.completed", |b| matches!(b, Body::CommandCompleted { .. })).await;
            assert!(!matches!(end, Body::CommandCompleted { exit_code: Some(0), .. }), "{end:?}");
            gone(pid).await;
            agent.close().await;
        }
    }
}

/// Waits until a process is no more (or a corpse that its parent has not looked at).
async fn gone(pid: Pid) {
    let alive = || match std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")) {
        Ok(stat) => !stat.contains(") Z "),
        Err(_) => kill(pid, None).is_ok(),
    };
    let wait = async {
        while alive() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("the command still runs");
}

#[tokio::test]
async fn requests_are_approved_and_denied() {
    for bench in Bench::all().await {
        let mut agent = bench.stream(Permissions::Ask).await;
        agent.turn("m-1", "fracta:run echo yes > yes.txt\nfracta:say ran").await;
        let id = agent.approval().await;
        assert!(id.starts_with("a1-"), "{id}");
        assert_eq!(bench.project.read("yes.txt"), None, "nothing ran before the answer");
        agent.answer(&id, Decision::Approved).await.unwrap();
        assert!(agent.answer(&id, Decision::Denied).await.unwrap_err().0.contains("answered already"));
        assert_eq!(agent.turn_end().await, Outcome::Completed);
        assert_eq!(bench.project.read("yes.txt").as_deref(), Some("yes\n"));

        agent.turn("m-2", "fracta:run echo no > no.txt\nfracta:say went on").await;
        let id = agent.approval().await;
        agent.answer(&id, Decision::Denied).await.unwrap();
        let end = agent.until("command.completed", |b| matches!(b, Body::CommandCompleted { .. })).await;
        assert!(matches!(end, Body::CommandCompleted { exit_code: None, .. }), "{end:?}");
        assert_eq!(agent.turn_end().await, Outcome::Completed);
        assert_eq!(agent.said(), ["ran", "went on"], "the turn went on after the refusal");
        assert_eq!(bench.project.read("no.txt"), None);
        assert!(agent.answer("a1-77", Decision::Approved).await.unwrap_err().0.contains("no request a1-77"));
        let resolved: Vec<Decision> = agent
            .facts
            .iter()
            .filter_map(|f| match &f.body {
                Body::ApprovalResolved { decision, by, .. } if by == "person" => Some(*decision),
                _ => None,
            })
            .collect();
        assert_eq!(resolved, [Decision::Approved, Decision::Denied]);
        agent.close().await;
    }
}

#[tokio::test]
async fn a_patch_asks_with_its_diff() {
    let Some(bench) = Bench::new().await else { return };
    let mut agent = bench.stream(Permissions::Ask).await;
    agent.turn("m-1", "fracta:patch notes.txt <<one\\ntwo\nfracta:say written").await;
    let asked = agent.until("approval.requested", |b| matches!(b, Body::ApprovalRequested { .. })).await;
    let Body::ApprovalRequested { approval, what, diff, .. } = asked else { panic!("{asked:?}") };
    assert!(what.contains("notes.txt"), "{what}");
    assert!(diff.unwrap().contains("+one\n+two\n"));
    agent.answer(&approval, Decision::Approved).await.unwrap();
    assert_eq!(agent.turn_end().await, Outcome::Completed);
    assert_eq!(bench.project.read("notes.txt").as_deref(), Some("one\ntwo\n"));
    agent.close().await;
}

#[tokio::test]
async fn an_interrupt_withdraws_what_is_asked() {
    for bench in Bench::all().await {
        let mut agent = bench.stream(Permissions::Ask).await;
        agent.turn("m-1", "fracta:run echo never > never.txt").await;
        let id = agent.approval().await;
        agent.command(Command::Interrupt).await.unwrap();
        assert_eq!(agent.turn_end().await, Outcome::Interrupted);
        assert!(agent.has(|b| matches!(b, Body::ApprovalResolved { approval, decision: Decision::Withdrawn, by } if *approval == id && by == "runtime")));
        assert!(agent.has(|b| matches!(b, Body::CommandCompleted { exit_code: None, .. })));
        assert!(agent.answer(&id, Decision::Approved).await.is_err());
        assert_eq!(bench.project.read("never.txt"), None);
        agent.close().await;
    }
}

#[tokio::test]
async fn a_killed_session_is_resumed() {
    for bench in Bench::all().await {
        let mut agent = bench.stream(Permissions::Auto).await;
        agent.turn("m-1", "fracta:say remember the heron").await;
        assert_eq!(agent.turn_end().await, Outcome::Completed);
        agent.turn("m-2", "fracta:say half a\nfracta:hang").await;
        agent.until("message.delta", |b| matches!(b, Body::MessageDelta { .. })).await;
        agent.kill_group();
        while agent.line().await {}
        agent.child.wait().await.unwrap();
        agent.check();

        let spec = SessionSpec { resume_token: agent.token(), run: 2, ..agent.spec.clone() };
        let mut next = Agent::start(&bench, spec, None).await;
        next.until("session.started", |b| matches!(b, Body::SessionStarted { .. })).await;
        assert_eq!(next.token(), agent.token());
        next.turn("m-3", "fracta:say and on").await;
        assert_eq!(next.turn_end().await, Outcome::Completed);
        assert_eq!(next.said(), ["and on"]);
        let last = bench.model.requests().pop().unwrap();
        assert!(last.body.to_string().contains("remember the heron"));
        next.close().await;
    }
}
