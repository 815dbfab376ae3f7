//! The real CLIs send the credential that a profile gives them: in both modes, in the first turn, in later ones,
//! and after a restart of the control plane.

use serde_json::{Value, json};

use super::World;
use crate::plane_support::{is_turn_end, kind};
use crate::support::require_cli;

/// [`arrives_in`] both modes.
async fn arrives(world: &World, runtime: &str, fits: impl Fn(usize, &str, &str) -> bool) {
    for mode in ["batch", "stream"] {
        arrives_in(mode, world, runtime, &fits).await;
    }
}

/// Three turns, the last with a new control plane. `fits` says of the turn (1, 2, 3) and the mode whether the key
/// that arrived is right.
async fn arrives_in(mode: &str, world: &World, runtime: &str, fits: &impl Fn(usize, &str, &str) -> bool) {
    let mut seen = 0;
    world.keys(&mut seen);
    let check = |turn: usize, keys: Vec<String>| {
        assert!(
            !keys.is_empty() && keys.iter().all(|k| fits(turn, mode, k)),
            "{mode}, turn {turn}: {keys:?}"
        );
    };
    let seq = world.first(mode, runtime, mode, "fracta:say one").await;
    check(1, world.keys(&mut seen));
    let seq = world.next(mode, seq, "fracta:say two").await;
    check(2, world.keys(&mut seen));
    world.plane.kill_server().await;
    world.next(mode, seq, "fracta:say three").await;
    check(3, world.keys(&mut seen));
    let session = world.plane.agent(mode).await["session"].as_str().unwrap().to_owned();
    world.plane.run(&["kill", mode, "--force"]).await.ok();
    assert!(!world.settings(&session).exists(), "nothing of it is left");
}

/// A profile whose one origin runs a counting helper.
fn with_origin(world: &World, prefix: &str, binding: Value) -> Value {
    let command = world.counter(prefix).argv();
    json!({"p": {"auth_origins": {"o": {"type": "command_output", "command": command}}, "default_binding": binding}})
}

#[tokio::test]
async fn codex_gets_its_key_from_an_origin() {
    if require_cli("codex").is_none() {
        return;
    }
    let world = World::new(&[], |w| {
        let binding = json!({"type": "bearer_env", "env_name": "OPENAI_API_KEY", "auth_origin": "o"});
        let runtimes = json!({"codex": w.runtime("codex", json!({"auth_profile": "p"}))});
        (runtimes, with_origin(w, "origin", binding))
    });
    // Asked anew for each process: batch has one for each turn, stream one for all.
    let process = |turn: usize, mode: &str| if mode == "batch" { turn } else { 4 };
    arrives(&world, "codex", |turn, mode, key| key == format!("origin-{}", process(turn, mode))).await;
    assert_eq!(world.counter("origin").calls(), 4);
}

#[tokio::test]
async fn codex_gets_its_key_from_the_environment() {
    if require_cli("codex").is_none() {
        return;
    }
    // Once as it is, once under another name by way of an origin.
    let world = World::new(&[("OPENAI_API_KEY", "key-as-it-is"), ("MY_KEY", "key-of-mine")], |w| {
        let plain = json!({"type": "bearer_env", "env_name": "OPENAI_API_KEY"});
        let secret =
            json!({"type": "secret_env", "env_name": "MY_KEY", "secret_ref": {"name": "s", "key": "k"}});
        let bound = json!({"type": "bearer_env", "env_name": "OPENAI_API_KEY", "auth_origin": "mine"});
        let runtimes = json!({
            "plain": w.runtime("codex", json!({"auth_profile": "p"})),
            "mine": w.runtime("codex", json!({"auth_profile": "p", "auth_binding": bound})),
        });
        (runtimes, json!({"p": {"auth_origins": {"mine": secret}, "default_binding": plain}}))
    });
    arrives(&world, "plain", |_, _, key| key == "key-as-it-is").await;
    arrives(&world, "mine", |_, _, key| key == "key-of-mine").await;
}

#[tokio::test]
async fn opencode_gets_an_openai_key_in_batch() {
    opencode_gets_an_openai_key("batch").await;
}

#[tokio::test]
async fn opencode_gets_an_openai_key_in_stream() {
    opencode_gets_an_openai_key("stream").await;
}

async fn opencode_gets_an_openai_key(mode: &str) {
    if require_cli("opencode").is_none() {
        return;
    }
    let world = World::new(&[], |w| {
        let binding = json!({"type": "bearer_env", "env_name": "OPENAI_API_KEY", "auth_origin": "o"});
        let runtimes = json!({"opencode": w.runtime("opencode", json!({"auth_profile": "p"}))});
        (runtimes, with_origin(w, "openai", binding))
    });
    let process = |turn: usize, mode: &str| if mode == "batch" { turn } else { 1 };
    let fits = |turn: usize, mode: &str, key: &str| key == format!("openai-{}", process(turn, mode));
    arrives_in(mode, &world, "opencode", &fits).await;
}

#[tokio::test]
async fn opencode_gets_a_bedrock_token_in_batch() {
    opencode_gets_a_bedrock_token("batch").await;
}

#[tokio::test]
async fn opencode_gets_a_bedrock_token_in_stream() {
    opencode_gets_a_bedrock_token("stream").await;
}

async fn opencode_gets_a_bedrock_token(mode: &str) {
    if require_cli("opencode").is_none() {
        return;
    }
    let world = World::new(&[], |w| {
        let binding =
            json!({"type": "bearer_env", "env_name": "AWS_BEARER_TOKEN_BEDROCK", "auth_origin": "o"});
        let mut profiles = with_origin(w, "bedrock", binding);
        profiles["p"]["env"] = json!({"AWS_REGION": "ap-southeast-2"});
        let more = json!({"auth_profile": "p", "model": "amazon-bedrock/au.anthropic.claude-sonnet-4-6"});
        (json!({"opencode": w.runtime("opencode", more)}), profiles)
    });
    assert_eq!(world.plane.run(&["config", "check"]).await.ok().stdout.lines().count(), 1, "no warning");
    let process = |turn: usize, mode: &str| if mode == "batch" { turn } else { 1 };
    let fits = |turn: usize, mode: &str, key: &str| key == format!("bedrock-{}", process(turn, mode));
    arrives_in(mode, &world, "opencode", &fits).await;
    let asked = world.plane.model.requests();
    assert!(asked.iter().any(|r| r.path == "/model/au.anthropic.claude-sonnet-4-6/converse-stream"));
}

/// A profile whose resolver is a counting helper, for Claude.
fn with_helper(world: &World, prefix: &str, ttl_ms: u64) -> Value {
    let command = world.counter(prefix).shell();
    json!({"p": {
        "runtime_auth_resolvers": {"helper": {"type": "command", "command": command, "ttl_ms": ttl_ms}},
        "default_binding": {"type": "claude_api_key_helper", "runtime_auth_resolver": "helper"},
    }})
}

#[tokio::test]
async fn claude_asks_its_helper() {
    if require_cli("claude").is_none() {
        return;
    }
    let world = World::new(&[], |w| {
        let runtimes = json!({"claude": w.runtime("claude", json!({"auth_profile": "p"}))});
        (runtimes, with_helper(w, "helper", 3_600_000))
    });
    let users = world.plane.homes.dir.join("home/.claude/settings.json");
    assert!(!users.exists());
    arrives(&world, "claude", |_, _, key| key.starts_with("helper-")).await;
    assert!(!users.exists(), "the user's own settings are the user's");
}

#[tokio::test]
async fn claude_asks_its_helper_again_after_its_time() {
    if require_cli("claude").is_none() {
        return;
    }
    let world = World::new(&[], |w| {
        let runtimes = json!({
            "long": w.runtime("claude", json!({"auth_profile": "long"})),
            "short": w.runtime("claude", json!({"auth_profile": "short"})),
        });
        let (long, short) = (with_helper(w, "long", 3_600_000), with_helper(w, "short", 1));
        (runtimes, json!({"long": long["p"], "short": short["p"]}))
    });
    let mut seen = 0;
    let mut seq = world.first("long", "long", "stream", "fracta:say one").await;
    seq = world.next("long", seq, "fracta:say two").await;
    world.next("long", seq, "fracta:say three").await;
    let keys = world.keys(&mut seen);
    assert_eq!(keys.len(), 1, "one key for one process within its time: {keys:?}");
    let mut seq = world.first("short", "short", "stream", "fracta:say one").await;
    let first = world.keys(&mut seen).pop().unwrap();
    // Claude may use an old key once more while it asks for the new one.
    for turn in 2.. {
        assert!(turn < 10, "never asked again");
        seq = world.next("short", seq, "fracta:say more").await;
        if world.keys(&mut seen).iter().any(|k| *k != first) {
            break;
        }
    }
}

#[tokio::test]
async fn claude_speaks_to_bedrock_with_its_helpers_token() {
    if require_cli("claude").is_none() {
        return;
    }
    let world = World::new(&[], |w| {
        let mut profiles = with_helper(w, "bedrock", 3_600_000);
        profiles["p"]["env"] = json!({
            "CLAUDE_CODE_USE_BEDROCK": "1", "CLAUDE_CODE_SKIP_BEDROCK_AUTH": "1", "AWS_REGION": "ap-southeast-2",
            "ANTHROPIC_BEDROCK_BASE_URL": w.plane.model.base_url(),
        });
        profiles["p"]["assertions"] = json!({
            "require_env": ["CLAUDE_CODE_USE_BEDROCK", "AWS_REGION"], "forbid_env": ["CLAUDE_CODE_SIMPLE"],
        });
        let model = "au.anthropic.claude-sonnet-4-6";
        let good = json!({"auth_profile": "p", "model": model});
        let simple = json!({"auth_profile": "p", "model": model, "env": {"CLAUDE_CODE_SIMPLE": "1"}});
        let runtimes = json!({"claude": w.runtime("claude", good), "simple": w.runtime("claude", simple)});
        (runtimes, profiles)
    });
    arrives(&world, "claude", |_, _, key| key.starts_with("bedrock-")).await;
    let asked = world.plane.model.requests();
    let model = |p: &str| p == "/model/au.anthropic.claude-sonnet-4-6/invoke-with-response-stream";
    assert!(asked.iter().filter(|r| r.method == "POST").all(|r| model(&r.path)), "only Bedrock is asked");

    let args = ["spawn", "--task", "x", "--runtime", "simple", "--contract", "fracta:say x"];
    let why = world.plane.run(&args).await.refused();
    assert!(why.contains("forbid_env CLAUDE_CODE_SIMPLE: it is set (runtime)"), "{why}");
    let dry = ["auth", "diagnose", "--runtime", "simple", "--json"];
    assert_eq!(world.plane.run(&dry).await.code, 1);
}

/// One profile serves all three; what differs is the binding. The file is there while they run.
#[tokio::test]
async fn one_profile_serves_all_runtimes() {
    for cli in ["claude", "codex", "opencode"] {
        if require_cli(cli).is_none() {
            return;
        }
    }
    let world = World::new(&[], |w| {
        let bearer = json!({"type": "bearer_env", "env_name": "OPENAI_API_KEY", "auth_origin": "o"});
        let mut profiles = with_helper(w, "shared", 3_600_000);
        profiles["p"]["auth_origins"] = json!({
            "o": {"type": "command_output", "command": w.counter("shared").argv()},
            "file": {"type": "command_output", "command": ["echo", "in-the-file"], "path": "my.cred"},
        });
        let file = json!({"type": "token_file", "auth_origin": "file", "env_name": "CRED_FILE"});
        let own = json!({"auth_profile": "p", "auth_binding": bearer});
        let key = w.runtime(
            "claude",
            json!({"auth_profile": "p", "auth_binding": file, "env": {"ANTHROPIC_API_KEY": "k"}}),
        );
        let runtimes = json!({
            "claude": w.runtime("claude", json!({"auth_profile": "p"})),
            "codex": w.runtime("codex", own.clone()), "opencode": w.runtime("opencode", own), "file": key,
        });
        (runtimes, profiles)
    });
    let mut seen = 0;
    for cli in ["claude", "codex", "opencode"] {
        world.first(cli, cli, "batch", "fracta:say hello").await;
        let keys = world.keys(&mut seen);
        assert!(keys.iter().all(|k| k.starts_with("shared-")), "{cli}: {keys:?}");
    }
    for mode in ["batch", "stream"] {
        let gate = world.plane.script.gate(mode);
        let contract =
            format!("fracta:run stat -c '%a %s' \"$CRED_FILE\"\nfracta:gate {mode}\nfracta:say over");
        let args = ["spawn", "--task", mode, "--runtime", "file", "--mode", mode, "--contract", &contract];
        let session = world.plane.json(&args).await["session"].as_str().unwrap().to_owned();
        let done = world.plane.wait_event(mode, |e| kind(e) == "command.completed" || is_turn_end(e)).await;
        assert!(done["text"].as_str().unwrap_or_default().contains("600 11"), "{done}");
        let file = world.settings(&session).join("credentials/my.cred");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "in-the-file");
        gate.release();
        world.end(mode, 0).await;
        world.plane.run(&["kill", mode, "--force"]).await.ok();
        assert!(!file.exists());
    }
}
