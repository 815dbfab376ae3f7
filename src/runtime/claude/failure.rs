//! Why a claude process died or a turn failed, in words that say what to do.

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
    if let Some(flag) = lines.iter().find_map(|l| unknown_option(l)) {
        return format!(
            "this claude does not know {flag} ({how}); is it older or newer than expected? See `fracta runtimes`, and the runtime's `command` in fracta.yaml"
        );
    }
    let marked = lines.iter().rev().find(|l| l.to_lowercase().contains("error"));
    match lines.iter().find(|l| advice(l).is_some()).or(marked).or(lines.last()) {
        Some(line) => format!("{} ({how})", clear(&summary(line, MAX))),
        None => how,
    }
}

/// Claude's words, and what to do where they do not say it to who is not in its own screen.
pub(super) fn clear(text: &str) -> String {
    match advice(text) {
        Some(advice) => format!("{text}; {advice}"),
        None => text.to_owned(),
    }
}

fn advice(text: &str) -> Option<&'static str> {
    let lower = text.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|w| lower.contains(w));
    if says(&[
        "/login",
        "invalid api key",
        "not logged in",
        "oauth token",
        "authentication_error",
        "x-api-key",
    ]) {
        Some("claude is not logged in: run `claude` once and log in, or give the runtime a valid key")
    } else if says(&[
        "issue with the selected model",
        "model not found",
        "not_found_error\",\"message\":\"model",
    ]) {
        Some("choose another with --model, or the runtime's `model` in fracta.yaml")
    } else if says(&["no conversation found", "requires a valid session id"]) {
        Some("claude has no such session for this folder (any more): start a new agent")
    } else if says(&["cannot be used with root"]) {
        Some(
            "claude refuses to run without permissions as root: leave that option out of the runtime's `command`",
        )
    } else {
        None
    }
}

fn unknown_option(line: &str) -> Option<&str> {
    let rest = line.split_once("unknown option '")?.1;
    rest.split_once('\'').map(|(flag, _)| flag)
}

fn meaningful(line: &str) -> bool {
    let lower = line.to_lowercase();
    !line.is_empty()
        && !["warning", "at ", "(node:", "(use `node", "node.js v"].iter().any(|n| lower.starts_with(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: i32) -> Exit {
        Exit { code: Some(code), signal: None, spawn_error: None }
    }

    #[test]
    fn real_last_words() {
        assert!(
            reason("error: unknown option '--include-partial-messages'\n", &exit(1))
                .starts_with("this claude does not know --include-partial-messages (exit code 1)")
        );
        let resume = "No conversation found with session ID: 1111\n";
        assert_eq!(
            reason(resume, &exit(1)),
            "No conversation found with session ID: 1111; claude has no such session for this folder (any more): start a new agent (exit code 1)"
        );
        assert!(clear("Invalid API key · Please run /login").contains("run `claude` once and log in"));
        assert!(
            clear("There's an issue with the selected model (x).").contains("choose another with --model")
        );
        let root =
            "--dangerously-skip-permissions cannot be used with root/sudo privileges for security reasons\n";
        assert!(reason(root, &exit(1)).contains("leave that option out"));
        assert_eq!(clear("API Error: 500"), "API Error: 500");
    }

    #[test]
    fn silence_says_only_how_it_ended() {
        assert_eq!(reason("", &exit(7)), "exit code 7");
        let killed = Exit { code: None, signal: Some(9), spawn_error: None };
        assert_eq!(reason("(node:1) Warning\n", &killed), "signal 9 (SIGKILL)");
        assert!(reason(&"é".repeat(5000), &exit(1)).len() < 1000);
    }
}
