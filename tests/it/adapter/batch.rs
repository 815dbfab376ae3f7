//! Stage 1: one process for each turn.

use std::ffi::OsString;

use fracta::event::{Body, Fact, Outcome, Role};
use fracta::runtime::{
    Adapters, Capabilities, Input, Launch, Mode, Output, Protocol, Refused, Runtime, SessionSpec, Wire,
};
use fracta::session::state::State;
use serde_json::Value;

use super::world::{World, texts};

pub struct Parrot;

impl Runtime for Parrot {
    fn adapter(&self) -> &'static str {
        "parrot"
    }

    fn install_hint(&self) -> &'static str {
        "catch one"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::batch_alone()
    }

    fn launch(&self, spec: &SessionSpec, prompt: Option<&str>) -> Result<Launch, Refused> {
        let prompt = prompt.ok_or_else(|| Refused("a parrot's batch turn needs a prompt".to_owned()))?;
        let input = Some(prompt.as_bytes().to_vec());
        Ok(Launch { argv: argv(spec, "run"), env: Vec::new(), wire: Wire::Stdio, stdin: false, input })
    }

    fn protocol(&self, spec: &SessionSpec, message: Option<&str>) -> Box<dyn Protocol> {
        Box::new(Turn { reader: Reader::new(spec), message: message.map(str::to_owned) })
    }
}

pub fn argv(spec: &SessionSpec, verb: &str) -> Vec<OsString> {
    let mut argv = spec.command.clone();
    argv.push(verb.into());
    if let Some(model) = &spec.model {
        argv.extend(["--model".into(), model.into()]);
    }
    argv
}

struct Turn {
    reader: Reader,
    message: Option<String>,
}

impl Protocol for Turn {
    fn input(&mut self, input: Input<'_>, out: &mut Output) {
        let Input::Message(line) = input;
        self.reader.read(line, out);
        if self.reader.turn.is_some() {
            out.deliveries.extend(self.message.take().map(|m| (m, Ok(()))));
        }
    }
}

/// What a parrot says, in both modes.
pub struct Reader {
    spec: SessionSpec,
    pub ready: bool,
    /// The running turn.
    pub turn: Option<String>,
    items: u32,
}

impl Reader {
    pub fn new(spec: &SessionSpec) -> Self {
        Self { spec: spec.clone(), ready: false, turn: None, items: 0 }
    }

    pub fn fact(&self, body: Body, out: &mut Output) {
        out.facts.push(Fact { turn: self.turn.clone(), body });
    }

    pub fn read(&mut self, line: &[u8], out: &mut Output) {
        let v: Value = serde_json::from_slice(line).unwrap_or_default();
        let text = |key: &str| v[key].as_str().unwrap_or_default().to_owned();
        let item = format!("r{}-{}", self.spec.run, self.items);
        let role = Role::Assistant;
        match v["say"].as_str() {
            Some("hello") => {
                self.ready = true;
                let (runtime, model) = (self.spec.runtime.clone(), self.spec.model.clone());
                let resume_token = Some(text("session"));
                self.fact(Body::SessionStarted { runtime, model, resume_token }, out);
            }
            Some("begin") => {
                self.turn = Some(match self.spec.mode {
                    Mode::Batch => format!("turn-{}", self.spec.run),
                    Mode::Stream => text("id"),
                });
                self.fact(Body::TurnStarted {}, out);
            }
            Some("word") => {
                let text = text("text") + " ";
                self.fact(Body::MessageDelta { item, role, text }, out);
            }
            Some("text") => {
                self.fact(Body::MessageCompleted { item, role, text: text("text") }, out);
                self.items += 1;
            }
            Some("over") => {
                let outcome = match text("how").as_str() {
                    "done" => Outcome::Completed,
                    "stopped" => Outcome::Interrupted,
                    _ => Outcome::Failed,
                };
                self.fact(Body::TurnCompleted { outcome, error: None }, out);
                self.turn = None;
            }
            _ => self.fact(Body::Raw { text: String::from_utf8_lossy(line).into_owned() }, out),
        }
    }
}

#[tokio::test]
async fn turns_run_and_each_begins_anew() {
    let world = World::new(Adapters::new(&[&Parrot]), "mcp_servers: {m: {command: x}}");
    let refused = world.spawn("a", Mode::Stream, Some("hi")).await.unwrap_err().to_string();
    assert!(refused.contains("parrot cannot run in stream mode"), "{refused}");
    world.spawn("a", Mode::Batch, Some("pretty bird")).await.unwrap();
    let agent = world.until("a", |a| a.state.is_final()).await;
    assert_eq!((agent.state, agent.adapter.as_str()), (State::Completed, "parrot"));
    assert_eq!(texts(&world.events("a").await), ["pretty bird (grey, turn 1)"]);
    let worktree = world.root().join(".fracta/worktrees/a");
    assert_eq!(std::path::Path::new(&agent.workspace), worktree);

    world.client.say("a", "again").await.unwrap();
    world.until("a", |a| a.state.is_final() && a.turn_started_at != agent.turn_started_at).await;
    let events = world.events("a").await;
    assert_eq!(texts(&events)[1], "again (grey, turn 1)", "another session");
    let warned =
        |what: &str| events.iter().any(|e| matches!(&e.body, Body::Warning { text } if text.contains(what)));
    assert!(warned("parrot cannot resume") && warned("MCP server \"m\" is not passed on"), "{events:#?}");
}

#[tokio::test]
async fn a_process_that_dies_is_told_by_its_last_words_and_a_hung_one_is_ended() {
    let world = World::new(Adapters::new(&[&Parrot]), "");
    world.spawn("a", Mode::Batch, Some("die")).await.unwrap();
    let agent = world.until("a", |a| a.state.is_final()).await;
    assert_eq!(agent.state, State::Failed);
    assert_eq!(agent.reason.as_deref(), Some("parrot: the perch broke (exit code 3)"));

    world.spawn("b", Mode::Batch, Some("wait")).await.unwrap();
    world.until("b", |a| a.turn.is_some()).await;
    let refused = world.client.steer("b", "now").await.unwrap_err().to_string();
    assert!(refused.contains("takes no message into a running turn"), "{refused}");
    assert_eq!(world.client.abort("b").await.unwrap().state, State::Stopped);
}

#[tokio::test]
async fn the_runtime_is_shown_as_it_is() {
    let world = World::new(Adapters::new(&[&Parrot]), "");
    let [row] = &world.client.runtimes().await.unwrap()[..] else { panic!("one adapter, one runtime") };
    assert_eq!((row.name.as_str(), row.version.as_deref()), ("parrot", Some("1.4.2")));
    let can = row.capabilities.as_ref().unwrap();
    assert!(can.batch && !can.stream && !can.resume && row.warnings.is_empty(), "{row:?}");
}
