//! The server: one for each project, behind a private Unix socket, and behind a token on TCP.

mod diagnose;
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
use std::time::Duration;

use secrecy::SecretString;

pub use plane::{Plane, ServeError};

use crate::paths::Layout;
use crate::runtime::Adapters;
use crate::session::launch::ConfigSource;

/// How long answers that are on their way may take when the control plane ends.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// How long a control plane waits for one that is ending, or that has not begun to listen.
const PREDECESSOR: Duration = Duration::from_secs(10);
/// How often it looks meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// How to serve.
pub struct Options {
    pub layout: Layout,
    pub config: ConfigSource,
    /// The adapters that the config may name; fracta itself has [`Adapters::default`].
    pub adapters: Adapters,
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
        let lock = lock(&options.layout).await?;
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
        let serve = axum::serve(listen::OwnUser(self.unix), app).with_graceful_shutdown(stopped);
        let late = async {
            plane.stopped().await;
            tokio::time::sleep(LAST_ANSWERS).await;
        };
        tokio::select! {
            served = serve => served?,
            // A client that stopped reading must not keep a control plane that was told to end.
            () = late => tracing::info!("connections that did not end were left"),
        }
        if let Some(task) = tcp {
            task.abort();
        }
        // Only now: while the lock is held nobody else may have bound it anew.
        let _ = std::fs::remove_file(socket);
        Ok(())
    }
}

/// The project's lock. Held by one that does not listen, it is soon free (that one ends), or somebody
/// else's start was faster and soon listens: waiting tells which.
async fn lock(layout: &Layout) -> Result<listen::Lock, ServeError> {
    let until = tokio::time::Instant::now() + PREDECESSOR;
    let socket = layout.control_socket();
    loop {
        match listen::Lock::take(layout) {
            Err(ServeError::Running { .. })
                if !super::connect::answers(&socket) && tokio::time::Instant::now() < until =>
            {
                tokio::time::sleep(LOOK).await;
            }
            other => return other,
        }
    }
}
