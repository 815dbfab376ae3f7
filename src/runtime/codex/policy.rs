//! Sandbox and approval policy: what the command's own arguments say about them.

use std::ffi::OsString;

/// What is set, in the words of Codex (`workspace-write`, `never`, …); none: nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Policy {
    pub sandbox: Option<String>,
    pub approval: Option<String>,
}

impl Policy {
    /// Reads the arguments between the executable and the subcommand. `codex app-server` takes the
    /// `-c` ones into account but silently not the flags (seen with 0.169), so their values are needed.
    pub(super) fn leading(args: &[OsString]) -> Self {
        let words: Vec<_> = args.iter().map(|a| a.to_string_lossy()).collect();
        let mut policy = Self::default();
        for (i, word) in words.iter().enumerate() {
            let (name, joined) = match word.split_once('=') {
                Some((n, v)) if word.starts_with("--") => (n, Some(v)),
                _ => (word.as_ref(), None),
            };
            let value = || joined.or_else(|| words.get(i + 1).map(AsRef::as_ref)).map(str::to_owned);
            match name {
                "-s" | "--sandbox" => policy.sandbox = value(),
                "-a" | "--ask-for-approval" => policy.approval = value(),
                "-c" | "--config" => policy.config(&value().unwrap_or_default()),
                "--full-auto" | "--approve-for-me" => policy.set("workspace-write", "on-request"),
                "--dangerously-bypass-approvals-and-sandbox" | "--yolo" => {
                    policy.set("danger-full-access", "never");
                }
                _ => {}
            }
        }
        policy
    }

    fn set(&mut self, sandbox: &str, approval: &str) {
        self.sandbox = Some(sandbox.to_owned());
        self.approval = Some(approval.to_owned());
    }

    fn config(&mut self, pair: &str) {
        let Some((key, value)) = pair.split_once('=') else { return };
        let value = value.trim().trim_matches(['"', '\'']).to_owned();
        match key.trim() {
            "sandbox_mode" => self.sandbox = Some(value),
            "approval_policy" => self.approval = Some(value),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leading(args: &[&str]) -> (Option<String>, Option<String>) {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        let p = Policy::leading(&args);
        (p.sandbox, p.approval)
    }

    #[test]
    fn every_spelling_is_understood() {
        let some = |s: &str| Some(s.to_owned());
        assert_eq!(leading(&[]), (None, None));
        assert_eq!(leading(&["-c", "model=\"x\""]), (None, None));
        assert_eq!(leading(&["-s", "read-only"]), (some("read-only"), None));
        assert_eq!(leading(&["--sandbox=read-only"]), (some("read-only"), None));
        assert_eq!(
            leading(&["-c", "sandbox_mode=\"danger-full-access\"", "--config=approval_policy=never"]),
            (some("danger-full-access"), some("never"))
        );
        assert_eq!(
            leading(&["--dangerously-bypass-approvals-and-sandbox"]),
            (some("danger-full-access"), some("never"))
        );
        assert_eq!(leading(&["-a", "on-request"]), (None, some("on-request")));
    }
}
