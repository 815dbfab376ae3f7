//! The Codex adapter.
//!
//! Batch is `codex exec --json` (one process a turn, [`batch`]); stream is `codex app-server` on stdio
//! ([`stream`]). Both describe themselves: `codex exec --help`, `codex app-server generate-json-schema`.
//!
//! # Permissions
//! | `permissions` | batch | stream |
//! |---|---|---|
//! | `ask` | read-only sandbox, approvals never (nobody can be asked) | workspace-write, approvals `untrusted`: all but known harmless commands reach the person |
//! | `auto` | workspace-write, approvals never | workspace-write, approvals never; what is asked all the same is answered yes |
//!
//! These override `sandbox_mode` and `approval_policy` of the user's `config.toml`, in both directions, so
//! that `permissions` means the same on every machine. Where Codex's sandbox cannot work (some
//! containers), or another one is wanted, say so in the runtime's own `command`, for example
//! `["codex", "-c", "sandbox_mode=danger-full-access"]`: what the command's leading arguments set (`-c`,
//! `--sandbox`, `--ask-for-approval`, `--full-auto`, `--dangerously-bypass-approvals-and-sandbox`) is used
//! and fracta adds nothing of its own for it.
//!
//! # What codex does not do by itself (seen with 0.124, 0.155 and 0.169)
//! - `turn/interrupt` leaves the turn's commands running; [`stream`] ends them.
//! - A command runs in a session of its own. Where codex is killed, Codex's sandbox takes the command's
//!   whole tree with it; without the sandbox, children of the command's shell stay behind.

mod approvals;
mod batch;
mod failure;
mod items;
mod policy;
mod rpc;
mod settings;
mod stream;
#[cfg(test)]
mod tests;

use std::ffi::OsString;

use super::{
    Capabilities, CliInfo, Launch, Mode, Permissions, Protocol, Refused, Runtime, SessionSpec, Wire,
};
use policy::Policy;

/// The adapter of OpenAI's Codex CLI.
#[derive(Debug, Clone, Copy)]
pub struct Codex;

impl Runtime for Codex {
    fn adapter(&self) -> &'static str {
        "codex"
    }

    fn default_command(&self) -> &'static str {
        "codex"
    }

    fn install_hint(&self) -> &'static str {
        "npm install -g @openai/codex"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            batch: true,
            stream: true,
            steer: Ok(()),
            approvals: true,
            interrupt: true,
            resume: true,
            mcp: true,
        }
    }

    fn probes(&self) -> Vec<Vec<&'static str>> {
        vec![vec!["--version"], vec!["exec", "--help"]]
    }

    fn probed(&self, outputs: &[String]) -> CliInfo {
        let text = |i: usize| outputs.get(i).map_or("", String::as_str);
        let mut info = CliInfo { version: version(text(0)), ..CliInfo::default() };
        for (feature, flag) in [("exec.sandbox", "--sandbox"), ("exec.full_auto", "--full-auto")] {
            if has_flag(text(1), flag) {
                info.features.insert(feature.to_owned(), "yes".to_owned());
            }
        }
        info
    }

    fn launch(&self, spec: &SessionSpec, prompt: Option<&str>) -> Result<Launch, Refused> {
        let mut argv = spec.command.clone();
        if argv.is_empty() {
            argv.push(self.default_command().into());
        }
        match spec.mode {
            Mode::Stream => {
                argv.push("app-server".into());
                Ok(Launch { argv, env: Vec::new(), wire: Wire::Stdio, stdin: true, input: None })
            }
            Mode::Batch => {
                let prompt = prompt.ok_or_else(|| Refused("a codex batch turn needs a prompt".to_owned()))?;
                let leading = Policy::leading(spec.command.get(1..).unwrap_or_default());
                let (config, flags) = sandbox_args(spec, &leading);
                // Before the subcommand: a `-c` behind it makes older versions forget all that stand before
                // it (seen with 0.124 and 0.155), the command's own and those of MCP servers.
                argv.extend(config);
                argv.extend(["exec", "--json", "--skip-git-repo-check"].map(OsString::from));
                argv.extend(flags);
                if let Some(model) = &spec.model {
                    argv.push(format!("--model={model}").into());
                }
                if let Some(token) = &spec.resume_token {
                    argv.extend(["resume".into(), resume_token(token)?.into()]);
                }
                argv.push("-".into());
                let input = Some(prompt.as_bytes().to_vec());
                Ok(Launch { argv, env: Vec::new(), wire: Wire::Stdio, stdin: false, input })
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

/// What carries out `permissions` in a batch turn, in the words this CLI knows: settings, which stand
/// before `exec`, and flags, which stand behind it and before `resume`, which does not know `--sandbox`.
fn sandbox_args(spec: &SessionSpec, leading: &Policy) -> (Vec<OsString>, Vec<OsString>) {
    let mode = match spec.permissions {
        Permissions::Ask => "read-only",
        Permissions::Auto => "workspace-write",
    };
    let knows = |feature: &str| spec.cli.features.contains_key(feature);
    let (mut config, mut flags): (Vec<OsString>, Vec<OsString>) = (Vec::new(), Vec::new());
    if leading.sandbox.is_none() {
        if knows("exec.sandbox") {
            flags.extend(["--sandbox".into(), mode.into()]);
        } else if knows("exec.full_auto") && spec.permissions == Permissions::Auto {
            flags.push("--full-auto".into());
        } else {
            config.extend(["-c".into(), format!("sandbox_mode={mode:?}").into()]);
        }
    }
    if leading.approval.is_none() {
        config.extend(["-c".into(), "approval_policy=\"never\"".into()]);
    }
    (config, flags)
}

/// A resume token was said by an agent process, so it could be made to look like an option.
fn resume_token(token: &str) -> Result<&str, Refused> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let ok = !token.starts_with('-') && (1..=128).contains(&token.len()) && token.chars().all(fits);
    if ok {
        Ok(token)
    } else {
        Err(Refused(format!("codex cannot resume {token:?}: this is not a thread id; start a new agent")))
    }
}

/// `codex-cli 0.169.0` → `0.169.0`; warnings may stand on lines before it.
fn version(output: &str) -> Option<String> {
    output.lines().rev().find_map(|line| {
        let word = line.trim().strip_prefix("codex").and_then(|l| l.split_whitespace().last())?;
        word.starts_with(|c: char| c.is_ascii_digit()).then(|| word.to_owned())
    })
}

/// Whether a `--help` text lists `flag` as an option (not only mentions it in prose).
fn has_flag(help: &str, flag: &str) -> bool {
    help.lines()
        .map(str::trim_start)
        .filter(|l| l.starts_with('-'))
        .any(|line| line.split([' ', ',', '=']).any(|word| word == flag))
}
