//! What a project gives its agents besides the task: MCP servers and tools that need no approval, and how
//! an adapter hands them to its CLI.
//!
//! The ways are arguments, variables and files in the session's own private folder, which every CLI merges
//! with the user's files by itself. So nothing is written into a workspace: the user's own
//! `.claude/settings.json`, `opencode.json` and `.codex/config.toml` stay as they are, and no commit of an
//! agent can carry fracta's.
//!
//! What may be secret (headers, the environment of a server) is never in [`Settings::args`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use super::{CliInfo, Mode, Permissions};

/// An MCP server for the agent. No `Debug`: it holds secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct McpServer {
    pub name: String,
    pub transport: McpTransport,
}

/// How an MCP server is reached.
#[derive(Clone, PartialEq, Eq)]
pub enum McpTransport {
    /// A process that the CLI starts.
    Stdio { command: String, args: Vec<String>, env: BTreeMap<String, String> },
    /// Streamable HTTP.
    Http { url: String, headers: BTreeMap<String, String> },
}

/// What is to be handed over.
pub struct SettingsRequest<'a> {
    pub mcp: &'a [McpServer],
    /// `project.allowed_tools`, in Claude's notation.
    pub allowed_tools: &'a [String],
    /// The command that Claude gets its key from. Other runtimes are never asked for it.
    pub helper: Option<&'a crate::credentials::plan::Helper>,
    pub mode: Mode,
    pub permissions: Permissions,
    pub cli: &'a CliInfo,
    /// Executable and leading arguments.
    pub command: &'a [OsString],
    /// Where [`Settings::files`] will be: absolute, private, of this session only.
    pub dir: &'a Path,
    /// A variable as the agent would have it without these settings.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// How it is handed over. No `Debug`: it holds secrets.
#[derive(Default)]
pub struct Settings {
    /// To stand right behind the command's own leading arguments. Never secret.
    pub args: Vec<OsString>,
    /// Set last, over everything else.
    pub env: Vec<(OsString, OsString)>,
    /// Files of [`SettingsRequest::dir`], 0600.
    pub files: Vec<PrivateFile>,
    /// What could not be handed over, by name and with the reason.
    pub warnings: Vec<String>,
}

/// A file for the CLI alone.
pub struct PrivateFile {
    /// Plain name.
    pub name: &'static str,
    pub content: String,
}

/// An entry of `allowed_tools`: `Read`, `Bash(git *)`, `mcp__server__tool`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool<'a> {
    pub name: &'a str,
    /// What stands in parentheses.
    pub pattern: Option<&'a str>,
}

impl<'a> Tool<'a> {
    /// None: this is not the notation.
    pub fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let (name, pattern) = match text.split_once('(') {
            Some((name, rest)) => (name, Some(rest.strip_suffix(')')?.trim())),
            None => (text, None),
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '*');
        let ok = !name.is_empty() && name.chars().all(fits) && pattern != Some("");
        let plain = !text.chars().any(char::is_control);
        // `Bash(*)` is `Bash`.
        (ok && plain).then_some(Self { name, pattern: pattern.filter(|p| *p != "*") })
    }

    /// Server and tool of an MCP tool; without tool: all of the server's.
    pub fn mcp(&self) -> Option<(&'a str, Option<&'a str>)> {
        let rest = self.name.strip_prefix("mcp__").filter(|_| self.pattern.is_none())?;
        let (server, tool) = match rest.split_once("__") {
            Some((server, tool)) => (server, Some(tool).filter(|t| *t != "*")),
            None => (rest, None),
        };
        let whole = |s: &str| !s.is_empty() && !s.contains('*');
        (whole(server) && tool.is_none_or(whole)).then_some((server, tool))
    }
}

/// The warning for an entry that a runtime cannot be told.
pub(super) fn untranslated(entry: &str, why: &str) -> String {
    format!("project.allowed_tools: {entry:?} is not passed on: {why}")
}

/// The settings of an adapter that can hand over nothing.
pub(super) fn none_passed_on(adapter: &str, request: &SettingsRequest<'_>) -> Settings {
    let why = format!("the adapter {adapter} cannot tell its CLI");
    let tools = request.allowed_tools.iter().map(|entry| untranslated(entry, &why));
    let servers = request.mcp.iter().map(|s| format!("MCP server {:?} is not passed on: {why}", s.name));
    Settings { warnings: servers.chain(tools).collect(), ..Settings::default() }
}

pub(super) const NOT_NOTATION: &str =
    "it is not in Claude's notation, like Read, Bash(git *) or mcp__server__tool";

/// Puts `over` on top of `base`: objects are merged key by key, all else is replaced.
pub(super) fn merge(base: &mut serde_json::Value, over: serde_json::Value) {
    use serde_json::Value::Object;
    match (base, over) {
        (Object(base), Object(over)) => {
            for (key, value) in over {
                match base.get_mut(&key) {
                    Some(there) => merge(there, value),
                    None => {
                        base.insert(key, value);
                    }
                }
            }
        }
        (base, over) => *base = over,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A gateway with a token, and a server on stdio with a secret in its environment.
    pub fn servers() -> Vec<McpServer> {
        let map = |k: &str, v: &str| BTreeMap::from([(k.to_owned(), v.to_owned())]);
        vec![
            McpServer {
                name: "gateway".into(),
                transport: McpTransport::Http {
                    url: "http://127.0.0.1:1/agents/a/mcp".into(),
                    headers: map("Authorization", "Bearer s3cret"),
                },
            },
            McpServer {
                name: "local".into(),
                transport: McpTransport::Stdio {
                    command: "srv".into(),
                    args: vec!["--x".into()],
                    env: map("KEY", "s3cret"),
                },
            },
        ]
    }

    /// The settings of a runtime, with `env` as the agent's only variable.
    pub fn settings(
        runtime: &dyn super::super::Runtime,
        mode: Mode,
        permissions: Permissions,
        tools: &[&str],
        env: Option<(&str, &str)>,
    ) -> Settings {
        let tools: Vec<String> = tools.iter().map(|t| (*t).to_owned()).collect();
        let settings = runtime.settings(&SettingsRequest {
            mcp: &servers(),
            allowed_tools: &tools,
            helper: None,
            mode,
            permissions,
            cli: &CliInfo::default(),
            command: &["cli".into()],
            dir: Path::new("/s"),
            env: &|name| env.filter(|(n, _)| *n == name).map(|(_, v)| v.to_owned()),
        });
        let shown = |w: &str| assert!(!w.contains("s3cret"), "{w}");
        settings.args.iter().for_each(|a| shown(&a.to_string_lossy()));
        settings.warnings.iter().for_each(|w| shown(w));
        settings
    }

    #[test]
    fn the_notation_is_read() {
        let tool = |name, pattern| Some(Tool { name, pattern });
        assert_eq!(Tool::parse("Read"), tool("Read", None));
        assert_eq!(Tool::parse(" Bash(git log (x)) "), tool("Bash", Some("git log (x)")));
        assert_eq!(Tool::parse("Bash(*)"), tool("Bash", None));
        for wrong in ["", "Bash(", "Bash()", "Bash(x", "two words", "(x)", "Bash(a\nb)"] {
            assert_eq!(Tool::parse(wrong), None, "{wrong:?}");
        }
        let mcp = |t: &'static str| Tool::parse(t).and_then(|t| t.mcp());
        assert_eq!(mcp("mcp__a"), Some(("a", None)));
        assert_eq!(mcp("mcp__a__*"), Some(("a", None)));
        assert_eq!(mcp("mcp__a__b__c"), Some(("a", Some("b__c"))));
        assert_eq!((mcp("mcp__"), mcp("mcp__*"), mcp("Read")), (None, None, None));
    }

    #[test]
    fn merging_keeps_what_is_not_named() {
        let mut base = serde_json::json!({"a": {"b": 1, "c": 2}, "d": [1]});
        merge(&mut base, serde_json::json!({"a": {"b": 3}, "d": [2], "e": null}));
        assert_eq!(base, serde_json::json!({"a": {"b": 3, "c": 2}, "d": [2], "e": null}));
    }
}
