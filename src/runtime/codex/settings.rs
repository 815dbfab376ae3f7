//! MCP servers and allowed tools as `-c` overrides, whose secrets are in variables that the overrides name.
//!
//! `mcp_servers.NAME` takes a bearer token and headers by the name of a variable. The environment of a
//! server on stdio can only be forwarded under the same name, so a small shell command gives the values
//! their own names.

use super::super::Permissions;
use super::super::settings::{
    McpServer, McpTransport, NOT_NOTATION, Settings, SettingsRequest, Tool, untranslated,
};

/// Tools that never ask in Codex.
const NEVER_ASK: &[&str] = &["Read", "Glob", "Grep", "LS", "TodoWrite"];

pub(super) fn settings(request: &SettingsRequest<'_>) -> Settings {
    let mut out = Settings::default();
    let mut approved: Vec<(&str, Option<&str>)> = Vec::new();
    for entry in request.allowed_tools {
        let Some(tool) = Tool::parse(entry) else {
            out.warnings.push(untranslated(entry, NOT_NOTATION));
            continue;
        };
        match tool.mcp() {
            Some((server, name)) if request.mcp.iter().any(|s| s.name == server) => {
                approved.push((server, name));
            }
            // Nothing asks.
            _ if request.permissions == Permissions::Auto => {}
            Some((server, _)) => {
                let why = format!(
                    "fracta.yaml has no MCP server {server:?}; for one of Codex's own config.toml set approval_mode there"
                );
                out.warnings.push(untranslated(entry, &why));
            }
            None if NEVER_ASK.contains(&tool.name) && tool.pattern.is_none() => {}
            None => out.warnings.push(untranslated(
                entry,
                "Codex takes such rules only from its own home (`prefix_rule` in $CODEX_HOME/rules) and asks as its approval policy says",
            )),
        }
    }
    for (i, server) in request.mcp.iter().enumerate() {
        if !server.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            let name = &server.name;
            out.warnings.push(format!(
                "MCP server {name:?} is not passed on: Codex takes names of letters, digits, - and _ only"
            ));
            continue;
        }
        let mut fields = transport(i, server, &mut out);
        let all = request.permissions == Permissions::Auto
            || approved.iter().any(|(s, tool)| *s == server.name && tool.is_none());
        // Codex's own default believes a tool that says of itself that it only reads. (With the sandbox
        // off and approvals `never`, as a command may ask for, Codex allows everything whatever is said here.)
        let default = if all { "approve" } else { "prompt" };
        fields.push(format!("default_tools_approval_mode={}", quoted(default)));
        let tools: Vec<String> = approved
            .iter()
            .filter(|(s, _)| *s == server.name)
            .filter_map(|(_, tool)| Some(format!("{}={{approval_mode=\"approve\"}}", quoted((*tool)?))))
            .collect();
        if !tools.is_empty() {
            fields.push(format!("tools={{{}}}", tools.join(",")));
        }
        out.args
            .extend(["-c".into(), format!("mcp_servers.{}={{{}}}", server.name, fields.join(",")).into()]);
    }
    out
}

/// The fields of a server's table; values of variables go to `out.env`.
fn transport(number: usize, server: &McpServer, out: &mut Settings) -> Vec<String> {
    let mut count = 0;
    // The word TOKEN in it: Codex keeps such variables from the commands that the model runs.
    let mut carry = |value: &str| {
        let name = format!("FRACTA_MCP_{number}_{count}_TOKEN");
        count += 1;
        out.env.push((name.clone().into(), value.into()));
        name
    };
    match &server.transport {
        McpTransport::Http { url, headers } => {
            let mut fields = vec![format!("url={}", quoted(url))];
            let mut by_env = Vec::new();
            for (header, value) in headers {
                match value.strip_prefix("Bearer ") {
                    Some(token) if header.eq_ignore_ascii_case("authorization") => {
                        fields.push(format!("bearer_token_env_var={}", quoted(&carry(token))));
                    }
                    _ => by_env.push(format!("{}={}", quoted(header), quoted(&carry(value)))),
                }
            }
            if !by_env.is_empty() {
                fields.push(format!("env_http_headers={{{}}}", by_env.join(",")));
            }
            fields
        }
        McpTransport::Stdio { command, args, env } => {
            let list = |words: &[String]| words.iter().map(|w| quoted(w)).collect::<Vec<_>>().join(",");
            if env.is_empty() && args.is_empty() {
                return vec![format!("command={}", quoted(command))];
            }
            // Arguments may hold secrets as well: they too are only named.
            let mut names = Vec::new();
            let mut script = String::new();
            for (name, value) in env {
                let carrier = carry(value);
                script.push_str(&format!("export {name}=\"${carrier}\"; "));
                names.push(carrier);
            }
            script.push_str("set --");
            for arg in args {
                let carrier = carry(arg);
                script.push_str(&format!(" \"${carrier}\""));
                names.push(carrier);
            }
            script.push_str(&format!("; unset {}; exec \"$0\" \"$@\"", names.join(" ")));
            let words = ["-c".to_owned(), script, command.clone()];
            vec![
                "command=\"/bin/sh\"".to_owned(),
                format!("args=[{}]", list(&words)),
                format!("env_vars=[{}]", list(&names)),
            ]
        }
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::super::super::settings::tests::settings;
    use super::super::super::{Mode, Permissions};
    use super::*;

    fn args(s: &Settings) -> Vec<String> {
        s.args.iter().map(|a| a.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn secrets_are_named_by_variables() {
        let s = settings(&super::super::Codex, Mode::Stream, Permissions::Ask, &[], None);
        let args = args(&s);
        assert_eq!(
            args[1],
            "mcp_servers.gateway={url=\"http://127.0.0.1:1/agents/a/mcp\",bearer_token_env_var=\"FRACTA_MCP_0_0_TOKEN\",default_tools_approval_mode=\"prompt\"}"
        );
        assert!(args[3].contains("export KEY=\\\"$FRACTA_MCP_1_0_TOKEN\\\"; set --"), "{}", args[3]);
        assert!(
            args[3].contains("env_vars=[\"FRACTA_MCP_1_0_TOKEN\",\"FRACTA_MCP_1_1_TOKEN\"]"),
            "{}",
            args[3]
        );
        let env: Vec<_> = s.env.iter().map(|(k, v)| (k.to_str().unwrap(), v.to_str().unwrap())).collect();
        assert_eq!(
            env,
            [
                ("FRACTA_MCP_0_0_TOKEN", "s3cret"),
                ("FRACTA_MCP_1_0_TOKEN", "s3cret"),
                ("FRACTA_MCP_1_1_TOKEN", "--x")
            ]
        );
    }

    #[test]
    fn tools_of_mcp_servers_are_approved() {
        let tools = ["mcp__gateway__echo", "mcp__local"];
        let s = settings(&super::super::Codex, Mode::Stream, Permissions::Ask, &tools, None);
        let ask = args(&s);
        assert!(ask[1].ends_with("tools={\"echo\"={approval_mode=\"approve\"}}}"), "{}", ask[1]);
        assert!(ask[1].contains("default_tools_approval_mode=\"prompt\""), "{}", ask[1]);
        assert!(ask[3].ends_with("default_tools_approval_mode=\"approve\"}"), "{}", ask[3]);
        let auto = settings(&super::super::Codex, Mode::Batch, Permissions::Auto, &[], None);
        assert!(args(&auto)[1].contains("default_tools_approval_mode=\"approve\""));
    }

    #[test]
    fn what_codex_cannot_be_told_is_named() {
        let tools = ["Read", "Bash(git *)", "mcp__other__x", "Bash("];
        let s = settings(&super::super::Codex, Mode::Stream, Permissions::Ask, &tools, None);
        assert_eq!(s.warnings.len(), 3, "{:?}", s.warnings);
        for (warning, entry) in s.warnings.iter().zip(&tools[1..]) {
            assert!(warning.contains(&format!("{entry:?}")), "{warning}");
        }
        let s = settings(&super::super::Codex, Mode::Batch, Permissions::Auto, &tools, None);
        assert_eq!(s.warnings.len(), 1, "where nothing asks, all is allowed: {:?}", s.warnings);
    }

    #[test]
    fn strings_are_toml() {
        assert_eq!(quoted("a\"b\\c\nd"), "\"a\\\"b\\\\c\\u000Ad\"");
    }
}
