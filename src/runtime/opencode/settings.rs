//! MCP servers and allowed tools as settings of one run.
//!
//! Servers with their secrets are in a file of the session (`OPENCODE_CONFIG`), which the project's own
//! settings come over; so everything but the secrets is said again in `OPENCODE_CONFIG_CONTENT`, which
//! nothing comes over: a project cannot send a token elsewhere. Variables are seen by every command that
//! the model runs, files of the session are not looked for.
//!
//! What is asked for or denied is said over the project's settings too. What `auto` allows is said below
//! them: a rule of the project's that denies a command still does.

use serde_json::{Map, Value, json};

use super::super::Permissions;
use super::super::settings::{
    McpTransport, NOT_NOTATION, PrivateFile, Settings, SettingsRequest, Tool, merge, untranslated,
};
use super::{CONFIG, act, base};
use crate::runtime::Mode;

const CONFIG_FILE: &str = "OPENCODE_CONFIG";
const FILE: &str = "opencode.json";

/// Seen with 1.18.33: `opencode run` tells only what its own session does.
const UNCOUNTED: &str = "subagents are allowed, and in batch mode OpenCode tells nothing of their steps: step_limit \
                         counts only the agent's own; mode stream counts theirs too";

/// Claude's tools by what OpenCode calls the permission.
const TOOLS: &[(&str, &str)] = &[
    ("Read", "read"),
    ("Edit", "edit"),
    ("MultiEdit", "edit"),
    ("Write", "edit"),
    ("NotebookEdit", "edit"),
    ("Bash", "bash"),
    ("Glob", "glob"),
    ("Grep", "grep"),
    ("LS", "list"),
    ("WebFetch", "webfetch"),
    ("WebSearch", "websearch"),
    ("Task", "task"),
    ("TodoWrite", "todowrite"),
    ("Skill", "skill"),
];

pub(super) fn settings(request: &SettingsRequest<'_>) -> Settings {
    let mut out = Settings::default();
    let act = act(request.permissions, request.mode);
    let mut config = base(request.permissions, request.mode);
    let permission = &mut config["permission"];
    for server in request.mcp {
        permission[format!("{}_*", plain(&server.name))] = act.into();
    }
    for entry in request.allowed_tools {
        let rule = Tool::parse(entry).ok_or(NOT_NOTATION).and_then(|tool| rule(&tool));
        match rule {
            Ok((key, None)) => permission[key] = "allow".into(),
            Ok((key, Some(pattern))) => allow_pattern(&mut permission[key], &pattern),
            Err(why) => out.warnings.push(untranslated(entry, why)),
        }
    }
    let (whole, open) = servers(request);
    if (request.env)(CONFIG_FILE).is_some() {
        // The runtime's own file is read in that place.
        if !whole.is_empty() {
            config["mcp"] = Value::Object(whole);
        }
    } else {
        let mut file = json!({});
        if request.permissions == Permissions::Auto {
            file["permission"] = below(&mut config["permission"]);
        }
        if !whole.is_empty() {
            config["mcp"] = Value::Object(open);
            file["mcp"] = Value::Object(whole);
        }
        if file != json!({}) {
            out.env.push((CONFIG_FILE.into(), request.dir.join(FILE).into()));
            out.files.push(PrivateFile { name: FILE, content: file.to_string() });
        }
    }
    if let Some(own) = (request.env)(CONFIG) {
        match serde_json::from_str(&own) {
            Ok(own) => merge(&mut config, own),
            Err(_) => out.warnings.push(format!(
                "the variable {CONFIG} is not JSON; fracta's own settings for OpenCode take its place"
            )),
        }
    }
    if request.mode == Mode::Batch && config["permission"]["task"] != "deny" {
        out.warnings.push(UNCOUNTED.to_owned());
    }
    out.env.push((CONFIG.into(), config.to_string().into()));
    out
}

/// Takes out what is allowed as a whole, in a form to which others' rules are added.
fn below(permission: &mut Value) -> Value {
    let mut low = json!({});
    for key in ["bash", "edit"] {
        if permission[key] == "allow" {
            if let Some(all) = permission.as_object_mut() {
                all.remove(key);
            }
            low[key] = json!({"*": "allow"});
        }
    }
    low
}

/// All of the servers, and all but what may be secret.
fn servers(request: &SettingsRequest<'_>) -> (Map<String, Value>, Map<String, Value>) {
    let (mut whole, mut open) = (Map::new(), Map::new());
    for server in request.mcp {
        let (shown, secret, key) = match &server.transport {
            McpTransport::Stdio { command, args, env } => {
                let words: Vec<&String> = std::iter::once(command).chain(args).collect();
                (json!({"type": "local", "command": words, "enabled": true}), env, "environment")
            }
            McpTransport::Http { url, headers } => {
                (json!({"type": "remote", "url": url, "enabled": true}), headers, "headers")
            }
        };
        let mut full = shown.clone();
        full[key] = json!(secret);
        open.insert(server.name.clone(), shown);
        whole.insert(server.name.clone(), full);
    }
    (whole, open)
}

/// The permission that a tool needs, and the pattern in it.
fn rule(tool: &Tool<'_>) -> Result<(String, Option<String>), &'static str> {
    if let Some((server, name)) = tool.mcp() {
        return Ok((format!("{}_{}", plain(server), name.map_or("*".to_owned(), plain)), None));
    }
    let known = TOOLS.iter().find(|(claude, _)| *claude == tool.name);
    let key = known.ok_or("OpenCode has no such tool")?.1.to_owned();
    let Some(pattern) = tool.pattern else { return Ok((key, None)) };
    match key.as_str() {
        "bash" => {
            // `Bash(git:*)` is the older way to write `Bash(git *)`.
            let pattern = pattern.strip_suffix(":*").map_or_else(|| pattern.to_owned(), |p| format!("{p} *"));
            // Rules are sorted by their text, and the last one that fits counts: `*` must come first.
            if pattern.as_str() <= "*" {
                return Err("OpenCode would let a more general rule win over it");
            }
            Ok((key, Some(pattern)))
        }
        "edit" | "read" if !pattern.starts_with(['/', '~', '!', '.']) => Ok((key, Some(pattern.to_owned()))),
        "edit" | "read" => Err("OpenCode takes paths in the workspace only"),
        _ => Err("OpenCode takes patterns for Bash, Edit and Read only"),
    }
}

fn allow_pattern(permission: &mut Value, pattern: &str) {
    match permission {
        Value::Object(rules) => {
            rules.insert(pattern.to_owned(), "allow".into());
        }
        Value::String(all) if all == "allow" => {}
        Value::String(all) => *permission = json!({"*": all, pattern: "allow"}),
        // It is allowed already, as long as nobody says otherwise.
        _ => *permission = json!({pattern: "allow"}),
    }
}

/// A name as OpenCode puts it into the names of tools.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::settings::tests::settings;
    use super::super::super::{Mode, Permissions};
    use super::*;

    fn content(s: &Settings) -> Value {
        let (_, value) = s.env.iter().find(|(k, _)| k == CONFIG).unwrap();
        serde_json::from_str(value.to_str().unwrap()).unwrap()
    }

    #[test]
    fn permissions_are_translated() {
        let tools = ["Bash(git *)", "Bash(npm run:*)", "Edit", "mcp__gateway__echo", "mcp__local"];
        let s = settings(&super::super::OpenCode, Mode::Stream, Permissions::Ask, &tools, None);
        assert!(s.warnings.is_empty(), "{:?}", s.warnings);
        let permission = json!({
            "bash": {"*": "ask", "git *": "allow", "npm run *": "allow"}, "edit": "allow", "task": "deny",
            "gateway_*": "ask", "gateway_echo": "allow", "local_*": "allow"
        });
        assert_eq!(content(&s)["permission"], permission);
        // The last rule that fits counts.
        let text = content(&s)["permission"].to_string();
        assert!(text.find("\"*\"") < text.find("\"git *\""), "{text}");
        assert!(text.find("\"gateway_*\"") < text.find("\"gateway_echo\""), "{text}");
    }

    #[test]
    fn what_opencode_cannot_be_told_is_named() {
        let tools = ["Bash( x)", "Nope", "WebFetch(domain:a)", "Edit(//etc/x)", "Bash($X)"];
        let s = settings(&super::super::OpenCode, Mode::Batch, Permissions::Ask, &tools, None);
        let named = |t: &str| s.warnings.iter().any(|w| w.contains(&format!("{t:?}")));
        assert!(tools[1..].iter().all(|t| named(t)) && s.warnings.len() == 4, "{:?}", s.warnings);
        assert_eq!(content(&s)["permission"]["bash"], json!({"*": "deny", "x": "allow"}));
    }

    #[test]
    fn what_auto_allows_stands_below_the_projects_rules() {
        let tools = ["Bash(git *)"];
        let s = settings(&super::super::OpenCode, Mode::Batch, Permissions::Auto, &tools, None);
        let file: Value = serde_json::from_str(&s.files[0].content).unwrap();
        assert_eq!(file["permission"], json!({"bash": {"*": "allow"}, "edit": {"*": "allow"}}));
        let over = json!({"gateway_*": "allow", "local_*": "allow", "task": "deny"});
        assert_eq!(content(&s)["permission"], over);
        let own = Some((CONFIG_FILE, "/x"));
        let s = settings(&super::super::OpenCode, Mode::Batch, Permissions::Auto, &[], own);
        assert_eq!((&content(&s)["permission"]["bash"], s.files.len()), (&json!("allow"), 0));
    }

    #[test]
    fn secrets_are_in_the_file_alone() {
        let s = settings(&super::super::OpenCode, Mode::Stream, Permissions::Ask, &[], None);
        assert!(s.env.iter().all(|(_, v)| !v.to_str().unwrap().contains("s3cret")));
        let file: Value = serde_json::from_str(&s.files[0].content).unwrap();
        assert_eq!(file["mcp"]["gateway"]["headers"]["Authorization"], "Bearer s3cret");
        assert_eq!(file["mcp"]["local"]["environment"]["KEY"], "s3cret");
        assert_eq!(content(&s)["mcp"]["gateway"]["url"], "http://127.0.0.1:1/agents/a/mcp");
    }

    #[test]
    fn the_runtimes_own_settings_come_over_fractas() {
        let own = Some((CONFIG, r#"{"permission": {"task": "allow"}, "theme": "x"}"#));
        let s = settings(&super::super::OpenCode, Mode::Stream, Permissions::Ask, &[], own);
        let c = content(&s);
        assert_eq!((&c["permission"]["task"], &c["permission"]["bash"]), (&json!("allow"), &json!("ask")));
        let own = Some((CONFIG_FILE, "/x"));
        let s = settings(&super::super::OpenCode, Mode::Stream, Permissions::Ask, &[], own);
        assert!(s.files.is_empty());
        assert_eq!(content(&s)["mcp"]["gateway"]["headers"]["Authorization"], "Bearer s3cret");
    }
}
