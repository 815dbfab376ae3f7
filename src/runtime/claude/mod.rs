//! The Claude Code adapter.
//!
//! Both modes are `claude -p --output-format stream-json`, and say the same lines ([`reader`]). Batch
//! ([`batch`]) is one process a turn with the prompt on stdin; stream ([`stream`]) takes messages, answers
//! and interrupts as JSON lines on stdin.
//!
//! # Permissions
//! | `permissions` | batch | stream |
//! |---|---|---|
//! | `ask` | mode `default`; nobody can be asked, so what would ask is denied | mode `default`; what Claude asks reaches the person |
//! | `auto` | mode `acceptEdits`, and `Bash`, `WebFetch` and `WebSearch` are allowed; else as above | mode `acceptEdits`; what is asked is answered yes, and logged |
//!
//! What the user's own settings deny is denied in every case. Claude has no sandbox of its own here:
//! `auto` runs commands with the rights of the user. The mode overrides `defaultMode` of the user's
//! settings, so that `permissions` means the same on every machine; where the runtime's own `command`
//! says one (`--permission-mode`, `--dangerously-skip-permissions`, `--allowedTools`,
//! `--permission-prompt-tool`), that is used and fracta adds nothing of its own for it.
//!
//! # What differs from other runtimes (seen with 2.0.73, 2.1.92, 2.1.197 and 2.1.330)
//! - No steering: a line sent while a turn runs is put into that turn behind the next tool result, or
//!   begins the next one. So messages are queued by fracta, where they can still be seen.
//! - Turns have no ids of Claude's. The session's id is told with the first turn, not before.
//! - Exit codes are told in words and only where they are not 0; output comes whole at the end.
//! - What `default` asks about is for Claude to decide: 2.0.73 lets `echo x > file` pass, newer ones ask.
//! - An interrupt ends running commands with their children.
//! - Tokens are told of each turn, the cost of the process so far.

mod approvals;
mod batch;
mod failure;
mod reader;
mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod tools;

use std::ffi::OsString;

use super::{
    Capabilities, CliInfo, Launch, Mode, Permissions, Protocol, Refused, Runtime, SessionSpec, Wire,
};

/// The adapter of Anthropic's Claude Code CLI.
#[derive(Debug, Clone, Copy)]
pub struct Claude;

/// Why there is no steering, and what to do instead.
const NO_STEER: &str = "Claude Code takes no message into a running turn; it is queued for the next: \
                        `fracta say` does that";

/// Flags that are asked for in `--help`, since older versions do not know them.
const PROBED: &[(&str, &str)] =
    &[("partial", "--include-partial-messages"), ("replay", "--replay-user-messages")];

/// Tools that `permissions: auto` allows in batch mode, where nothing can be asked.
const AUTO_TOOLS: &str = "Bash,WebFetch,WebSearch";

impl Runtime for Claude {
    fn adapter(&self) -> &'static str {
        "claude"
    }

    fn default_command(&self) -> &'static str {
        "claude"
    }

    fn install_hint(&self) -> &'static str {
        "npm install -g @anthropic-ai/claude-code"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            batch: true,
            stream: true,
            steer: Err(NO_STEER.to_owned()),
            approvals: true,
            interrupt: true,
            resume: true,
            mcp: true,
        }
    }

    fn probes(&self) -> Vec<Vec<&'static str>> {
        vec![vec!["--version"], vec!["--help"]]
    }

    fn probed(&self, outputs: &[String]) -> CliInfo {
        let text = |i: usize| outputs.get(i).map_or("", String::as_str);
        let mut info = CliInfo { version: version(text(0)), ..CliInfo::default() };
        for (feature, flag) in PROBED {
            if text(1).split_whitespace().any(|word| word.trim_end_matches(',') == *flag) {
                info.features.insert((*feature).to_owned(), "yes".to_owned());
            }
        }
        info
    }

    fn launch(&self, spec: &SessionSpec, prompt: Option<&str>) -> Result<Launch, Refused> {
        let mut argv = spec.command.clone();
        if argv.is_empty() {
            argv.push(self.default_command().into());
        }
        argv.extend(["-p", "--output-format", "stream-json", "--verbose"].map(OsString::from));
        if spec.cli.features.contains_key("partial") {
            argv.push("--include-partial-messages".into());
        }
        argv.extend(permission_args(spec));
        if let Some(model) = &spec.model {
            argv.push(format!("--model={model}").into());
        }
        if let Some(token) = &spec.resume_token {
            argv.push(format!("--resume={}", resume_token(token)?).into());
        }
        let stream = spec.mode == Mode::Stream;
        let input = match spec.mode {
            Mode::Stream => {
                argv.extend(["--input-format", "stream-json"].map(OsString::from));
                if spec.cli.features.contains_key("replay") {
                    argv.push("--replay-user-messages".into());
                }
                None
            }
            Mode::Batch => {
                let prompt =
                    prompt.ok_or_else(|| Refused("a claude batch turn needs a prompt".to_owned()))?;
                Some(prompt.as_bytes().to_vec())
            }
        };
        // A claude that is started out of another one refuses to; ours is nobody's child.
        let env = vec![("CLAUDECODE".into(), OsString::new())];
        Ok(Launch { argv, env, wire: Wire::Stdio, stdin: stream, input })
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

/// The arguments that carry out `permissions`, without those that the runtime's own command sets.
fn permission_args(spec: &SessionSpec) -> Vec<OsString> {
    let leading = |flags: &[&str]| {
        let mut words = spec.command.iter().skip(1).map(|word| word.to_string_lossy());
        words.any(|word| flags.contains(&word.split('=').next().unwrap_or_default()))
    };
    let mode = match spec.permissions {
        Permissions::Ask => "default",
        Permissions::Auto => "acceptEdits",
    };
    let mut args = Vec::new();
    if !leading(&["--permission-mode", "--dangerously-skip-permissions"]) {
        args.push(format!("--permission-mode={mode}").into());
    }
    if spec.mode == Mode::Stream {
        // In no version's help, and in all of them.
        if !leading(&["--permission-prompt-tool"]) {
            args.push("--permission-prompt-tool=stdio".into());
        }
    } else if spec.permissions == Permissions::Auto && !leading(&["--allowedTools", "--allowed-tools"]) {
        args.push(format!("--allowedTools={AUTO_TOOLS}").into());
    }
    args
}

/// A resume token was said by an agent process, so it could be made to look like something else.
fn resume_token(token: &str) -> Result<&str, Refused> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if (1..=128).contains(&token.len()) && token.chars().all(fits) {
        Ok(token)
    } else {
        Err(Refused(format!("claude cannot resume {token:?}: this is not a session id; start a new agent")))
    }
}

/// `2.1.197 (Claude Code)` → `2.1.197`; warnings may stand on lines before it.
fn version(output: &str) -> Option<String> {
    output.lines().rev().find_map(|line| {
        let (number, rest) = line.trim().split_once(' ')?;
        let is_version = rest == "(Claude Code)" && number.starts_with(|c: char| c.is_ascii_digit());
        is_version.then(|| number.to_owned())
    })
}
