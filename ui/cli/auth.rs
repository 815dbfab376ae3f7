//! `auth diagnose`: a runtime's credential plan, without any value.

use std::process::ExitCode;

use fracta::control::wire;
use fracta::credentials::report::{Name, Outcome, Report, Source};

use super::args::{self, AuthVerb};
use super::context::Context;
use super::out;

pub async fn run(context: &Context, args: args::Auth) -> anyhow::Result<ExitCode> {
    let AuthVerb::Diagnose(args) = args.verb;
    let which = wire::Diagnose {
        runtime: args.runtime,
        backend: args.backend.map(|b| b.word().to_owned()),
        mode: args.mode.map(args::Mode::engine),
    };
    let report = context.client().await?.diagnose(&which).await?;
    if context.json {
        out::json(&report)?;
    } else {
        out::text(&text(&report))?;
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(r: &Report) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line(format!("runtime      {} ({}) on {}", r.runtime, r.adapter, r.backend));
    line(format!("credential   {}", r.summary));
    section(&mut line, "origins", r.origins.iter().map(origin));
    section(
        &mut line,
        "resolvers",
        r.resolvers
            .iter()
            .map(|v| format!("{}  run by the agent, kept {} ms{}", v.name, v.ttl_ms, unused(v.used))),
    );
    section(
        &mut line,
        "binding",
        r.binding.iter().map(|b| format!("{}  {} → {}", b.of, source(&b.source), b.target)),
    );
    section(
        &mut line,
        "files",
        r.files.iter().map(|f| {
            let variable = f.env_name.as_ref().map(|n| format!(", its path in {n}")).unwrap_or_default();
            format!("{}  of {}{variable}", f.name, f.origin)
        }),
    );
    section(
        &mut line,
        "assertions",
        r.assertions.iter().map(|a| {
            let why = a.why.as_ref().map(|w| format!(": {w}")).unwrap_or_default();
            format!("{}  {} {}{why}", a.outcome.word(), a.kind.word(), a.name)
        }),
    );
    section(&mut line, "environment", environment(&r.environment));
    section(&mut line, "warnings", r.warnings.iter().cloned());
    section(&mut line, "problems", r.problems.iter().cloned());
    let failed = r.assertions.iter().filter(|a| a.outcome == Outcome::Fail).count();
    line(match (r.ok, failed) {
        (true, _) => "ok: as far as can be told before anybody is asked, an agent can start".to_owned(),
        (false, 0) => "an agent could not start".to_owned(),
        (false, n) => format!("an agent could not start; {n} assertions fail"),
    });
    out
}

fn section(line: &mut dyn FnMut(String), title: &str, entries: impl Iterator<Item = String>) {
    for (i, entry) in entries.enumerate() {
        let head = if i == 0 { title } else { "" };
        line(format!("{head:<12} {entry}"));
    }
}

fn origin(o: &fracta::credentials::report::Origin) -> String {
    let scope = match o.scope {
        fracta::config::Scope::HostEdge => "host_edge",
        fracta::config::Scope::AgentRuntime => "agent_runtime",
        fracta::config::Scope::Any => "any",
    };
    let required = if o.required { "required" } else { "optional" };
    let problem = o.problem.as_ref().map(|p| format!(": {p}")).unwrap_or_default();
    format!(
        "{}  {}, scope {scope}, {}, {required}{}{problem}",
        o.name,
        o.from,
        o.phase.words(),
        unused(o.used)
    )
}

fn unused(used: bool) -> &'static str {
    if used { "" } else { ", not used here" }
}

fn source(source: &Source) -> String {
    match source {
        Source::Origin(name) => format!("origin {name}"),
        Source::Resolver(name) => format!("resolver {name}"),
        Source::SecretRef(key) => format!("key {} of the Secret {}", key.key, key.name),
        Source::Environment => "the environment as it is".to_owned(),
    }
}

/// The inherited ones are many, and nobody chose them: in one line.
fn environment(names: &[Name]) -> impl Iterator<Item = String> + '_ {
    use fracta::credentials::environment::Layer;
    let own = names.iter().filter(|n| n.from != Layer::Inherited).map(|n| {
        let of = n.source.as_ref().map(|s| format!(" ({s})")).unwrap_or_default();
        format!("{}  {}{of}", n.name, n.from.word())
    });
    let inherited: Vec<&str> =
        names.iter().filter(|n| n.from == Layer::Inherited).map(|n| n.name.as_str()).collect();
    let rest = (!inherited.is_empty()).then(|| format!("inherited: {}", inherited.join(" ")));
    own.chain(rest)
}
