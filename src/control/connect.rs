//! Finding the project's control plane, and starting it where there is none.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::client::{Client, ClientError, Endpoint};
use crate::paths::{Layout, PathError};

/// What the server writes to its stdout, once, when clients may connect.
pub const READY: &[u8] = b"ready\n";
/// How much of a failed start's last words is shown, in bytes.
const LAST_WORDS: u64 = 4 << 10;
/// How long a control plane that was asked to end may take.
const END: Duration = Duration::from_secs(20);

/// Why no control plane can be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("cannot start the control plane ({}): {source}", exe.display())]
    Start { exe: PathBuf, source: std::io::Error },
    #[error("the control plane did not start: {words}")]
    Failed { words: String },
    #[error("the control plane of {} was asked to end and has not ended within {} s; its log tells what it does", root.display(), END.as_secs())]
    Lingers { root: PathBuf },
}

/// The client of the project's control plane, if one answers.
pub async fn running(layout: &Layout) -> Result<Option<Client>, ConnectError> {
    let socket = layout.control_socket();
    if !answers(&socket) {
        return Ok(None);
    }
    Ok(Some(Client::new(&Endpoint::Unix(socket))?))
}

/// The client of the project's control plane, which is started if there is none: as a process of its
/// own session, which outlives this one and its terminal.
pub async fn ensure(layout: &Layout, config: Option<&Path>, exe: &Path) -> Result<Client, ConnectError> {
    if let Some(client) = running(layout).await? {
        return Ok(client);
    }
    layout.ensure()?;
    let (layout, config, exe) = (layout.clone(), config.map(Path::to_owned), exe.to_owned());
    let started = tokio::task::spawn_blocking({
        let layout = layout.clone();
        move || start(&layout, config.as_deref(), &exe)
    });
    match started.await {
        Ok(result) => result?,
        Err(e) => return Err(ConnectError::Failed { words: e.to_string() }),
    }
    Ok(Client::new(&Endpoint::Unix(layout.control_socket()))?)
}

/// Waits until the project's control plane, which was asked to end, is gone.
///
/// # Errors
/// It is still there after [`END`].
pub async fn wait_for_end(layout: &Layout) -> Result<(), ConnectError> {
    let Ok(file) = std::fs::File::open(layout.lock_file()) else { return Ok(()) };
    // It holds this lock as long as it lives.
    let gone = tokio::task::spawn_blocking(move || file.lock_shared());
    match tokio::time::timeout(END, gone).await {
        Ok(_) => Ok(()),
        Err(_) => Err(ConnectError::Lingers { root: layout.root().to_owned() }),
    }
}

/// A socket file may be a dead server's: only an accepted connection tells.
pub(super) fn answers(socket: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket).is_ok()
}

fn start(layout: &Layout, config: Option<&Path>, exe: &Path) -> Result<(), ConnectError> {
    let error = |source| ConnectError::Start { exe: exe.to_owned(), source };
    let mut words = tempfile::tempfile().map_err(error)?;
    let mut command = Command::new(exe);
    command.arg("serve").arg("--detached").arg("--root").arg(layout.root());
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    command
        .current_dir(layout.root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // It leaves this session by itself, which the leader of a group could not: no group of its own.
        .stderr(words.try_clone().map_err(error)?);
    let mut child = command.spawn().map_err(error)?;
    let mut ready = Vec::new();
    if let Some(mut out) = child.stdout.take() {
        // Ends when the server says that it is ready (and closes it), or is gone.
        out.read_to_end(&mut ready).map_err(error)?;
    }
    if ready == READY || answers(&layout.control_socket()) {
        // Ready; or somebody else's start was faster, and the project has its control plane.
        return Ok(());
    }
    let status = child.wait().map_err(error)?;
    let mut text = String::new();
    use std::io::Seek;
    words.rewind().map_err(error)?;
    words.take(LAST_WORDS).read_to_string(&mut text).map_err(error)?;
    let text = text.trim();
    let words = if text.is_empty() { format!("it ended with {status}") } else { text.to_owned() };
    Err(ConnectError::Failed { words })
}
