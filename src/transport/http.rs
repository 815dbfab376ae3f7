//! The control plane's side of an agent that is an HTTP server on loopback: requests, and one long
//! response of server-sent events.
//!
//! All that is heard is appended to the session's `raw.jsonl` before anybody acts on it, one line each:
//!
//! | line | is |
//! |---|---|
//! | anything else | the data of an event as received (line ends in it, which JSON has only between members, become spaces) |
//! | `{"fracta":"connected","n":1}` | the stream of events is open; `n` counts those of this control plane |
//! | `{"fracta":"disconnected","why":…}` | it ended. It is opened again, with growing pauses, as long as the process lives |
//! | `{"fracta":"http","id":…,"status":…,"body":…}` | the answer to the request of that id |
//! | `{"fracta":"http","id":…,"status":0,"error":…,"sent":…}` | there is none. `sent` false: it did not reach the server |
//! | `{"fracta":"gap","text":…}` | something was too long |
//!
//! Only these lines begin with `{"fracta":`; an event that does gets a blank before it. Requests are
//! carried out one after the other, and not before the first connection.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::MAX_LINE;
use super::sse::{Events, Piece};

/// Longest data of an event, and longest answer, in bytes: what still fits into a line.
const MAX_EVENT: usize = MAX_LINE - 1024;
/// Requests that may wait.
const QUEUE: usize = 64;
/// Silence after which the stream counts as lost. OpenCode sends a heartbeat every 10 to 30 seconds.
const SILENCE: Duration = Duration::from_secs(75);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(5);
/// Pauses between two attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a dead process's last events may take to be read.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Pause where the disk takes nothing.
const DISK_PAUSE: Duration = Duration::from_millis(500);

/// Whom to talk to; kept in the session's folder (0600), so that the next control plane can.
#[derive(Clone, Serialize, Deserialize)]
pub struct Endpoint {
    /// The run that it belongs to.
    pub run: u32,
    pub user: String,
    pub password: String,
    pub announced: String,
    pub events: String,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("run", &self.run).finish_non_exhaustive()
    }
}

/// A request of the adapter's.
#[derive(Debug)]
pub struct Request {
    pub id: String,
    pub method: &'static str,
    pub path: String,
    pub body: Option<Vec<u8>>,
}

/// The conversation with one process. When dropped it ends, and the process goes on.
pub struct Conversation {
    endpoint: Endpoint,
    port: watch::Sender<Option<u16>>,
    requests: mpsc::Sender<Request>,
    len: watch::Receiver<u64>,
    trouble: watch::Receiver<Option<String>>,
    closing: CancellationToken,
    tasks: JoinSet<()>,
}

/// What all tasks of a conversation share.
#[derive(Clone)]
struct Shared {
    endpoint: Endpoint,
    client: Client,
    port: watch::Receiver<Option<u16>>,
    raw: Arc<Mutex<Raw>>,
    len: watch::Sender<u64>,
    trouble: watch::Sender<Option<String>>,
    closing: CancellationToken,
}

impl Conversation {
    /// Opens it; it begins when [`Conversation::found`] was told the port. `raw` and `lock` are files of
    /// the session; who holds the lock writes.
    ///
    /// # Errors
    /// Where the files cannot be opened, or another conversation of the session does not end.
    pub async fn open(endpoint: Endpoint, raw: &Path, lock: &Path) -> io::Result<Self> {
        let raw = Raw::open(raw, lock).await?;
        // Building a client needs one, though only loopback without TLS is talked to.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .build()
            .map_err(io::Error::other)?;
        let (port, port_rx) = watch::channel(None);
        let (len, len_rx) = watch::channel(raw.len);
        let (trouble, trouble_rx) = watch::channel(None);
        let (requests, requests_rx) = mpsc::channel(QUEUE);
        let (connected, connected_rx) = watch::channel(false);
        let closing = CancellationToken::new();
        let shared = Shared {
            endpoint: endpoint.clone(),
            client,
            port: port_rx,
            raw: Arc::new(Mutex::new(raw)),
            len,
            trouble,
            closing: closing.clone(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(shared.clone(), connected));
        tasks.spawn(carry(shared, requests_rx, connected_rx));
        Ok(Self { endpoint, port, requests, len: len_rx, trouble: trouble_rx, closing, tasks })
    }

    /// Reads the port out of what the process printed, if it is there.
    pub fn look(&self, stdout: &Path) {
        if self.port.borrow().is_none()
            && let Some(port) = announced(stdout, &self.endpoint.announced)
        {
            self.port.send_replace(Some(port));
        }
    }

    /// Length of `raw.jsonl`.
    pub fn raw_len(&self) -> u64 {
        *self.len.borrow()
    }

    /// Waits until `raw.jsonl` has grown since the last call, or something is wrong that may pass.
    /// Cancel-safe.
    pub async fn news(&mut self) -> News {
        let over = |_| std::future::pending::<()>();
        tokio::select! {
            changed = self.len.changed() => match changed {
                Ok(()) => News::Grown(*self.len.borrow_and_update()),
                Err(e) => { over(e).await; News::Grown(self.raw_len()) }
            },
            changed = self.trouble.changed() => match changed {
                Ok(()) => News::Trouble(self.trouble.borrow_and_update().clone().unwrap_or_default()),
                Err(e) => { over(e).await; News::Grown(self.raw_len()) }
            },
        }
    }

    /// Hands a request over; waits while too many wait. False: the conversation is over.
    pub async fn send(&self, request: Request) -> bool {
        self.requests.send(request).await.is_ok()
    }

    /// The process is gone: reads what it still said and ends. Cancel-safe.
    pub async fn finish(&mut self) {
        self.closing.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// What [`Conversation::news`] tells.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    Grown(u64),
    Trouble(String),
}

/// The port in a line `…listening on http://127.0.0.1:PORT`. Whatever host it names, loopback is meant.
fn announced(stdout: &Path, before: &str) -> Option<u16> {
    let mut text = Vec::new();
    File::open(stdout).ok()?.take(64 << 10).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let line = text.split_inclusive('\n').find(|l| l.contains(before))?.strip_suffix('\n')?;
    let address = line.split_once(before)?.1.split(['/', ' ', '\r']).next()?;
    address.rsplit_once(':')?.1.parse().ok()
}

impl Shared {
    /// Waits for the port.
    async fn url(&mut self, path: &str) -> Option<String> {
        let port = *self.port.wait_for(Option::is_some).await.ok()?;
        Some(format!("http://127.0.0.1:{}{path}", port?))
    }

    fn dressed(&self, request: RequestBuilder) -> RequestBuilder {
        request.basic_auth(&self.endpoint.user, Some(&self.endpoint.password))
    }

    /// Appends a line. Where the disk takes nothing this waits, and nothing more is read meanwhile.
    async fn write(&self, mut line: Vec<u8>) {
        line.push(b'\n');
        loop {
            let done = self.raw.lock().unwrap_or_else(PoisonError::into_inner).append(&line);
            match done {
                Ok(len) => {
                    self.len.send_if_modified(|l| std::mem::replace(l, len) != len);
                    return;
                }
                Err(e) => {
                    let text = format!(
                        "what the agent says cannot be written to raw.jsonl ({e}); it waits until it can"
                    );
                    self.trouble.send_if_modified(|t| t.replace(text.clone()).as_ref() != Some(&text));
                    tokio::time::sleep(DISK_PAUSE).await;
                }
            }
        }
    }
}

/// Keeps the stream of events open until the process is gone.
async fn listen(mut shared: Shared, connected: watch::Sender<bool>) {
    let closing = shared.closing.clone();
    let Some(url) = closing.run_until_cancelled(shared.url(&shared.endpoint.events.clone())).await.flatten()
    else {
        return;
    };
    let mut pause = FIRST_PAUSE;
    for n in 1_u64.. {
        let request = shared.dressed(shared.client.get(&url)).header("accept", "text/event-stream");
        let answer = tokio::time::timeout(PATIENCE, request.send()).await;
        let problem = match answer {
            Ok(Ok(response)) if response.status().is_success() => {
                pause = FIRST_PAUSE;
                shared.write(own_line("connected", &json!({"n": n}))).await;
                connected.send_replace(true);
                let why = events(&shared, response).await;
                shared.write(own_line("disconnected", &json!({"why": why}))).await;
                None
            }
            Ok(Ok(response)) => Some(format!("it answers {}", response.status())),
            Ok(Err(e)) => Some(plain(e)),
            Err(_) => Some("it does not answer".to_owned()),
        };
        if closing.is_cancelled() {
            return;
        }
        if let Some(why) = problem.filter(|_| pause >= LONGEST_PAUSE) {
            let text = format!("the agent's server cannot be reached: {why}; trying again");
            shared.trouble.send_if_modified(|t| t.replace(text.clone()).as_ref() != Some(&text));
        }
        if closing.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Writes events down until the stream ends; why it did.
async fn events(shared: &Shared, mut response: Response) -> String {
    let mut cut = Events::new(MAX_EVENT);
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let end = async {
        shared.closing.cancelled().await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::pin!(end);
    loop {
        let chunk = tokio::select! {
            chunk = tokio::time::timeout(SILENCE, response.chunk()) => chunk,
            () = &mut end => return "the process ended".to_owned(),
        };
        match chunk {
            Ok(Ok(Some(bytes))) => cut.push(&bytes, |piece| lines.push(event_line(piece))),
            Ok(Ok(None)) => return "the server closed it".to_owned(),
            Ok(Err(e)) => return plain(e),
            Err(_) => return format!("nothing came for {} s, not even a heartbeat", SILENCE.as_secs()),
        }
        for line in lines.drain(..) {
            shared.write(line).await;
        }
    }
}

/// A line of ours. Its first member is what tells it from an event.
fn own_line(kind: &str, members: &Value) -> Vec<u8> {
    let members = members.to_string();
    format!("{{\"fracta\":\"{kind}\",{}", members.trim_start_matches('{')).into_bytes()
}

fn event_line(piece: Piece<'_>) -> Vec<u8> {
    match piece {
        Piece::Data(data) => {
            let mut line = Vec::with_capacity(data.len() + 2);
            if data.starts_with(b"{\"fracta\":") {
                line.push(b' ');
            }
            line.extend(data.iter().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { *b }));
            line
        }
        Piece::TooLong { len } => {
            let text = format!("an event of {len} bytes (more than {MAX_EVENT}) was left out");
            own_line("gap", &json!({"text": text}))
        }
    }
}

/// Carries requests out, one after the other.
async fn carry(
    mut shared: Shared,
    mut requests: mpsc::Receiver<Request>,
    mut connected: watch::Receiver<bool>,
) {
    let closing = shared.closing.clone();
    let work = async {
        if connected.wait_for(|c| *c).await.is_err() {
            return;
        }
        while let Some(request) = requests.recv().await {
            let line = answer(&mut shared, &request).await;
            shared.write(own_line("http", &line)).await;
        }
    };
    // What was not carried out by now never will be: the process is gone.
    closing.run_until_cancelled(work).await;
}

async fn answer(shared: &mut Shared, request: &Request) -> Value {
    let id = &request.id;
    let failed = |error: String, sent: bool| json!({"id": id, "status": 0, "error": error, "sent": sent});
    let Some(url) = shared.url(&request.path).await else {
        return failed("the conversation is over".to_owned(), false);
    };
    let method = reqwest::Method::from_bytes(request.method.as_bytes()).unwrap_or_default();
    let mut builder = shared.dressed(shared.client.request(method, url)).timeout(PATIENCE);
    if let Some(body) = &request.body {
        builder = builder.header("content-type", "application/json").body(body.clone());
    }
    let response = match builder.send().await {
        Ok(r) => r,
        Err(e) => {
            let sent = !e.is_connect() && !e.is_builder();
            return failed(plain(e), sent);
        }
    };
    let status = response.status().as_u16();
    match body(response).await {
        Ok(bytes) => {
            let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
            let body: Value = serde_json::from_slice(&bytes).unwrap_or_else(|_| text());
            json!({"id": id, "status": status, "body": body})
        }
        Err(why) => json!({"id": id, "status": status, "error": why, "sent": true}),
    }
}

/// The answer's body, bounded.
async fn body(mut response: Response) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    while let Some(bytes) = response.chunk().await.map_err(plain)? {
        if all.len() + bytes.len() > MAX_EVENT / 2 {
            return Err(format!("the answer is longer than {} bytes", MAX_EVENT / 2));
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

/// An error without the URL, which says nothing to a person, and with what caused it.
fn plain(e: reqwest::Error) -> String {
    let e = e.without_url();
    let mut text = e.to_string();
    let mut cause = std::error::Error::source(&e);
    while let Some(c) = cause {
        text = format!("{text}: {c}");
        cause = c.source();
    }
    text
}

/// `raw.jsonl`, to which this conversation alone writes.
struct Raw {
    file: File,
    len: u64,
    _lock: File,
}

impl Raw {
    async fn open(path: &Path, lock: &Path) -> io::Result<Self> {
        let lock = private(lock)?;
        // An earlier link of this very process may be about to end.
        for _ in 0..100 {
            match lock.try_lock() {
                Ok(()) => return Self::locked(path, lock),
                Err(std::fs::TryLockError::WouldBlock) => tokio::time::sleep(FIRST_PAUSE).await,
                Err(std::fs::TryLockError::Error(e)) => return Err(e),
            }
        }
        Err(io::Error::other("another conversation with the agent goes on"))
    }

    fn locked(path: &Path, lock: File) -> io::Result<Self> {
        let mut file = private(path)?;
        let mut len = file.seek(SeekFrom::End(0))?;
        if len > 0 {
            let mut last = [0];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut last, len - 1)?;
            // Half a line of a control plane that was killed must not run into the next one.
            if last != *b"\n" {
                file.write_all(b"\n")?;
                len += 1;
            }
        }
        Ok(Self { file, len, _lock: lock })
    }

    /// Appends all or nothing; the length then.
    fn append(&mut self, line: &[u8]) -> io::Result<u64> {
        if let Err(e) = self.file.write_all(line) {
            self.file.set_len(self.len)?;
            return Err(e);
        }
        self.len += line.len() as u64;
        Ok(self.len)
    }
}

fn private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().read(true).append(true).create(true).mode(0o600).open(path)
}
