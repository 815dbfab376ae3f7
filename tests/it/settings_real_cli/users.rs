//! The user's own files, in the repository and at home: each CLI still does what they say, they stay as
//! they are, and an agent that commits all there is commits nothing of fracta's.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::World;
use super::server;
use crate::plane_support::{Plane, Setup, is_turn_end};
use crate::support::require_cli;

/// In the repository.
const CLAUDE: &str = r#"{ "env": {"MINE": "repo"},
  "permissions": {"deny": ["Bash(touch mine-denied*)"]} }
"#;
const CODEX: &str = "# mine\n[shell_environment_policy.set]\nMINE = \"repo\"\n";
const OPENCODE: &str = r#"{ "$schema": "https://opencode.ai/config.json",
  "permission": {"bash": {"touch mine-denied*": "deny"}} }
"#;

/// Adds to what the user has at home; the files, and what is in them.
fn at_home(w: &World, log: &Path) -> Vec<(PathBuf, String)> {
    let home = &w.plane.homes.dir;
    let (path, text) = match w.cli {
        "claude" => {
            let path = home.join("home/.claude/settings.json");
            (path, "{\"env\": {\"HOMES\": \"home\"}}\n".to_owned())
        }
        "codex" => {
            let path = home.join("codex/config.toml");
            let old = std::fs::read_to_string(&path).unwrap();
            let root = w.plane.project.repo().canonicalize().unwrap();
            let more = "[shell_environment_policy.set]\nHOMES = \"home\"\n";
            (path, format!("{old}\n[projects.{root:?}]\ntrust_level = \"trusted\"\n\n{more}"))
        }
        _ => {
            let path = home.join("opencode/config/opencode/opencode.json");
            let mut all: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let script = log.with_file_name("mine.sh");
            std::fs::write(&script, server::SCRIPT).unwrap();
            all["mcp"] = json!({"mine": {"type": "local", "command": ["sh", script, log], "enabled": true}});
            (path, format!("{all:#}\n"))
        }
    };
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, &text).unwrap();
    vec![(path, text)]
}

async fn own_settings_count(cli: &'static str, users: &[(&'static str, &'static str)]) {
    let Some(w) = World::of_a_user(cli, "auto", users).await else { return };
    let log = w.log.with_file_name("mine.log");
    let home = at_home(&w, &log);
    for mode in ["batch", "stream"] {
        let mut contract = vec![w.tool("gateway", "echo")];
        match cli {
            "opencode" => contract.push(w.tool("mine", "echo")),
            _ => contract.push("fracta:run printf '%s' \"$MINE $HOMES\" > seen".to_owned()),
        }
        contract.push("fracta:run touch mine-denied".to_owned());
        contract.push(
            "fracta:run touch work && git add -A && git -c user.name=a -c user.email=a@b commit -q -m work"
                .to_owned(),
        );
        contract.push("fracta:say over".to_owned());
        let row = w.spawn(mode, mode, &contract).await;
        let mut follow = w.plane.follow(mode, 0);
        let end = follow.until(is_turn_end).await;
        assert_eq!(end["outcome"], "completed", "{:#?}", follow.seen);
        assert_eq!(w.server.called(mode), ["echo"], "fracta's own server besides: {:#?}", follow.seen);
        let dir = World::workspace(&row);
        if cli == "opencode" {
            let heard = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(heard.contains("\"tools/call\""), "{heard}: {:#?}", follow.seen);
            std::fs::remove_file(&log).unwrap();
        } else {
            assert_eq!(std::fs::read_to_string(dir.join("seen")).unwrap(), "repo home", "{:#?}", follow.seen);
        }
        // Codex has no such rule in its settings.
        assert_eq!(dir.join("mine-denied").exists(), cli == "codex", "{:#?}", follow.seen);
        let at = dir.to_str().unwrap();
        let mut expected = vec!["work"];
        if cli != "opencode" {
            expected.insert(0, "seen");
        }
        if cli == "codex" {
            expected.insert(0, "mine-denied");
        }
        let committed = w.plane.project.git(&["-C", at, "show", "--name-only", "--format=", "HEAD"]);
        assert_eq!(committed.lines().collect::<Vec<_>>(), expected, "nothing of fracta's");
        w.workspace_is_clean(&row);
        w.plane.run(&["kill", mode, "--force"]).await.ok();
    }
    w.users_files_are_as_they_were(&w.plane.project.repo());
    for (path, text) in home {
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{}", path.display());
    }
}

#[tokio::test]
async fn claude_keeps_to_the_users_own_settings() {
    own_settings_count("claude", &[(".claude/settings.json", CLAUDE)]).await;
}

#[tokio::test]
async fn codex_keeps_to_the_users_own_settings() {
    own_settings_count("codex", &[(".codex/config.toml", CODEX)]).await;
}

#[tokio::test]
async fn opencode_keeps_to_the_users_own_settings() {
    own_settings_count("opencode", &[("opencode.json", OPENCODE)]).await;
}

/// OpenCode has the tool `task` only where the config says so.
#[tokio::test]
async fn opencode_gets_no_subagents_unless_told() {
    for (own, allowed) in [(None, false), (Some(r#"{"permission":{"task":"allow"}}"#), true)] {
        if require_cli("opencode").is_none() {
            return;
        }
        let env = own.map(|own| ("OPENCODE_CONFIG_CONTENT".into(), own.into()));
        let plane = Plane::without_cli(Setup { env: Vec::from_iter(env), ..Setup::default() });
        for mode in ["batch", "stream"] {
            let words = ["spawn", "--task", mode, "--runtime", "opencode", "--mode", mode];
            plane.json(&[&words[..], &["--contract", "fracta:say over", "--wait"]].concat()).await;
        }
        let offered = |body: &Value| {
            let tools = body["tools"].as_array().cloned().unwrap_or_default();
            tools.iter().any(|t| t["name"] == "task")
        };
        let with_tools: Vec<_> = plane
            .model
            .requests()
            .into_iter()
            .filter(|r| r.body["tools"].as_array().is_some_and(|t| !t.is_empty()))
            .collect();
        assert!(with_tools.len() >= 2);
        assert!(with_tools.iter().all(|r| offered(&r.body) == allowed), "task: {allowed}");
    }
}
