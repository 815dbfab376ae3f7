//! Helpers and endpoints that behave, and those that do not.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use super::super::plan::Plan;
use super::super::tests::{host, planned};
use super::*;

/// The plan of one origin bound to a variable.
fn of_origin(origin: &str, vars: &[(&str, &str)]) -> Plan {
    let profile = format!(
        "{{auth_origins: {{o: {origin}}}, default_binding: {{type: bearer_env, env_name: B, auth_origin: o}}}}"
    );
    planned("codex", &profile, "", "local", vars)
}

async fn asked(plan: &Plan, cwd: &Path) -> Result<String, String> {
    let path = std::env::var("PATH").unwrap();
    let host = host(&[("PATH", &path), ("MINE", "1")]);
    let prepared = prepare(plan, &Context { root: cwd, host: &host, cwd }).await;
    match (prepared.value("o"), prepared.failure("o")) {
        (Some(value), None) => Ok(value.expose_secret().to_owned()),
        (None, Some(failure)) => Err(failure.to_string()),
        _ => panic!("neither value nor failure"),
    }
}

/// Runs a shell script as the helper, in a folder of its own.
async fn helper(script: &str, timeout_ms: u32) -> (Result<String, String>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let origin = serde_json::json!({
        "type": "command_output", "command": ["sh", "-c", script.replace("${", "$${")], "timeout_ms": timeout_ms,
    });
    let result = asked(&of_origin(&origin.to_string(), &[]), dir.path()).await;
    (result, dir)
}

const LONG: u32 = 600_000;

#[tokio::test]
async fn the_trimmed_output_is_the_value() {
    assert_eq!(helper("printf '  tok en\\t\\n\\n'", LONG).await.0.unwrap(), "tok en");
    assert_eq!(helper("echo $MINE-$FOREIGN; echo noise >&2", LONG).await.0.unwrap(), "1-");
    let long = helper("head -c 65536 /dev/zero | tr '\\0' x", LONG).await.0.unwrap();
    assert_eq!(long.len(), MAX_VALUE);
}

#[tokio::test]
async fn helpers_that_fail_say_how_and_nothing_else() {
    for (script, want) in [
        ("echo s3cret; echo s3cret >&2; exit 3", "sh ended with exit code 3"),
        ("kill -9 $$", "sh was ended by signal 9"),
        ("", "sh gave nothing"),
        ("echo; echo", "sh gave nothing"),
        ("printf 'a\\nb'", "what sh gave holds a line break; only a file can hold one"),
        ("printf 'a\\0b'", "what sh gave holds a control character"),
        ("printf 'a\\033[2Jb'", "what sh gave holds a control character"),
        ("printf '\\377\\376'", "what sh gave is no text (UTF-8)"),
        ("head -c 10000000 /dev/zero | tr '\\0' x", "sh gave more than 65536 bytes, which is no credential"),
        ("yes s3cret", "sh gave more than 65536 bytes, which is no credential"),
    ] {
        assert_eq!(helper(script, LONG).await.0.unwrap_err(), want, "{script}");
    }
    let none = of_origin("{type: command_output, command: [/nowhere/at-all, s3cret]}", &[]);
    let why = asked(&none, Path::new("/")).await.unwrap_err();
    assert_eq!(why, "/nowhere/at-all cannot be run: entity not found");
}

/// The processes that a helper wrote down are gone.
#[cfg(target_os = "linux")]
fn all_gone(dir: &tempfile::TempDir, how_many: usize) {
    let pids = std::fs::read_to_string(dir.path().join("pids")).unwrap();
    assert_eq!(pids.lines().count(), how_many, "{pids}");
    for pid in pids.lines() {
        let left = crate::backend::local::tree::lookup(pid.trim().parse().unwrap());
        assert!(left.is_none(), "{pid} is left");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn of_a_helper_that_hangs_nothing_is_left() {
    let script = "echo $$ > pids; setsid sh -c 'echo $$ >> pids; exec sleep 1000' & sh -c 'echo $$ >> pids; exec sleep 1000' & \
                  while [ $(wc -l < pids) -lt 3 ]; do :; done; mkfifo f; cat f";
    // It is up when the time is; a slow machine may need longer than the first patience.
    let mut patience = 500;
    loop {
        let (result, dir) = helper(script, patience).await;
        let why = result.unwrap_err();
        assert_eq!(
            why,
            format!("sh gave nothing within {patience} ms and was ended with all that it had started")
        );
        if dir.path().join("f").exists() {
            return all_gone(&dir, 3);
        }
        patience *= 2;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn of_a_helper_that_ends_its_children_are_not_left_either() {
    let script = "setsid sh -c 'echo $$ >> pids; exec sleep 1000' & (sh -c 'echo $$ >> pids; exec sleep 1000' &) ; \
                  while [ ! -e pids ] || [ $(wc -l < pids) -lt 2 ]; do :; done; echo value";
    // They hold its stdout, too.
    let (result, dir) = helper(script, LONG).await;
    assert_eq!(result.unwrap(), "value");
    all_gone(&dir, 2);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_waits_no_longer_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let script = "echo $$ > pids; setsid sh -c 'echo $$ >> pids; exec sleep 1000' & while [ $(wc -l < pids) -lt 2 ]; do :; done; mkfifo f; cat f";
    let origin =
        serde_json::json!({"type": "command_output", "command": ["sh", "-c", script], "timeout_ms": LONG});
    let plan = of_origin(&origin.to_string(), &[]);
    let there = dir.path().join("f");
    let up = async {
        while !there.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = asked(&plan, dir.path()) => panic!("it hangs"),
        () = up => {}
    }
    // Killed, though not yet waited for by whoever inherits them.
    let pids = std::fs::read_to_string(dir.path().join("pids")).unwrap();
    for pid in pids.lines() {
        while crate::backend::local::tree::lookup(pid.trim().parse().unwrap()).is_some() {
            tokio::task::yield_now().await;
        }
    }
}

/// An endpoint on loopback that answers as `answer` says, and what it was asked.
async fn endpoint(answer: fn(&Request) -> Response) -> (String, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let app = Router::new().fallback(any(move |request: Request| {
        let log = Arc::clone(&log);
        async move {
            let header = request.headers().get("x-login").map(|v| v.to_str().unwrap().to_owned());
            let line =
                format!("{} {} {}", request.method(), request.uri().path(), header.unwrap_or_default());
            log.lock().unwrap().push(line);
            if request.uri().path() == "/hang" {
                std::future::pending::<()>().await;
            }
            answer(&request)
        }
    }));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}"), seen)
}

fn answer(request: &Request) -> Response {
    let header = |name: &'static str, value: String| [(name, value)];
    let host = request.headers()["host"].to_str().unwrap();
    let port = host.rsplit(':').next().unwrap();
    match request.uri().path() {
        "/token" => (header("x-token", " tok-1 ".to_owned()), "the body is not read").into_response(),
        "/near" => (StatusCode::TEMPORARY_REDIRECT, header("location", "/token".to_owned())).into_response(),
        "/round" => (StatusCode::FOUND, header("location", "/round".to_owned())).into_response(),
        "/far" => {
            (StatusCode::FOUND, header("location", format!("http://localhost:{port}/token"))).into_response()
        }
        "/denied" => (StatusCode::FORBIDDEN, header("x-token", "no".to_owned())).into_response(),
        "/empty" => header("x-token", String::new()).into_response(),
        _ => StatusCode::OK.into_response(),
    }
}

async fn http(url: &str, more: &str) -> Result<String, String> {
    let origin = format!(
        "{{type: http_header_token, {more} request: {{method: POST, url: '{url}', headers: {{X-Login: '${{LOGIN}}'}}}}, extract: {{header: X-Token}}}}"
    );
    asked(&of_origin(&origin, &[("LOGIN", "s3cret")]), Path::new("/")).await
}

#[tokio::test]
async fn a_token_in_a_header_is_asked_for() {
    let (base, seen) = endpoint(answer).await;
    assert_eq!(http(&format!("{base}/token"), "").await.unwrap(), "tok-1");
    assert_eq!(http(&format!("{base}/near"), "").await.unwrap(), "tok-1");
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(seen, ["POST /token s3cret", "POST /near s3cret", "POST /token s3cret"]);
}

#[tokio::test]
async fn requests_that_fail_say_why_without_url_or_header() {
    let (base, seen) = endpoint(answer).await;
    for (path, want) in [
        (
            "/far?k=s3cret",
            "the request to 127.0.0.1 failed: it redirects to another host, which is not followed",
        ),
        ("/round", "the request to 127.0.0.1 failed: it redirects again and again"),
        ("/denied", "the request to 127.0.0.1 failed: it answered with HTTP status 403"),
        ("/nothing", "the request to 127.0.0.1 failed: its answer has no header x-token"),
        ("/empty", "127.0.0.1 gave nothing"),
    ] {
        assert_eq!(http(&format!("{base}{path}"), "").await.unwrap_err(), want, "{path}");
    }
    assert!(
        !seen.lock().unwrap().iter().any(|l| l.starts_with("POST /token") || l.starts_with("GET /token"))
    );
    let late = http(&format!("{base}/hang"), "timeout_ms: 50,").await.unwrap_err();
    assert_eq!(late, "the request to 127.0.0.1 failed: no answer within 50 ms");
    let nobody = http("http://127.0.0.1:1/x?k=s3cret", "").await.unwrap_err();
    assert!(
        nobody.starts_with("the request to 127.0.0.1 failed: ") && !nobody.contains("s3cret"),
        "{nobody}"
    );
    // No TLS at all is no TLS.
    let plain = base.replace("http://", "https://");
    let tls = http(&format!("{plain}/token"), "").await.unwrap_err();
    assert!(tls.starts_with("the request to 127.0.0.1 failed: "), "{tls}");
}
