//! Stands between fracta's link and the server, and cuts the connections when told to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub struct Proxy {
    port: u16,
    /// True: connections are let through.
    up: watch::Sender<bool>,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    port_file: PathBuf,
}

impl Proxy {
    /// `port_file` is where the wrapper writes the server's port.
    pub async fn start(port_file: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (up, up_rx) = watch::channel(true);
        let (connections, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, living, file) = (connections.clone(), open.clone(), port_file.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !*up_rx.borrow() {
                    continue; // Dropped: refused.
                }
                counted.fetch_add(1, Ordering::SeqCst);
                living.fetch_add(1, Ordering::SeqCst);
                let (file, up, living) = (file.clone(), up_rx.clone(), living.clone());
                tokio::spawn(async move {
                    carry(client, &file, up).await;
                    living.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, up, connections, open, port_file }
    }

    /// A program that runs `opencode` and names our port as the server's.
    pub fn wrapper(&self, dir: &Path, opencode: &Path) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.join("opencode");
        let text = format!(
            "#!/bin/sh\ncase \"$1\" in serve) ;; *) exec '{cli}' \"$@\" ;; esac\n'{cli}' \"$@\" | while read -r line; do\n\
             echo \"$line\" | sed -n 's/.*127.0.0.1:\\([0-9]*\\).*/\\1/p' > '{file}'\n\
             echo 'opencode server listening on http://127.0.0.1:{port}'\ndone\n",
            cli = opencode.display(),
            file = self.port_file.display(),
            port = self.port,
        );
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Ends all connections and lets none through; returns when they are gone.
    pub async fn cut(&self) {
        self.up.send_replace(false);
        crate::plane_support::until(|| self.open.load(Ordering::SeqCst) == 0).await;
    }

    pub fn mend(&self) {
        self.up.send_replace(true);
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn carry(mut client: TcpStream, port_file: &Path, mut up: watch::Receiver<bool>) {
    let Ok(port) = std::fs::read_to_string(port_file) else { return };
    let Ok(port) = port.trim().parse::<u16>() else { return };
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _ = up.wait_for(|up| !up) => {}
    }
}
