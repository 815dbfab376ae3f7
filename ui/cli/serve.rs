//! The control plane by hand.

use std::io::Write;

use anyhow::Context as _;
use fracta::backend::local;
use fracta::control::connect::{self, READY};
use fracta::control::server::{Options, Server};
use fracta::paths::Layout;
use fracta::runtime::Adapters;
use fracta::session::launch::ConfigSource;
use tokio::signal::unix::{SignalKind, signal};

use super::args;
use super::context::{Context, env, exe, read_token};
use super::out;
use super::report::Usage;

/// Log files kept.
const LOGS: usize = 7;
/// Servers that may start at once and meet at the link to the newest log file.
const LINK_TRIES: usize = 32;

pub async fn serve(context: &Context, args: args::Serve) -> anyhow::Result<()> {
    if args.detached {
        // Leave the terminal's session: its end must not be ours. It fails only for the leader of a
        // group, which whoever starts us takes care that we are not.
        let _ = nix::unistd::setsid();
    }
    fracta::credentials::no_core_dumps();
    // A server needs two threads: one flood must not hold up the other agents.
    let detached = args.detached;
    let options = options(context, args)?;
    let work = std::thread::Builder::new().name("serve".to_owned()).spawn(move || -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("fracta")
            .enable_all()
            .build()
            .context("cannot start the server's threads")?;
        runtime.block_on(run(options, detached))
    });
    let joined = tokio::task::spawn_blocking(move || work.map(std::thread::JoinHandle::join)).await?;
    match joined.context("cannot start the server's thread")? {
        Ok(result) => result,
        Err(_) => anyhow::bail!("the control plane panicked; the log tells where"),
    }
}

fn options(context: &Context, args: args::Serve) -> anyhow::Result<Options> {
    let loaded = context.load()?;
    let layout = Layout::new(loaded.root.clone());
    layout.ensure()?;
    log_to(&loaded, &layout)?;
    let plane = &loaded.config.control_plane;
    let expand = |t: &fracta::config::Text| t.expand(&env).map_err(|e| Usage(e.to_string()));
    let address = match (&args.listen, &plane.listen) {
        (Some(a), _) => Some(a.clone()),
        (None, Some(t)) => Some(expand(t)?),
        _ => None,
    };
    let token_file = match (&args.token_file, &plane.token_file) {
        (Some(f), _) => Some(f.clone()),
        (None, Some(t)) => Some(loaded.root.join(expand(t)?)),
        _ => None,
    };
    let listen = match (address, token_file) {
        (Some(address), Some(file)) => Some((address, read_token(&file)?)),
        (Some(_), None) => {
            return Err(Usage(
                "--listen needs --token-file: nothing listens on TCP without a token".to_owned(),
            )
            .into());
        }
        (None, _) => None,
    };
    let config = ConfigSource { file: context.config.clone(), cwd: context.cwd()? };
    Ok(Options { layout, config, adapters: Adapters::default(), listen, exe: exe()? })
}

async fn run(options: Options, detached: bool) -> anyhow::Result<()> {
    let root = options.layout.root().to_owned();
    let server = Server::bind(options).await?;
    tracing::info!(root = %root.display(), version = env!("CARGO_PKG_VERSION"), "control plane started");
    if detached {
        ready()?;
    } else {
        out::line(&format!("control plane of {} is ready", root.display()))?;
    }
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let mut hup = signal(SignalKind::hangup())?;
    let stop = async move {
        loop {
            tokio::select! {
                _ = term.recv() => break,
                _ = int.recv() => break,
                // A terminal that goes away takes a detached server not with it.
                _ = hup.recv() => if !detached { break },
            }
        }
    };
    server.run(stop).await?;
    tracing::info!("control plane ended");
    Ok(())
}

/// Tells who started us that clients may connect, and lets go of their pipes.
fn ready() -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    stdout.write_all(READY)?;
    stdout.flush()?;
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}

/// JSON lines into `.fracta/fracta.log`, a new file each day, the last seven kept.
fn log_to(loaded: &fracta::config::Loaded, layout: &Layout) -> anyhow::Result<()> {
    let logging = &loaded.config.logging;
    let file = match &logging.file {
        Some(t) => loaded.root.join(t.expand(&env).map_err(|e| Usage(e.to_string()))?),
        None => layout.log_file(),
    };
    let level = env("FRACTA_LOG").unwrap_or_else(|| logging.level.word().to_owned());
    let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let folder = file.parent().unwrap_or(layout.root());
    let build = || {
        tracing_appender::rolling::RollingFileAppender::builder()
            .rotation(tracing_appender::rolling::Rotation::DAILY)
            .filename_prefix(&name)
            .latest_symlink(&name)
            .max_log_files(LOGS)
            .build(folder)
    };
    // Of servers that start at once all but one end when they ask for the lock, but each makes the link
    // to the newest file: who finds it made in between tries again.
    let mut appender = build();
    for _ in 0..LINK_TRIES {
        if appender.is_ok() {
            break;
        }
        appender = build();
    }
    let appender = appender.with_context(|| format!("cannot write the log {}", file.display()))?;
    let filter = tracing_subscriber::EnvFilter::try_new(&level)
        .map_err(|e| Usage(format!("FRACTA_LOG={level:?} is no log filter: {e}")))?;
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(std::sync::Mutex::new(appender))
        .init();
    Ok(())
}

pub async fn stop(context: &Context, agents: bool) -> anyhow::Result<()> {
    let mut client = context.running().await?;
    if client.is_none() && agents && agents_left(&context.layout()?) {
        // They live under their shims, and only a control plane ends them and writes down how.
        client = Some(context.client().await?);
    }
    match client {
        Some(client) => {
            client.shutdown(agents).await?;
            if context.elsewhere()?.is_none() {
                connect::wait_for_end(&context.layout()?).await?;
            }
            let text =
                if agents { "control plane and agents ended" } else { "control plane ended; agents go on" };
            say(context, true, text)
        }
        None => say(context, false, "no control plane runs for this project"),
    }
}

/// Whether some agent's process may be alive though no control plane runs.
fn agents_left(layout: &Layout) -> bool {
    let sessions = std::fs::read_dir(layout.sessions_dir()).into_iter().flatten().flatten();
    sessions.into_iter().any(|session| local::unfinished(&session.path()))
}

fn say(context: &Context, stopped: bool, text: &str) -> anyhow::Result<()> {
    if context.json {
        return out::json(&serde_json::json!({ "stopped": stopped }));
    }
    Ok(out::line(text)?)
}

pub async fn status(context: &Context) -> anyhow::Result<()> {
    let Some(client) = context.running().await? else {
        if context.json {
            return out::json(&serde_json::json!({ "running": false }));
        }
        return Ok(out::line(
            "no control plane runs for this project; any command that needs one starts it",
        )?);
    };
    let s = client.status().await?;
    if context.json {
        return out::json(&s);
    }
    let listen = s.listen.as_ref().map(|l| format!("\nlisten   {l}")).unwrap_or_default();
    let text = format!(
        "fracta   {} (API {})\npid      {}\nproject  {}\nsocket   {}{listen}\nagents   {} ({} running)\nsince    {}",
        s.version, s.api, s.pid, s.root, s.socket, s.agents, s.running, s.started_at
    );
    Ok(out::line(&text)?)
}
