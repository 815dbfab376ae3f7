//! The HTTP side of the scripted model: routes, and the record of what was asked.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::dialect::{Dialect, Tokens};
use super::play::Player;
use super::turn::{Api, Turn, Walk, find_cwd};
use super::{Script, Step, bedrock, messages, responses};

/// Largest request that is read, in bytes.
const MAX_REQUEST: usize = 16 << 20;
/// Requests kept for [`ModelServer::requests`]; older ones are forgotten.
const MAX_RECORDED: usize = 256;
/// Codex turns whose first request is remembered.
const MAX_TURNS: usize = 1024;
/// Pieces of a reply in flight to a slow client; then the script waits.
const PIECES: usize = 16;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// From 1.
    pub number: u64,
    pub method: String,
    pub path: String,
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Null where there was none or it was not JSON.
    pub body: Value,
}

impl Recorded {
    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The model named in the body.
    pub fn model(&self) -> Option<&str> {
        self.body["model"].as_str()
    }
}

/// The scripted endpoint. It listens on loopback only and stops when dropped; replies in progress
/// are cut then.
pub struct ModelServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

struct Shared {
    script: Arc<dyn Script>,
    log: Mutex<Log>,
    seen: watch::Sender<u64>,
    stop: CancellationToken,
}

#[derive(Default)]
struct Log {
    count: u64,
    requests: VecDeque<Recorded>,
    /// Codex's turn id → number of user texts before the one that began the turn.
    turns: VecDeque<(String, usize)>,
}

impl ModelServer {
    /// Starts on a free port. Must be called inside a tokio runtime.
    pub fn start(script: Arc<dyn Script>) -> io::Result<ModelServer> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            script,
            log: Mutex::default(),
            seen: watch::Sender::new(0),
            stop: stop.clone(),
        });
        let app = Router::new()
            .fallback(handle)
            .layer(DefaultBodyLimit::max(MAX_REQUEST))
            .with_state(Arc::clone(&shared));
        let end = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            // The only failure is that of the listener, after which there is nothing to serve.
            let _ = axum::serve(listener, app).with_graceful_shutdown(end).await;
        });
        Ok(ModelServer { address, shared, stop })
    }

    /// `http://127.0.0.1:PORT`, without `/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The newest requests (up to 256), oldest first.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.log().requests.iter().cloned().collect()
    }

    /// Waits until at least `n` requests have come.
    pub async fn wait_requests(&self, n: u64) {
        // The sender lives in `self`, so the wait cannot fail.
        let _ = self.shared.seen.subscribe().wait_for(|seen| *seen >= n).await;
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, head: &axum::http::request::Parts, body: &Value) -> u64 {
        let mut log = self.log();
        log.count += 1;
        let number = log.count;
        let headers = head
            .headers
            .iter()
            .map(|(n, v)| (n.as_str().to_owned(), String::from_utf8_lossy(v.as_bytes()).into_owned()));
        if log.requests.len() == MAX_RECORDED {
            log.requests.pop_front();
        }
        log.requests.push_back(Recorded {
            number,
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: headers.collect(),
            body: body.clone(),
        });
        drop(log);
        self.seen.send_replace(number);
        number
    }

    /// Where the prompt of a Codex turn stands: it says in a header which turn a request belongs to,
    /// so that a text added later is known to be a steer.
    fn prompt_index(&self, head: &axum::http::request::Parts, users: usize) -> Option<usize> {
        let meta = head.headers.get("x-codex-turn-metadata")?.to_str().ok()?;
        let meta: Value = serde_json::from_str(meta).ok()?;
        let id = meta["turn_id"].as_str()?;
        let mut log = self.log();
        if let Some((_, n)) = log.turns.iter().find(|(t, _)| t == id) {
            return Some(*n);
        }
        if log.turns.len() == MAX_TURNS {
            log.turns.pop_front();
        }
        let n = users.saturating_sub(1);
        log.turns.push_back((id.to_owned(), n));
        Some(n)
    }
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let raw = match axum::body::to_bytes(body, MAX_REQUEST).await {
        Ok(b) => b,
        Err(e) => return error(StatusCode::PAYLOAD_TOO_LARGE, &e.to_string()),
    };
    let body: Value = serde_json::from_slice(&raw).unwrap_or(Value::Null);
    let number = shared.record(&head, &body);
    let path = head.uri.path().trim_end_matches('/');
    if let Some((model, face)) = bedrock::route(path) {
        let body = bedrock::as_messages(&body, &model, face);
        return messages_turn(&shared, &head, number, &body, raw.len(), Some(face));
    }
    match (head.method.as_str(), path) {
        ("POST", "/v1/responses") => responses_turn(&shared, &head, number, &body, raw.len()),
        ("POST", "/v1/messages") => messages_turn(&shared, &head, number, &body, raw.len(), None),
        ("GET", "/inference-profiles") => {
            axum::Json(json!({"inferenceProfileSummaries": []})).into_response()
        }
        ("POST", "/v1/messages/count_tokens") => {
            axum::Json(json!({"input_tokens": raw.len() / 4})).into_response()
        }
        ("GET", "/v1/models") => {
            axum::Json(json!({"object": "list", "data": [], "models": []})).into_response()
        }
        ("HEAD" | "GET", "" | "/v1") => StatusCode::OK.into_response(),
        (method, path) => error(StatusCode::NOT_FOUND, &format!("the scripted model has no {method} {path}")),
    }
}

fn responses_turn(
    shared: &Arc<Shared>,
    head: &axum::http::request::Parts,
    number: u64,
    body: &Value,
    size: usize,
) -> Response {
    let walk = responses::walk(body);
    let first = shared.prompt_index(head, walk.user_count());
    let tools = responses::tools(body);
    let mut turn = turn_of(Api::Responses, number, body, walk, first);
    turn.tools = tools;
    turn.key = key(head);
    let poll = responses::poll(&turn);
    turn.log = responses::fold_polls(turn.log);
    let steps = poll.map_or_else(|| shared.script.reply(&turn), |step| vec![step]);
    let dialect = responses::Writer::new(number, &turn.model, Tokens::of_request(size));
    answer(shared, Box::new(dialect), turn, steps)
}

fn messages_turn(
    shared: &Arc<Shared>,
    head: &axum::http::request::Parts,
    number: u64,
    body: &Value,
    size: usize,
    face: Option<bedrock::Face>,
) -> Response {
    let mut turn = turn_of(Api::Messages, number, body, messages::walk(body), None);
    turn.tools = messages::tools(body);
    turn.key = key(head);
    let steps = match messages::side_answer(body) {
        Some(text) => vec![Step::text(text)],
        None => shared.script.reply(&turn),
    };
    let inner = messages::Writer::new(number, &turn.model, Tokens::of_request(size));
    match face {
        None => answer(shared, Box::new(inner), turn, steps),
        Some(face) => answer(shared, Box::new(bedrock::Bedrock { inner, face }), turn, steps),
    }
}

/// The credential of a request.
fn key(head: &axum::http::request::Parts) -> Option<String> {
    let of = |name: &str| head.headers.get(name)?.to_str().ok();
    let bearer = of("authorization").map(|v| v.strip_prefix("Bearer ").unwrap_or(v));
    bearer.or_else(|| of("x-api-key")).map(str::to_owned)
}

fn turn_of(api: Api, number: u64, body: &Value, mut walk: Walk, first: Option<usize>) -> Turn {
    let system = std::mem::take(&mut walk.system).join("\n\n");
    let (users, prompt, log) = walk.split(first);
    let model = body["model"].as_str().unwrap_or_default().to_owned();
    let cwd = find_cwd(&system);
    Turn { number, api, model, system, users, prompt, log, tools: Vec::new(), cwd, key: None }
}

fn answer(shared: &Arc<Shared>, dialect: Box<dyn Dialect>, turn: Turn, steps: Vec<Step>) -> Response {
    if let Some(Step::Error { status, body }) = steps.first() {
        let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return (status, axum::Json(body.clone())).into_response();
    }
    let (tx, rx) = mpsc::channel::<io::Result<Bytes>>(PIECES);
    let content_type = dialect.content_type();
    let player = Player { dialect, body: tx, turn, stop: shared.stop.clone() };
    tokio::spawn(player.play(steps));
    let pieces = stream::unfold(rx, |mut rx| async move {
        let piece = rx.recv().await?;
        if piece.is_err() {
            // A cut comes after what was said: hyper writes out when the body has nothing for it.
            tokio::task::yield_now().await;
        }
        Some((piece, rx))
    });
    let headers = [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(pieces)).into_response()
}

fn error(status: StatusCode, message: &str) -> Response {
    let body = json!({"type": "error", "error": {"type": "not_found_error", "message": message}});
    (status, axum::Json(body)).into_response()
}
