//! The project's lock and the sockets.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::ServeError;
use crate::paths::{Layout, private_dir};

/// Held by the control plane of a project as long as it lives. The kernel lets go of it when the
/// process dies, however it dies, so a stale lock cannot be.
pub struct Lock {
    _file: fs::File,
}

impl Lock {
    pub fn take(layout: &Layout) -> Result<Self, ServeError> {
        let path = layout.lock_file();
        let io = |source| ServeError::Io { what: "lock", path: path.clone(), source };
        let mut file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .read(true)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(ServeError::Running { root: layout.root().to_owned() });
            }
            Err(fs::TryLockError::Error(e)) => return Err(io(e)),
        }
        file.set_len(0).map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(Self { _file: file })
    }
}

/// Binds the control socket. The lock is held, so a socket that is there is a dead server's.
pub fn unix(layout: &Layout) -> Result<(UnixListener, PathBuf), ServeError> {
    let path = layout.control_socket();
    let io = |what| {
        let path = path.clone();
        move |source| ServeError::Io { what, path, source }
    };
    if let Some(parent) = path.parent() {
        private_dir(parent)?;
    }
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io("remove the old socket")(e)),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(io("listen on"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(io("make private"))?;
    Ok((listener, path))
}

pub async fn tcp(address: &str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Io {
        what: "listen on",
        path: PathBuf::from(address),
        source,
    })
}

/// Accepts connections of the server's own user only: a second wall behind the socket's mode.
pub struct OwnUser(pub UnixListener);

impl axum::serve::Listener for OwnUser {
    type Io = UnixStream;
    type Addr = tokio::net::unix::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let me = nix::unistd::geteuid().as_raw();
        loop {
            match self.0.accept().await {
                Ok((stream, addr)) => match stream.peer_cred() {
                    Ok(c) if c.uid() == me || c.uid() == 0 => return (stream, addr),
                    other => {
                        tracing::warn!(peer = ?other.map(|c| c.uid()), "refused a connection of another user")
                    }
                },
                // Out of file descriptors or the like: it passes when connections end.
                Err(e) => {
                    tracing::error!(error = %e, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}
