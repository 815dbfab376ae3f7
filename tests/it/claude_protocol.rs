//! The real claude over plain pipes, through the adapter's launch and protocol: no shim, no server.
//!
//! Each test runs with the claude of `FRACTA_TEST_CLIS` or PATH, and where it says so also with the
//! oldest one that fracta was tried with (`assets/clis.txt`).

use fracta::event::{Body, Decision, Outcome};
use fracta::runtime::{Command, Mode, Permissions, SessionSpec};
use serde_json::json;

use crate::bench::{Agent, Bench, claude};

mod real_cli {
    use super::*;

    fn completed(b: &Body) -> bool {
        matches!(b, Body::TurnCompleted { outcome: Outcome::Completed, .. })
    }

    fn deltas(agent: &Agent) -> String {
        agent.facts.iter().fold(String::new(), |all, f| match &f.body {
            Body::MessageDelta { text, .. } => all + text,
            _ => all,
        })
    }

    #[tokio::test]
    async fn batch_turns_on_one_session() {
        for bench in Bench::claudes().await {
            let spec = bench.spec(Mode::Batch, Permissions::Auto);
            let prompt = "fracta:say first words\nfracta:run echo out-$((40+2)) > ran.txt; cat ran.txt; exit 3\nfracta:patch notes.txt <<one\\ntwo\nfracta:say done";
            let mut first = Agent::start(&bench, spec.clone(), Some(prompt)).await;
            while first.line().await {}
            assert!(first.child.wait().await.unwrap().success());
            assert_eq!(first.said(), ["first words", "done"]);
            assert_eq!(deltas(&first), first.said().concat());
            assert_eq!(first.deliveries, [("m-prompt".to_owned(), Ok(()))]);
            assert!(first.has(completed) && first.has(|b| matches!(b, Body::TurnStarted {})));
            assert!(first.has(|b| matches!(b, Body::CommandCompleted { text: Some(t), exit_code: Some(3), .. } if t.contains("out-42"))), "{:#?}", first.facts);
            let diff = |b: &Body| matches!(b, Body::FileChanged { diff: Some(d), path, .. } if d == "@@ -0,0 +1,2 @@\n+one\n+two\n" && path.ends_with("notes.txt"));
            assert!(first.has(diff), "{:#?}", first.facts);
            assert!(first.has(
                |b| matches!(b, Body::Usage(u) if !u.total && u.input_tokens > 0 && u.cost_usd.is_some())
            ));
            first.check();

            let spec = SessionSpec { run: 2, resume_token: first.token(), ..spec };
            let mut next = Agent::start(&bench, spec, Some("fracta:say more words")).await;
            while next.line().await {}
            assert_eq!((next.token(), next.said()), (first.token(), vec!["more words"]));
            next.check();
            let last = bench.model.requests().pop().unwrap();
            assert!(last.body.to_string().contains("first words"), "the session went on");
        }
    }

    #[tokio::test]
    async fn batch_asks_nobody_and_denies() {
        let Some(bench) = Bench::claude().await else { return };
        let spec = bench.spec(Mode::Batch, Permissions::Ask);
        let mut agent = Agent::start(&bench, spec, Some("fracta:run touch never.txt\nfracta:say end")).await;
        while agent.line().await {}
        assert!(
            agent.has(|b| matches!(b, Body::CommandCompleted { exit_code: None, .. })),
            "{:#?}",
            agent.facts
        );
        assert_eq!(bench.project.read("never.txt"), None);
        assert!(agent.has(completed));
        agent.check();
    }

    #[tokio::test]
    async fn the_model_is_what_was_asked_for() {
        let Some(bench) = Bench::claude().await else { return };
        let model = Some("claude-haiku-4-5".to_owned());
        let spec = SessionSpec { model, ..bench.spec(Mode::Batch, Permissions::Auto) };
        let mut agent = Agent::start(&bench, spec, Some("fracta:say x")).await;
        while agent.line().await {}
        let last = bench.model.requests().pop().unwrap();
        assert!(
            last.body["model"].as_str().unwrap().starts_with("claude-haiku-4-5"),
            "{}",
            last.body["model"]
        );
    }

    #[tokio::test]
    async fn failures_are_told_clearly() {
        for bench in Bench::claudes().await {
            let prompt = "fracta:fail 400 the model will not have it";
            let says_so = |b: &Body| matches!(b, Body::TurnCompleted { outcome: Outcome::Failed, error: Some(e) } if e.contains("will not have it"));
            let mut batch =
                Agent::start(&bench, bench.spec(Mode::Batch, Permissions::Auto), Some(prompt)).await;
            while batch.line().await {}
            assert!(batch.has(says_so), "{:#?}", batch.facts);
            batch.check();

            let mut stream = bench.stream(Permissions::Auto).await;
            stream.turn("m-1", prompt).await;
            assert_eq!(stream.turn_end().await, Outcome::Failed);
            stream.turn("m-2", "fracta:fail 404 not_found_error").await;
            assert_eq!(stream.turn_end().await, Outcome::Failed);
            stream.turn("m-3", "fracta:say and on").await;
            assert_eq!(stream.turn_end().await, Outcome::Completed);
            stream.close().await;
        }
    }

    #[tokio::test]
    async fn an_unknown_session_is_told() {
        for bench in Bench::claudes().await {
            let token = Some("01a203cf-0000-7801-9000-dd51630dc288".to_owned());
            for (mode, prompt) in [(Mode::Batch, Some("hello")), (Mode::Stream, None)] {
                let spec = SessionSpec { resume_token: token.clone(), ..bench.spec(mode, Permissions::Auto) };
                let mut agent = Agent::start(&bench, spec, prompt).await;
                while agent.line().await {}
                let status = agent.child.wait().await.unwrap();
                let stderr = agent.stderr().await;
                let exit = fracta::transport::Exit { code: status.code(), signal: None, spawn_error: None };
                // Older ones say it on stderr only, newer ones also in words that make it fatal.
                let reason = claude().failure(&stderr, &exit);
                let told = agent.protocol.fatal().map_or(reason, str::to_owned);
                assert!(
                    told.contains("No conversation found") && told.contains("start a new agent"),
                    "{told}"
                );
                assert!(mode == Mode::Batch || !agent.protocol.ready());
            }
        }
    }

    #[tokio::test]
    async fn stream_turns_with_all_kinds_of_items() {
        for bench in Bench::claudes().await {
            let mut agent = bench.stream(Permissions::Auto).await;
            let prompt = "fracta:think Hard thoughts\nfracta:run sh -c 'echo out-$((40+2))'\nfracta:patch notes.txt <<one\\ntwo\nfracta:say last words of it";
            agent.turn("m-1", prompt).await;
            assert_eq!(agent.turn_end().await, Outcome::Completed);
            assert!(agent.deliveries.contains(&("m-1".to_owned(), Ok(()))), "{:?}", agent.deliveries);
            assert_eq!(agent.said(), ["last words of it"]);
            assert_eq!(deltas(&agent), "last words of it");
            assert!(
                agent.has(|b| matches!(b, Body::ReasoningCompleted { text, .. } if text == "Hard thoughts"))
            );
            assert!(
                agent.has(|b| matches!(b, Body::CommandStarted { command, .. } if command.contains("echo")))
            );
            assert!(agent.has(|b| matches!(b, Body::CommandCompleted { text: Some(t), exit_code: Some(0), .. } if t.contains("out-42"))));
            assert!(
                agent.has(|b| matches!(b, Body::FileChanged { path, .. } if path.ends_with("notes.txt")))
            );
            assert!(agent.has(|b| matches!(b, Body::ApprovalResolved { decision: Decision::Approved, by, .. } if by == "auto")), "{:#?}", agent.facts);
            let steer = agent.command(Command::Steer { message: "m-2".into(), text: "x".into() }).await;
            assert!(steer.unwrap_err().0.contains("fracta say"));
            agent.close().await;
        }
    }

    #[tokio::test]
    async fn requests_are_approved_and_denied() {
        for bench in Bench::claudes().await {
            let mut agent = bench.stream(Permissions::Ask).await;
            agent.turn("m-1", "fracta:run touch yes.txt\nfracta:say ran").await;
            let id = agent.approval().await;
            assert_eq!(id, "a1-1");
            assert_eq!(bench.project.read("yes.txt"), None, "nothing ran before the answer");
            agent.answer(&id, Decision::Approved).await.unwrap();
            assert!(agent.answer(&id, Decision::Denied).await.unwrap_err().0.contains("answered already"));
            assert_eq!(agent.turn_end().await, Outcome::Completed);
            assert_eq!(bench.project.read("yes.txt").as_deref(), Some(""));

            agent.turn("m-2", "fracta:patch no.txt <<no\nfracta:say went on").await;
            let id = agent.approval().await;
            assert!(
                agent.has(
                    |b| matches!(b, Body::ApprovalRequested { diff: Some(d), .. } if d.contains("+no\n"))
                )
            );
            agent.answer(&id, Decision::Denied).await.unwrap();
            assert_eq!(agent.turn_end().await, Outcome::Completed);
            assert_eq!(agent.said(), ["ran", "went on"], "the turn went on after the refusal");
            assert_eq!(bench.project.read("no.txt"), None);
            assert!(
                agent.answer("a1-77", Decision::Approved).await.unwrap_err().0.contains("no request a1-77")
            );
            agent.close().await;
        }
    }

    #[tokio::test]
    async fn questions_are_answered() {
        let Some(bench) = Bench::claude().await else { return };
        let mut agent = bench.stream(Permissions::Ask).await;
        let ask = json!({"questions": [{"question": "Which?", "header": "H", "multiSelect": false, "options": [{"label": "A", "description": "a"}, {"label": "B", "description": "b"}]}]});
        agent.turn("m-1", &format!("fracta:tool AskUserQuestion {ask}\nfracta:say end")).await;
        let id = agent.approval().await;
        assert!(agent.answer(&id, Decision::Approved).await.unwrap_err().0.contains("q1"));
        let answers = Some(json!({"q1": "B"}));
        agent.command(Command::Answer { approval: id, decision: Decision::Approved, answers }).await.unwrap();
        assert_eq!(agent.turn_end().await, Outcome::Completed);
        assert!(
            agent
                .has(|b| matches!(b, Body::ToolCompleted { output, .. } if output.to_string().contains("B"))),
            "{:#?}",
            agent.facts
        );
        agent.close().await;
    }

    #[tokio::test]
    async fn turns_are_interrupted_and_the_session_goes_on() {
        for bench in Bench::claudes().await {
            let mut agent = bench.stream(Permissions::Ask).await;
            agent.turn("m-1", "fracta:say some words\nfracta:hang").await;
            agent.until("message.delta", |b| matches!(b, Body::MessageDelta { .. })).await;
            agent.command(Command::Interrupt).await.unwrap();
            assert_eq!(agent.turn_end().await, Outcome::Interrupted);

            agent.turn("m-2", "fracta:run touch never.txt").await;
            let id = agent.approval().await;
            agent.command(Command::Interrupt).await.unwrap();
            assert_eq!(agent.turn_end().await, Outcome::Interrupted);
            assert!(agent.has(|b| matches!(b, Body::ApprovalResolved { approval, decision: Decision::Withdrawn, by } if *approval == id && by == "runtime")));
            assert!(agent.answer(&id, Decision::Approved).await.is_err());
            assert_eq!(bench.project.read("never.txt"), None);

            agent.turn("m-3", "fracta:say and on").await;
            assert_eq!(agent.turn_end().await, Outcome::Completed);
            assert_eq!(agent.said().last(), Some(&"and on"));
            agent.close().await;
        }
    }

    #[tokio::test]
    async fn a_killed_session_is_resumed() {
        let Some(bench) = Bench::claude().await else { return };
        let mut agent = bench.stream(Permissions::Auto).await;
        agent.turn("m-1", "fracta:say remember the heron").await;
        assert_eq!(agent.turn_end().await, Outcome::Completed);
        agent.turn("m-2", "fracta:say half a\nfracta:hang").await;
        agent.until("message.delta", |b| matches!(b, Body::MessageDelta { .. })).await;
        agent.kill_group();
        while agent.line().await {}
        agent.check();
        let spec = SessionSpec { resume_token: agent.last_token(), run: 2, ..agent.spec.clone() };
        let mut again = Agent::start(&bench, spec, None).await;
        again.until("session.started", |b| matches!(b, Body::SessionStarted { .. })).await;
        again.turn("m-3", "fracta:say back").await;
        assert_eq!(again.turn_end().await, Outcome::Completed);
        assert_eq!(again.last_token(), agent.last_token());
        let last = bench.model.requests().pop().unwrap();
        assert!(last.body.to_string().contains("remember the heron"));
        again.close().await;
    }
}
