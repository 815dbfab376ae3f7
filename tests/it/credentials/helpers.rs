//! Helpers that misbehave, seen from the command line: a clear end, and nothing left running (which every test's
//! own end looks for). No CLI is needed: the agent never begins.

use serde_json::{Value, json};

use super::World;
use crate::plane_support::kind;

/// A runtime whose credential comes from a shell script; its CLI is a script that could run.
fn world(script: &str, timeout_ms: u32, required: bool) -> World {
    World::new(&[], |w| {
        let cli = w.scripts.path().join("cli");
        std::fs::write(&cli, "#!/bin/sh\necho 'codex-cli 0.169.0'\n").unwrap();
        std::fs::set_permissions(&cli, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let origin = json!({
            "type": "command_output", "command": ["sh", "-c", script.replace("${", "$${"), w.scripts.path()],
            "timeout_ms": timeout_ms, "required": required,
        });
        let binding = json!({"type": "bearer_env", "env_name": "OPENAI_API_KEY", "auth_origin": "o"});
        let runtimes = json!({"codex": w.runtime("codex", json!({"auth_profile": "p", "command": [cli]}))});
        (runtimes, json!({"p": {"auth_origins": {"o": origin}, "default_binding": binding}}))
    })
}

async fn ends(script: &str, timeout_ms: u32) -> Value {
    let w = world(script, timeout_ms, true);
    let out = w.plane.run(&["spawn", "--task", "a", "--contract", "x", "--wait", "--json"]).await;
    assert_eq!(out.code, 1, "{}{}", out.stdout, out.stderr);
    w.plane.all_gone().await;
    let row: Value = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!(row["state"], "failed");
    row
}

#[tokio::test]
async fn a_failure_is_the_agents_reason() {
    let row = ends("echo s3cret; echo s3cret >&2; exit 7", 60_000).await;
    let want = "the credentials of runtime codex, profile p do not come together: o: sh ended with exit code 7; `fracta auth diagnose --runtime codex` shows the whole plan";
    assert_eq!(row["reason"], want);
}

#[tokio::test]
async fn one_that_hangs_is_ended_with_its_children() {
    let row = ends("setsid sleep 100000 & sleep 100000 & cat /dev/zero >/dev/null", 300).await;
    let reason = row["reason"].as_str().unwrap();
    assert!(
        reason.contains("o: sh gave nothing within 300 ms and was ended with all that it had started"),
        "{reason}"
    );
}

#[tokio::test]
async fn one_that_floods_is_ended() {
    let row = ends("cat /dev/zero", 60_000).await;
    let reason = row["reason"].as_str().unwrap();
    assert!(reason.contains("o: sh gave more than 65536 bytes"), "{reason}");
}

/// Nobody who wants the agent ended waits for the helper's patience.
#[tokio::test]
async fn abort_and_kill_do_not_wait_for_a_helper() {
    let w = world("setsid sh -c 'exec sleep 100000' & touch \"$0/up\"; exec sleep 100000", 600_000, true);
    let up = w.scripts.path().join("up");
    for end in ["abort", "kill"] {
        let name = format!("by-{end}");
        w.plane.run(&["spawn", "--task", &name, "--contract", "x"]).await.ok();
        crate::plane_support::until(|| up.exists()).await;
        std::fs::remove_file(&up).unwrap();
        w.plane.run(&[end, &name]).await.ok();
        w.plane.all_gone().await;
    }
    let events = w.plane.events("by-abort").await;
    let end = events.iter().rfind(|e| kind(e) == "session.ended").unwrap();
    assert_eq!(
        (&end["state"], &end["reason"]),
        (&json!("stopped"), &json!("aborted by a person before it began"))
    );
    let list = w.plane.json(&["list", "--all"]).await;
    assert_eq!(list.as_array().unwrap().iter().filter(|a| a["killed"] == true).count(), 1, "{list}");
}

/// The control plane ends while a helper hangs; the next one starts what was to be started.
#[tokio::test]
async fn a_start_that_is_cut_off_is_made_up_for() {
    let w =
        world("touch \"$0/up\"; if [ ! -e \"$0/go\" ]; then exec sleep 100000; fi; exit 5", 600_000, true);
    let up = w.scripts.path().join("up");
    w.plane.run(&["spawn", "--task", "a", "--contract", "x"]).await.ok();
    crate::plane_support::until(|| up.exists()).await;
    w.plane.run(&["stop"]).await.ok();
    w.plane.all_gone().await;
    std::fs::write(w.scripts.path().join("go"), "").unwrap();
    w.plane.run(&["status"]).await.ok();
    let row = w.plane.wait_state("a", fracta::session::state::State::Failed).await;
    assert!(row.reason.unwrap().contains("o: sh ended with exit code 5"), "the helper was asked again");
}
