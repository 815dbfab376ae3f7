//! The real OpenCode, end to end: the `fracta` binary, its control plane and shims, the installed CLI,
//! a scripted model.

pub mod proxy;

mod real_cli {
    use std::sync::Arc;

    use fracta::session::state::State;
    use serde_json::Value;

    use super::proxy::Proxy;
    use crate::plane_support::{Plane, Setup, is_turn_end, kind, messages, says};
    use crate::support::require_cli;

    fn plane(setup: Setup) -> Option<Plane> {
        require_cli("opencode")?;
        Some(Plane::without_cli(setup))
    }

    fn asking() -> Setup {
        Setup { permissions: Some("ask"), ..Setup::default() }
    }

    async fn spawn(p: &Plane, name: &str, mode: &str, contract: &str) -> Value {
        p.json(&["spawn", "--task", name, "--runtime", "opencode", "--mode", mode, "--contract", contract])
            .await
    }

    fn of_kind<'e>(events: &'e [Value], wanted: &str) -> Vec<&'e Value> {
        events.iter().filter(|e| kind(e) == wanted).collect()
    }

    /// The text that was streamed, item by item in order.
    fn streamed(events: &[Value]) -> String {
        of_kind(events, "message.delta").iter().map(|e| e["text"].as_str().unwrap()).collect()
    }

    /// Every delta once, none missing: what was streamed is what was said.
    fn whole(events: &[Value]) {
        // Older versions take white space off the end of a whole text.
        let bare = |text: String| text.split_whitespace().collect::<String>();
        assert_eq!(bare(streamed(events)), bare(messages(events).concat()));
        for unwanted in ["gap", "raw"] {
            assert_eq!(of_kind(events, unwanted), Vec::<&Value>::new());
        }
    }

    const WORK: &str = "Work.\nfracta:think hm\nfracta:say one\nfracta:plan look|write\n\
        fracta:run echo out; exit 3\nfracta:patch notes.txt <<first\nfracta:say two";

    #[tokio::test]
    async fn batch_tells_everything_and_goes_on_in_the_same_session() {
        let Some(p) = plane(Setup::default()) else { return };
        spawn(&p, "b", "batch", WORK).await;
        let agent = p.wait_state("b", State::Completed).await;
        let token = agent.resume_token.unwrap();
        assert!(token.starts_with("ses_"));
        let events = p.events("b").await;
        assert_eq!(messages(&events), ["one", "two"]);
        let command = of_kind(&events, "command.completed")[0];
        assert_eq!((&command["exit_code"], &command["text"]), (&3.into(), &"out\n".into()));
        let file = of_kind(&events, "file.changed")[0];
        assert!(file["path"].as_str().unwrap().ends_with("notes.txt") && file["change"] == "added", "{file}");
        assert!(of_kind(&events, "usage").len() > 1 && of_kind(&events, "step").len() > 1);
        assert_eq!(of_kind(&events, "raw"), Vec::<&Value>::new());
        p.run(&["say", "b", "And?\nfracta:say again"]).await.ok();
        p.wait_event("b", |e| says(e, "again")).await;
        let agent = p.wait_state("b", State::Completed).await;
        assert_eq!(agent.resume_token.unwrap(), token);
    }

    #[tokio::test]
    async fn a_batch_turn_that_fails_says_why() {
        let Some(p) = plane(Setup::default()) else { return };
        spawn(&p, "b", "batch", "Fail.\nfracta:fail 400 the model is broken").await;
        let agent = p.wait_state("b", State::Failed).await;
        assert!(agent.reason.unwrap().contains("the model is broken"));
    }

    #[tokio::test]
    async fn past_the_limit_of_steps_a_turn_ends() {
        let Some(p) = plane(Setup { step_limit: Some(2), ..Setup::default() }) else { return };
        let many =
            "Loop.\nfracta:run echo 1\nfracta:run echo 2\nfracta:run echo 3\nfracta:run echo 4\nfracta:hang";
        for mode in ["batch", "stream"] {
            spawn(&p, mode, mode, many).await;
            let end = p.wait_event(mode, is_turn_end).await;
            assert_eq!(end["outcome"], "failed", "{mode}");
            assert!(end["error"].as_str().unwrap().contains("more than 2 steps"), "{mode}: {end}");
            p.wait_state(mode, State::Failed).await;
        }
        let steps = p.events("stream").await;
        assert_eq!(of_kind(&steps, "step").last().unwrap()["n"], 3);
    }

    #[tokio::test]
    async fn a_stream_tells_everything_once_and_is_resumed() {
        let Some(p) = plane(Setup::default()) else { return };
        let row = spawn(&p, "s", "stream", WORK).await;
        p.wait_event("s", is_turn_end).await;
        let events = p.events("s").await;
        whole(&events);
        assert_eq!(messages(&events), ["one", "two"]);
        let outcome = of_kind(&events, "turn.completed");
        assert_eq!((outcome.len(), &outcome[0]["outcome"]), (1, &"completed".into()));
        assert_eq!(of_kind(&events, "command.completed")[0]["exit_code"], 3);
        assert_eq!(of_kind(&events, "file.changed").len(), 1);
        assert!(of_kind(&events, "user.message").iter().any(|e| e["delivery"] == "accepted"));
        let token = p.wait_state("s", State::Idle).await.resume_token.unwrap();
        // Its password is in no place where others look.
        let session = row["session"].as_str().unwrap();
        let dir = p.layout().session_dir(session);
        let secret: Value = serde_json::from_slice(&std::fs::read(dir.join("http.json")).unwrap()).unwrap();
        let secret = secret["password"].as_str().unwrap();
        assert_eq!(secret.len(), 64);
        for file in
            [dir.join("raw.jsonl"), dir.join("events.jsonl"), dir.join("run.json"), p.layout().log_file()]
        {
            assert!(!std::fs::read_to_string(&file).unwrap().contains(secret), "{}", file.display());
        }
        assert!(p.processes().iter().all(|f| !f.argv.contains(secret)));
        // The process dies; the next message starts one that goes on with the session.
        let (shim, _) = p.pids(session);
        crate::plane_support::signal(shim, nix::sys::signal::Signal::SIGTERM);
        p.wait_agent("s", |a| a.state.is_final()).await;
        p.run(&["say", "s", "And?\nfracta:say again"]).await.ok();
        p.wait_event("s", |e| says(e, "again")).await;
        assert_eq!(p.wait_state("s", State::Idle).await.resume_token.unwrap(), token);
        let events = p.events("s").await;
        assert_eq!(messages(&events), ["one", "two", "again"], "what was said before is not told again");
    }

    #[tokio::test]
    async fn a_person_approves_and_denies() {
        let Some(p) = plane(asking()) else { return };
        let contract = "Ask.\nfracta:run touch yes.txt\nfracta:run touch no.txt\nfracta:say Thanks.";
        let row = spawn(&p, "a", "stream", contract).await;
        let workspace = std::path::PathBuf::from(row["workspace"].as_str().unwrap());
        let first = p.wait_event("a", |e| kind(e) == "approval.requested").await;
        assert_eq!(first["command"], "touch yes.txt");
        p.run(&["approve", "a"]).await.ok();
        let seq = first["seq"].as_u64().unwrap();
        let second = p.wait_event_after("a", seq, |e| kind(e) == "approval.requested").await;
        assert_eq!(second["command"], "touch no.txt");
        p.run(&["deny", "a"]).await.ok();
        let end = p.wait_event("a", is_turn_end).await;
        assert_eq!(end["outcome"], "completed");
        let events = p.events("a").await;
        assert_eq!(messages(&events), ["Thanks."], "the turn goes on after a no");
        let said: Vec<_> =
            of_kind(&events, "approval.resolved").iter().map(|e| e["decision"].clone()).collect();
        assert_eq!(said, ["approved", "denied"]);
        assert!(workspace.join("yes.txt").exists() && !workspace.join("no.txt").exists());
    }

    #[tokio::test]
    async fn a_turn_is_aborted_in_text_and_in_a_command_and_the_session_goes_on() {
        let Some(p) = plane(Setup::default()) else { return };
        spawn(&p, "s", "stream", "Talk.\nfracta:say 30 words\nfracta:hang").await;
        p.wait_event("s", |e| kind(e) == "message.delta").await;
        p.run(&["abort", "s"]).await.ok();
        let end = p.wait_event("s", is_turn_end).await;
        assert_eq!(end["outcome"], "interrupted");
        let seq = end["seq"].as_u64().unwrap();
        p.run(&["say", "s", "Run.\nfracta:run echo begun; exec sleep 6000"]).await.ok();
        p.wait_event_after("s", seq, |e| kind(e) == "command.output").await;
        p.run(&["abort", "s"]).await.ok();
        let end = p.wait_event_after("s", seq, is_turn_end).await;
        assert_eq!(end["outcome"], "interrupted");
        p.gone(|f| f.argv.contains("sleep 6000")).await;
        p.run(&["say", "s", "Go on.\nfracta:say fine"]).await.ok();
        p.wait_event("s", |e| says(e, "fine")).await;
        whole(&p.events("s").await);
    }

    #[tokio::test]
    async fn a_turn_outlives_the_control_plane_without_gap_or_repeat() {
        let Some(p) = plane(Setup::default()) else { return };
        let contract = "Talk.\nfracta:say first part\nfracta:run echo a\nfracta:say second \nfracta:gate g\n\
            fracta:say third\nfracta:gate h\nfracta:say fourth\nfracta:run echo b\nfracta:say fifth";
        spawn(&p, "s", "stream", contract).await;
        p.script.gate("g").reached().await;
        p.wait_event("s", |e| says(e, "second")).await;
        p.kill_server().await;
        p.script.gate("g").release();
        p.script.gate("h").reached().await;
        // Written while nobody listened; the rest comes when somebody does again.
        p.run(&["list"]).await.ok();
        p.script.gate("h").release();
        p.wait_event("s", is_turn_end).await;
        p.wait_state("s", State::Idle).await;
        let events = p.events("s").await;
        whole(&events);
        let all = messages(&events).concat();
        for part in ["first part", "second", "third", "fourth", "fifth"] {
            assert_eq!(all.matches(part).count(), 1, "{part} in {all}");
        }
        assert_eq!(of_kind(&events, "command.completed").len(), 2);
        assert_eq!(of_kind(&events, "turn.started").len(), 1);
    }

    #[tokio::test]
    async fn a_cut_stream_of_events_is_taken_up_again_without_gap_or_repeat() {
        let Some(opencode) = require_cli("opencode") else { return };
        let dir = tempfile::tempdir().unwrap();
        let proxy = Arc::new(Proxy::start(dir.path().join("port")).await);
        let wrapper = proxy.wrapper(dir.path(), &opencode);
        let setup = Setup { opencode: Some(vec![wrapper]), ..asking() };
        let p = Plane::without_cli(setup);
        let contract = "Talk.\nfracta:say before \nfracta:gate g\nfracta:say during\nfracta:run echo a\nfracta:say after";
        spawn(&p, "s", "stream", contract).await;
        p.script.gate("g").reached().await;
        p.wait_event("s", |e| says(e, "before")).await;
        proxy.cut().await;
        p.script.gate("g").release();
        // The model goes on, and asks, while the link is down.
        p.script.gate("g").reached().await;
        proxy.mend();
        p.wait_event("s", |e| kind(e) == "approval.requested").await;
        proxy.cut().await;
        proxy.mend();
        p.run(&["approve", "s"]).await.ok();
        p.wait_event("s", is_turn_end).await;
        let events = p.events("s").await;
        whole(&events);
        let all = messages(&events).concat();
        for part in ["before", "during", "after"] {
            assert_eq!(all.matches(part).count(), 1, "{part} in {all}");
        }
        assert_eq!(of_kind(&events, "approval.requested").len(), 1);
        assert!(proxy.connections() > 3, "the stream was opened again");
    }
}
