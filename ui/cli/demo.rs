//! `demo`: a throw-away project, a scripted model on loopback, the installed CLIs at work on it.

use std::sync::Arc;

use anyhow::Context as _;
use fracta::control::client::Client;
use fracta::control::{connect, wire};
use fracta::demo::model::ModelServer;
use fracta::demo::project::DemoProject;
use fracta::demo::script::DemoScript;
use fracta::paths::Layout;
use fracta::session::launch::which;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

use super::args;
use super::context::exe;
use super::out;

pub async fn run(args: args::Demo) -> anyhow::Result<()> {
    let recorded = args.recorded || which("codex").is_none();
    let model = ModelServer::start(Arc::new(DemoScript::new())).context("cannot start the scripted model")?;
    let replayer = replayer(recorded)?;
    let base = model.base_url();
    let project = tokio::task::spawn_blocking(move || DemoProject::make(&base, replayer.as_deref()))
        .await?
        .context("cannot make the demo's project (it needs git)")?;
    let result = tokio::select! {
        result = show(&args, &project, recorded) => result,
        signal = ended() => signal,
    };
    let cleaned = clean_up(&project).await;
    drop(project); // Its files go, after its processes went.
    result.and(cleaned)
}

/// What stands in for the CLI where it is not installed.
fn replayer(recorded: bool) -> anyhow::Result<Option<Vec<String>>> {
    if !recorded {
        return Ok(None);
    }
    Ok(Some(vec![exe()?.display().to_string(), "demo-replay".to_owned(), "codex".to_owned()]))
}

async fn show(args: &args::Demo, project: &DemoProject, recorded: bool) -> anyhow::Result<()> {
    let layout = Layout::new(&project.root);
    let client = connect::ensure(&layout, Some(&project.config), &exe()?).await?;
    for agent in &project.agents {
        spawn(&client, agent).await?;
    }
    if args.headless {
        out::json(&serde_json::json!({ "root": project.root, "recorded": recorded }))?;
        let mut ignored = Vec::new();
        tokio::io::stdin().read_to_end(&mut ignored).await?;
        return Ok(());
    }
    let options = crate::tui::Options { banner: Some(banner(recorded)), ..crate::tui::Options::default() };
    let home = crate::tui::Home { layout, config: Some(project.config.clone()), exe: exe()? };
    crate::tui::run(client, options, Some(home)).await
}

async fn spawn(client: &Client, agent: &fracta::demo::project::DemoAgent) -> anyhow::Result<()> {
    let spawn = wire::Spawn {
        name: agent.name.to_owned(),
        runtime: Some(agent.runtime.to_owned()),
        mode: Some(agent.mode),
        tier: None,
        model: None,
        contract: Some(agent.contract.to_owned()),
        base: None,
        backend: None,
        dry_run: false,
    };
    client.spawn(&spawn).await.with_context(|| format!("cannot start the demo's agent {}", agent.name))?;
    Ok(())
}

/// One line above the screen: what is real here, and what is missing.
fn banner(recorded: bool) -> String {
    let missing: Vec<&str> = [
        ("codex", "npm i -g @openai/codex"),
        ("claude", "npm i -g @anthropic-ai/claude-code"),
        ("opencode", "npm i -g opencode-ai"),
    ]
    .into_iter()
    .filter(|(cli, _)| which(cli).is_none())
    .map(|(_, install)| install)
    .collect();
    let what = if recorded {
        "demo, recorded: streams of a real codex, played again"
    } else {
        "demo: the real codex and a scripted model, no account"
    };
    match missing.as_slice() {
        [] => what.to_owned(),
        some => format!("{what} · not installed: {}", some.join(" · ")),
    }
}

/// Ends the demo's control plane with its agents.
async fn clean_up(project: &DemoProject) -> anyhow::Result<()> {
    if let Some(client) = connect::running(&Layout::new(&project.root)).await? {
        client.shutdown(true).await.context("cannot end the demo's agents")?;
    }
    Ok(())
}

/// Ready when somebody ends the demo from outside before, or beside, the screen.
async fn ended() -> anyhow::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let mut hup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        _ = hup.recv() => {}
    }
    Ok(())
}
