//! MCP servers and allowed tools, told by what each real CLI does with them.

mod server;
mod users;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::plane_support::{Plane, Setup, is_turn_end, kind};
use crate::support::require_cli;
use server::Server;

const TOKEN: &str = "gateway-s3cret-token";
const KEY: &str = "server-s3cret-key";

/// The least that a user may have in the repository.
const USERS: &[(&str, &str)] = &[
    (".claude/settings.json", "{ \"env\": {\"MINE\": \"1\"} }\n"),
    // OpenCode itself adds a `$schema` where there is none.
    ("opencode.json", "{ \"$schema\": \"https://opencode.ai/config.json\", \"instructions\": [] }\n"),
    (".codex/config.toml", "# mine\nmodel_verbosity = \"low\"\n"),
];

struct World {
    plane: Plane,
    server: Server,
    cli: &'static str,
    log: PathBuf,
    /// What the user has in the repository; it stays byte by byte.
    users: Vec<(&'static str, &'static str)>,
    _scripts: tempfile::TempDir,
}

impl World {
    async fn new(cli: &'static str, permissions: &'static str) -> Option<Self> {
        Self::of_a_user(cli, permissions, USERS).await
    }

    async fn of_a_user(
        cli: &'static str,
        permissions: &'static str,
        users: &[(&'static str, &'static str)],
    ) -> Option<Self> {
        require_cli(cli)?;
        let server = Server::start(TOKEN).await;
        let scripts = tempfile::tempdir().unwrap();
        let (script, log) = (scripts.path().join("server.sh"), scripts.path().join("log"));
        std::fs::write(&script, server::SCRIPT).unwrap();
        let more = json!({
            "gateway": {"url": server.url, "token_env": "TEST_GATEWAY_TOKEN"},
            "mcp_servers": {"local": {
                "command": "sh", "args": [script, log], "env": {"SRV_KEY": "${TEST_SERVER_KEY}"},
            }},
            "project": {"allowed_tools": ["Bash(touch allowed*)", "mcp__gateway__echo"]},
        });
        let more: String =
            more.as_object().unwrap().iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
        let env = vec![("TEST_GATEWAY_TOKEN".into(), TOKEN.into()), ("TEST_SERVER_KEY".into(), KEY.into())];
        // Without any sandbox Codex takes it that all is allowed; these agents run no command in it.
        let sandbox = if permissions == "ask" { "read-only" } else { "danger-full-access" };
        let setup = Setup { permissions: Some(permissions), sandbox, more, env, ..Setup::default() };
        let plane = Plane::without_cli(setup);
        for (path, text) in users {
            plane.project.write(path, text);
        }
        plane.project.git(&["add", "-A"]);
        plane.project.git(&["commit", "-q", "-m", "my settings"]);
        Some(Self { plane, server, cli, log, users: users.to_vec(), _scripts: scripts })
    }

    async fn spawn(&self, name: &str, mode: &str, contract: &[String]) -> Value {
        let contract = contract.join("\n");
        let args = ["spawn", "--task", name, "--runtime", self.cli, "--mode", mode, "--contract", &contract];
        self.plane.json(&args).await
    }

    /// The directive that calls a tool of an MCP server under the name that this CLI gives it.
    fn tool(&self, server: &str, tool: &str) -> String {
        match self.cli {
            "opencode" => format!("fracta:tool {server}_{tool} {{\"text\":\"x\"}}"),
            _ => format!("fracta:tool mcp__{server}__{tool} {{\"text\":\"x\"}}"),
        }
    }

    fn workspace(row: &Value) -> PathBuf {
        row["workspace"].as_str().unwrap().into()
    }

    fn workspace_is_clean(&self, row: &Value) {
        let dir = Self::workspace(row);
        let dir_text = dir.to_str().unwrap();
        let status = self.plane.project.git(&["-C", dir_text, "status", "--porcelain", "--ignored"]);
        assert_eq!(status, "", "nothing of fracta's in the workspace");
        self.users_files_are_as_they_were(&dir);
    }

    fn users_files_are_as_they_were(&self, dir: &Path) {
        for (path, text) in &self.users {
            assert_eq!(std::fs::read_to_string(dir.join(path)).unwrap(), *text, "{path}");
        }
    }

    /// Neither argument lists nor anything that fracta keeps, other than files for the CLI, hold secrets.
    fn secrets_are_kept(&self, settings_too: bool) {
        for p in self.plane.processes() {
            assert!(!p.argv.contains(TOKEN) && !p.argv.contains(KEY), "{}", p.argv);
        }
        for file in files(&self.plane.layout().state_dir()) {
            let is_setting = file.parent().unwrap().ends_with("settings");
            let bytes = std::fs::read(&file).unwrap_or_default();
            let holds = [TOKEN, KEY].iter().any(|s| memchr::memmem::find(&bytes, s.as_bytes()).is_some());
            if is_setting {
                use std::os::unix::fs::PermissionsExt;
                assert!(settings_too, "{} is left", file.display());
                assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
            } else {
                assert!(!holds, "{} holds a secret", file.display());
            }
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type().unwrap() {
            t if t.is_dir() && entry.file_name() != "worktrees" => all.extend(files(&entry.path())),
            t if t.is_file() => all.push(entry.path()),
            _ => {}
        }
    }
    all
}

/// Both servers are reached with their secrets, in both modes, and nothing is left of it anywhere.
async fn servers_are_reached(cli: &'static str) {
    let Some(w) = World::new(cli, "auto").await else { return };
    for mode in ["batch", "stream"] {
        let gate = w.plane.script.gate(mode);
        let contract = [
            w.tool("gateway", "other"),
            w.tool("local", "echo"),
            format!("fracta:gate {mode}"),
            "fracta:say over".to_owned(),
        ];
        let row = w.spawn(mode, mode, &contract).await;
        let mut tools = 0;
        let mut follow = w.plane.follow(mode, 0);
        while tools < 2 {
            let e = follow.until(|e| kind(e) == "tool.completed" || is_turn_end(e)).await;
            assert_eq!(kind(&e), "tool.completed", "{:#?}", follow.seen);
            assert!(e["error"].is_null(), "{e}");
            tools +=
                usize::from(e["name"].as_str().is_none_or(|n| n.contains("gateway") || n.contains("local")));
        }
        w.secrets_are_kept(true);
        w.workspace_is_clean(&row);
        gate.release();
        let end = follow.until(is_turn_end).await;
        assert_eq!(end["outcome"], "completed", "{end}");
        let seen = w.server.seen(mode);
        assert!(seen.iter().any(|s| s.method == "initialize"), "{seen:?}");
        assert!(seen.iter().all(|s| s.authorization == format!("Bearer {TOKEN}")), "{seen:?}");
        assert_eq!(w.server.called(mode), ["other"], "{seen:?}");
        let log = std::fs::read_to_string(&w.log).unwrap();
        assert!(log.contains(&format!("key {KEY}\n")) && log.contains("\"tools/call\""), "{log}");
        std::fs::remove_file(&w.log).unwrap();
        let asked = follow.seen.iter().filter(|e| kind(e) == "approval.requested").count();
        assert!(asked == 0 || cli == "claude", "auto asks nobody: {:#?}", follow.seen);
        w.plane.run(&["kill", mode, "--force"]).await.ok();
    }
    w.plane.all_gone().await;
    w.secrets_are_kept(false);
}

/// With `permissions: ask` what is allowed runs, and what is not is asked for (stream) or denied (batch).
async fn allowed_tools_run_alone(cli: &'static str) {
    let Some(w) = World::new(cli, "ask").await else { return };
    // Codex has no such rule, and says so.
    let rules = cli != "codex";

    let mut contract = vec![w.tool("gateway", "echo")];
    if rules {
        contract.push("fracta:run touch allowed-1".to_owned());
    }
    contract.extend([w.tool("gateway", "other"), "fracta:say over".to_owned()]);
    let row = w.spawn("stream", "stream", &contract).await;
    let mut follow = w.plane.follow("stream", 0);
    let asked = follow.until(|e| kind(e) == "approval.requested" || is_turn_end(e)).await;
    assert_eq!(kind(&asked), "approval.requested", "{:#?}", follow.seen);
    assert_eq!(w.server.called("stream"), ["echo"], "the allowed tool ran, the other waits");
    assert_eq!(World::workspace(&row).join("allowed-1").exists(), rules);
    w.plane.run(&["deny", "stream"]).await.ok();
    follow.until(is_turn_end).await;
    assert_eq!(w.server.called("stream"), ["echo"]);
    let count = |what: &str| follow.seen.iter().filter(|e| kind(e) == what).count();
    assert_eq!(count("approval.requested"), 1);
    let named =
        |e: &&Value| kind(e) == "warning" && e["text"].as_str().unwrap().contains("Bash(touch allowed*)");
    assert_eq!(follow.seen.iter().filter(named).count(), usize::from(!rules), "{:#?}", follow.seen);

    let mut contract = vec![w.tool("gateway", "echo"), w.tool("gateway", "other")];
    if rules {
        contract.extend(["fracta:run touch allowed-2", "fracta:run touch denied"].map(str::to_owned));
    }
    contract.push("fracta:say over".to_owned());
    let row = w.spawn("batch", "batch", &contract).await;
    let mut follow = w.plane.follow("batch", 0);
    follow.until(is_turn_end).await;
    assert_eq!(w.server.called("batch"), ["echo"], "{:#?}", follow.seen);
    assert_eq!(World::workspace(&row).join("allowed-2").exists(), rules);
    assert!(!World::workspace(&row).join("denied").exists());
}

#[tokio::test]
async fn codex_reaches_mcp_servers() {
    servers_are_reached("codex").await;
}

#[tokio::test]
async fn codex_runs_allowed_tools_alone() {
    allowed_tools_run_alone("codex").await;
}

#[tokio::test]
async fn claude_reaches_mcp_servers() {
    servers_are_reached("claude").await;
}

#[tokio::test]
async fn claude_runs_allowed_tools_alone() {
    allowed_tools_run_alone("claude").await;
}

#[tokio::test]
async fn opencode_reaches_mcp_servers() {
    servers_are_reached("opencode").await;
}

#[tokio::test]
async fn opencode_runs_allowed_tools_alone() {
    allowed_tools_run_alone("opencode").await;
}
