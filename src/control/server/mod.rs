//! The server: one for each project, behind a private Unix socket, and behind a token on TCP.

mod events;
mod listen;
mod plane;
mod prune;
mod routes;
mod runtimes;
mod spawn;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;

pub use plane::{Plane, ServeError};

use crate::paths::Layout;
use crate::session::launch::ConfigSource;

/// How to serve.
pub struct Options {
    pub layout: Layout,
    pub config: ConfigSource,
    /// TCP address and the token that its clients must show.
    pub listen: Option<(String, SecretString)>,
    /// The `fracta` executable, for shims.
    pub exe: PathBuf,
}

/// A control plane that holds the project's lock and listens.
pub struct Server {
    plane: Arc<Plane>,
    unix: tokio::net::UnixListener,
    tcp: Option<tokio::net::TcpListener>,
    _lock: listen::Lock,
}

impl Server {
    /// Takes the project's lock, opens its state, takes its agents up again and binds the sockets.
    ///
    /// # Errors
    /// [`ServeError::Running`] where the project has a control plane already.
    pub async fn bind(options: Options) -> Result<Self, ServeError> {
        options.layout.ensure()?;
        let lock = listen::Lock::take(&options.layout)?;
        let (unix, socket) = listen::unix(&options.layout)?;
        let tcp = match &options.listen {
            Some((address, _)) => Some(listen::tcp(address).await?),
            None => None,
        };
        let listening = tcp.as_ref().and_then(|t| t.local_addr().ok()).map(|a| a.to_string());
        let plane = Plane::open(options, socket, listening).await?;
        Ok(Self { plane, unix, tcp, _lock: lock })
    }

    /// Answers until somebody asks it to stop, or `stop` is ready.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let plane = Arc::clone(&self.plane);
        let app = routes::router(Arc::clone(&plane));
        let stopped = plane.stopped();
        tokio::spawn({
            let plane = Arc::clone(&plane);
            async move {
                stop.await;
                plane.shut_down(false).await;
            }
        });
        let tcp = self.tcp.map(|listener| {
            let app = routes::with_token(app.clone(), plane.token());
            let stopped = plane.stopped();
            tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(stopped).await })
        });
        let socket = plane.socket().to_owned();
        axum::serve(listen::OwnUser(self.unix), app).with_graceful_shutdown(stopped).await?;
        if let Some(task) = tcp {
            task.abort();
        }
        // Only now: while the lock is held nobody else may have bound it anew.
        let _ = std::fs::remove_file(socket);
        Ok(())
    }
}
