//! `say`, `steer`, `approvals`, `approve`, `deny`.

use std::io::Read;

use anyhow::Context as _;
use fracta::control::wire::{self, Said};
use fracta::event::{Decision, Delivery};

use super::args;
use super::context::Context;
use super::out;
use super::report::Usage;

pub async fn say(context: &Context, args: args::Say) -> anyhow::Result<()> {
    let said = context.client().await?.say(&args.name, &text(&args)?).await?;
    tell(context, &args.name, &said)
}

pub async fn steer(context: &Context, args: args::Say) -> anyhow::Result<()> {
    let said = context.client().await?.steer(&args.name, &text(&args)?).await?;
    tell(context, &args.name, &said)
}

fn text(args: &args::Say) -> anyhow::Result<String> {
    if args.text == ["-"] {
        let mut all = String::new();
        std::io::stdin().read_to_string(&mut all).context("cannot read the message from stdin")?;
        return Ok(all);
    }
    Ok(args.text.join(" "))
}

/// Says what is known of the message, and fails where it did not arrive.
fn tell(context: &Context, name: &str, said: &Said) -> anyhow::Result<()> {
    if context.json {
        out::json(said)?;
    }
    let line = delivered(name, said)?;
    if context.json { Ok(()) } else { Ok(out::line(&line)?) }
}

/// What is known of the message, in words.
///
/// # Errors
/// It did not arrive, or that is not known.
pub fn delivered(name: &str, said: &Said) -> anyhow::Result<String> {
    let why = said.reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default();
    match said.delivery {
        Delivery::Rejected => anyhow::bail!("{name} did not take the message{why}"),
        Delivery::Unconfirmed => {
            anyhow::bail!(
                "it is not known whether {name} got the message{why}; it is not sent again by itself"
            )
        }
        Delivery::Accepted => Ok(format!("{name}: accepted")),
        Delivery::Queued => Ok(format!("{name}: queued{why}")),
    }
}

pub async fn answer(context: &Context, args: args::Answer, decision: Decision) -> anyhow::Result<()> {
    let answers = args
        .answers
        .as_deref()
        .map(serde_json::from_str)
        .transpose()
        .map_err(|e| Usage(format!("--answers is no JSON: {e}")))?;
    let answer = wire::Answer { approval: args.id, decision, answers };
    let answered = context.client().await?.answer(&args.name, &answer).await?;
    if context.json {
        return out::json(&answered);
    }
    let word = if decision == Decision::Approved { "approved" } else { "denied" };
    Ok(out::line(&format!("{}: {word} {}", args.name, answered.approval))?)
}

pub async fn approvals(context: &Context) -> anyhow::Result<()> {
    let agents = context.client().await?.agents(false).await?;
    if context.json {
        let all: Vec<_> = agents
            .iter()
            .flat_map(|a| {
                a.pending_approvals.iter().map(move |p| serde_json::json!({ "agent": a.name, "approval": p }))
            })
            .collect();
        return out::json(&all);
    }
    let rows: Vec<_> = agents
        .iter()
        .flat_map(|a| {
            a.pending_approvals.iter().map(move |p| {
                vec![a.name.to_string(), p.id.clone(), p.what.clone(), p.command.clone().unwrap_or_default()]
            })
        })
        .collect();
    if rows.is_empty() {
        return Ok(out::line("nothing waits for an answer")?);
    }
    Ok(out::table(&["AGENT", "ID", "WHAT", "COMMAND"], &rows)?)
}
