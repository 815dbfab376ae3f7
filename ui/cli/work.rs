//! `diff` and `merge`.

use super::context::Context;
use super::out;

pub async fn diff(context: &Context, name: &str) -> anyhow::Result<()> {
    let diff = context.client().await?.diff(name).await?;
    if context.json {
        return out::json(&diff);
    }
    if diff.files.is_empty() {
        return Ok(out::line(&format!("{name} changed nothing since {}", diff.base))?);
    }
    // A pipe gets the diff as it is, so that `git apply` takes it; a terminal gets it cleaned.
    if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        out::text(&diff.diff)?;
    } else {
        out::raw(diff.diff.as_bytes())?;
    }
    if diff.truncated {
        out::note("fracta: the diff was cut here; the agent's workspace has it all");
    }
    Ok(())
}

pub async fn merge(context: &Context, name: &str) -> anyhow::Result<()> {
    let merged = context.client().await?.merge(name).await?;
    if context.json {
        return out::json(&merged);
    }
    Ok(out::line(&match &merged.commit {
        Some(commit) => format!("merged {name} into {}: {commit}", merged.into),
        None => format!("{} has all of {name}'s work already", merged.into),
    })?)
}
