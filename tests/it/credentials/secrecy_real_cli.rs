//! A canary goes every way that a credential can go, and is then looked for wherever it must not be.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use axum::Router;
use axum::routing::any;
use serde_json::{Value, json};

use super::{World, files};
use crate::plane_support::{is_turn_end, kind};
use crate::screen::pty::Screen;
use crate::support::require_cli;

/// Every canary begins so.
const CANARY: &str = "canary-5f1e-";

/// An endpoint that gives a canary in a header, or denies.
async fn login() -> String {
    let app = Router::new().fallback(any(|request: axum::extract::Request| async move {
        let status = if request.uri().path() == "/denied" { 403 } else { 200 };
        let status = axum::http::StatusCode::from_u16(status).unwrap();
        (status, [("x-token", format!("{CANARY}http"))], format!("{CANARY}body"))
    }));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

fn hosts() -> Vec<(&'static str, String)> {
    let names = ["C_COMMAND", "C_SECRET", "C_RESOLVER", "C_PROFILE", "C_URL", "C_FILE", "OPENAI_API_KEY"];
    names.into_iter().map(|n| (n, format!("{CANARY}{n}"))).collect()
}

fn profiles(login: &str) -> Value {
    let print = |name: &str| json!(["printenv", name]);
    let http = |path: &str| {
        json!({
            "type": "http_header_token", "required": path != "/denied",
            "request": {"url": format!("{login}{path}?k=${{C_URL}}"), "headers": {"X-Login": "${C_URL}"}},
            "extract": {"header": "X-Token"},
        })
    };
    json!({"p": {
        "auth_origins": {
            "command": {"type": "command_output", "command": print("C_COMMAND")},
            "secret": {"type": "secret_env", "env_name": "C_SECRET", "secret_ref": {"name": "s", "key": "k"}},
            "http": http("/token"),
            "file": {"type": "command_output", "command": print("C_FILE"), "delivery": "file_mount"},
            // These fail, with the canary in all that they say.
            "fails": {"type": "command_output", "command": ["sh", "-c", "printenv C_COMMAND; printenv C_COMMAND >&2; exit 9"]},
            "denied": http("/denied"),
        },
        "runtime_auth_resolvers": {"helper": {"type": "command", "command": "printf %s ${C_RESOLVER}"}},
        "env": {"A_TOKEN": "${C_PROFILE}"},
        "assertions": {"require_source": ["command", "secret", "http", "file"]},
    }})
}

/// Looks for canaries. `running`: processes may have their files.
async fn sweep(world: &World, running: bool) {
    let plane = &world.plane;
    let server = plane.server_pid().await;
    let mut pids: Vec<i32> = plane.processes().iter().map(|p| p.pid).collect();
    pids.push(server);
    for pid in pids {
        let argv = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(!holds(&argv), "argv of {pid}: {}", String::from_utf8_lossy(&argv));
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
        if let Some(core) = limits.lines().find(|l| l.starts_with("Max core file size")) {
            assert_eq!(core.split_whitespace().nth(4), Some("0"), "{pid} may leave a core: {core}");
        }
    }
    let state = plane.layout().state_dir();
    assert_eq!(std::fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    for file in files(&state).into_iter().filter(|f| !f.starts_with(state.join("worktrees"))) {
        let Ok(bytes) = std::fs::read(&file) else { continue };
        let of_process = file.components().any(|c| c.as_os_str() == "settings");
        assert!(!of_process || running, "{} is left", file.display());
        if of_process {
            assert_eq!(
                std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
                0o600,
                "{}",
                file.display()
            );
        } else {
            assert!(!holds(&bytes), "{} holds a canary", file.display());
        }
    }
    outputs(world).await;
}

/// What commands print.
async fn outputs(world: &World) {
    let mut verbs: Vec<Vec<String>> = ["list --all", "runtimes", "status", "config check", "approvals"]
        .iter()
        .map(|v| v.split(' ').map(str::to_owned).collect())
        .collect();
    for agent in world.plane.json(&["list", "--all"]).await.as_array().unwrap() {
        verbs.push(vec!["events".to_owned(), agent["session"].as_str().unwrap().to_owned()]);
    }
    for runtime in ["codex", "bad"] {
        verbs.push(["auth", "diagnose", "--runtime", runtime].map(str::to_owned).to_vec());
        verbs.push(
            ["spawn", "--task", "dry", "--dry-run", "--contract", "x", "--runtime", runtime]
                .map(str::to_owned)
                .to_vec(),
        );
    }
    for verb in verbs {
        for json in [false, true] {
            let mut args: Vec<&str> = verb.iter().map(String::as_str).collect();
            if json {
                args.push("--json");
            }
            let out = world.plane.run(&args).await;
            assert!(
                !holds(out.stdout.as_bytes()) && !holds(out.stderr.as_bytes()),
                "{args:?}: {}{}",
                out.stdout,
                out.stderr
            );
        }
    }
}

fn holds(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, CANARY.as_bytes()).is_some()
}

async fn new_world() -> Option<World> {
    for cli in ["claude", "codex", "opencode"] {
        require_cli(cli)?;
    }
    let login = login().await;
    let hosts = hosts();
    let env: Vec<(&str, &str)> = hosts.iter().map(|(k, v)| (*k, v.as_str())).collect();
    Some(World::new(&env, |w| {
        let bearer =
            |origin: &str| json!({"type": "bearer_env", "env_name": "OPENAI_API_KEY", "auth_origin": origin});
        let helper = json!({"type": "claude_api_key_helper", "runtime_auth_resolver": "helper"});
        let file = json!({"type": "token_file", "auth_origin": "file", "env_name": "CRED_FILE"});
        let resolved =
            json!({"type": "bearer_env", "env_name": "OPENAI_API_KEY", "runtime_auth_resolver": "helper"});
        let plain = json!({"type": "bearer_env", "env_name": "OPENAI_API_KEY"});
        let of =
            |cli: &str, binding: Value| w.runtime(cli, json!({"auth_profile": "p", "auth_binding": binding}));
        let runtimes = json!({
            "codex": of("codex", bearer("command")), "codex-http": of("codex", bearer("http")),
            "codex-plain": of("codex", plain), "codex-file": of("codex", file),
            "opencode": of("opencode", bearer("secret")), "opencode-resolved": of("opencode", resolved),
            "claude": of("claude", helper),
            "bad": of("codex", bearer("fails")), "denied": of("codex", bearer("denied")),
        });
        (runtimes, profiles(&login))
    }))
}

#[tokio::test]
async fn a_canary_is_found_nowhere_with_codex() {
    canary("codex").await;
}

#[tokio::test]
async fn a_canary_is_found_nowhere_with_opencode() {
    canary("opencode").await;
}

#[tokio::test]
async fn a_canary_is_found_nowhere_with_claude() {
    canary("claude").await;
}

/// All ways of one CLI, and then what fails.
async fn canary(cli: &str) {
    let Some(world) = new_world().await else { return };
    let ways = [
        ("codex", "batch", "C_COMMAND"),
        ("codex-http", "stream", "http"),
        ("codex-plain", "batch", "OPENAI_API_KEY"),
        ("codex-file", "stream", "OPENAI_API_KEY"),
        ("opencode", "batch", "C_SECRET"),
        ("opencode-resolved", "stream", "C_RESOLVER"),
        ("claude", "batch", "C_RESOLVER"),
        ("claude", "stream", "C_RESOLVER"),
    ];
    let mut seen = 0;
    let ways = ways.into_iter().filter(|(runtime, ..)| runtime.starts_with(cli));
    for (n, (runtime, mode, canary)) in ways.enumerate() {
        let name = format!("a{n}");
        let gate = world.plane.script.gate(&name);
        let contract = format!("fracta:say begun\nfracta:gate {name}\nfracta:say over");
        let args = ["spawn", "--task", &name, "--runtime", runtime, "--mode", mode, "--contract", &contract];
        let session = world.plane.json(&args).await["session"].as_str().unwrap().to_owned();
        crate::plane_support::until(|| {
            let asked = world.plane.model.requests();
            asked.iter().any(|r| r.number > seen && r.method == "POST")
        })
        .await;
        // While it runs: the files are there.
        sweep(&world, true).await;
        assert!(world.settings(&session).join("mask.json").exists());
        gate.release();
        world.end(&name, 0).await;
        let keys = world.keys(&mut seen);
        assert!(keys.iter().all(|k| *k == format!("{CANARY}{canary}")), "{runtime}: {keys:?}");
        world.plane.run(&["kill", &name, "--force"]).await.ok();
    }
    world.plane.all_gone().await;
    sweep(&world, false).await;
    // Failures, and what is said of them.
    for runtime in ["bad", "denied"] {
        let args = ["spawn", "--task", runtime, "--runtime", runtime, "--contract", "fracta:say x", "--wait"];
        let out = world.plane.run(&args).await;
        assert!(
            !holds(out.stdout.as_bytes()) && !holds(out.stderr.as_bytes()),
            "{}{}",
            out.stdout,
            out.stderr
        );
    }
    let bad = world.plane.agent("bad").await;
    assert!(bad["reason"].as_str().unwrap().contains("fails: sh ended with exit code 9"), "{bad}");
    world.plane.all_gone().await;
    sweep(&world, false).await;
}

/// An agent says its own secret: as the model's words in small pieces, and by a command. With a restart of the
/// control plane between, which then never had the value.
async fn own_secret_is_masked(cli: &str, mode: &str) {
    let Some(world) = new_world().await else { return };
    let name = format!("{cli}-{mode}");
    let before =
        format!("fracta:pace 3 0\nfracta:say before \nfracta:key\nfracta:say  then\nfracta:gate {name}");
    let after = "fracta:say after \nfracta:key\nfracta:say \\n";
    let command = "fracta:run printenv OPENAI_API_KEY | cut -c1-9; printenv OPENAI_API_KEY\nfracta:say over";
    let contract = format!("{before}\n{after}\n{command}");
    let gate = world.plane.script.gate(&name);
    let args = ["spawn", "--task", &name, "--runtime", cli, "--mode", mode, "--contract", &contract];
    let session = world.plane.json(&args).await["session"].as_str().unwrap().to_owned();
    crate::plane_support::until(|| world.plane.model.requests().iter().any(|r| r.method == "POST")).await;
    // In batch mode Codex and OpenCode tell a text when it is whole; the others are in the middle of one.
    if mode == "stream" {
        world.plane.wait_event(&name, |e| kind(e) == "message.delta").await;
    }
    world.plane.kill_server().await;
    gate.release();
    world.end(&name, 0).await;
    let events = world.plane.events(&name).await;
    let text = serde_json::to_string(&events).unwrap();
    assert!(!holds(text.as_bytes()), "{events:#?}");
    let shown: String =
        events.iter().filter(|e| kind(e) == "message.delta").filter_map(|e| e["text"].as_str()).collect();
    let whole: String =
        events.iter().filter(|e| kind(e) == "message.completed").filter_map(|e| e["text"].as_str()).collect();
    assert!(whole.matches("[secret ").count() >= 2, "{whole}");
    assert!(!shown.contains(&CANARY[..9]), "no beginning of it either: {shown}");
    let raw = std::fs::read(world.plane.layout().session_dir(&session).join("raw.jsonl")).unwrap();
    assert!(holds(&raw), "it was said");
    for file in ["raw.jsonl", "events.jsonl", "stderr.log"] {
        let path = world.plane.layout().session_dir(&session).join(file);
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    outputs(&world).await;
    let mut screen = Screen::open(&world.plane, &[], 120, 40);
    screen.wait_text(&name);
    screen.keys("\r");
    screen.wait_text("[secret ");
    let bytes = screen.bytes_since(0);
    assert!(!holds(&bytes), "{}", screen.text());
    screen.keys("q");
    screen.finish();
    let state = std::fs::read_to_string(world.plane.layout().session_dir(&session).join("state.json"));
    assert!(!holds(state.unwrap_or_default().as_bytes()));
    assert!(!Path::new(&world.settings(&session)).exists() || mode == "stream");
    assert!(events.iter().any(is_turn_end));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codex_cannot_tell_its_secret() {
    own_secret_is_masked("codex", "stream").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codex_cannot_tell_its_secret_in_batch() {
    own_secret_is_masked("codex", "batch").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opencode_cannot_tell_its_secret() {
    own_secret_is_masked("opencode", "stream").await;
}
