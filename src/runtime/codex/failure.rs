//! Why a codex process died, read from its last words.

use crate::text::summary;
use crate::transport::Exit;

/// Most of a line that is shown, in characters.
const MAX: usize = 400;

/// One line for a person: what the CLI said last that means something, and how it ended.
pub(super) fn reason(stderr: &str, exit: &Exit) -> String {
    let how = exit.describe();
    if exit.spawn_error.is_some() {
        return how;
    }
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|l| meaningful(l)).collect();
    if let Some(flag) = lines.iter().find_map(|l| unexpected_argument(l)) {
        return format!(
            "this codex does not know {flag} ({how}); is it older or newer than expected? See `fracta runtimes`, and the runtime's `command` in fracta.yaml"
        );
    }
    if let Some(at) =
        lines.iter().position(|l| l.contains("config.toml") && l.to_lowercase().contains("error"))
    {
        let detail = lines[at..].iter().take(2).copied().collect::<Vec<_>>().join(" ");
        return format!("codex cannot read its configuration: {} ({how})", summary(&detail, MAX));
    }
    if let Some(line) = lines.iter().rev().find(|l| unauthorised(l)) {
        return format!(
            "codex is not logged in: {} ({how}); run `codex login` or set its key",
            summary(line, MAX)
        );
    }
    // What is marked as an error says more than whatever came after it.
    let marked = lines.iter().rev().find(|l| l.to_lowercase().starts_with("error") || l.contains(" ERROR "));
    match marked.or(lines.last()) {
        Some(line) => format!("{} ({how})", summary(line, MAX)),
        None => how,
    }
}

fn meaningful(line: &str) -> bool {
    let lower = line.to_lowercase();
    let frame =
        line.split_once(':').is_some_and(|(n, _)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let noise =
        ["warning:", "stack backtrace", "usage:", "tip:", "for more information", "reading prompt", "at "];
    !line.is_empty()
        && !frame
        && !noise.iter().any(|n| lower.starts_with(n))
        && !lower.starts_with("codex exec [")
}

fn unexpected_argument(line: &str) -> Option<&str> {
    let rest = line.split_once("unexpected argument '")?.1;
    rest.split_once('\'').map(|(flag, _)| flag)
}

fn unauthorised(line: &str) -> bool {
    let lower = line.to_lowercase();
    ["401 unauthorized", "not logged in", "missing environment variable", "codex login", "invalid_api_key"]
        .iter()
        .any(|w| lower.contains(w))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: i32) -> Exit {
        Exit { code: Some(code), signal: None, spawn_error: None }
    }

    #[test]
    fn real_last_words() {
        let unknown = "error: unexpected argument '--full-auto' found\n\n  tip: to pass '--full-auto' as a value, use '-- --full-auto'\n\nUsage: codex exec [OPTIONS] [PROMPT]\n       codex exec [OPTIONS] <COMMAND> [ARGS]\n\nFor more information, try '--help'.\n";
        assert!(reason(unknown, &exit(2)).starts_with("this codex does not know --full-auto (exit code 2)"));

        let config = "WARNING: proceeding, even though\nError loading config.toml: unknown variant `bogus`, expected one of `read-only`\nin `sandbox_mode`\n";
        assert_eq!(
            reason(config, &exit(1)),
            "codex cannot read its configuration: Error loading config.toml: unknown variant `bogus`, expected one of `read-only` in `sandbox_mode` (exit code 1)"
        );

        let resume = "warning: Untrusted project-local configuration is disabled.\nError: thread/resume: thread/resume failed: no rollout found for thread id 01a203cf (code -32600)\n\nStack backtrace:\n   0: <unknown>\n   1: <unknown>\n";
        assert_eq!(
            reason(resume, &exit(1)),
            "Error: thread/resume: thread/resume failed: no rollout found for thread id 01a203cf (code -32600) (exit code 1)"
        );

        let key = "ERROR: Missing environment variable: `CXKEY`.\n";
        assert!(
            reason(key, &exit(1)).starts_with("codex is not logged in: ERROR: Missing environment variable")
        );
    }

    #[test]
    fn silence_says_only_how_it_ended() {
        assert_eq!(reason("", &exit(7)), "exit code 7");
        let killed = Exit { code: None, signal: Some(9), spawn_error: None };
        assert_eq!(reason("WARNING: x\n", &killed), "signal 9 (SIGKILL)");
        assert!(reason(&"é".repeat(5000), &exit(1)).len() < 1000);
    }
}
