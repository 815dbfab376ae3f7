//! `list` and `runtimes`.

use fracta::control::wire;
use fracta::text::summary;

use super::args;
use super::context::Context;
use super::out;

pub async fn list(context: &Context, args: args::List) -> anyhow::Result<()> {
    let agents = context.client().await?.agents(args.all).await?;
    if context.json {
        return out::json(&agents);
    }
    if agents.is_empty() {
        return Ok(out::line("no agents; start one: fracta spawn --task NAME --contract TEXT")?);
    }
    let head = ["NAME", "STATE", "RUNTIME", "MODE", "BACKEND", "MODEL", "TURN", "TOKENS", "UNREAD", "NOW"];
    let rows: Vec<_> = agents.iter().map(row).collect();
    Ok(out::table(&head, &rows)?)
}

fn row(a: &wire::Agent) -> Vec<String> {
    let state = if a.killed { format!("killed ({})", a.state.word()) } else { a.state.word().to_owned() };
    let now = a.reason.clone().unwrap_or_else(|| a.activity.clone());
    vec![
        a.name.to_string(),
        state,
        a.runtime.clone(),
        a.mode.word().to_owned(),
        a.backend.clone(),
        a.model.clone().unwrap_or_else(|| "-".to_owned()),
        turn_age(a),
        tokens(a.usage.input_tokens + a.usage.output_tokens),
        a.unread.to_string(),
        summary(&now, 60),
    ]
}

/// How long the running turn has run.
fn turn_age(a: &wire::Agent) -> String {
    match (a.state.in_turn(), a.turn_started_at) {
        (true, Some(t)) => age(jiff::Timestamp::now().duration_since(t).as_secs()),
        _ => "-".to_owned(),
    }
}

/// Seconds in the coarsest unit that is still telling.
pub fn age(secs: i64) -> String {
    match secs.max(0) {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3_600 => format!("{}m", s / 60),
        s @ 3_600..86_400 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

/// 999, 12.3k, 4.5M.
pub fn tokens(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{}.{}k", n / 1_000, n % 1_000 / 100),
        _ => format!("{}.{}M", n / 1_000_000, n % 1_000_000 / 100_000),
    }
}

pub async fn runtimes(context: &Context) -> anyhow::Result<()> {
    let runtimes = context.client().await?.runtimes().await?;
    if context.json {
        return out::json(&runtimes);
    }
    for r in &runtimes {
        out::line(&describe(r))?;
    }
    Ok(())
}

fn describe(r: &wire::Runtime) -> String {
    let version = match (&r.path, &r.version) {
        (None, _) => format!("not installed; install it: {}", r.install),
        (Some(path), Some(v)) => format!("{v}  {path}"),
        (Some(path), None) => format!("version unknown  {path}"),
    };
    let default = if r.default { " (default)" } else { "" };
    let mut text = format!("{}{default}\n  adapter       {}\n  cli           {version}\n", r.name, r.adapter);
    if let Some(c) = &r.capabilities {
        text.push_str(&format!("  can           {}\n", can(c)));
        if let Err(why) = &c.steer {
            text.push_str(&format!("  cannot steer  {why}\n"));
        }
    }
    text.push_str(&format!("  model         {}\n", r.model.as_deref().unwrap_or("the CLI's own default")));
    for (tier, model) in &r.model_tiers {
        text.push_str(&format!("    {tier:<12}{model}\n"));
    }
    text.push_str(&format!("  credential    {}\n", r.credential));
    let permissions: Vec<String> = r.permissions.iter().map(|(m, p)| format!("{m} {}", p.word())).collect();
    text.push_str(&format!("  permissions   {}\n", permissions.join(", ")));
    for w in &r.warnings {
        text.push_str(&format!("  warning       {w}\n"));
    }
    text
}

fn can(c: &fracta::runtime::Capabilities) -> String {
    let all = [
        (c.batch, "batch"),
        (c.stream, "stream"),
        (c.steer.is_ok(), "steer"),
        (c.approvals, "approvals"),
        (c.interrupt, "interrupt"),
        (c.resume, "resume"),
        (c.mcp, "mcp"),
    ];
    all.iter().filter(|(can, _)| *can).map(|(_, word)| *word).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_tokens_are_short() {
        assert_eq!([age(-5), age(59), age(60), age(7_200), age(200_000)], ["0s", "59s", "1m", "2h", "2d"]);
        assert_eq!([tokens(999), tokens(12_345), tokens(4_560_000)], ["999", "12.3k", "4.5M"]);
    }
}
