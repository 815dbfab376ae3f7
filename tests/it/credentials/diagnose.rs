//! `fracta auth diagnose`, `config check` and `runtimes`: what is told before anybody is asked.

use serde_json::{Value, json};

use super::World;

const VALUE: &str = "diagnosed-s3cret-value";

fn world() -> World {
    World::new(&[("MY_TOKEN", VALUE)], |w| {
        let counter = w.counter("never");
        let profile = json!({
            "auth_origins": {
                "mine": {"type": "secret_env", "env_name": "MY_TOKEN", "secret_ref": {"name": "sec", "key": "tok"}},
                "asked": {"type": "command_output", "command": counter.argv(), "timeout_ms": 1234},
                "far": {"type": "command_output", "command": ["x"], "scope": "agent_runtime", "required": false},
            },
            "runtime_auth_resolvers": {"helper": {"type": "command", "command": counter.shell(), "ttl_ms": 90000}},
            "default_binding": {"type": "bearer_env", "env_name": "OPENAI_API_KEY", "auth_origin": "mine"},
            "env": {"PLAIN": "${MY_TOKEN}"},
            "assertions": {"require_env": ["OPENAI_API_KEY"], "forbid_env": ["NOPE"], "require_source": ["asked"]},
        });
        let bad = json!({"auth_profile": "p", "env": {"NOPE": "1"}});
        let codex = |more| w.runtime("codex", more);
        let runtimes =
            json!({"good": codex(json!({"auth_profile": "p"})), "bad": codex(bad), "none": codex(json!({}))});
        (runtimes, json!({"p": profile}))
    })
}

async fn diagnosed(w: &World, args: &[&str], code: i32) -> Value {
    let mut all = vec!["auth", "diagnose", "--json"];
    all.extend(args);
    let out = w.plane.run(&all).await;
    assert_eq!(out.code, code, "{}{}", out.stdout, out.stderr);
    assert!(!out.stdout.contains(VALUE), "{}", out.stdout);
    serde_json::from_str(&out.stdout).unwrap()
}

fn of<'a>(list: &'a Value, name: &str) -> &'a Value {
    list.as_array()
        .unwrap()
        .iter()
        .find(|o| o["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {list}"))
}

#[tokio::test]
async fn the_plan_is_told_whole_and_nobody_is_asked() {
    let w = world();
    // A CLI that is not installed is one more problem; what is looked at here does not depend on it.
    let installed = crate::support::require_cli("codex").is_some();
    let good = diagnosed(&w, &["--runtime", "good"], i32::from(!installed)).await;
    assert_eq!(good["ok"], installed, "{good:#}");
    let origin = of(&good["origins"], "mine");
    assert_eq!(
        (&origin["scope"], &origin["phase"], &origin["used"]),
        (&json!("any"), &json!("prepare_now"), &json!(true))
    );
    assert_eq!(origin["from"], "the variable MY_TOKEN");
    let asked = of(&good["origins"], "asked");
    assert_eq!(
        (&asked["scope"], &asked["timeout_ms"], &asked["from"]),
        (&json!("host_edge"), &json!(1234), &json!("the command sh"))
    );
    assert_eq!(of(&good["origins"], "far")["phase"], "runtime_only");
    assert_eq!(good["resolvers"], json!([{"name": "helper", "ttl_ms": 90000, "used": false}]));
    assert_eq!(good["binding"]["target"], "the variable OPENAI_API_KEY");
    assert_eq!(
        of(&good["environment"], "OPENAI_API_KEY"),
        &json!({"name": "OPENAI_API_KEY", "from": "binding", "source": "mine"})
    );
    assert_eq!(of(&good["environment"], "PLAIN")["from"], "profile");
    assert_eq!(of(&good["environment"], "CODEX_HOME")["from"], "runtime");
    assert_eq!(of(&good["environment"], "PATH")["from"], "inherited");
    assert!(good["assertions"].as_array().unwrap().iter().all(|a| a["outcome"] == "pass"), "{good:#}");

    let bad = diagnosed(&w, &["--runtime", "bad"], 1).await;
    let outcomes: Vec<&str> =
        bad["assertions"].as_array().unwrap().iter().map(|a| a["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["pass", "fail", "pass"], "a failure does not cut the report short");
    assert!(bad["environment"].as_array().unwrap().len() > 5);

    let pod = diagnosed(&w, &["--runtime", "good", "--backend", "kubernetes"], 1).await;
    assert_eq!(of(&pod["origins"], "mine")["from"], "the Secret sec, key tok");
    assert_eq!(of(&pod["origins"], "asked")["phase"], "unavailable");
    assert_eq!(pod["topology"], "cluster");
    assert!(!pod["environment"].as_array().unwrap().iter().any(|n| n["from"] == "inherited"));

    let text = w.plane.run(&["auth", "diagnose", "--runtime", "bad"]).await;
    assert_eq!(text.code, 1);
    for want in [
        "origins      asked",
        "scope host_edge, prepare now",
        "fail  forbid_env NOPE: it is set (runtime)",
        "1 assertions fail",
    ] {
        assert!(text.stdout.contains(want), "{want}\n{}", text.stdout);
    }
    assert!(!text.stdout.contains(VALUE));
    let unknown = w.plane.run(&["auth", "diagnose", "--runtime", "god"]).await;
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("did you mean \"good\"?"), "{}", unknown.stderr);
    assert_eq!(w.counter("never").calls(), 0, "dry");
}

#[tokio::test]
async fn runtimes_say_which_credential_they_would_use() {
    let w = world();
    let rows = w.plane.json(&["runtimes"]).await;
    assert_eq!(
        of(&rows, "good")["credential"],
        "profile p: origin mine (secret_env) as the variable OPENAI_API_KEY (bearer_env)"
    );
    let bad = of(&rows, "bad")["credential"].as_str().unwrap();
    assert!(bad.ends_with("a spawn would fail: `fracta auth diagnose` says why"), "{bad}");
    assert_eq!(of(&rows, "none")["credential"], "the CLI's own login");
    assert!(!rows.to_string().contains(VALUE));
    let text = w.plane.run(&["runtimes"]).await.ok().stdout;
    assert!(text.contains("credential    profile p: origin mine"), "{text}");
}

#[tokio::test]
async fn config_check_knows_ids_of_bedrock_and_names() {
    let w = World::new(&[("AWS_REGION", "ap-southeast-2")], |w| {
        let models = json!({"model": "amazon-bedrock/anthropic.claude-opus-4-6-v1", "model_tiers": {"heavy": "amazon-bedrock/au.anthropic.claude-opus-4-6-v1"}});
        (json!({"opencode": w.runtime("opencode", models)}), json!({}))
    });
    let out = w.plane.run(&["config", "check"]).await.ok().stdout;
    assert_eq!(out.lines().count(), 2, "{out}");
    assert!(out.contains("warning: agents.agent_runtimes.opencode.model: in ap-southeast-2 OpenCode would make \"apac.anthropic.claude-opus-4-6-v1\" of this id (write \"amazon-bedrock/au.anthropic.claude-opus-4-6-v1\")"), "{out}");
}
