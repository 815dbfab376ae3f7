//! `doctor`: what is missing on this machine, and the command that mends it.

use std::process::{Command, ExitCode};

use fracta::config;
use fracta::control::connect;
use fracta::paths::Layout;
use fracta::session::launch::which;
use serde::Serialize;

use super::args;
use super::context::Context;
use super::out;
use super::report::Usage;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    status: Status,
    detail: String,
    /// The command (or step) that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ok,
    Warning,
    Missing,
}

impl Finding {
    fn ok(what: &str, detail: impl Into<String>) -> Self {
        Self { what: what.to_owned(), status: Status::Ok, detail: detail.into(), mend: None }
    }

    fn bad(what: &str, status: Status, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.to_owned(), status, detail: detail.into(), mend: Some(mend.into()) }
    }
}

pub async fn run(context: &Context, args: args::Doctor) -> anyhow::Result<ExitCode> {
    if args.backend == args::Backend::Kubernetes {
        return Err(Usage(
            "this version of fracta has no kubernetes backend; `fracta doctor` looks at this machine"
                .to_owned(),
        )
        .into());
    }
    let layout = context.layout()?;
    let mut findings = vec![git(), config(context)?, state(&layout)];
    findings.extend(system());
    findings.extend(runtimes(context).await?);
    findings.extend(left_behind(&layout).await?);
    let bad = findings.iter().any(|f| f.status == Status::Missing);
    if context.json {
        out::json(&findings)?;
    } else {
        for f in &findings {
            let mark = match f.status {
                Status::Ok => "ok      ",
                Status::Warning => "warning ",
                Status::Missing => "missing ",
            };
            out::line(&format!("{mark} {}: {}", f.what, f.detail))?;
            if let Some(mend) = &f.mend {
                out::line(&format!("           mend it: {mend}"))?;
            }
        }
    }
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn git() -> Finding {
    let install = if cfg!(target_os = "macos") { "brew install git" } else { "apt-get install git" };
    match Command::new("git").arg("--version").output() {
        Ok(o) if o.status.success() => Finding::ok("git", String::from_utf8_lossy(&o.stdout).trim()),
        _ => Finding::bad(
            "git",
            Status::Missing,
            "not found: agents share the project's folder without it",
            install,
        ),
    }
}

fn config(context: &Context) -> anyhow::Result<Finding> {
    Ok(match config::load(context.config.as_deref(), &context.cwd()?) {
        Ok(l) => Finding::ok(
            "config",
            l.file.map_or("no fracta.yaml; the defaults".to_owned(), |f| f.display().to_string()),
        ),
        Err(e) => Finding::bad(
            "config",
            Status::Missing,
            format!("{} errors", e.diagnostics.iter().filter(|d| d.is_error()).count()),
            "fracta config check",
        ),
    })
}

fn state(layout: &Layout) -> Finding {
    match layout.ensure() {
        Ok(()) => Finding::ok("state folder", layout.state_dir().display().to_string()),
        Err(e) => {
            Finding::bad("state folder", Status::Missing, e.to_string(), "make the folder writable for you")
        }
    }
}

/// What only some systems have.
fn system() -> Option<Finding> {
    let what = "process supervision";
    if cfg!(target_os = "linux") {
        return Some(Finding::ok(
            what,
            "child subreaper: processes that detach from an agent are found and ended",
        ));
    }
    Some(Finding::bad(
        what,
        Status::Warning,
        "this system has no subreaper: a process that leaves its agent's group and parent is not found",
        "run agents on Linux where that matters",
    ))
}

async fn runtimes(context: &Context) -> anyhow::Result<Vec<Finding>> {
    if config::load(context.config.as_deref(), &context.cwd()?).is_err() {
        return Ok(Vec::new()); // Told above.
    }
    let rows = context.client().await?.runtimes().await?;
    // One CLI is enough to work; an entry that somebody wrote down must work.
    let none = rows.iter().all(|r| r.path.is_none());
    Ok(rows
        .into_iter()
        .map(|r| {
            let what = format!("runtime {}", r.name);
            let missing = if none { Status::Missing } else { Status::Warning };
            match (&r.path, r.warnings.first()) {
                (None, _) => Finding::bad(&what, missing, "its CLI is not on PATH", r.install.clone()),
                (Some(_), Some(w)) => Finding::bad(&what, Status::Warning, w.clone(), "fracta runtimes"),
                (Some(path), None) => Finding::ok(
                    &what,
                    format!("{} at {path}", r.version.as_deref().unwrap_or("version unknown")),
                ),
            }
        })
        .collect())
}

/// Worktrees of agents that nobody knows any more: a crash between making and writing down.
async fn left_behind(layout: &Layout) -> anyhow::Result<Vec<Finding>> {
    if which("git").is_none() {
        return Ok(Vec::new());
    }
    let known: Vec<_> = match connect::running(layout).await? {
        Some(client) => client.agents(true).await?.into_iter().map(|a| a.name).collect(),
        None => return Ok(Vec::new()),
    };
    let found = fracta::workspace::orphans(layout, &known).await?;
    Ok(found
        .iter()
        .map(|o| {
            let what = format!("worktree of {}", o.agent);
            Finding::bad(&what, Status::Warning, "no agent of this name is known", o.mend().join(" && "))
        })
        .collect())
}
