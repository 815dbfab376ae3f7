//! Stage 3: the next process goes on with the session.

use fracta::event::Body;
use fracta::runtime::{Adapters, Capabilities, Launch, Mode, Protocol, Refused, Runtime, SessionSpec};
use fracta::session::state::State;

use super::stream;
use super::world::{World, texts};

pub struct Parrot;

impl Runtime for Parrot {
    fn adapter(&self) -> &'static str {
        stream::Parrot.adapter()
    }

    fn install_hint(&self) -> &'static str {
        stream::Parrot.install_hint()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { resume: true, ..stream::Parrot.capabilities() }
    }

    fn launch(&self, spec: &SessionSpec, prompt: Option<&str>) -> Result<Launch, Refused> {
        let mut launch = stream::Parrot.launch(spec, prompt)?;
        if let Some(token) = &spec.resume_token {
            let known = token.strip_prefix("bird-").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
            if !known {
                return Err(Refused(format!("no parrot has the name {token:?}; start a new agent")));
            }
            launch.argv.extend(["--resume".into(), token.into()]);
        }
        Ok(launch)
    }

    fn protocol(&self, spec: &SessionSpec, message: Option<&str>) -> Box<dyn Protocol> {
        stream::Parrot.protocol(spec, message)
    }
}

#[tokio::test]
async fn the_next_process_remembers() {
    let world = World::new(Adapters::new(&[&Parrot]), "");
    world.spawn("a", Mode::Batch, Some("one")).await.unwrap();
    let first = world.until("a", |a| a.state == State::Completed).await;
    world.client.say("a", "two").await.unwrap();
    let second = world.until("a", |a| a.state.is_final() && a.turn_started_at != first.turn_started_at).await;
    assert_eq!(second.resume_token, first.resume_token);
    let events = world.events("a").await;
    assert_eq!(texts(&events), ["one (grey, turn 1)", "two (grey, turn 2)"]);
    assert!(!events.iter().any(|e| matches!(&e.body, Body::Warning { text } if text.contains("resume"))));

    world.spawn("b", Mode::Stream, Some("wait")).await.unwrap();
    world.until("b", |a| a.turn.is_some()).await;
    world.client.abort("b").await.unwrap();
    world.client.say("b", "on").await.unwrap();
    world.until("b", |a| a.state == State::Idle).await;
    assert_eq!(texts(&world.events("b").await), ["on (grey, turn 2)"]);
}
