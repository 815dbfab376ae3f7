//! `spawn`.

use std::io::Read;
use std::process::ExitCode;

use anyhow::Context as _;
use fracta::control::client::Client;
use fracta::control::wire::{self, Watch};
use fracta::runtime::Mode;
use fracta::session::state::State;
use futures_util::StreamExt;

use super::args::{self, Format};
use super::context::Context;
use super::out;

pub async fn run(context: &Context, args: args::Spawn) -> anyhow::Result<ExitCode> {
    if args.host_type.is_some() {
        out::note("fracta: --host-type is deprecated; it is called --runtime now");
    }
    let spawn = wire::Spawn {
        name: args.task,
        runtime: args.runtime.or(args.host_type),
        mode: args.mode.map(args::Mode::engine),
        tier: args.tier.map(|t| match t {
            args::Tier::Heavy => wire::Tier::Heavy,
            args::Tier::Medium => wire::Tier::Medium,
            args::Tier::Light => wire::Tier::Light,
        }),
        model: args.model,
        contract: args.contract.as_deref().map(contract).transpose()?,
        base: args.base,
        backend: args.backend.map(|b| b.word().to_owned()),
        dry_run: args.dry_run,
    };
    let client = context.client().await?;
    if spawn.dry_run {
        plan(context, &client, &spawn, args.format).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let agent = client.spawn(&spawn).await?;
    if !args.wait {
        show(context, &agent)?;
        return Ok(ExitCode::SUCCESS);
    }
    let agent = wait(&client, &agent.session).await?;
    show(context, &agent)?;
    let good = matches!(agent.state, State::Completed | State::Idle) && agent.reason.is_none();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A contract is a text, or the path of a file that holds it, or `-`.
fn contract(text: &str) -> anyhow::Result<String> {
    if text == "-" {
        let mut all = String::new();
        std::io::stdin().read_to_string(&mut all).context("cannot read the contract from stdin")?;
        return Ok(all);
    }
    // Longer than any path, or of several lines: a text.
    let path = std::path::Path::new(text);
    if text.len() < 4096 && !text.contains('\n') && path.is_file() {
        return std::fs::read_to_string(path).with_context(|| format!("cannot read the contract {text}"));
    }
    Ok(text.to_owned())
}

async fn plan(context: &Context, client: &Client, spawn: &wire::Spawn, format: Format) -> anyhow::Result<()> {
    let plan = client.plan(spawn).await?;
    match format {
        _ if context.json => out::json(&plan),
        Format::Json => out::json(&plan),
        Format::Yaml => Ok(out::text(&fracta::config::to_yaml(&plan)?)?),
    }
}

/// Waits until the agent has nothing to do any more.
async fn wait(client: &Client, session: &str) -> anyhow::Result<wire::Agent> {
    let mut list = client.watch().await?;
    while let Some(change) = list.next().await {
        let agents = match change? {
            Watch::Agents { agents } => agents,
            Watch::Agent { agent } => vec![*agent],
            Watch::Gone { session: gone, .. } if gone == session => break,
            Watch::Gone { .. } => continue,
        };
        let mine = agents.into_iter().find(|a| a.session == session);
        if let Some(agent) = mine
            // A batch agent is done when its process is.
            && (agent.state.is_final() || (agent.state == State::Idle && agent.mode == Mode::Stream))
            && agent.queued_messages == 0
        {
            return Ok(agent);
        }
    }
    Ok(client.agent(session).await?)
}

fn show(context: &Context, agent: &wire::Agent) -> anyhow::Result<()> {
    if context.json {
        return out::json(agent);
    }
    let reason = agent.reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default();
    let line = format!(
        "{} {}{reason}  ({} {}, {})",
        agent.name,
        agent.state.word(),
        agent.runtime,
        agent.mode.word(),
        agent.workspace
    );
    Ok(out::line(&line)?)
}
