//! Carrying effects out: requests to the control plane, each ending in a message.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use fracta::control::client::{Client, ClientError, EventQuery};
use fracta::control::{connect, wire};
use fracta::event::Event;
use fracta::paths::Layout;
use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

use super::msg::{Effect, Failure, Msg};

/// Events in a page.
pub const PAGE: u64 = 500;
/// Messages on their way to the model (law 1): a full queue makes the senders wait.
pub const QUEUE: usize = 256;
/// Events in one message.
const BATCH: usize = 128;
/// Sessions passed over faster than this are not asked for.
const DEBOUNCE: Duration = Duration::from_millis(80);
/// What is seen is reported at most this often.
const SEEN_APART: Duration = Duration::from_millis(250);
/// Waits between attempts to reach the control plane again.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How the project's own control plane is started again.
#[derive(Debug, Clone)]
pub struct Home {
    pub layout: Layout,
    /// The config named by a person; none: the one that is found.
    pub config: Option<PathBuf>,
    /// The executable of fracta.
    pub exe: PathBuf,
}

/// The tasks of the screen.
pub struct Worker {
    client: Client,
    tx: mpsc::Sender<Msg>,
    watch: JoinHandle<()>,
    stream: Option<JoinHandle<()>>,
    opened: Option<Instant>,
    seen: watch::Sender<Option<(String, u64)>>,
    /// Requests that change something: leaving waits for their answers.
    requests: JoinSet<()>,
    /// Requests that only ask: whoever leaves needs no answer any more.
    questions: JoinSet<()>,
}

impl From<ClientError> for Failure {
    fn from(e: ClientError) -> Self {
        Self { code: e.code(), text: e.to_string() }
    }
}

impl Worker {
    /// Begins to watch the list. `home`: start the control plane again where it fails.
    pub fn new(client: Client, home: Option<Home>, tx: mpsc::Sender<Msg>) -> Self {
        let watch = tokio::spawn(watch_list(client.clone(), home, tx.clone()));
        let (seen, rx) = watch::channel(None);
        tokio::spawn(report_seen(client.clone(), rx));
        Self {
            client,
            tx,
            watch,
            stream: None,
            opened: None,
            seen,
            requests: JoinSet::new(),
            questions: JoinSet::new(),
        }
    }

    /// Begins to carry an effect out. Those of the terminal are the loop's.
    pub fn start(&mut self, effect: Effect) {
        let client = self.client.clone();
        match effect {
            Effect::Open { session, after } => self.open(session, after),
            Effect::Close => self.close(),
            Effect::Earlier { session, before } => self.ask(async move {
                let events = page(&client, &session, before).await.map_err(Failure::from);
                Msg::Earlier { session, events }
            }),
            Effect::Seen { session, seq } => {
                self.seen.send_replace(Some((session, seq)));
            }
            Effect::Say { name, session, text, steer } => self.request(async move {
                let said =
                    if steer { client.steer(&name, &text).await } else { client.say(&name, &text).await };
                Msg::Said { name, session, text, steer, result: said.map_err(Failure::from) }
            }),
            Effect::Answer { name, answer } => self.request(async move {
                let result = client.answer(&name, &answer).await.map_err(Failure::from);
                Msg::Answered { name, decision: answer.decision, result }
            }),
            Effect::Abort { name } => self.request(async move {
                let result = client.abort(&name).await.map(drop).map_err(Failure::from);
                Msg::Aborted { name, result }
            }),
            Effect::Kill { name, force } => self.request(async move {
                let kill = wire::Kill { keep_files: false, force };
                let result = client.kill(&name, &kill).await.map(drop).map_err(Failure::from);
                Msg::Killed { name, result }
            }),
            Effect::Merge { name } => self.request(async move {
                let result = client.merge(&name).await.map_err(Failure::from);
                Msg::Merged { name, result }
            }),
            Effect::Diff { name } => self.ask(async move {
                let result = client.diff(&name).await.map_err(Failure::from);
                Msg::Diff { name, result }
            }),
            Effect::Spawn(spawn) => self.request(async move {
                let result = client.spawn(&spawn).await.map(Box::new).map_err(Failure::from);
                Msg::Spawned { name: spawn.name.clone(), result }
            }),
            Effect::Runtimes => {
                self.ask(async move { Msg::Runtimes(client.runtimes().await.map_err(Failure::from)) });
            }
            Effect::Quit | Effect::Suspend | Effect::Redraw | Effect::Copy(_) | Effect::Notify(_) => {}
        }
    }

    /// Starts agents that no key asked for: leaving waits for none of them.
    pub fn begin(&self, spawns: Vec<wire::Spawn>) {
        for spawn in spawns {
            let (client, tx) = (self.client.clone(), self.tx.clone());
            tokio::spawn(async move {
                let result = client.spawn(&spawn).await.map(Box::new).map_err(Failure::from);
                // The loop is gone: nobody is left to tell.
                let _ = tx.send(Msg::Spawned { name: spawn.name, result }).await;
            });
        }
    }

    fn request(&mut self, work: impl Future<Output = Msg> + Send + 'static) {
        carry(&mut self.requests, self.tx.clone(), work);
    }

    fn ask(&mut self, work: impl Future<Output = Msg> + Send + 'static) {
        carry(&mut self.questions, self.tx.clone(), work);
    }

    fn open(&mut self, session: String, after: Option<u64>) {
        self.close();
        let now = Instant::now();
        let hasty = self.opened.is_some_and(|t| now - t < DEBOUNCE);
        self.opened = Some(now);
        let (client, tx) = (self.client.clone(), self.tx.clone());
        self.stream = Some(tokio::spawn(async move {
            if hasty {
                sleep(DEBOUNCE).await;
            }
            follow(&client, session, after, &tx).await;
        }));
    }

    fn close(&mut self) {
        if let Some(old) = self.stream.take() {
            old.abort();
        }
    }

    /// Ends watching, and lets requests under way arrive, up to `patience`. Returns how many did not.
    pub async fn finish(mut self, patience: Duration, rx: &mut mpsc::Receiver<Msg>) -> usize {
        self.close();
        self.watch.abort();
        let all = async {
            loop {
                tokio::select! {
                    done = self.requests.join_next() => if done.is_none() { break },
                    // Nobody looks at the results any more, but the senders must not hang.
                    Some(_) = rx.recv() => {}
                }
            }
        };
        let _ = tokio::time::timeout(patience, all).await;
        self.requests.len()
    }
}

fn carry(set: &mut JoinSet<()>, tx: mpsc::Sender<Msg>, work: impl Future<Output = Msg> + Send + 'static) {
    while set.try_join_next().is_some() {}
    set.spawn(async move {
        let msg = work.await;
        // The loop is gone: nobody is left to tell.
        let _ = tx.send(msg).await;
    });
}

/// The last page before a number; `u64::MAX`: of all.
async fn page(client: &Client, session: &str, before: u64) -> Result<Vec<Event>, ClientError> {
    let query = EventQuery { after: 0, before: Some(before), limit: Some(PAGE), follow: false };
    let mut stream = client.events(session, query).await?;
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        events.push(event?);
    }
    Ok(events)
}

/// Reads a session from its last page (or after a number) on, again after every break.
async fn follow(client: &Client, session: String, after: Option<u64>, tx: &mpsc::Sender<Msg>) {
    let mut last = after;
    let mut wait = RETRY.0;
    loop {
        let broke = follow_once(client, &session, &mut last, &mut wait, tx).await;
        let (why, gone) = match broke {
            Ok(()) => (None, false),
            Err(e) => {
                let gone = e.code() == Some(wire::Code::NotFound);
                (Some(e.to_string()), gone)
            }
        };
        if tx.send(Msg::StreamLost { session: session.clone(), why, gone }).await.is_err() || gone {
            return;
        }
        sleep(wait).await;
        wait = (wait * 2).min(RETRY.1);
    }
}

async fn follow_once(
    client: &Client,
    session: &str,
    last: &mut Option<u64>,
    wait: &mut Duration,
    tx: &mpsc::Sender<Msg>,
) -> Result<(), ClientError> {
    if last.is_none() {
        let events = page(client, session, u64::MAX).await?;
        *last = Some(events.last().map_or(0, |e| e.seq));
        let _ = tx.send(Msg::Events { session: session.to_owned(), events }).await;
    }
    let query = EventQuery { after: last.unwrap_or(0), follow: true, ..EventQuery::default() };
    let mut stream = client.events(session, query).await?.ready_chunks(BATCH);
    *wait = RETRY.0;
    let _ = tx.send(Msg::Live { session: session.to_owned() }).await;
    while let Some(chunk) = stream.next().await {
        let mut events = Vec::with_capacity(chunk.len());
        let mut failed = None;
        for item in chunk {
            match item {
                Ok(e) => events.push(e),
                Err(e) => {
                    failed = Some(e);
                    break;
                }
            }
        }
        if let Some(e) = events.last() {
            *last = Some(e.seq);
            let _ = tx.send(Msg::Events { session: session.to_owned(), events }).await;
        }
        if let Some(e) = failed {
            return Err(e);
        }
    }
    Ok(())
}

/// Watches the list, again after every break. A control plane that broke off is started again; one
/// that a person stopped is waited for.
async fn watch_list(client: Client, home: Option<Home>, tx: mpsc::Sender<Msg>) {
    let mut wait = RETRY.0;
    let mut stopped = false;
    loop {
        let mut why = match client.watch().await {
            Err(e) => e.to_string(),
            Ok(mut stream) => loop {
                match stream.next().await {
                    Some(Ok(w)) => {
                        wait = RETRY.0;
                        stopped = false;
                        if tx.send(Msg::Watch(w)).await.is_err() {
                            return;
                        }
                    }
                    Some(Err(e)) => break e.to_string(),
                    None => {
                        stopped = true;
                        break String::new();
                    }
                }
            },
        };
        if stopped {
            why = "the control plane was stopped; any fracta command starts it".to_owned();
        }
        if tx.send(Msg::LinkLost(why)).await.is_err() {
            return;
        }
        sleep(wait).await;
        wait = (wait * 2).min(RETRY.1);
        if !stopped
            && let Some(h) = &home
            && let Err(e) = connect::ensure(&h.layout, h.config.as_deref(), &h.exe).await
            && tx.send(Msg::LinkLost(e.to_string())).await.is_err()
        {
            return;
        }
    }
}

/// Reports what was seen: the latest only, and not too often.
async fn report_seen(client: Client, mut rx: watch::Receiver<Option<(String, u64)>>) {
    while rx.changed().await.is_ok() {
        sleep(SEEN_APART).await;
        let now = rx.borrow_and_update().clone();
        if let Some((session, seq)) = now {
            // Only a count depends on it, and the next one makes it good.
            let _ = client.seen(&session, seq).await;
        }
    }
}
