//! Why an opencode process died, read from its last words.

use crate::transport::Exit;

/// Longest reason, in characters.
const MAX: usize = 400;

/// One line for a person: what the CLI said last that means something, and how it ended.
pub(super) fn reason(stderr: &str, exit: &Exit) -> String {
    let how = exit.describe();
    if exit.spawn_error.is_some() {
        return how;
    }
    let plain: Vec<String> = stderr.lines().map(plain).filter(|l| !l.is_empty()).collect();
    let lines: Vec<&str> = plain.iter().map(String::as_str).filter(|l| meaningful(l)).collect();
    let marked = lines.iter().rev().find(|l| l.starts_with("Error:") || named_error(l));
    let said = marked.or_else(|| lines.iter().rev().find(|l| l.starts_with("! "))).or(lines.last());
    match said {
        Some(line) => {
            let line = line.trim_start_matches("! ");
            let short: String = line.chars().take(MAX).collect();
            let more = if short.len() < line.len() { "…" } else { "" };
            format!("{short}{more} ({how})")
        }
        None => how,
    }
}

/// A line without the colours that are there even where stderr is a file.
fn plain(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("\u{1b}[") {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 2..];
        let end = tail.find(|c: char| c.is_ascii_alphabetic()).map_or(tail.len(), |i| i + 1);
        rest = &tail[end..];
    }
    out.push_str(rest);
    out.trim().to_owned()
}

/// `ProviderModelNotFoundError: …`
fn named_error(line: &str) -> bool {
    line.split_once(':').is_some_and(|(name, _)| name.ends_with("Error") && !name.contains(' '))
}

fn meaningful(line: &str) -> bool {
    let source = line.split_once(" | ").is_some_and(|(n, _)| n.trim().bytes().all(|b| b.is_ascii_digit()));
    // Printed on a machine without a network, before anything is tried.
    !source && line != "^" && !line.starts_with("at ") && !line.contains("service=models.dev")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: i32) -> Exit {
        Exit { code: Some(code), signal: None, spawn_error: None }
    }

    #[test]
    fn real_last_words() {
        let session = "\u{1b}[91m\u{1b}[1mError: \u{1b}[0mSession not found\n";
        assert_eq!(reason(session, &exit(1)), "Error: Session not found (exit code 1)");
        let asked = "\u{1b}[93m\u{1b}[1m! \u{1b}[0mpermission requested: bash (echo hi); auto-rejecting\n";
        assert_eq!(
            reason(asked, &exit(0)),
            "permission requested: bash (echo hi); auto-rejecting (exit code 0)"
        );
        let model = "ERROR 2026-11-22T16:17:35 +245ms service=models.dev error=Unable to connect.\n\
            1095 |     const info = provider.models[modelID]\n          ^\n\
            ProviderModelNotFoundError: ProviderModelNotFoundError\n data: {\n  providerID: \"anthropic\",\n},\n\n      at getModel (src/provider/provider.ts:1100:13)\n";
        assert_eq!(
            reason(model, &exit(0)),
            "ProviderModelNotFoundError: ProviderModelNotFoundError (exit code 0)"
        );
    }

    #[test]
    fn silence_says_only_how_it_ended() {
        assert_eq!(reason("", &exit(7)), "exit code 7");
        assert!(reason(&"é".repeat(5000), &exit(1)).chars().count() < 500);
    }
}
