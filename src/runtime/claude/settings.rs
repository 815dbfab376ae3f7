//! MCP servers, allowed tools and the helper for keys as two files of the session, which Claude reads besides the
//! user's own.

use serde_json::{Map, Value, json};

use super::super::settings::{
    McpTransport, NOT_NOTATION, PrivateFile, Settings, SettingsRequest, Tool, untranslated,
};
use super::super::{Mode, Permissions};
use crate::credentials::plan::Helper;

const TTL: &str = "CLAUDE_CODE_API_KEY_HELPER_TTL_MS";
const MCP: &str = "claude-mcp.json";
const SETTINGS: &str = "claude-settings.json";

pub(super) fn settings(request: &SettingsRequest<'_>) -> Settings {
    let mut out = Settings::default();
    let mut allow: Vec<String> = Vec::new();
    for entry in request.allowed_tools {
        match Tool::parse(entry) {
            Some(_) => allow.push(entry.trim().to_owned()),
            None => out.warnings.push(untranslated(entry, NOT_NOTATION)),
        }
    }
    // In stream mode what is asked is answered yes; here nobody is there to answer.
    if request.permissions == Permissions::Auto && request.mode == Mode::Batch {
        allow.extend(request.mcp.iter().map(|s| format!("mcp__{}", s.name)));
    }
    let path = |name: &str| request.dir.join(name).into_os_string();
    let option = |flag: &str, value: std::ffi::OsString| {
        let mut word = std::ffi::OsString::from(flag);
        word.push("=");
        word.push(value);
        word
    };
    // Claude takes one settings file; where the runtime's command names one, rules go another way. (A helper has
    // no other: such a runtime is refused before.)
    let named = request.command.iter().any(|word| {
        let word = word.to_string_lossy();
        word == "--settings" || word.starts_with("--settings=")
    });
    if named {
        out.args.extend(allow.iter().map(|rule| option("--allowedTools", rule.into())));
    } else if let Some(content) = content(&allow, request.helper) {
        out.files.push(PrivateFile { name: SETTINGS, content });
        out.args.push(option("--settings", path(SETTINGS)));
    }
    if !request.mcp.is_empty() {
        let servers: Map<String, Value> = request
            .mcp
            .iter()
            .map(|s| {
                let value = match &s.transport {
                    McpTransport::Stdio { command, args, env } => {
                        json!({"type": "stdio", "command": command, "args": args, "env": env})
                    }
                    McpTransport::Http { url, headers } => {
                        json!({"type": "http", "url": url, "headers": headers})
                    }
                };
                (s.name.clone(), value)
            })
            .collect();
        // Claude expands ${NAME} in this file; fracta has done so, and what is left is meant as it stands.
        out.files.push(PrivateFile { name: MCP, content: json!({"mcpServers": servers}).to_string() });
        out.args.push(option("--mcp-config", path(MCP)));
    }
    out
}

/// The settings file; none where there is nothing to say.
fn content(allow: &[String], helper: Option<&Helper>) -> Option<String> {
    let mut all = Map::new();
    if !allow.is_empty() {
        all.insert("permissions".to_owned(), json!({"allow": allow}));
    }
    if let Some(helper) = helper {
        all.insert("apiKeyHelper".to_owned(), json!(helper.command));
        // Also in the environment; but `env` of the user's own settings would come over that.
        all.insert("env".to_owned(), json!({TTL: helper.ttl_ms.to_string()}));
    }
    (!all.is_empty()).then(|| Value::Object(all).to_string())
}

#[cfg(test)]
mod tests {
    use super::super::super::settings::tests::settings;
    use super::*;

    #[test]
    fn files_of_the_session_hold_it_all() {
        let tools = ["Read", "Bash(git *)", "Bash("];
        let s = settings(&super::super::Claude, Mode::Batch, Permissions::Auto, &tools, None);
        assert_eq!(s.args, ["--settings=/s/claude-settings.json", "--mcp-config=/s/claude-mcp.json"]);
        let content = |i: usize| serde_json::from_str::<Value>(&s.files[i].content).unwrap();
        let allow = json!(["Read", "Bash(git *)", "mcp__gateway", "mcp__local"]);
        assert_eq!(content(0), json!({"permissions": {"allow": allow}}));
        let gateway = json!({"type": "http", "url": "http://127.0.0.1:1/agents/a/mcp", "headers": {"Authorization": "Bearer s3cret"}});
        assert_eq!(content(1)["mcpServers"]["gateway"], gateway);
        let local = json!({"type": "stdio", "command": "srv", "args": ["--x"], "env": {"KEY": "s3cret"}});
        assert_eq!(content(1)["mcpServers"]["local"], local);
        assert_eq!(s.warnings.len(), 1);
        assert!(s.warnings[0].contains("\"Bash(\""));
    }

    #[test]
    fn the_helper_is_in_the_same_file() {
        let helper = Helper { command: "key 'x'".to_owned(), ttl_ms: 1500 };
        let of = |allow: &[String]| {
            serde_json::from_str::<Value>(&content(allow, Some(&helper)).unwrap()).unwrap()
        };
        let ttl = json!({"CLAUDE_CODE_API_KEY_HELPER_TTL_MS": "1500"});
        assert_eq!(of(&[]), json!({"apiKeyHelper": "key 'x'", "env": ttl}));
        assert_eq!(of(&["Read".to_owned()])["permissions"], json!({"allow": ["Read"]}));
        assert_eq!(content(&[], None), None);
    }

    #[test]
    fn what_is_asked_needs_no_rule() {
        for (mode, permissions) in [(Mode::Stream, Permissions::Ask), (Mode::Stream, Permissions::Auto)] {
            let s = settings(&super::super::Claude, mode, permissions, &[], None);
            assert_eq!(s.args, ["--mcp-config=/s/claude-mcp.json"]);
        }
    }
}
