//! Stage 5: a turn is ended, and the session goes on.

use fracta::event::{Body, Outcome};
use fracta::runtime::{
    Adapters, Capabilities, Command, Input, Launch, Mode, Output, Protocol, Refused, Runtime, Send,
    SessionSpec,
};
use fracta::session::state::State;

use super::approvals::{self, Asking};
use super::world::{World, texts};

pub struct Parrot;

impl Runtime for Parrot {
    fn adapter(&self) -> &'static str {
        approvals::Parrot.adapter()
    }

    fn install_hint(&self) -> &'static str {
        approvals::Parrot.install_hint()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { interrupt: true, ..approvals::Parrot.capabilities() }
    }

    fn launch(&self, spec: &SessionSpec, prompt: Option<&str>) -> Result<Launch, Refused> {
        approvals::Parrot.launch(spec, prompt)
    }

    fn protocol(&self, spec: &SessionSpec, message: Option<&str>) -> Box<dyn Protocol> {
        match spec.mode {
            Mode::Batch => approvals::Parrot.protocol(spec, message),
            Mode::Stream => Box::new(Stopping(Asking::new(spec))),
        }
    }
}

struct Stopping(Asking);

impl Protocol for Stopping {
    fn input(&mut self, input: Input<'_>, out: &mut Output) {
        self.0.input(input, out);
    }

    fn command(&mut self, command: &Command, out: &mut Output) -> Result<(), Refused> {
        match command {
            Command::Interrupt if self.busy() => {
                out.sends.push(Send::Message(br#"{"do":"stop"}"#.to_vec()));
                Ok(())
            }
            Command::Interrupt => Err(Refused("no turn runs".to_owned())),
            other => self.0.command(other, out),
        }
    }

    fn ready(&self) -> bool {
        self.0.ready()
    }

    fn busy(&self) -> bool {
        self.0.busy()
    }

    fn resumed(&mut self, out: &mut Output) {
        self.0.resumed(out);
    }
}

#[tokio::test]
async fn the_session_outlives_its_turn() {
    let world = World::new(Adapters::new(&[&Parrot]), "");
    world.spawn("a", Mode::Stream, Some("wait")).await.unwrap();
    world.until("a", |a| a.turn.is_some()).await;
    assert_eq!(world.client.abort("a").await.unwrap().state, State::Idle);
    world.client.say("a", "ask fly").await.unwrap();
    world.until("a", |a| a.state == State::Waiting).await;
    let aborted = world.client.abort("a").await.unwrap();
    assert_eq!((aborted.state, aborted.pending_approvals.len()), (State::Idle, 0));
    world.client.say("a", "on").await.unwrap();
    world.until("a", |a| a.state == State::Idle && a.last_seq > aborted.last_seq + 4).await;
    let events = world.events("a").await;
    assert_eq!(texts(&events), ["on (grey, turn 3)"]);
    let count = |fits: fn(&Body) -> bool| events.iter().filter(|e| fits(&e.body)).count();
    assert_eq!(count(|b| matches!(b, Body::SessionStarted { .. })), 1, "one process for all of it");
    assert_eq!(count(|b| matches!(b, Body::TurnCompleted { outcome: Outcome::Interrupted, .. })), 2);
}
