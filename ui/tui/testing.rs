//! For tests: agents and events made by hand, and a control plane over a Unix socket that serves
//! them and remembers what it was asked to do.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State as Shared};
use axum::http::StatusCode;
use axum::response::sse::{Event as Frame, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use fracta::control::wire::{self, Agent, Watch};
use fracta::event::{Body, Delivery, Event, Role, Usage};
use fracta::runtime::{Capabilities, Mode, Permissions};
use fracta::session::state::{PendingApproval, State};
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use tokio::sync::broadcast;

/// An agent named `name` whose session is `s-name`.
pub fn agent(name: &str, state: State) -> Agent {
    let at = "2026-11-22T09:00:00Z".parse().unwrap();
    Agent {
        name: name.parse().unwrap(),
        state,
        reason: None,
        runtime: "codex".to_owned(),
        adapter: "codex".to_owned(),
        mode: Mode::Stream,
        backend: "local".to_owned(),
        model: Some("gpt-5.1".to_owned()),
        session: format!("s-{name}"),
        resume_token: None,
        turn: state.in_turn().then(|| "t1".to_owned()),
        turn_started_at: Some("2026-11-22T14:03:00Z".parse().unwrap()),
        created_at: at,
        updated_at: at,
        usage: Usage { input_tokens: 12_000, output_tokens: 345, ..Usage::default() },
        pending_approvals: vec![],
        workspace: format!("/w/{name}"),
        branch: Some(format!("agent/{name}")),
        base: Some("main".to_owned()),
        contract: None,
        activity: "$ cargo test".to_owned(),
        last_seq: 0,
        unread: 0,
        queued_messages: 0,
        step: None,
        killed: false,
    }
}

/// The agent with a request to run `command`.
pub fn asking(mut agent: Agent, id: &str, command: &str) -> Agent {
    agent.pending_approvals.push(PendingApproval {
        since: Some("2026-11-22T14:03:00Z".parse().unwrap()),
        id: id.to_owned(),
        what: "run a command".to_owned(),
        command: Some(command.to_owned()),
        cwd: None,
        diff: None,
        questions: None,
    });
    agent
}

pub fn event(agent: &str, seq: u64, body: Body) -> Event {
    Event {
        seq,
        ts: "2026-11-22T14:03:00Z".parse().unwrap(),
        agent: agent.to_owned(),
        session: format!("s-{agent}"),
        turn: Some("t1".to_owned()),
        raw: None,
        body,
    }
}

/// Messages numbered from 1 to `n`.
pub fn messages(agent: &str, n: u64) -> Vec<Event> {
    (1..=n)
        .map(|seq| {
            event(
                agent,
                seq,
                Body::MessageCompleted {
                    item: format!("m{seq}"),
                    role: Role::Assistant,
                    text: format!("message number {seq}"),
                },
            )
        })
        .collect()
}

pub fn runtime(name: &str, steer: Result<(), String>) -> wire::Runtime {
    wire::Runtime {
        name: name.to_owned(),
        adapter: name.to_owned(),
        command: vec![name.to_owned()],
        path: Some(format!("/bin/{name}")),
        version: Some("1.2.3".to_owned()),
        install: format!("npm install {name}"),
        capabilities: Some(Capabilities {
            batch: true,
            stream: true,
            steer,
            approvals: true,
            interrupt: true,
            resume: true,
            mcp: false,
        }),
        model: None,
        model_tiers: [("heavy".to_owned(), "big-1".to_owned())].into(),
        auth_profile: None,
        credential: "the CLI's own login".to_owned(),
        permissions: [("batch".to_owned(), Permissions::Auto), ("stream".to_owned(), Permissions::Ask)]
            .into(),
        warnings: vec![],
        default: name == "codex",
    }
}

/// What the fake plane holds.
pub struct Plane {
    pub agents: Mutex<Vec<Agent>>,
    pub events: Mutex<HashMap<String, Vec<Event>>>,
    /// Verb (`say`, `kill`, …) → the refusal to answer with.
    pub refuse: Mutex<HashMap<String, wire::Problem>>,
    /// What was asked: `verb name body`.
    pub calls: Mutex<Vec<String>>,
    watch: broadcast::Sender<Watch>,
    news: broadcast::Sender<Event>,
    called: tokio::sync::Notify,
    end: tokio_util::sync::CancellationToken,
}

/// A running fake; ends when dropped.
pub struct Fake {
    pub socket: PathBuf,
    pub plane: Arc<Plane>,
    task: tokio::task::JoinHandle<()>,
    _dir: Option<tempfile::TempDir>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
        self.plane.end.cancel();
    }
}

impl Plane {
    /// Adds or changes an agent, and tells the watchers.
    pub fn put(&self, agent: Agent) {
        let mut all = self.agents.lock().unwrap();
        all.retain(|a| a.session != agent.session);
        all.push(agent.clone());
        let _ = self.watch.send(Watch::Agent { agent: Box::new(agent) });
    }

    /// Adds an event, and tells the followers.
    pub fn emit(&self, event: Event) {
        self.events.lock().unwrap().entry(event.session.clone()).or_default().push(event.clone());
        let _ = self.news.send(event);
    }

    /// Waits until a call begins with `start`, and gives it.
    pub async fn called(&self, start: &str) -> String {
        loop {
            let woken = self.called.notified();
            if let Some(c) = self.calls.lock().unwrap().iter().find(|c| c.starts_with(start)) {
                return c.clone();
            }
            woken.await;
        }
    }
}

impl Fake {
    /// Serves `agents` in a folder of its own.
    pub fn start(agents: Vec<Agent>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut fake = Self::at(dir.path().join("c.sock"), agents);
        fake._dir = Some(dir);
        fake
    }

    /// Serves at `socket`.
    pub fn at(socket: PathBuf, agents: Vec<Agent>) -> Self {
        let plane = Arc::new(Plane {
            agents: Mutex::new(agents),
            events: Mutex::default(),
            refuse: Mutex::default(),
            calls: Mutex::default(),
            watch: broadcast::channel(1024).0,
            news: broadcast::channel(4096).0,
            called: tokio::sync::Notify::new(),
            end: tokio_util::sync::CancellationToken::new(),
        });
        let app = Router::new()
            .route("/v1/watch", get(watch))
            .route("/v1/runtimes", get(runtimes))
            .route("/v1/agents", post(spawn))
            .route("/v1/agents/{name}/events", get(events))
            .route("/v1/agents/{name}/diff", get(diff))
            .route("/v1/agents/{name}/{verb}", post(verb))
            // A kept connection would outlive the fake: each is for one request.
            .layer(axum::middleware::map_response(|mut r: Response| async {
                r.headers_mut().insert("connection", axum::http::HeaderValue::from_static("close"));
                r
            }))
            .with_state(Arc::clone(&plane));
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let task = tokio::spawn(async move {
            axum::serve(listener, app).await.unwrap();
        });
        Self { socket, plane, task, _dir: None }
    }

    pub fn client(&self) -> fracta::control::client::Client {
        let at = fracta::control::client::Endpoint::Unix(self.socket.clone());
        fracta::control::client::Client::new(&at).unwrap()
    }
}

fn frame<T: serde::Serialize>(t: &T) -> Result<Frame, Infallible> {
    Ok(Frame::default().data(serde_json::to_string(t).unwrap()))
}

async fn watch(Shared(plane): Shared<Arc<Plane>>) -> Response {
    let rx = plane.watch.subscribe();
    let first = Watch::Agents { agents: plane.agents.lock().unwrap().clone() };
    let rest = stream::unfold(rx, |mut rx| async move { rx.recv().await.ok().map(|w| (frame(&w), rx)) });
    let end = plane.end.clone().cancelled_owned();
    Sse::new(stream::iter([frame(&first)]).chain(rest).take_until(end)).into_response()
}

async fn runtimes() -> Json<Vec<wire::Runtime>> {
    Json(vec![
        runtime("codex", Ok(())),
        runtime("claude", Err("Claude takes no message into a running turn; say queues it".to_owned())),
    ])
}

#[derive(serde::Deserialize)]
struct Which {
    after: u64,
    before: Option<u64>,
    limit: Option<u64>,
    follow: bool,
}

async fn events(
    Shared(plane): Shared<Arc<Plane>>,
    Path(name): Path<String>,
    Query(q): Query<Which>,
) -> Response {
    let known = plane.agents.lock().unwrap().iter().any(|a| a.session == name);
    if !known {
        return problem(wire::Code::NotFound, "no such agent");
    }
    let call = format!("events {name} after={} before={:?} follow={}", q.after, q.before, q.follow);
    plane.calls.lock().unwrap().push(call);
    plane.called.notify_waiters();
    let news = plane.news.subscribe();
    let all = plane.events.lock().unwrap().get(&name).cloned().unwrap_or_default();
    let mut stored: Vec<Event> =
        all.into_iter().filter(|e| e.seq > q.after && q.before.is_none_or(|b| e.seq < b)).collect();
    if let (Some(limit), Some(_)) = (q.limit, q.before) {
        let cut = stored.len().saturating_sub(usize::try_from(limit).unwrap());
        stored.drain(..cut);
    }
    let last = stored.last().map_or(q.after, |e| e.seq);
    let first = stream::iter(stored.into_iter().map(|e| frame(&e)).collect::<Vec<_>>());
    if !q.follow {
        return Sse::new(first).into_response();
    }
    let rest = stream::unfold((news, last, name), |(mut news, last, name)| async move {
        loop {
            let e = news.recv().await.ok()?;
            if e.session == name && e.seq > last {
                let seq = e.seq;
                return Some((frame(&e), (news, seq, name)));
            }
        }
    });
    Sse::new(first.chain(rest).take_until(plane.end.clone().cancelled_owned())).into_response()
}

fn problem(code: wire::Code, message: &str) -> Response {
    let p = wire::Problem { code, message: message.to_owned() };
    (StatusCode::CONFLICT, Json(p)).into_response()
}

fn note(plane: &Plane, verb: &str, name: &str, body: &Value) -> Option<Response> {
    plane.calls.lock().unwrap().push(format!("{verb} {name} {body}"));
    plane.called.notify_waiters();
    let refused = plane.refuse.lock().unwrap().get(verb).cloned();
    refused.map(|p| (StatusCode::CONFLICT, Json(p)).into_response())
}

async fn spawn(Shared(plane): Shared<Arc<Plane>>, Json(body): Json<Value>) -> Response {
    let name = body["name"].as_str().unwrap().to_owned();
    if let Some(r) = note(&plane, "spawn", &name, &body) {
        return r;
    }
    let new = agent(&name, State::Starting);
    plane.put(new.clone());
    Json(new).into_response()
}

async fn diff(Shared(plane): Shared<Arc<Plane>>, Path(name): Path<String>) -> Response {
    if let Some(r) = note(&plane, "diff", &name, &Value::Null) {
        return r;
    }
    let diff = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n same\n-old\n+new\n".to_owned();
    let files = vec![wire::FileStat { path: "x".to_owned(), added: Some(1), removed: Some(1) }];
    Json(wire::Diff { base: "main".to_owned(), diff, files, truncated: false }).into_response()
}

async fn verb(
    Shared(plane): Shared<Arc<Plane>>,
    Path((name, verb)): Path<(String, String)>,
    Json(body): Json<Value>,
) -> Response {
    if let Some(r) = note(&plane, &verb, &name, &body) {
        return r;
    }
    match verb.as_str() {
        "say" | "steer" => {
            let delivery = if verb == "say" { Delivery::Queued } else { Delivery::Accepted };
            Json(wire::Said { message: "m-1".to_owned(), delivery, reason: None }).into_response()
        }
        "approvals" => {
            let mut a =
                plane.agents.lock().unwrap().iter().find(|a| a.name.as_str() == name).unwrap().clone();
            a.pending_approvals.clear();
            plane.put(a);
            let answer: wire::Answer = serde_json::from_value(body).unwrap();
            let decision = answer.decision;
            Json(wire::Answered { approval: answer.approval.unwrap_or_default(), decision }).into_response()
        }
        "merge" => Json(wire::Merged { into: "main".to_owned(), commit: Some("abcdef0123456".to_owned()) })
            .into_response(),
        "seen" => Json(json!({})).into_response(),
        _ => {
            let a = plane.agents.lock().unwrap().iter().find(|a| a.name.as_str() == name).unwrap().clone();
            if verb == "kill" {
                plane.agents.lock().unwrap().retain(|x| x.session != a.session);
                let _ = plane.watch.send(Watch::Gone { name: a.name.clone(), session: a.session.clone() });
            }
            Json(a).into_response()
        }
    }
}
