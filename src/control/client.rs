//! A client of a control plane: over its private Unix socket, or over TCP with a token.

use std::path::PathBuf;
use std::time::Duration;

use eventsource_stream::Eventsource;
use futures_util::{Stream, StreamExt};
use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::wire;
use crate::event::{Event, encode};
use crate::session::state::SessionState;

/// Where a control plane is.
#[derive(Clone)]
pub enum Endpoint {
    /// Its Unix socket.
    Unix(PathBuf),
    /// `http://` or `https://` address and bearer token.
    Http { url: String, token: secrecy::SecretString },
}

/// What went wrong between client and control plane.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there.
    #[error("no control plane answers at {at}: {source}")]
    Unreachable { at: String, source: reqwest::Error },
    /// The control plane says no.
    #[error("{}", .0.message)]
    Problem(wire::Problem),
    /// The link broke after the request was sent: whether it was carried out is not known.
    #[error(
        "the link to the control plane broke after the request was sent, so it is not known whether it was carried out: {0}"
    )]
    Broken(reqwest::Error),
    /// It answered something that is not this API.
    #[error("the control plane at {at} answered something that this fracta does not understand: {what}")]
    Alien { at: String, what: String },
}

impl ClientError {
    /// The control plane's own code, where it answered with one.
    pub fn code(&self) -> Option<wire::Code> {
        match self {
            ClientError::Problem(p) => Some(p.code),
            _ => None,
        }
    }
}

/// A client; cheap to clone. Its connections are pooled.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    at: String,
    token: Option<secrecy::SecretString>,
}

/// Which events of an agent to send.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Events with greater numbers.
    pub after: u64,
    /// Only events with smaller numbers, and of these the last `limit`.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: Option<u64>,
    /// Go on with what comes; the stream then ends only when the session is removed.
    pub follow: bool,
}

impl Client {
    /// A client of the control plane at `endpoint`. Does not connect yet.
    ///
    /// # Errors
    /// Where the HTTP client cannot be built (no TLS provider, a bad URL).
    pub fn new(endpoint: &Endpoint) -> Result<Self, ClientError> {
        let mut builder = reqwest::Client::builder()
            .http1_only()
            .connect_timeout(Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none());
        let (base, at, token) = match endpoint {
            Endpoint::Unix(path) => {
                // No TLS and no proxy on a Unix socket: do not load the system's certificates for it.
                builder = builder.unix_socket(path.as_path()).no_proxy().tls_certs_only([]);
                ("http://fracta".to_owned(), path.display().to_string(), None)
            }
            Endpoint::Http { url, token } => {
                (url.trim_end_matches('/').to_owned(), url.clone(), Some(token.clone()))
            }
        };
        // Building fails without a TLS provider; installing twice is harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = builder.build().map_err(|source| ClientError::Unreachable { at: at.clone(), source })?;
        Ok(Self { http, base, at, token })
    }

    /// For people: the socket's path or the address.
    pub fn at(&self) -> &str {
        &self.at
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut r =
            self.http.request(method, format!("{}{path}", self.base)).header(wire::API_HEADER, wire::API);
        if let Some(t) = &self.token {
            r = r.bearer_auth(secrecy::ExposeSecret::expose_secret(t));
        }
        r
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|e| {
            if e.is_connect() || e.is_builder() {
                ClientError::Unreachable { at: self.at.clone(), source: e }
            } else {
                ClientError::Broken(e)
            }
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.bytes().await.map_err(ClientError::Broken)?;
        match serde_json::from_slice::<wire::Problem>(&body) {
            Ok(p) => Err(ClientError::Problem(p)),
            Err(_) => Err(ClientError::Alien { at: self.at.clone(), what: format!("HTTP status {status}") }),
        }
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let body = self.send(request).await?.bytes().await.map_err(ClientError::Broken)?;
        serde_json::from_slice(&body)
            .map_err(|e| ClientError::Alien { at: self.at.clone(), what: e.to_string() })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.json(self.request(Method::GET, path)).await
    }

    async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        self.json(self.request(Method::POST, path).json(body)).await
    }

    pub async fn status(&self) -> Result<wire::Status, ClientError> {
        self.get("/v1/status").await
    }

    /// All agents; with `all` the killed ones too, whose journals are still there.
    pub async fn agents(&self, all: bool) -> Result<Vec<wire::Agent>, ClientError> {
        self.get(if all { "/v1/agents?all=true" } else { "/v1/agents" }).await
    }

    /// One agent, by name or session id.
    pub async fn agent(&self, name: &str) -> Result<wire::Agent, ClientError> {
        self.get(&at_agent(name, "")).await
    }

    /// The session's whole folded state (plan, step, …), by name or session id.
    pub async fn session(&self, name: &str) -> Result<SessionState, ClientError> {
        self.get(&at_agent(name, "/session")).await
    }

    pub async fn spawn(&self, spawn: &wire::Spawn) -> Result<wire::Agent, ClientError> {
        self.post("/v1/agents", spawn).await
    }

    /// What a spawn would do, nothing touched.
    pub async fn plan(&self, spawn: &wire::Spawn) -> Result<wire::Plan, ClientError> {
        self.post("/v1/plan", spawn).await
    }

    /// The credential plan of a runtime; nobody is asked for a value.
    pub async fn diagnose(
        &self,
        which: &wire::Diagnose,
    ) -> Result<crate::credentials::report::Report, ClientError> {
        self.post("/v1/auth/diagnose", which).await
    }

    pub async fn say(&self, name: &str, text: &str) -> Result<wire::Said, ClientError> {
        self.post(&at_agent(name, "/say"), &wire::Say { text: text.to_owned() }).await
    }

    pub async fn steer(&self, name: &str, text: &str) -> Result<wire::Said, ClientError> {
        self.post(&at_agent(name, "/steer"), &wire::Say { text: text.to_owned() }).await
    }

    pub async fn answer(&self, name: &str, answer: &wire::Answer) -> Result<wire::Answered, ClientError> {
        self.post(&at_agent(name, "/approvals"), answer).await
    }

    /// Ends the running turn. Returns when it has ended.
    pub async fn abort(&self, name: &str) -> Result<wire::Agent, ClientError> {
        self.post(&at_agent(name, "/abort"), &serde_json::json!({})).await
    }

    pub async fn kill(&self, name: &str, kill: &wire::Kill) -> Result<wire::Agent, ClientError> {
        self.post(&at_agent(name, "/kill"), kill).await
    }

    pub async fn diff(&self, name: &str) -> Result<wire::Diff, ClientError> {
        self.get(&at_agent(name, "/diff")).await
    }

    /// Merges the agent's branch into the branch checked out at the project's root.
    pub async fn merge(&self, name: &str) -> Result<wire::Merged, ClientError> {
        self.post(&at_agent(name, "/merge"), &serde_json::json!({})).await
    }

    /// Says that a person has seen the events up to `seq` (what `unread` counts from).
    pub async fn seen(&self, name: &str, seq: u64) -> Result<(), ClientError> {
        let _: serde_json::Value =
            self.post(&at_agent(name, "/seen"), &serde_json::json!({ "seq": seq })).await?;
        Ok(())
    }

    pub async fn runtimes(&self) -> Result<Vec<wire::Runtime>, ClientError> {
        self.get("/v1/runtimes").await
    }

    pub async fn prune(&self, prune: &wire::Prune) -> Result<wire::Pruned, ClientError> {
        self.post("/v1/prune", prune).await
    }

    /// Ends the control plane; agents go on unless `agents`.
    pub async fn shutdown(&self, agents: bool) -> Result<(), ClientError> {
        let _: serde_json::Value = self.post("/v1/shutdown", &wire::Shutdown { agents }).await?;
        Ok(())
    }

    /// An agent's events as the journal's JSON lines, by name or session id. The stream ends after the
    /// last event, or with an error when the link breaks; call again with `after` = the last number.
    pub async fn event_lines(
        &self,
        name: &str,
        query: EventQuery,
    ) -> Result<impl Stream<Item = Result<String, ClientError>> + Send + Unpin + use<>, ClientError> {
        let mut path = format!("{}?after={}&follow={}", at_agent(name, "/events"), query.after, query.follow);
        if let Some(before) = query.before {
            path.push_str(&format!("&before={before}"));
        }
        if let Some(limit) = query.limit {
            path.push_str(&format!("&limit={limit}"));
        }
        self.sse(&path).await
    }

    /// As [`Client::event_lines`], parsed.
    pub async fn events(
        &self,
        name: &str,
        query: EventQuery,
    ) -> Result<impl Stream<Item = Result<Event, ClientError>> + Send + Unpin + use<>, ClientError> {
        let at = self.at.clone();
        Ok(self.event_lines(name, query).await?.map(move |line| {
            encode::parse(line?.as_bytes())
                .map_err(|e| ClientError::Alien { at: at.clone(), what: e.to_string() })
        }))
    }

    /// The list as it changes; see [`wire::Watch`].
    pub async fn watch(
        &self,
    ) -> Result<impl Stream<Item = Result<wire::Watch, ClientError>> + Send + Unpin + use<>, ClientError>
    {
        let at = self.at.clone();
        Ok(self.sse("/v1/watch").await?.map(move |line| parse(&at, &line?)))
    }

    async fn sse(
        &self,
        path: &str,
    ) -> Result<impl Stream<Item = Result<String, ClientError>> + Send + Unpin + use<>, ClientError> {
        let response = self.send(self.request(Method::GET, path)).await?;
        let at = self.at.clone();
        Ok(response.bytes_stream().eventsource().map(move |item| match item {
            Ok(event) => Ok(event.data),
            Err(eventsource_stream::EventStreamError::Transport(e)) => Err(ClientError::Broken(e)),
            Err(e) => Err(ClientError::Alien { at: at.clone(), what: e.to_string() }),
        }))
    }
}

/// The path of what is asked of an agent. A name comes from whoever calls, also from a model, and must
/// not become another path: `x/kill?` is a name that no agent has.
fn at_agent(name: &str, what: &str) -> String {
    let mut path = "/v1/agents/".to_owned();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => path.push(char::from(byte)),
            // Escaping would not take the meaning of `.` and `..` away; what stands for a dot does.
            b'.' => path.push_str("%EF%BC%8E"),
            other => path.push_str(&format!("%{other:02X}")),
        }
    }
    path + what
}

fn parse<T: DeserializeOwned>(at: &str, line: &str) -> Result<T, ClientError> {
    serde_json::from_str(line).map_err(|e| ClientError::Alien { at: at.to_owned(), what: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_path() {
        assert_eq!(at_agent("fix-login-2", "/say"), "/v1/agents/fix-login-2/say");
        let base = reqwest::Url::parse("http://fracta").unwrap();
        for hostile in
            ["x/kill?", "x/kill#", "../../v1/shutdown?", "..", ".", "a b", "%2e%2e/", "ü\u{1b}", "\\..\\"]
        {
            let url = base.join(&at_agent(hostile, "/say")).unwrap();
            let parts: Vec<&str> = url.path_segments().unwrap().collect();
            assert_eq!((parts.len(), parts[3]), (4, "say"), "{hostile}: {url}");
            assert_eq!(
                (&parts[..2], url.query(), url.fragment()),
                (&["v1", "agents"][..], None, None),
                "{url}"
            );
        }
    }
}
