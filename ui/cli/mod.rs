//! The command line: one file for each group of verbs.

mod args;
mod auth;
mod config;
mod context;
mod demo;
mod doctor;
mod end;
mod events;
mod list;
mod mcp;
mod out;
mod readable;
mod report;
mod serve;
mod spawn;
mod talk;
mod work;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Verb};
use context::Context;

/// Parses the arguments, runs the verb, reports what went wrong.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return usage(&e),
    };
    let json = cli.json;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(r) => r,
        Err(e) => return report::failure(&anyhow::anyhow!("cannot start: {e}"), json),
    };
    let result = runtime.block_on(run(cli));
    // What still blocks (a read of stdin, say) must not keep the process.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(e) => report::failure(&e, json),
    }
}

/// Help and version, or what is wrong with the arguments: as JSON where they ask for it.
fn usage(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().take_while(|a| a != "--").any(|a| a == "--json");
    if json && error.use_stderr() {
        return report::failure(&report::Usage(error.to_string().trim_end().to_owned()).into(), true);
    }
    // A reader that went away is no error.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let context = Context { json: cli.json, config: cli.config, root: cli.root };
    match cli.verb {
        None => tui(&context).await?,
        Some(Verb::Spawn(a)) => return spawn::run(&context, a).await,
        Some(Verb::List(a)) => list::list(&context, a).await?,
        Some(Verb::Runtimes) => list::runtimes(&context).await?,
        Some(Verb::Events(a)) => events::events(&context, a).await?,
        Some(Verb::Watch { name }) => events::watch(&context, &name).await?,
        Some(Verb::Peek { name, lines }) => events::peek(&context, &name, lines).await?,
        Some(Verb::Say(a)) => talk::say(&context, a).await?,
        Some(Verb::Steer(a)) => talk::steer(&context, a).await?,
        Some(Verb::Approvals) => talk::approvals(&context).await?,
        Some(Verb::Approve(a)) => talk::answer(&context, a, fracta::event::Decision::Approved).await?,
        Some(Verb::Deny(a)) => talk::answer(&context, a, fracta::event::Decision::Denied).await?,
        Some(Verb::Abort { name }) => end::abort(&context, &name).await?,
        Some(Verb::Kill(a)) => end::kill(&context, a).await?,
        Some(Verb::Prune(a)) => end::prune(&context, a).await?,
        Some(Verb::Diff { name }) => work::diff(&context, &name).await?,
        Some(Verb::Merge { name }) => work::merge(&context, &name).await?,
        Some(Verb::Config(a)) => return config::run(&context, a),
        Some(Verb::Auth(a)) => return auth::run(&context, a).await,
        Some(Verb::Doctor(a)) => return doctor::run(&context, a).await,
        Some(Verb::Serve(a)) => serve::serve(&context, a).await?,
        Some(Verb::Stop { agents }) => serve::stop(&context, agents).await?,
        Some(Verb::Status) => serve::status(&context).await?,
        Some(Verb::Mcp) => mcp::run(&context).await?,
        Some(Verb::Demo(a)) => demo::run(a).await?,
        Some(Verb::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "fracta", &mut script);
            out::raw(&script)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn tui(context: &Context) -> anyhow::Result<()> {
    let (client, loaded) = context.client_and_config().await?;
    crate::tui::run(client, context.tui_options(&loaded)?, context.home()?).await
}
