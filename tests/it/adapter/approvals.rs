//! Stage 4: requests reach the person, and the answers the CLI.

use std::collections::BTreeMap;

use fracta::control::wire::Answer;
use fracta::event::{Body, Decision};
use fracta::runtime::{
    Adapters, Capabilities, Command, Input, Launch, Mode, Output, Permissions, Protocol, Refused, Runtime,
    Send, SessionSpec,
};
use fracta::session::state::State;
use serde_json::Value;

use super::resume;
use super::stream::Talk;
use super::world::{World, texts};

pub struct Parrot;

impl Runtime for Parrot {
    fn adapter(&self) -> &'static str {
        resume::Parrot.adapter()
    }

    fn install_hint(&self) -> &'static str {
        resume::Parrot.install_hint()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { approvals: true, ..resume::Parrot.capabilities() }
    }

    fn launch(&self, spec: &SessionSpec, prompt: Option<&str>) -> Result<Launch, Refused> {
        resume::Parrot.launch(spec, prompt)
    }

    fn protocol(&self, spec: &SessionSpec, message: Option<&str>) -> Box<dyn Protocol> {
        match spec.mode {
            Mode::Batch => resume::Parrot.protocol(spec, message),
            Mode::Stream => Box::new(Asking::new(spec)),
        }
    }
}

/// Most requests that are kept; a parrot has one at a time.
const MAX_ASKS: usize = 8;

pub struct Asking {
    pub talk: Talk,
    auto: bool,
    run: u32,
    asked: u32,
    /// The parrot's numbers of open requests by ours; true: answered by itself.
    asks: BTreeMap<String, (u64, bool)>,
}

fn answer(n: u64, yes: bool) -> Send {
    Send::Message(format!(r#"{{"do":"answer","n":{n},"yes":{yes}}}"#).into_bytes())
}

impl Asking {
    pub fn new(spec: &SessionSpec) -> Self {
        let auto = spec.permissions == Permissions::Auto;
        Self { talk: Talk::new(spec), auto, run: spec.run, asked: 0, asks: BTreeMap::new() }
    }

    fn ask(&mut self, v: &Value, out: &mut Output) {
        let (n, what) = (v["n"].as_u64().unwrap_or_default(), v["what"].as_str().unwrap_or_default());
        self.asked += 1;
        let approval = format!("a{}-{}", self.run, self.asked);
        let what = format!("the parrot wants to {what}");
        let (command, cwd, diff, questions) = (None, None, None, None);
        let request =
            Body::ApprovalRequested { approval: approval.clone(), what, command, cwd, diff, questions };
        self.talk.reader.fact(request, out);
        if self.auto {
            out.sends.push(answer(n, true));
            self.resolved(&approval, Decision::Approved, "auto", out);
        }
        if self.asks.len() < MAX_ASKS {
            self.asks.insert(approval, (n, self.auto));
        }
    }

    fn resolved(&self, approval: &str, decision: Decision, by: &str, out: &mut Output) {
        let (approval, by) = (approval.to_owned(), by.to_owned());
        self.talk.reader.fact(Body::ApprovalResolved { approval, decision, by }, out);
    }
}

impl Protocol for Asking {
    fn input(&mut self, input: Input<'_>, out: &mut Output) {
        let Input::Message(line) = input;
        let v: Value = serde_json::from_slice(line).unwrap_or_default();
        if v["say"] == "ask" {
            return self.ask(&v, out);
        }
        if v["say"] == "over" {
            for (approval, (_, by_itself)) in std::mem::take(&mut self.asks) {
                if !by_itself {
                    self.resolved(&approval, Decision::Withdrawn, "runtime", out);
                }
            }
        } else if v["say"] == "text" {
            // It has heard the answer.
            self.asks.clear();
        }
        self.talk.input(input, out);
    }

    fn command(&mut self, command: &Command, out: &mut Output) -> Result<(), Refused> {
        let Command::Answer { approval, decision, .. } = command else {
            return self.talk.command(command, out);
        };
        let Some((n, _)) = self.asks.remove(approval) else {
            return Err(Refused(format!("no request {approval} is open")));
        };
        out.sends.push(answer(n, *decision == Decision::Approved));
        Ok(())
    }

    fn ready(&self) -> bool {
        self.talk.ready()
    }

    fn busy(&self) -> bool {
        self.talk.busy()
    }

    fn resumed(&mut self, out: &mut Output) {
        out.sends
            .extend(self.asks.values().filter(|(_, by_itself)| *by_itself).map(|(n, _)| answer(*n, true)));
    }
}

#[tokio::test]
async fn a_person_is_asked() {
    let world = World::new(Adapters::new(&[&Parrot]), "");
    for (name, decision, said) in
        [("a", Decision::Approved, "I may eat nuts"), ("b", Decision::Denied, "I may not eat nuts")]
    {
        world.spawn(name, Mode::Stream, Some("ask eat nuts")).await.unwrap();
        let asked = world.until(name, |a| a.state == State::Waiting).await;
        let [request] = &asked.pending_approvals[..] else { panic!("{asked:#?}") };
        assert_eq!((request.id.as_str(), request.what.as_str()), ("a1-1", "the parrot wants to eat nuts"));
        world.client.answer(name, &Answer { approval: None, decision, answers: None }).await.unwrap();
        let done = world.until(name, |a| a.state == State::Idle).await;
        assert!(done.pending_approvals.is_empty());
        assert_eq!(texts(&world.events(name).await), [said]);
    }
}

#[tokio::test]
async fn a_request_outlives_the_control_plane() {
    let mut world = World::new(Adapters::new(&[&Parrot]), "");
    world.spawn("a", Mode::Stream, Some("ask eat")).await.unwrap();
    world.until("a", |a| a.state == State::Waiting).await;
    world.restart().await;
    let asked = world.until("a", |a| a.state == State::Waiting).await;
    assert_eq!(asked.pending_approvals.len(), 1);
    let yes = Answer { approval: None, decision: Decision::Approved, answers: None };
    world.client.answer("a", &yes).await.unwrap();
    world.until("a", |a| a.state == State::Idle).await;
    let events = world.events("a").await;
    assert_eq!(texts(&events), ["I may eat"], "{events:#?}");
}

#[tokio::test]
async fn auto_answers_by_itself_and_says_so() {
    let world = World::new(Adapters::new(&[&Parrot]), "auto");
    world.spawn("a", Mode::Stream, Some("ask eat")).await.unwrap();
    world.until("a", |a| a.state == State::Idle && a.turn_started_at.is_some()).await;
    let events = world.events("a").await;
    assert_eq!(texts(&events), ["I may eat"]);
    let by = |e: &&fracta::event::Event| matches!(&e.body, Body::ApprovalResolved { by, .. } if by == "auto");
    assert_eq!(events.iter().filter(by).count(), 1, "{events:#?}");
}
