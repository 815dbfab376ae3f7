//! Stages 6 and 7: MCP servers in the CLI's words, versions, and why it died.

use fracta::event::Body;
use fracta::runtime::settings::PrivateFile;
use fracta::runtime::{
    Adapters, Capabilities, CliInfo, Launch, McpTransport, Mode, Protocol, Refused, Runtime, SessionSpec,
    Settings, SettingsRequest,
};
use fracta::session::state::State;
use fracta::transport::Exit;
use serde_json::json;

use super::interrupt;
use super::world::{World, texts};

pub struct Parrot;

impl Runtime for Parrot {
    fn adapter(&self) -> &'static str {
        interrupt::Parrot.adapter()
    }

    fn install_hint(&self) -> &'static str {
        interrupt::Parrot.install_hint()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { mcp: true, ..interrupt::Parrot.capabilities() }
    }

    fn launch(&self, spec: &SessionSpec, prompt: Option<&str>) -> Result<Launch, Refused> {
        interrupt::Parrot.launch(spec, prompt)
    }

    fn settings(&self, request: &SettingsRequest<'_>) -> Settings {
        let mut out = Settings::default();
        for tool in request.allowed_tools {
            out.warnings
                .push(format!("project.allowed_tools: {tool:?} is not passed on: parrots have no tools"));
        }
        let servers: Vec<_> = request
            .mcp
            .iter()
            .map(|s| match &s.transport {
                McpTransport::Stdio { command, args, env } => {
                    json!({"name": s.name, "command": command, "args": args, "env": env})
                }
                McpTransport::Http { url, headers } => {
                    json!({"name": s.name, "url": url, "headers": headers})
                }
            })
            .collect();
        if !servers.is_empty() {
            const FILE: &str = "perches.json";
            out.files.push(PrivateFile { name: FILE, content: json!(servers).to_string() });
            out.env.push(("PARROT_PERCHES".into(), request.dir.join(FILE).into()));
        }
        out
    }

    fn protocol(&self, spec: &SessionSpec, message: Option<&str>) -> Box<dyn Protocol> {
        interrupt::Parrot.protocol(spec, message)
    }

    fn version_note(&self, cli: &CliInfo) -> Option<String> {
        (cli.version.as_deref() != Some("1.4.1")).then(|| "only parrot 1.4.1 was ever tried".to_owned())
    }

    fn failure(&self, stderr_tail: &str, exit: &Exit) -> String {
        match stderr_tail.contains("perch broke") {
            true => "its perch broke; buy a new one".to_owned(),
            false => exit.describe(),
        }
    }
}

#[tokio::test]
async fn servers_are_handed_over_and_what_cannot_be_is_named() {
    let more = "mcp_servers: {one: {command: x, env: {K: s3cret}}, two: {url: 'http://127.0.0.1:1'}}\nproject: {allowed_tools: [Peck]}";
    let world = World::new(Adapters::new(&[&Parrot]), more);
    for mode in [Mode::Batch, Mode::Stream] {
        let name = mode.word();
        world.spawn(name, mode, Some("perches")).await.unwrap();
        world
            .until(name, |a| a.turn_started_at.is_some() && !a.state.in_turn() && a.state != State::Starting)
            .await;
        let events = world.events(name).await;
        assert_eq!(texts(&events), ["perches: one two "]);
        let named = |e: &&fracta::event::Event| matches!(&e.body, Body::Warning { text } if text.contains("\"Peck\""));
        assert_eq!(events.iter().filter(named).count(), 1, "{events:#?}");
    }
}

#[tokio::test]
async fn a_version_is_a_note_and_a_death_has_a_reason() {
    let world = World::new(Adapters::new(&[&Parrot]), "");
    let runtimes = world.client.runtimes().await.unwrap();
    assert_eq!(runtimes[0].warnings, ["only parrot 1.4.1 was ever tried"]);
    world.spawn("a", Mode::Stream, Some("die")).await.unwrap();
    let dead = world.until("a", |a| a.state.is_final()).await;
    assert_eq!((dead.state, dead.reason.as_deref()), (State::Failed, Some("its perch broke; buy a new one")));
}
