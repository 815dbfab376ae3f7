//! The HTTP API. Handlers only translate; what is done is the plane's and the supervisors'.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::events;
use super::plane::Plane;
use crate::control::wire::{self, Code, Problem};
use crate::event::Delivery;
use crate::session::entry::Entry;
use crate::session::supervisor::{Ask, Reply, problem};
use crate::workspace;

/// Largest request, in bytes.
const MAX_BODY: usize = 4 << 20;
/// How long an answer waits for the runtime to confirm a message; after it the answer says what is
/// known by then, and events tell the rest.
const CONFIRM: Duration = Duration::from_secs(20);
/// Longest unified diff that is sent, in bytes.
const MAX_DIFF: usize = 4 << 20;

type Shared = State<Arc<Plane>>;
type Answer<T> = Result<Json<T>, Problem>;

pub fn router(plane: Arc<Plane>) -> Router {
    let api = Router::new()
        .route("/v1/agents", get(list).post(spawn))
        .route("/v1/plan", post(plan))
        .route("/v1/agents/{name}", get(one))
        .route("/v1/agents/{name}/session", get(session))
        .route("/v1/agents/{name}/events", get(events::events))
        .route("/v1/agents/{name}/say", post(say))
        .route("/v1/agents/{name}/steer", post(steer))
        .route("/v1/agents/{name}/approvals", post(answer))
        .route("/v1/agents/{name}/abort", post(abort))
        .route("/v1/agents/{name}/kill", post(kill))
        .route("/v1/agents/{name}/diff", get(diff))
        .route("/v1/agents/{name}/merge", post(merge))
        .route("/v1/agents/{name}/seen", post(seen))
        .route("/v1/watch", get(events::watch))
        .route("/v1/runtimes", get(runtimes))
        .route("/v1/auth/diagnose", post(diagnose))
        .route("/v1/prune", post(prune))
        .layer(middleware::from_fn(same_version));
    // These two answer clients of every version: they are how one gets out of a mismatch.
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/shutdown", post(shutdown))
        .merge(api)
        .fallback(|| async { problem(Code::NotFound, "this control plane has no such address") })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(plane)
}

/// The same API for clients on TCP: nobody gets anything without the token.
pub fn with_token(app: Router, token: Option<SecretString>) -> Router {
    let want = token.map(|t| Sha256::digest(t.expose_secret().as_bytes()));
    app.layer(middleware::from_fn(move |request: Request, next: Next| async move {
        let given = request
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.strip_prefix("Bearer "))
            .map(|t| Sha256::digest(t.as_bytes()));
        // Hashes are compared, so the time it takes tells nothing of the token.
        match (given, want) {
            (Some(given), Some(want)) if given == want => next.run(request).await,
            _ => problem(Code::Unauthorized, "the token is missing or wrong").into_response(),
        }
    }))
}

async fn same_version(request: Request, next: Next) -> Response {
    let theirs = request.headers().get(wire::API_HEADER).and_then(|v| v.to_str().ok());
    if theirs == Some(wire::API.to_string().as_str()) {
        return next.run(request).await;
    }
    let text = format!(
        "this control plane is fracta {} and speaks version {} of its API, the client speaks {}; `fracta stop` ends it (agents go on), and the next command starts the client's own",
        env!("CARGO_PKG_VERSION"),
        wire::API,
        theirs.unwrap_or("none"),
    );
    problem(Code::Version, text).into_response()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = match self.code {
            Code::BadRequest => StatusCode::BAD_REQUEST,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::Conflict => StatusCode::CONFLICT,
            Code::Unsupported => StatusCode::UNPROCESSABLE_ENTITY,
            Code::Unauthorized => StatusCode::UNAUTHORIZED,
            Code::Version => StatusCode::UPGRADE_REQUIRED,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, axum::Json(self)).into_response()
    }
}

/// JSON in and out, whose errors are [`Problem`]s too.
pub struct Json<T>(pub T);

impl<T: serde::Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(e) => Err(problem(Code::BadRequest, JsonRejection::body_text(&e))),
        }
    }
}

#[derive(Deserialize)]
struct All {
    #[serde(default)]
    all: bool,
}

async fn status(State(plane): Shared) -> Json<wire::Status> {
    Json(plane.status())
}

async fn list(State(plane): Shared, Query(q): Query<All>) -> Json<Vec<wire::Agent>> {
    Json(plane.entries(q.all).iter().map(|e| e.row()).collect())
}

async fn one(State(plane): Shared, Path(name): Path<String>) -> Answer<wire::Agent> {
    Ok(Json(plane.find(&name)?.row()))
}

async fn session(
    State(plane): Shared,
    Path(name): Path<String>,
) -> Answer<crate::session::state::SessionState> {
    let state = plane.find(&name)?.live().state.clone();
    Ok(Json(state))
}

async fn spawn(State(plane): Shared, Json(spawn): Json<wire::Spawn>) -> Answer<wire::Agent> {
    let entry = to_the_end(async move { plane.spawn(&spawn).await }).await?;
    Ok(Json(entry.row()))
}

/// Does something to its end even if the client goes away meanwhile: half a spawn or half a merge
/// would be worse than one nobody waits for.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|e| Err(problem(Code::Internal, format!("the control plane failed: {e}"))))
}

async fn plan(State(plane): Shared, Json(spawn): Json<wire::Spawn>) -> Answer<wire::Plan> {
    Ok(Json(plane.plan(&spawn).await?))
}

/// Asks a supervisor and waits for its answer.
pub(super) async fn ask<T>(entry: &Entry, make: impl FnOnce(Reply<T>) -> Ask) -> Result<T, Problem> {
    let gone = || {
        let why = entry.live().state.reason.clone().unwrap_or_else(|| "it is being ended".to_owned());
        problem(Code::Conflict, format!("{} cannot be asked anything: {why}", entry.record.name))
    };
    let (reply, answer) = oneshot::channel();
    if !entry.ask(make(reply)).await {
        return Err(gone());
    }
    answer.await.map_err(|_| gone())?
}

async fn say(
    State(plane): Shared,
    Path(name): Path<String>,
    Json(say): Json<wire::Say>,
) -> Answer<wire::Said> {
    message(&plane, &name, say.text, false).await
}

async fn steer(
    State(plane): Shared,
    Path(name): Path<String>,
    Json(say): Json<wire::Say>,
) -> Answer<wire::Said> {
    message(&plane, &name, say.text, true).await
}

async fn message(plane: &Plane, name: &str, text: String, steer: bool) -> Answer<wire::Said> {
    let entry = plane.find_live(name)?;
    if text.trim().is_empty() {
        return Err(problem(Code::BadRequest, "the message is empty"));
    }
    let asked = ask(&entry, |reply| Ask::Say { text, steer, reply });
    match tokio::time::timeout(CONFIRM, asked).await {
        Ok(said) => Ok(Json(said?)),
        Err(_) => Ok(Json(wire::Said {
            message: String::new(),
            delivery: Delivery::Queued,
            reason: Some(format!(
                "the runtime has not confirmed it within {} s; its events will tell",
                CONFIRM.as_secs()
            )),
        })),
    }
}

async fn answer(
    State(plane): Shared,
    Path(name): Path<String>,
    Json(answer): Json<wire::Answer>,
) -> Answer<wire::Answered> {
    let entry = plane.find_live(&name)?;
    Ok(Json(ask(&entry, |reply| Ask::Answer { answer, reply }).await?))
}

async fn abort(State(plane): Shared, Path(name): Path<String>) -> Answer<wire::Agent> {
    let entry = plane.find_live(&name)?;
    ask(&entry, |reply| Ask::Abort { reply }).await?;
    Ok(Json(entry.row()))
}

async fn kill(
    State(plane): Shared,
    Path(name): Path<String>,
    Json(kill): Json<wire::Kill>,
) -> Answer<wire::Agent> {
    let entry = plane.find_live(&name)?;
    ask(&entry, |reply| Ask::Kill { kill, reply }).await?;
    plane.env.hub.mark(&entry.record.session);
    Ok(Json(entry.row()))
}

async fn diff(State(plane): Shared, Path(name): Path<String>) -> Answer<wire::Diff> {
    let entry = plane.find_live(&name)?;
    let diff = workspace::diff(&entry.record.workspace, MAX_DIFF).await;
    Ok(Json(diff.map_err(|e| problem(Code::Conflict, e.to_string()))?))
}

async fn merge(State(plane): Shared, Path(name): Path<String>) -> Answer<wire::Merged> {
    let entry = plane.find_live(&name)?;
    if entry.state().in_turn() {
        let text = format!(
            "{name} is at work: its files change under the merge; wait until the turn ends, or abort it"
        );
        return Err(problem(Code::Conflict, text));
    }
    let merged = to_the_end(async move {
        let merged = workspace::merge(&entry.record.workspace, plane.layout.root()).await;
        merged.map_err(|e| problem(e.code(), e.to_string()))
    });
    Ok(Json(merged.await?))
}

#[derive(Deserialize)]
struct Seen {
    seq: u64,
}

async fn seen(
    State(plane): Shared,
    Path(name): Path<String>,
    Json(seen): Json<Seen>,
) -> Answer<serde_json::Value> {
    let entry = plane.find(&name)?;
    let seq = {
        let mut live = entry.live();
        live.seen = live.seen.max(seen.seq.min(live.state.last_seq));
        live.seen
    };
    let stored = plane.env.store.set_seen(&entry.record.session, seq).await;
    stored.map_err(|e| problem(Code::Internal, e.to_string()))?;
    plane.env.hub.mark(&entry.record.session);
    Ok(Json(serde_json::json!({})))
}

async fn runtimes(State(plane): Shared) -> Answer<Vec<wire::Runtime>> {
    Ok(Json(plane.runtimes().await?))
}

async fn diagnose(
    State(plane): Shared,
    Json(which): Json<wire::Diagnose>,
) -> Answer<crate::credentials::report::Report> {
    Ok(Json(plane.diagnose(&which).await?))
}

async fn prune(State(plane): Shared, Json(prune): Json<wire::Prune>) -> Answer<wire::Pruned> {
    Ok(Json(plane.prune(&prune).await?))
}

async fn shutdown(State(plane): Shared, Json(how): Json<wire::Shutdown>) -> Json<serde_json::Value> {
    // Agents first; then the listeners end, after this answer is out.
    plane.shut_down(how.agents).await;
    Json(serde_json::json!({}))
}
