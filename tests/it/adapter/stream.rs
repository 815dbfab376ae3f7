//! Stage 2: one process for the session.

use fracta::event::Body;
use fracta::runtime::{
    Adapters, Capabilities, Command, Input, Launch, Mode, Output, Protocol, Refused, Runtime, Send,
    SessionSpec, Wire,
};
use fracta::session::state::State;
use serde_json::json;

use super::batch::{self, Reader, argv};
use super::world::{World, texts};

pub struct Parrot;

impl Runtime for Parrot {
    fn adapter(&self) -> &'static str {
        batch::Parrot.adapter()
    }

    fn install_hint(&self) -> &'static str {
        batch::Parrot.install_hint()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { stream: true, ..batch::Parrot.capabilities() }
    }

    fn launch(&self, spec: &SessionSpec, prompt: Option<&str>) -> Result<Launch, Refused> {
        match spec.mode {
            Mode::Batch => batch::Parrot.launch(spec, prompt),
            Mode::Stream => Ok(Launch {
                argv: argv(spec, "talk"),
                env: Vec::new(),
                wire: Wire::Stdio,
                stdin: true,
                input: None,
            }),
        }
    }

    fn protocol(&self, spec: &SessionSpec, message: Option<&str>) -> Box<dyn Protocol> {
        match spec.mode {
            Mode::Batch => batch::Parrot.protocol(spec, message),
            Mode::Stream => Box::new(Talk::new(spec)),
        }
    }
}

/// The parrot says hello by itself, so there is nothing to open.
pub struct Talk {
    pub reader: Reader,
    /// A turn was sent and has not begun.
    sent: bool,
}

impl Talk {
    pub fn new(spec: &SessionSpec) -> Self {
        Self { reader: Reader::new(spec), sent: false }
    }
}

impl Protocol for Talk {
    fn input(&mut self, input: Input<'_>, out: &mut Output) {
        let Input::Message(line) = input;
        let before = self.reader.turn.is_some();
        self.reader.read(line, out);
        if let Some(turn) = self.reader.turn.clone().filter(|_| !before) {
            // The turn has the message's id.
            out.deliveries.push((turn, Ok(())));
            self.sent = false;
        }
    }

    fn command(&mut self, command: &Command, out: &mut Output) -> Result<(), Refused> {
        match command {
            Command::StartTurn { .. } if self.busy() => Err(Refused("a turn runs".to_owned())),
            Command::StartTurn { message, text } => {
                let line = json!({"do": "turn", "id": message, "text": text});
                out.sends.push(Send::Message(line.to_string().into_bytes()));
                self.sent = true;
                Ok(())
            }
            _ => Err(Refused("a parrot cannot do that".to_owned())),
        }
    }

    fn ready(&self) -> bool {
        self.reader.ready
    }

    fn busy(&self) -> bool {
        self.sent || self.reader.turn.is_some()
    }
}

#[tokio::test]
async fn a_session_takes_turn_after_turn() {
    let world = World::new(Adapters::new(&[&Parrot]), "");
    world.spawn("a", Mode::Stream, Some("one")).await.unwrap();
    world.until("a", |a| a.state == State::Idle && a.turn_started_at.is_some()).await;
    world.client.say("a", "two three").await.unwrap();
    world.until("a", |a| a.state == State::Idle && a.last_seq > 9).await;
    let events = world.events("a").await;
    assert_eq!(texts(&events), ["one (grey, turn 1)", "two three (grey, turn 2)"]);
    let deltas = events.iter().filter(|e| matches!(e.body, Body::MessageDelta { .. })).count();
    assert_eq!(deltas, 3);
    // What it cannot do yet ends the process, and the next message starts another.
    world.client.say("a", "wait").await.unwrap();
    world.until("a", |a| a.turn.is_some()).await;
    assert_eq!(world.client.abort("a").await.unwrap().state, State::Stopped);
    world.client.say("a", "four").await.unwrap();
    world.until("a", |a| a.state == State::Idle).await;
    assert_eq!(texts(&world.events("a").await).last(), Some(&"four (grey, turn 1)"), "not resumed");
}

#[tokio::test]
async fn batch_is_as_it_was() {
    let world = World::new(Adapters::new(&[&Parrot]), "");
    world.spawn("a", Mode::Batch, Some("bird")).await.unwrap();
    world.until("a", |a| a.state == State::Completed).await;
    assert_eq!(texts(&world.events("a").await), ["bird (grey, turn 1)"]);
}
