//! The arguments, and with their doc comments the help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// One terminal for all your coding agents, wherever they run.
///
/// Without a verb the terminal interface opens. A control plane is started for the project if there
/// is none; it outlives the terminal, and agents outlive it.
#[derive(Parser)]
#[command(name = "fracta", version, max_term_width = 100, infer_subcommands = false)]
pub struct Cli {
    /// The config file, instead of the nearest fracta.yaml
    #[arg(long, global = true, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// The project's root, instead of the folder of the config
    #[arg(long, global = true, value_name = "DIR", hide = true)]
    pub root: Option<PathBuf>,
    /// Machine-readable output with stable fields
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

#[derive(Subcommand)]
pub enum Verb {
    /// Start a new agent and its first turn
    Spawn(Spawn),
    /// List the agents
    #[command(visible_alias = "ls")]
    List(List),
    /// List the runtimes: what is configured, what is installed, what it can do
    Runtimes,
    /// Print an agent's events as JSON lines
    Events(Events),
    /// Follow an agent's events, readable
    Watch { name: String },
    /// Show the last of an agent's events, readable
    Peek {
        name: String,
        /// How many events to look back at
        #[arg(short = 'n', long, default_value_t = 30)]
        lines: u64,
    },
    /// Start a new turn on the same session; queued while a turn runs
    Say(Say),
    /// Speak into the running turn
    Steer(Say),
    /// List what waits for an answer, of all agents
    Approvals,
    /// Approve a pending request
    Approve(Answer),
    /// Deny a pending request
    Deny(Answer),
    /// End the running turn: interrupt, then TERM, then KILL of all its processes
    Abort { name: String },
    /// End an agent and remove its workspace and branch; its journal stays readable
    Kill(Kill),
    /// Delete the journals of killed and finished agents
    Prune(Prune),
    /// Show an agent's work against its base
    Diff { name: String },
    /// Merge an agent's work into the current branch
    Merge { name: String },
    /// Check the config, or print its schema
    Config(Config),
    /// Show how credentials reach an agent
    Auth(Auth),
    /// Say what is missing on this machine, and the command that mends it
    Doctor(Doctor),
    /// Run the control plane in the foreground
    Serve(Serve),
    /// End the control plane; agents go on
    Stop {
        /// End the agents too
        #[arg(long)]
        agents: bool,
    },
    /// Show the control plane
    Status,
    /// Serve fracta's verbs as MCP tools over stdio, to an agent you already use
    ///
    /// The tools: spawn, list, peek, say, steer, abort, approvals. Approvals can be listed, not
    /// answered: a permission is yours to give. Name this command in the agent's MCP config, with
    /// `--config` and the path of the project's fracta.yaml unless the agent runs in the project.
    /// Agents of fracta's may use it too; agents.max_running bounds them all together.
    Mcp,
    /// See it all work with no account and no key, in a throw-away project
    Demo(Demo),
    /// Print shell completions
    Completions { shell: clap_complete::Shell },
}

#[derive(Args)]
pub struct Spawn {
    /// The agent's name: 1 to 63 of a-z, 0-9 and -
    #[arg(long, value_name = "NAME")]
    pub task: String,
    /// A runtime of the config; `fracta runtimes` lists them
    #[arg(long)]
    pub runtime: Option<String>,
    /// Deprecated: --runtime
    #[arg(long, hide = true, conflicts_with = "runtime")]
    pub host_type: Option<String>,
    /// One process for each turn, or one for the whole session
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
    /// What the config's model_tiers say
    #[arg(long, value_enum)]
    pub tier: Option<Tier>,
    /// The model, as the runtime names it
    #[arg(long)]
    pub model: Option<String>,
    /// What to do: a text, or the path of a file that holds it (`-` reads stdin)
    #[arg(long, value_name = "TEXT|PATH")]
    pub contract: Option<String>,
    /// Branch or commit to start from
    #[arg(long)]
    pub base: Option<String>,
    /// Where the agent's process runs
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,
    /// Show what would be started, and touch nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Form of the dry run
    #[arg(long, value_enum, default_value = "yaml", requires = "dry_run")]
    pub format: Format,
    /// Wait until the turn has ended; exit 0 only if it completed
    #[arg(long)]
    pub wait: bool,
}

#[derive(Args)]
pub struct List {
    /// Killed agents too, whose journals are still there
    #[arg(long)]
    pub all: bool,
}

#[derive(Args)]
pub struct Events {
    /// An agent's name, or a session id
    pub name: String,
    /// Only events with greater numbers
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    pub after: u64,
    /// Go on with what comes
    #[arg(long, short)]
    pub follow: bool,
    /// The bytes as the runtime sent them, instead of events
    #[arg(long, conflicts_with = "after")]
    pub raw: bool,
}

#[derive(Args)]
pub struct Say {
    pub name: String,
    /// The message; `-` reads stdin
    #[arg(required = true, num_args = 1.., value_name = "TEXT")]
    pub text: Vec<String>,
}

#[derive(Args)]
pub struct Answer {
    pub name: String,
    /// Which request; not needed where there is only one
    pub id: Option<String>,
    /// Answers to a request's questions, as JSON
    #[arg(long, value_name = "JSON")]
    pub answers: Option<String>,
}

#[derive(Args)]
pub struct Kill {
    pub name: String,
    /// Leave workspace and branch where they are
    #[arg(long)]
    pub keep_files: bool,
    /// Destroy uncommitted and unmerged work too
    #[arg(long)]
    pub force: bool,
}

#[derive(Args)]
pub struct Prune {
    /// Only what ended longer ago: 30d, 12h, 45m, 10s
    #[arg(long, default_value = "30d", value_parser = age)]
    pub older_than: std::time::Duration,
}

#[derive(Args)]
pub struct Config {
    #[command(subcommand)]
    pub verb: ConfigVerb,
}

#[derive(Subcommand)]
pub enum ConfigVerb {
    /// Report every error of the config, with file, line and column
    Check,
    /// Print the JSON Schema of fracta.yaml
    Schema,
}

#[derive(Args)]
pub struct Auth {
    #[command(subcommand)]
    pub verb: AuthVerb,
}

#[derive(Subcommand)]
pub enum AuthVerb {
    /// Print a runtime's credential plan; asks nobody for a value
    ///
    /// Origins with scope and phase, the binding and its target, assertions, and the names of the final
    /// environment with where each comes from. Never a value. Exit status 1 if a spawn would fail.
    Diagnose(Diagnose),
}

#[derive(Args)]
pub struct Diagnose {
    /// A runtime of the config, in place of the default one
    #[arg(long)]
    pub runtime: Option<String>,
    /// Where the agent would run
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
}

#[derive(Args)]
pub struct Doctor {
    #[arg(long, value_enum, default_value = "local")]
    pub backend: Backend,
}

#[derive(Args)]
pub struct Serve {
    /// Listen on a TCP address too; needs --token-file
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// File with the token that clients on TCP must show
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Started by another command: leave its session, say when ready
    #[arg(long, hide = true)]
    pub detached: bool,
}

#[derive(Args)]
pub struct Demo {
    /// Replay recorded streams even if real CLIs are installed
    #[arg(long)]
    pub recorded: bool,
    /// Set everything up, print the project's folder and wait until stdin ends, without a screen
    #[arg(long)]
    pub headless: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Mode {
    Batch,
    Stream,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Tier {
    Heavy,
    Medium,
    Light,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    Local,
    Kubernetes,
}

impl Mode {
    /// The engine's word for it.
    pub fn engine(self) -> fracta::runtime::Mode {
        match self {
            Mode::Batch => fracta::runtime::Mode::Batch,
            Mode::Stream => fracta::runtime::Mode::Stream,
        }
    }
}

impl Backend {
    pub fn word(self) -> &'static str {
        match self {
            Backend::Local => "local",
            Backend::Kubernetes => "kubernetes",
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Format {
    Yaml,
    Json,
}

/// A number and a unit: `30d`.
fn age(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || format!("{text:?} is no age: use a number and d, h, m or s, like 30d");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let n: u64 = number.parse().map_err(|_| wrong())?;
    let factor = match unit {
        "d" => 86_400,
        "h" => 3_600,
        "m" => 60,
        "s" => 1,
        _ => return Err(wrong()),
    };
    n.checked_mul(factor).map(std::time::Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn ages() {
        assert_eq!(age("30d").unwrap().as_secs(), 30 * 86_400);
        assert_eq!(age("0s").unwrap().as_secs(), 0);
        for bad in ["", "d", "30", "-1d", "1w", "99999999999999999999d", "é"] {
            age(bad).unwrap_err();
        }
    }
}
