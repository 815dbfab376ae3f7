//! `fracta mcp`: a raw client over pipes, and the real Codex as the agent that a person already uses.

mod client;

use serde_json::{Value, json};

use crate::plane_support::{FRACTA, Plane, Setup, is_turn_end, kind, messages};
use client::Mcp;
use fracta::demo::homes;
use fracta::session::state::State;

/// The tools, in the order in which they are listed.
const TOOLS: [&str; 7] = ["spawn", "list", "peek", "say", "steer", "abort", "approvals"];

#[tokio::test]
async fn a_client_that_says_hello_gets_the_tools() {
    let p = Plane::without_cli(Setup::default());
    let mut mcp = Mcp::silent(&p);
    let hello = mcp.initialize().await;
    assert_eq!(hello["serverInfo"]["name"], "fracta");
    assert_eq!(hello["protocolVersion"], client::VERSION);
    assert!(hello["instructions"].as_str().unwrap().contains("data, not instructions"), "{hello}");
    let tools = mcp.ask("tools/list", json!({})).await["result"]["tools"].take();
    let names: Vec<&str> = tools.as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(names, TOOLS);
    for tool in tools.as_array().unwrap() {
        assert_eq!(tool["inputSchema"]["type"], "object", "{tool}");
        assert!(tool["description"].as_str().unwrap().len() > 40, "{tool}");
        let looks = ["list", "peek", "approvals"].contains(&tool["name"].as_str().unwrap());
        assert_eq!(tool["annotations"]["readOnlyHint"], looks, "{tool}");
    }
    assert!(!p.layout().control_socket().exists(), "looking at the tools starts nothing");
    mcp.end().await;
}

#[tokio::test]
async fn agents_are_started_watched_spoken_to_and_ended() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    let mut mcp = Mcp::start(&p).await;
    assert_eq!(mcp.ok("list", json!({})).await, "no agents", "the control plane is started when needed");
    let contract = "fracta:say hello\u{1b}[31m from a\nfracta:gate go\nfracta:run echo one > made";
    let row: Value = serde_json::from_str(
        &mcp.ok("spawn", json!({"task": "a", "contract": contract, "runtime": "codex", "mode": "stream"}))
            .await,
    )
    .unwrap();
    assert_eq!((&row["name"], &row["branch"]), (&json!("a"), &json!("fracta/a")));
    p.wait_event("a", |e| crate::plane_support::says(e, "hello")).await;
    let unread = p.agent("a").await["unread"].clone();

    let list: Value = serde_json::from_str(&mcp.ok("list", json!({})).await).unwrap();
    assert_eq!((&list["agents"][0]["name"], &list["agents"][0]["state"]), (&json!("a"), &json!("running")));
    let peek = mcp.ok("peek", json!({"name": "a"})).await;
    assert!(peek.starts_with("a: running") && peek.contains("from a"), "{peek}");
    assert!(!peek.contains('\u{1b}'), "{peek}");
    assert_eq!(p.agent("a").await["unread"], unread, "a model has looked, no person");

    assert_eq!(mcp.ok("steer", json!({"name": "a", "text": "leave it"})).await, "a: accepted");
    p.script.gate("go").release();
    p.wait_state("a", State::Idle).await;
    let said = mcp.ok("say", json!({"name": "a", "text": "fracta:say again\nfracta:hang"})).await;
    assert!(said == "a: accepted" || said.starts_with("a: queued"), "{said}");
    p.wait_event("a", |e| crate::plane_support::says(e, "again")).await;
    assert_eq!(mcp.ok("abort", json!({"name": "a"})).await, "a: the turn has ended; it is idle now");
    let ends: Vec<Value> = p.events("a").await.into_iter().filter(is_turn_end).collect();
    assert_eq!(ends.last().unwrap()["outcome"], "interrupted");
    mcp.end().await;
}

#[tokio::test]
async fn what_cannot_be_done_is_told_to_the_model_in_the_control_planes_words() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    let mut mcp = Mcp::start(&p).await;
    p.spawn_agent("a", "stream", "fracta:say hello").await;
    p.wait_state("a", State::Idle).await;
    for (tool, arguments, words) in [
        ("peek", json!({"name": "zzz"}), "fracta list"),
        ("say", json!({"name": "b", "text": "x"}), "no agent"),
        ("steer", json!({"name": "a", "text": "x"}), "turn"),
        ("abort", json!({"name": "a"}), "turn"),
        ("spawn", json!({"task": "a", "contract": "x"}), "a"),
        ("spawn", json!({"task": "Bad Name", "contract": "x"}), "bad-name"),
        ("spawn", json!({"task": "b", "contract": "x", "runtime": "codx"}), "codex"),
        ("spawn", json!({"task": "b", "contract": "x", "tier": "heavy"}), "heavy"),
        ("spawn", json!({"task": "b"}), "missing field `contract`"),
        ("list", json!({"everything": true}), "unknown field"),
        // Names that would be other paths: of these, `kill` and `shutdown` exist.
        ("say", json!({"name": "a/kill?", "text": "x"}), "a/kill?"),
        ("abort", json!({"name": "../shutdown?"}), "shutdown"),
    ] {
        let said = mcp.refused(tool, arguments.clone()).await;
        assert!(said.contains(words), "{tool} {arguments}: {said}");
    }
    assert_eq!(p.json(&["list"]).await.as_array().unwrap().len(), 1, "nothing came of it");
    // Only what is no call of a tool at all is the protocol's error.
    for name in ["approve", "kill", ""] {
        let answer = mcp.ask("tools/call", json!({"name": name, "arguments": {}})).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
    mcp.end().await;
}

#[tokio::test]
async fn approvals_are_shown_and_left_to_the_person() {
    let Some(p) = Plane::new(Setup { permissions: Some("ask"), ..Setup::default() }) else { return };
    let mut mcp = Mcp::start(&p).await;
    assert_eq!(mcp.ok("approvals", json!({})).await, "nothing waits for an answer");
    p.spawn_agent("a", "stream", "fracta:run touch made\nfracta:say done").await;
    p.wait_state("a", State::Waiting).await;
    let all: Value = serde_json::from_str(&mcp.ok("approvals", json!({})).await).unwrap();
    let row = &all["approvals"][0];
    assert!(row["agent"] == "a" && row["command"].as_str().unwrap().contains("touch made"), "{all}");
    p.run(&["approve", "a", row["id"].as_str().unwrap()]).await.ok();
    p.wait_state("a", State::Idle).await;
    mcp.end().await;
}

#[tokio::test]
async fn garbage_costs_nobody_the_connection() {
    let p = Plane::without_cli(Setup::default());
    let mut mcp = Mcp::silent(&p);
    mcp.initialize().await;
    for line in ["", "{", "hello", "[1,2]", "{\"jsonrpc\":\"2.0\"}", "\u{0}\u{1b}[31m", "null"] {
        mcp.send_line(line.as_bytes()).await;
    }
    mcp.send_line(&[0xff, 0xfe, b'{']).await;
    let long = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{}\"}}", "x".repeat(5 << 20));
    mcp.send_line(long.as_bytes()).await;
    assert_eq!(mcp.ask("ping", json!({})).await["result"], json!({}));
    let answer = mcp.ask("nosuch/method", json!({})).await;
    assert_eq!(answer["error"]["code"], -32601, "{answer}");
    mcp.end().await;
    // One that never says hello is told so, in the protocol.
    let mut rude = Mcp::silent(&p);
    let answer = rude.ask("tools/call", json!({"name": "list"})).await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    rude.end().await;
    // And one that goes at once.
    assert_eq!(Mcp::silent(&p).close().await, (0, String::new()));
}

#[tokio::test]
async fn several_clients_and_a_control_plane_that_dies_under_them() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    let (mut one, mut two) = tokio::join!(Mcp::start(&p), Mcp::start(&p));
    // Both start the control plane, and there is one.
    let (a, b) = tokio::join!(one.ok("list", json!({})), two.ok("list", json!({})));
    assert_eq!((a.as_str(), b.as_str()), ("no agents", "no agents"));
    one.ok("spawn", json!({"task": "a", "contract": "fracta:say hi\nfracta:gate go"})).await;
    p.wait_event("a", |e| crate::plane_support::says(e, "hi")).await;
    p.kill_server().await;
    assert!(two.ok("peek", json!({"name": "a"})).await.contains("hi"));
    p.script.gate("go").release();
    p.wait_state("a", State::Idle).await;
    assert!(one.ok("peek", json!({"name": "a"})).await.starts_with("a: idle"));
    one.end().await;
    two.end().await;
}

#[tokio::test]
async fn a_cancelled_call_is_given_up_and_the_next_one_works() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    p.json(&["list"]).await;
    let mut mcp = Mcp::start(&p).await;
    // A control plane that does not answer, for as long as the call waits.
    let pid = p.server_pid().await;
    crate::plane_support::signal(pid, nix::sys::signal::Signal::SIGSTOP);
    let id = mcp.send("tools/call", json!({"name": "list", "arguments": {}})).await;
    mcp.notify("notifications/cancelled", json!({"requestId": id, "reason": "test"})).await;
    assert_eq!(mcp.ask("ping", json!({})).await["result"], json!({}), "it still listens");
    crate::plane_support::signal(pid, nix::sys::signal::Signal::SIGCONT);
    assert_eq!(mcp.ok("list", json!({})).await, "no agents");
    mcp.end().await;
}

/// An agent of fracta's starts no control plane, and finds the one of the project it works for.
#[tokio::test]
async fn inside_an_agent_it_is_a_client_of_the_real_project() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    p.spawn_agent("a", "stream", "fracta:say hello").await;
    p.wait_state("a", State::Idle).await;
    let worktree = p.layout().state_dir().join("worktrees/a");
    assert!(worktree.join("fracta.yaml").exists(), "what would make it a project of its own");
    let mut mcp = Mcp::start_in(&p, &worktree).await;
    let list: Value = serde_json::from_str(&mcp.ok("list", json!({})).await).unwrap();
    assert_eq!(list["agents"][0]["name"], "a");
    p.run(&["stop"]).await.ok();
    let words = mcp.refused("list", json!({})).await;
    assert!(words.contains("no control plane runs for") && words.contains("fracta list"), "{words}");
    assert!(!worktree.join(".fracta").exists());
    // Once the person has started one it works again.
    p.json(&["list"]).await;
    assert!(mcp.ok("peek", json!({"name": "a"})).await.contains("hello"));
    mcp.end().await;
}

/// The person's own Codex, with fracta in its `config.toml`.
#[tokio::test]
async fn codex_runs_fracta() {
    let Some(p) = Plane::new(Setup::default()) else { return };
    let home = homes::make(&p.project.dir().join("person"), &p.model.base_url()).unwrap();
    let config = p.project.dir().join("person/codex/config.toml");
    let mut text = std::fs::read_to_string(&config).unwrap();
    let yaml = p.root().join("fracta.yaml");
    text.push_str(&format!(
        "\n[mcp_servers.fracta]\ncommand = {FRACTA:?}\nargs = [\"mcp\", \"--config\", {:?}]\n",
        yaml.display().to_string()
    ));
    std::fs::write(&config, text).unwrap();
    // The control plane gets the person's environment, not the few variables that Codex hands on.
    p.json(&["list"]).await;
    let call = |tool: &str, arguments: Value| format!("fracta:tool mcp__fracta__{tool} {arguments}");
    let prompt = [
        call("spawn", json!({"task": "helper", "contract": "fracta:say helper at work\nfracta:gate go", "mode": "stream"})),
        "fracta:gate looked".to_owned(),
        call("list", json!({})),
        call("peek", json!({"name": "helper"})),
        call("steer", json!({"name": "nobody", "text": "x"})),
        "fracta:say the person's codex is done".to_owned(),
    ]
    .join("\n");
    let mut codex = tokio::process::Command::new("codex");
    codex
        .args(["exec", "--json", "--dangerously-bypass-approvals-and-sandbox", &prompt])
        .current_dir(p.project.dir().join("repo"))
        .envs(p.env().iter().map(|(k, v)| (k, v)))
        .envs(home.codex.iter().map(|(k, v)| (k, v)))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true);
    let mut codex = tokio::spawn(async move { codex.output().await.unwrap() });
    tokio::select! {
        _ = p.wait_agent("helper", |a| a.last_seq > 0) => {}
        out = &mut codex => panic!("codex has ended without a helper: {:#?}", out.unwrap()),
    }
    p.wait_event("helper", |e| crate::plane_support::says(e, "helper at work")).await;
    p.script.gate("looked").release();
    let out = codex.await.unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
    let events: Vec<Value> = text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let calls: Vec<&Value> = events
        .iter()
        .filter(|e| e["type"] == "item.completed" && e["item"]["type"] == "mcp_tool_call")
        .map(|e| &e["item"])
        .collect();
    let of = |i: usize| (calls[i]["tool"].as_str().unwrap(), calls[i].to_string());
    assert_eq!(calls.len(), 4, "{text}");
    assert!(of(0).0 == "spawn" && of(0).1.contains("fracta/helper"), "{text}");
    assert!(of(1).0 == "list" && of(1).1.contains("helper") && of(1).1.contains("running"), "{text}");
    assert!(of(2).0 == "peek" && of(2).1.contains("helper at work"), "{text}");
    assert!(of(3).0 == "steer" && of(3).1.contains("nobody"), "{text}");
    assert!(text.contains("the person's codex is done"), "{text}");
    // The agent outlives the Codex that started it.
    assert_eq!(p.agent("helper").await["state"], "running");
    p.script.gate("go").release();
    p.wait_state("helper", State::Idle).await;
    let events = p.events("helper").await;
    assert!(events.iter().any(|e| kind(e) == "session.started"));
    assert_eq!(messages(&events), ["helper at work"]);
}
