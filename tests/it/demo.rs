//! The scripted model: against the real CLIs, and its waits and failures against a raw client.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use fracta::demo::model::ModelServer;
use fracta::demo::script::{PromptScript, demo};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
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

/// The replayer as a process: the test binary starts itself with a variable set (see `replay_child`).
fn replayer(args: &[&str], cwd: &Path) -> Command {
    let mut c = Command::new(std::env::current_exe().unwrap());
    c.args(["--exact", "demo::replay_child", "--nocapture", "--test-threads=1"])
        .env("FRACTA_TEST_REPLAY", args.join("\u{1f}"))
        .current_dir(cwd)
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    c
}

/// Not a test by itself: the body of the process that [`replayer`] starts.
#[test]
fn replay_child() {
    let Ok(args) = std::env::var("FRACTA_TEST_REPLAY") else { return };
    let args: Vec<String> = args.split('\u{1f}').map(str::to_owned).collect();
    let code = fracta::demo::replay::main(&args);
    assert_eq!(code, std::process::ExitCode::SUCCESS);
}

/// A client of the replayer: sends JSON lines and reads on until one fits.
struct Client {
    child: tokio::process::Child,
    lines: tokio::io::Lines<tokio::io::BufReader<tokio::process::ChildStdout>>,
}

impl Client {
    fn start(args: &[&str], cwd: &Path) -> Self {
        let mut child = replayer(args, cwd).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        Self { child, lines: tokio::io::BufReader::new(stdout).lines() }
    }

    async fn send(&mut self, message: Value) {
        let line = format!("{message}\n");
        self.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).await.unwrap();
    }

    /// All JSON lines up to the one that fits (the test harness's own lines are left out).
    async fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let line =
                self.lines.next_line().await.unwrap().unwrap_or_else(|| panic!("ended after {all:#?}"));
            // The harness writes its own words before the first line.
            let json = line.find('{').map_or("", |i| &line[i..]);
            let Ok(v) = serde_json::from_str::<Value>(json) else { continue };
            all.push(v);
            if fits(all.last().unwrap()) {
                return all;
            }
        }
    }

    /// Handshake and thread; the thread's id.
    async fn open(&mut self) -> String {
        self.send(json!({"id": "a", "method": "initialize", "params": {}})).await;
        self.until(|v| v["id"] == "a" && v["result"]["userAgent"].is_string()).await;
        self.send(json!({"method": "initialized"})).await;
        self.send(json!({"id": "b", "method": "thread/start", "params": {}})).await;
        let all = self.until(|v| v["id"] == "b").await;
        all.last().unwrap()["result"]["thread"]["id"].as_str().unwrap().to_owned()
    }

    async fn start_turn(&mut self, id: &str, text: &str) {
        let params = json!({"clientUserMessageId": "mine", "input": [{"type": "text", "text": text}]});
        self.send(json!({"id": id, "method": "turn/start", "params": params})).await;
    }
}

#[tokio::test]
async fn a_replayed_session_follows_the_live_client() {
    let p = TestProject::new();
    let mut c = Client::start(&["codex", "app-server"], &p.repo());
    let thread = c.open().await;
    c.send(json!({"id": "odd", "method": "fs/copy", "params": {}})).await;
    assert!(c.until(|v| v["id"] == "odd").await.last().unwrap()["error"]["message"].is_string());

    // The recording's answer is accept; declining plays what came after a refusal.
    for (id, decision, status) in [("t1", "accept", "completed"), ("t2", "decline", "declined")] {
        c.start_turn(id, demo::RELEASE).await;
        let all = c.until(|v| v["method"] == "item/commandExecution/requestApproval").await;
        let turn = all.iter().find(|v| v["id"] == id).expect("the start is answered under the client's id");
        let turn = turn["result"]["turn"]["id"].clone();
        let asked = all.last().unwrap();
        assert_eq!((&asked["params"]["threadId"], &asked["params"]["turnId"]), (&json!(thread), &turn));
        assert_eq!(asked["params"]["cwd"], json!(p.repo().canonicalize().unwrap()));
        c.send(json!({"id": asked["id"], "result": {"decision": decision}})).await;
        let all = c.until(|v| v["method"] == "turn/completed").await;
        let ended = all.iter().find(|v| v["params"]["item"]["status"] == status);
        assert!(ended.is_some(), "{decision}: {all:#?}");
        assert_eq!(all.last().unwrap()["params"]["turn"]["id"], turn);
    }

    c.start_turn("t3", "something that nobody recorded").await;
    let all = c.until(|v| v["method"] == "item/started").await;
    assert!(all.last().unwrap().to_string().contains("something that nobody recorded"), "{all:#?}");
    c.send(json!({"id": "stop", "method": "turn/interrupt", "params": {}})).await;
    let all = c.until(|v| v["method"] == "turn/completed").await;
    assert_eq!(all.last().unwrap()["params"]["turn"]["status"], "interrupted");
}

/// What each CLI says first of its session, of a command and at the end.
const BATCHES: [(&str, &[&str], &str, &str); 3] = [
    ("codex", &["exec", "--json", "-"], demo::NIGHTLY, "turn.failed"),
    ("claude", &["-p", "--output-format", "stream-json"], demo::SURVEY, "assistant"),
    ("opencode", &["run", "--format", "json"], demo::SUMMARY, "tool_use"),
];

#[tokio::test]
async fn a_replayed_batch_turn_is_chosen_by_its_prompt() {
    for (cli, args, prompt, then) in BATCHES {
        let p = TestProject::new();
        let mut c = Client::start(&[&[cli], args].concat(), &p.repo());
        c.child.stdin.as_mut().unwrap().write_all(prompt.as_bytes()).await.unwrap();
        c.child.stdin.take();
        // Not to its end: it takes as long as it took.
        let all = c.until(|v| v["type"] == then).await;
        let text = serde_json::to_string(&all).unwrap();
        assert!(!text.contains("/demo/stations"), "{cli}: the folder is the live one: {text}");
        let recorded =
            fracta::demo::recording::EMBEDDED.iter().find(|e| e.cli == cli && e.text.contains(prompt));
        let first: Value = serde_json::from_str(
            &fracta::demo::recording::Recording::parse(recorded.unwrap().text).unwrap().lines[0].line,
        )
        .unwrap();
        let id = ["thread_id", "session_id", "sessionID"].iter().find_map(|m| first[m].as_str()).unwrap();
        assert!(!text.contains(id), "{cli}: the session is a new one: {text}");
    }
}

#[tokio::test]
async fn a_replayed_claude_takes_messages_and_is_interrupted() {
    let p = TestProject::new();
    let args = ["claude", "-p", "--input-format", "stream-json", "--resume=0000-live"];
    let mut c = Client::start(&args, &p.repo());
    c.send(json!({"type": "control_request", "request_id": "initialize#1", "request": {"subtype": "initialize"}}))
        .await;
    c.until(|v| v["response"]["request_id"] == "initialize#1").await;
    let say = |uuid: &str| {
        let message = json!({"role": "user", "content": demo::SURVEY});
        json!({"type": "user", "message": message, "parent_tool_use_id": null, "uuid": uuid})
    };
    let mut ids = Vec::new();
    for uuid in ["m1", "m2"] {
        c.send(say(uuid)).await;
        let all = c.until(|v| v["type"] == "assistant").await;
        let taken = all.iter().find(|v| v["isReplay"] == true).expect("the message is said again");
        assert_eq!((&taken["uuid"], &taken["session_id"]), (&json!(uuid), &json!("0000-live")));
        ids.push(all.last().unwrap()["message"]["id"].clone());
        c.send(json!({"type": "control_request", "request_id": "interrupt#1", "request": {"subtype": "interrupt"}}))
            .await;
        let all = c.until(|v| v["type"] == "result").await;
        assert!(all.iter().any(|v| v["response"]["request_id"] == "interrupt#1"), "{all:#?}");
        assert_eq!(all.last().unwrap()["subtype"], "error_during_execution");
    }
    assert_ne!(ids[0], ids[1], "played again, an item is another item");
}

#[tokio::test]
async fn what_cannot_be_replayed_is_refused_with_what_to_do() {
    let p = TestProject::new();
    let mut command = replayer(&["opencode", "serve", "--port", "0"], &p.repo());
    let out = command.stderr(Stdio::piped()).output().await.unwrap();
    let words = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && words.contains("--mode batch"), "{words}");
}
