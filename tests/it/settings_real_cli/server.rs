//! MCP servers of the tests: one on HTTP that remembers who came, one on stdio as a shell script.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

/// One request.
#[derive(Debug, Clone)]
pub struct Seen {
    pub agent: String,
    pub authorization: String,
    pub method: String,
    /// Name of the tool that was called.
    pub tool: Option<String>,
}

/// Streamable HTTP at `/agents/NAME/mcp`, with the tools `echo` and `other`. 401 without the token.
pub struct Server {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
struct Shared {
    token: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub async fn start(token: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Shared { token: token.to_owned(), seen: Arc::clone(&seen) };
        let app = Router::new().route("/agents/{agent}/mcp", post(answer)).with_state(shared);
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, seen, task }
    }

    pub fn seen(&self, agent: &str) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|s| s.agent == agent).cloned().collect()
    }

    /// Tools that an agent has called, in order.
    pub fn called(&self, agent: &str) -> Vec<String> {
        self.seen(agent).into_iter().filter_map(|s| s.tool).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    State(shared): State<Shared>,
    Path(agent): Path<String>,
    headers: HeaderMap,
    body: axum::Json<Value>,
) -> Response {
    let header = |name: &str| headers.get(name).map_or("", |v| v.to_str().unwrap()).to_owned();
    let method = body["method"].as_str().unwrap_or_default().to_owned();
    let tool = body["params"]["name"].as_str().filter(|_| method == "tools/call").map(str::to_owned);
    let authorization = header("authorization");
    let let_in = authorization == format!("Bearer {}", shared.token);
    shared.seen.lock().unwrap().push(Seen { agent, authorization, method: method.clone(), tool });
    if !let_in {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if body["id"].is_null() {
        return StatusCode::ACCEPTED.into_response();
    }
    let tool = |name: &str| {
        let schema = json!({"type": "object", "properties": {"text": {"type": "string"}}});
        json!({"name": name, "description": "A tool of the test", "inputSchema": schema})
    };
    let result = match method.as_str() {
        "initialize" => json!({
            "protocolVersion": body["params"]["protocolVersion"], "capabilities": {"tools": {}},
            "serverInfo": {"name": "test", "version": "1"}
        }),
        "tools/list" => json!({"tools": [tool("echo"), tool("other")]}),
        "tools/call" => json!({"content": [{"type": "text", "text": "the server has heard it"}]}),
        _ => json!({}),
    };
    axum::Json(json!({"jsonrpc": "2.0", "id": body["id"], "result": result})).into_response()
}

/// The server on stdio: `sh SCRIPT LOG`; writes its variable SRV_KEY and each request into LOG.
pub const SCRIPT: &str = r#"
log=$1
printf 'key %s\n' "$SRV_KEY" >>"$log"
while IFS= read -r line; do
  printf '%s\n' "$line" >>"$log"
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9][0-9]*\).*/\1/p')
  case $line in
    *'"initialize"'*)
      version=$(printf '%s' "$line" | sed -n 's/.*"protocolVersion":"\([^"]*\)".*/\1/p')
      result='{"protocolVersion":"'$version'","capabilities":{"tools":{}},"serverInfo":{"name":"local","version":"1"}}' ;;
    *'"tools/list"'*)
      result='{"tools":[{"name":"echo","description":"A tool","inputSchema":{"type":"object","properties":{"text":{"type":"string"}}}}]}' ;;
    *'"tools/call"'*)
      result='{"content":[{"type":"text","text":"heard"}]}' ;;
    *) result='{}' ;;
  esac
  [ -z "$id" ] || printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$result"
done
"#;
