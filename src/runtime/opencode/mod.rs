//! The OpenCode adapter.
//!
//! Batch is `opencode run --format json` (one process a turn, [`batch`]); stream is `opencode serve`, HTTP
//! and SSE ([`stream`]). The server describes itself: `GET /doc`.
//!
//! # Permissions
//! What is asked for or denied is set by `OPENCODE_CONFIG_CONTENT`, which OpenCode merges over the user's own
//! files, so that `permissions` means the same on every machine; what `auto` allows by `OPENCODE_CONFIG`, which
//! the project's `opencode.json` comes over: what that denies stays denied. (What the one at home denies does
//! where its rules begin with `*`, since OpenCode puts rules of two files behind each other and the last one
//! that fits counts.)
//!
//! | `permissions` | batch | stream |
//! |---|---|---|
//! | `ask` | commands and changes of files are denied (nobody can be asked), the turn goes on | they reach the person; a no is told to the model and the turn goes on |
//! | `auto` | allowed | allowed; what is asked all the same is answered yes |
//!
//! `task` (subagents) is denied: a loop of subagents is how a turn runs away. `Task` in
//! `project.allowed_tools` allows it, and so does an `OPENCODE_CONFIG_CONTENT` of the environment, whose
//! keys come over fracta's. Tools of MCP servers that fracta brings are treated like `bash`.
//!
//! # What opencode does not do by itself (seen with 1.1.53, 1.18.4 and 1.18.33)
//! - A message into a running turn is queued for the next one, so there is no steering.
//! - A turn in which the model is not known may end without a word (1.1.53).
//! - `opencode run` of 1.1 ends with exit code 0 after an error; the line `error` tells it.

mod batch;
mod failure;
mod json;
mod settings;
mod steps;
mod stream;
mod tools;

use std::ffi::OsString;

use super::{
    Capabilities, CliInfo, HttpSse, Launch, Mode, Permissions, Protocol, Refused, Runtime, SessionSpec, Wire,
};

/// The adapter of the OpenCode CLI.
#[derive(Debug, Clone, Copy)]
pub struct OpenCode;

/// Settings for this run alone, merged by OpenCode over the user's.
const CONFIG: &str = "OPENCODE_CONFIG_CONTENT";

impl Runtime for OpenCode {
    fn adapter(&self) -> &'static str {
        "opencode"
    }

    fn default_command(&self) -> &'static str {
        "opencode"
    }

    fn install_hint(&self) -> &'static str {
        "npm install -g opencode-ai"
    }

    fn capabilities(&self) -> Capabilities {
        let steer = "OpenCode takes no message into a running turn; it is queued for the next: fracta say …";
        Capabilities {
            batch: true,
            stream: true,
            steer: Err(steer.to_owned()),
            approvals: true,
            interrupt: true,
            resume: true,
            mcp: true,
        }
    }

    fn probes(&self) -> Vec<Vec<&'static str>> {
        vec![vec!["--version"], vec!["run", "--help"]]
    }

    fn probed(&self, outputs: &[String]) -> CliInfo {
        let text = |i: usize| outputs.get(i).map_or("", String::as_str);
        let mut info = CliInfo { version: version(text(0)), ..CliInfo::default() };
        if text(1).split_whitespace().any(|w| w == "--thinking") {
            info.features.insert("run.thinking".to_owned(), "yes".to_owned());
        }
        info
    }

    fn launch(&self, spec: &SessionSpec, prompt: Option<&str>) -> Result<Launch, Refused> {
        let mut argv = spec.command.clone();
        if argv.is_empty() {
            argv.push(self.default_command().into());
        }
        if let Some(model) = &spec.model {
            model_parts(model)?;
        }
        let token = spec.resume_token.as_deref().map(session_id).transpose()?;
        let env =
            vec![(OsString::from(CONFIG), OsString::from(base(spec.permissions, spec.mode).to_string()))];
        match spec.mode {
            Mode::Stream => {
                argv.extend(["serve", "--hostname", "127.0.0.1", "--port", "0"].map(OsString::from));
                let wire = Wire::HttpSse(HttpSse {
                    user: "opencode",
                    password_env: "OPENCODE_SERVER_PASSWORD",
                    announced: "listening on http://",
                    events: "/event",
                });
                Ok(Launch { argv, env, wire, stdin: false, input: None })
            }
            Mode::Batch => {
                let prompt =
                    prompt.ok_or_else(|| Refused("an opencode batch turn needs a prompt".to_owned()))?;
                argv.extend(["run", "--format", "json"].map(OsString::from));
                if spec.cli.features.contains_key("run.thinking") {
                    argv.push("--thinking".into());
                }
                if let Some(model) = &spec.model {
                    argv.push(format!("--model={model}").into());
                }
                if let Some(token) = token {
                    argv.extend(["--session".into(), token.into()]);
                }
                let input = Some(prompt.as_bytes().to_vec());
                Ok(Launch { argv, env, wire: Wire::Stdio, stdin: false, input })
            }
        }
    }

    fn settings(&self, request: &super::SettingsRequest<'_>) -> super::Settings {
        settings::settings(request)
    }

    fn protocol(&self, spec: &SessionSpec, message: Option<&str>) -> Box<dyn Protocol> {
        match spec.mode {
            Mode::Batch => Box::new(batch::Batch::new(spec, message)),
            Mode::Stream => Box::new(stream::Stream::new(spec)),
        }
    }

    fn failure(&self, stderr_tail: &str, exit: &crate::transport::Exit) -> String {
        failure::reason(stderr_tail, exit)
    }
}

/// What `permissions` means for what would change something.
fn act(permissions: Permissions, mode: Mode) -> &'static str {
    match (permissions, mode) {
        (Permissions::Auto, _) => "allow",
        (Permissions::Ask, Mode::Stream) => "ask",
        (Permissions::Ask, Mode::Batch) => "deny",
    }
}

/// The settings of a run.
fn base(permissions: Permissions, mode: Mode) -> serde_json::Value {
    let act = act(permissions, mode);
    serde_json::json!({
        "permission": { "bash": act, "edit": act, "task": "deny" },
        // Without it a "no" ends the whole turn.
        "experimental": { "continue_loop_on_deny": true },
    })
}

/// `anthropic/claude-sonnet-4-6` → provider and model. A model's own name may hold slashes.
fn model_parts(model: &str) -> Result<(&str, &str), Refused> {
    model.split_once('/').filter(|(p, m)| !p.is_empty() && !m.is_empty()).ok_or_else(|| {
        Refused(format!(
            "OpenCode names a model by its provider, PROVIDER/MODEL (see `opencode models`), not {model:?}"
        ))
    })
}

/// A resume token was said by an agent process, so it could be made to look like an option or a path.
fn session_id(token: &str) -> Result<&str, Refused> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if token.starts_with("ses_") && token.len() <= 128 && token.chars().all(fits) {
        Ok(token)
    } else {
        Err(Refused(format!("opencode cannot resume {token:?}: this is not a session id; start a new agent")))
    }
}

/// `1.18.33`; warnings may stand on lines before it.
fn version(output: &str) -> Option<String> {
    let number = |w: &&str| w.contains('.') && w.chars().all(|c| c.is_ascii_digit() || c == '.');
    output.lines().rev().map(str::trim).find(number).map(str::to_owned)
}
