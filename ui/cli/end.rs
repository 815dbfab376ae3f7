//! `abort`, `kill`, `prune`.

use fracta::control::wire;

use super::args;
use super::context::Context;
use super::out;

pub async fn abort(context: &Context, name: &str) -> anyhow::Result<()> {
    let agent = context.client().await?.abort(name).await?;
    if context.json {
        return out::json(&agent);
    }
    Ok(out::line(&format!("{name}: the turn has ended; it is {} now", agent.state.word()))?)
}

pub async fn kill(context: &Context, args: args::Kill) -> anyhow::Result<()> {
    let kill = wire::Kill { keep_files: args.keep_files, force: args.force };
    let agent = context.client().await?.kill(&args.name, &kill).await?;
    if context.json {
        return out::json(&agent);
    }
    let kept =
        if args.keep_files { format!("; its files stay in {}", agent.workspace) } else { String::new() };
    Ok(out::line(&format!(
        "{} is gone{kept}; `fracta events {}` still shows what it did",
        args.name, agent.session
    ))?)
}

pub async fn prune(context: &Context, args: args::Prune) -> anyhow::Result<()> {
    let prune = wire::Prune { older_than_secs: args.older_than.as_secs() };
    let done = context.client().await?.prune(&prune).await?;
    if context.json {
        return out::json(&done);
    }
    out::line(&format!("deleted {} sessions, {} bytes", done.sessions, done.bytes))?;
    for kept in &done.kept {
        out::line(&format!("kept {kept}"))?;
    }
    Ok(())
}
