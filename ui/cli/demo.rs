//! `demo`: a throw-away project, a scripted model on loopback, the installed CLIs at work on it.

use std::sync::Arc;

use anyhow::Context as _;
use fracta::control::{connect, wire};
use fracta::demo::model::ModelServer;
use fracta::demo::project::{DemoAgent, DemoProject, Replayed};
use fracta::demo::script::DemoScript;
use fracta::paths::Layout;
use fracta::session::launch::which;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

use super::args;
use super::context::exe;
use super::out;

/// The CLIs, and the package that npm installs each from.
const CLIS: [(&str, &str); 3] =
    [("codex", "@openai/codex"), ("claude", "@anthropic-ai/claude-code"), ("opencode", "opencode-ai")];

pub async fn run(args: args::Demo) -> anyhow::Result<()> {
    let missing: Vec<&str> = CLIS.iter().map(|c| c.0).filter(|cli| which(cli).is_none()).collect();
    let mut replayed = Replayed::new();
    for (cli, _) in CLIS.iter().filter(|(cli, _)| args.recorded || missing.contains(cli)) {
        let replayer = vec![exe()?.display().to_string(), "demo-replay".to_owned(), (*cli).to_owned()];
        replayed.insert(cli, replayer);
    }
    let model = ModelServer::start(Arc::new(DemoScript::new())).context("cannot start the scripted model")?;
    let base = model.base_url();
    let theirs = replayed.clone();
    let project = tokio::task::spawn_blocking(move || DemoProject::make(&base, &theirs))
        .await?
        .context("cannot make the demo's project (it needs git)")?;
    let result = tokio::select! {
        result = show(&args, &project, &replayed, &missing) => result,
        signal = ended() => signal,
    };
    let cleaned = clean_up(&project).await;
    drop(project); // Its files go, after its processes went.
    result.and(cleaned)
}

async fn show(
    args: &args::Demo,
    project: &DemoProject,
    replayed: &Replayed,
    missing: &[&str],
) -> anyhow::Result<()> {
    let layout = Layout::new(&project.root);
    let client = connect::ensure(&layout, Some(&project.config), &exe()?).await?;
    let spawns: Vec<wire::Spawn> = project.agents.iter().map(spawn).collect();
    if args.headless {
        for spawn in &spawns {
            let started = client.spawn(spawn).await;
            started.with_context(|| format!("cannot start the demo's agent {}", spawn.name))?;
        }
        let recorded: Vec<&&str> = replayed.keys().collect();
        out::json(&serde_json::json!({ "root": project.root, "recorded": recorded }))?;
        let mut ignored = Vec::new();
        tokio::io::stdin().read_to_end(&mut ignored).await?;
        return Ok(());
    }
    // The screen comes first: it takes seconds until every CLI has told its version and begun.
    let banner = Some(banner(replayed, missing));
    let options = crate::tui::Options { banner, spawns, ..crate::tui::Options::default() };
    let home = crate::tui::Home { layout, config: Some(project.config.clone()), exe: exe()? };
    crate::tui::run(client, options, Some(home)).await
}

fn spawn(agent: &DemoAgent) -> wire::Spawn {
    wire::Spawn {
        name: agent.name.to_owned(),
        runtime: Some(agent.runtime.to_owned()),
        mode: Some(agent.mode),
        tier: None,
        model: None,
        contract: Some(agent.contract.to_owned()),
        base: None,
        backend: None,
        dry_run: false,
    }
}

/// One line above the screen: what is real here, and how to get what is not.
fn banner(replayed: &Replayed, missing: &[&str]) -> String {
    let (recorded, real): (Vec<&str>, Vec<&str>) =
        CLIS.iter().map(|c| c.0).partition(|cli| replayed.contains_key(cli));
    let mut text = match real.as_slice() {
        [] => "demo, recorded: streams of the real CLIs, played again".to_owned(),
        real => format!("demo: the real {} and a scripted model, no account", real.join(", ")),
    };
    if !real.is_empty() && !recorded.is_empty() {
        text.push_str(&format!(" · recorded: {}", recorded.join(", ")));
    }
    let packages: Vec<&str> = CLIS.iter().filter(|(cli, _)| missing.contains(cli)).map(|c| c.1).collect();
    if !packages.is_empty() {
        text.push_str(&format!(" · real ones: npm i -g {}", packages.join(" ")));
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_says_what_is_real_and_what_is_not() {
        let with = |names: &[&'static str]| names.iter().map(|n| (*n, vec![])).collect::<Replayed>();
        assert_eq!(
            banner(&with(&[]), &[]),
            "demo: the real codex, claude, opencode and a scripted model, no account"
        );
        let some = banner(&with(&["opencode"]), &["opencode"]);
        assert!(some.contains("the real codex, claude and a scripted"), "{some}");
        assert!(some.ends_with("recorded: opencode · real ones: npm i -g opencode-ai"), "{some}");
        let none = banner(&with(&["codex", "claude", "opencode"]), &["codex", "claude", "opencode"]);
        assert!(none.starts_with("demo, recorded") && none.contains("npm i -g @openai/codex"), "{none}");
        assert!(none.chars().count() < 140, "{none}");
        // Asked for by --recorded, with all of them there.
        assert!(!banner(&with(&["codex", "claude", "opencode"]), &[]).contains("npm"));
    }
}
