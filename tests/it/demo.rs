//! The scripted model: against the real CLIs, and its waits and failures against a raw client.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use fracta::demo::model::ModelServer;
use fracta::demo::script::PromptScript;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{TestProject, clis_path, crypto, require_cli};

fn server() -> (Arc<PromptScript>, ModelServer) {
    let script = Arc::new(PromptScript::new());
    let server = ModelServer::start(script.clone()).unwrap();
    (script, server)
}

/// Runs a CLI to its end; the JSON lines of its stdout.
async fn run(cli: &Path, args: &[&str], cwd: &Path, env: &[(String, String)]) -> Vec<Value> {
    let out = Command::new(cli)
        .args(args)
        .current_dir(cwd)
        .env("PWD", cwd) // opencode believes PWD, not its real working folder
        .env("PATH", clis_path())
        .envs(env.iter().map(|(k, v)| (k, v)))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success(), "{args:?}: {text}\n{}", String::from_utf8_lossy(&out.stderr));
    text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
}

const PROMPT: &str = "Please do this.\nfracta:say first words\nfracta:run echo out-$((40+2))\n\
                      fracta:patch notes.txt <<one\\ntwo\nfracta:say last words";

#[tokio::test]
async fn codex_runs_a_whole_turn() {
    let Some(codex) = require_cli("codex") else { return };
    let (_, model) = server();
    let p = TestProject::new();
    let args = ["exec", "--json", "--sandbox", "danger-full-access", PROMPT];
    let lines = run(&codex, &args, &p.repo(), &p.codex_env(&model)).await;
    let items: Vec<&Value> =
        lines.iter().filter(|l| l["type"] == "item.completed").map(|l| &l["item"]).collect();
    let of = |kind: &str| items.iter().filter(|i| i["type"] == kind).copied().collect::<Vec<_>>();
    let said: Vec<&str> = of("agent_message").iter().filter_map(|i| i["text"].as_str()).collect();
    assert_eq!(said, ["first words", "last words"]);
    let commands = of("command_execution");
    assert_eq!(commands.len(), 1, "{items:#?}");
    assert!(commands[0]["aggregated_output"].as_str().unwrap().contains("out-42"));
    assert_eq!(of("file_change").len(), 1, "{items:#?}");
    assert_eq!(p.read("notes.txt").as_deref(), Some("one\ntwo\n"));
    assert_eq!(lines.last().unwrap()["type"], "turn.completed");
    let requests = model.requests();
    assert_eq!(requests.len(), 3, "one for each tool, and the last");
    assert!(requests.iter().all(|r| r.path == "/v1/responses" && r.model() == Some("gpt-5.5")));
    assert_eq!(requests[0].header("authorization"), Some("Bearer scripted"));
}

#[tokio::test]
async fn claude_runs_a_whole_turn() {
    let Some(claude) = require_cli("claude") else { return };
    let (_, model) = server();
    let p = TestProject::new();
    let args = ["-p", PROMPT, "--output-format", "stream-json", "--verbose", "--allowedTools", "Bash,Write"];
    let lines = run(&claude, &args, &p.repo(), &p.homes(&model).claude).await;
    let blocks = |role: &str| -> Vec<Value> {
        let of_role = lines.iter().filter(|l| l["type"] == role);
        of_role.flat_map(|l| l["message"]["content"].as_array().cloned().unwrap_or_default()).collect()
    };
    let assistant = blocks("assistant");
    assert!(assistant.iter().any(|b| b["text"] == "first words"), "{assistant:#?}");
    assert!(assistant.iter().any(|b| b["name"] == "Bash"), "{assistant:#?}");
    assert!(blocks("user").iter().any(|b| b["content"].to_string().contains("out-42")));
    assert_eq!(p.read("notes.txt").as_deref().map(str::trim_end), Some("one\ntwo"));
    let end = lines.last().unwrap();
    assert_eq!((&end["type"], &end["subtype"]), (&json!("result"), &json!("success")));
    assert_eq!(end["result"], "last words");
    assert!(
        model
            .requests()
            .iter()
            .any(|r| r.path == "/v1/messages" && r.model().is_some_and(|m| m.contains("claude")))
    );
}

#[tokio::test]
async fn opencode_runs_a_whole_turn() {
    let Some(opencode) = require_cli("opencode") else { return };
    let (_, model) = server();
    let p = TestProject::new();
    let lines =
        run(&opencode, &["run", "--format", "json", PROMPT], &p.repo(), &p.homes(&model).opencode).await;
    let texts: Vec<&str> =
        lines.iter().filter(|l| l["type"] == "text").filter_map(|l| l["part"]["text"].as_str()).collect();
    assert_eq!(texts, ["first words", "last words"]);
    let tools: Vec<&Value> = lines.iter().filter(|l| l["type"] == "tool_use").map(|l| &l["part"]).collect();
    assert_eq!(tools[0]["tool"], "bash");
    assert!(tools[0]["state"]["output"].as_str().unwrap().contains("out-42"), "{tools:#?}");
    let notes = p.read("notes.txt");
    assert_eq!(notes.as_deref().map(str::trim_end), Some("one\ntwo"), "{tools:#?}");
    let models: Vec<String> = model.requests().iter().filter_map(|r| r.model().map(str::to_owned)).collect();
    assert!(models.iter().any(|m| m == "claude-sonnet-4-6"), "{models:?}");
}

/// A request as a client without any CLI would make it.
async fn ask(model: &ModelServer, prompt: &str) -> reqwest::Response {
    crypto();
    let body = json!({"model": "m", "stream": true, "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": prompt}]}
    ]});
    reqwest::Client::new()
        .post(format!("{}/v1/responses", model.base_url()))
        .json(&body)
        .send()
        .await
        .unwrap()
}

/// Reads until `what` has come; all that came.
async fn read_until(
    body: &mut (impl StreamExt<Item = reqwest::Result<impl AsRef<[u8]>>> + Unpin),
    what: &str,
) -> String {
    let mut text = String::new();
    while !text.contains(what) {
        let piece =
            body.next().await.unwrap_or_else(|| panic!("the reply ended before {what:?}: {text}")).unwrap();
        text.push_str(std::str::from_utf8(piece.as_ref()).unwrap());
    }
    text
}

#[tokio::test]
async fn a_gate_holds_the_reply_until_it_is_released() {
    let (script, model) = server();
    let mut body = ask(&model, "fracta:say before\nfracta:gate g\nfracta:say after").await.bytes_stream();
    let gate = script.gate("g");
    gate.reached().await;
    let text = read_until(&mut body, "response.output_item.done").await;
    assert!(text.contains("before") && !text.contains("after"), "{text}");
    gate.release();
    let text = read_until(&mut body, "response.completed").await;
    assert!(text.contains("after") && text.contains("\"output_tokens\""), "{text}");
    assert!(body.next().await.is_none(), "the reply ends after its last event");
}

#[tokio::test]
async fn a_hanging_reply_ends_with_the_server_and_a_cut_one_with_an_error() {
    let (_, model) = server();
    let mut hanging = ask(&model, "fracta:say x\nfracta:hang").await.bytes_stream();
    read_until(&mut hanging, "response.output_item.done").await;
    let mut cut = ask(&model, "fracta:say y\nfracta:cut\nfracta:say z").await.bytes_stream();
    read_until(&mut cut, "response.output_item.done").await;
    assert!(cut.next().await.is_some_and(|r| r.is_err()), "a cut connection is an error, not an end");
    drop(model);
    assert!(hanging.next().await.is_some_and(|r| r.is_err()), "the server is gone");
}

#[tokio::test]
async fn a_failure_is_the_http_status_with_the_text() {
    let (_, model) = server();
    let reply = ask(&model, "fracta:fail 503 not today").await;
    assert_eq!(reply.status().as_u16(), 503);
    assert_eq!(reply.json::<Value>().await.unwrap()["error"]["message"], "not today");
    assert_eq!(model.requests()[0].body["model"], "m");
}
