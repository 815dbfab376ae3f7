//! CLIs that are missing, broken, old or noisy.

use std::os::unix::fs::PermissionsExt;

use fracta::session::state::State;

use super::turns_of;
use crate::plane_support::{Plane, Setup, kind, messages};

/// An executable script beside the tests' throw-away projects; gone with the folder.
fn script(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wrapper");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

/// Noise before and after what codex says, and half a line without an end at last.
const NOISE: &str = r#"
case " $* " in *" --version "*|*" --help "*) exec codex "$@";; esac
printf 'Warning: something is deprecated\n{"type":\n[1,2]\n\377\376 not utf-8\n\033[31mred\033[0m \033]0;title\007\n{"method":"no/such/thing","params":{}}\n\n'
codex "$@"
status=$?
printf '{"half'
exit $status
"#;

#[tokio::test]
async fn garbage_on_stdout_is_kept_and_the_turn_completes() {
    let (_dir, wrapper) = script(&format!("#!/bin/sh\n{NOISE}"));
    let command = Some(vec!["sh".to_owned(), wrapper]);
    let Some(p) = Plane::new(Setup { command, ..Setup::default() }) else { return };
    for mode in ["stream", "batch"] {
        p.spawn_agent(mode, mode, "fracta:say one\nfracta:run true\nfracta:say two").await;
        let done = if mode == "stream" { State::Idle } else { State::Completed };
        p.wait_agent(mode, |a| a.state == done && a.usage.input_tokens > 0).await;
        let events = p.events(mode).await;
        assert_eq!((messages(&events), turns_of(&events)), (vec!["one", "two"], vec!["completed"]));
        let raw: Vec<&str> =
            events.iter().filter(|e| kind(e) == "raw").filter_map(|e| e["text"].as_str()).collect();
        for part in ["something is deprecated", "not utf-8", "red", "[1,2]"] {
            assert!(raw.iter().any(|r| r.contains(part)), "{part}: {raw:?}");
        }
        if mode == "batch" {
            assert!(raw.iter().any(|r| r.contains("{\"half")), "{raw:?}");
        }
        // For people it is only text.
        let shown = p.run(&["peek", mode, "-n", "200"]).await.ok().stdout;
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{7}'), "{shown:?}");
    }
}

#[tokio::test]
async fn a_cli_that_is_missing_says_how_to_install_it() {
    let command = Some(vec!["no-such-codex-anywhere".to_owned()]);
    let p = Plane::without_cli(Setup { command, ..Setup::default() });
    let out = p.run(&["spawn", "--task", "a", "--contract", "hello", "--wait"]).await;
    assert_eq!(out.code, 1);
    let words = format!("{}{}", out.stdout, out.stderr);
    assert!(
        words.contains("no-such-codex-anywhere") && words.contains("npm install -g @openai/codex"),
        "{words}"
    );
}

#[tokio::test]
async fn a_cli_that_only_complains_fails_with_its_own_words() {
    let (_dir, wrapper) =
        script("#!/bin/sh\necho 'error: the licence of this codex has run out' >&2\nexit 2\n");
    let p = Plane::without_cli(Setup { command: Some(vec![wrapper]), ..Setup::default() });
    for mode in ["stream", "batch"] {
        let out = p.run(&["spawn", "--task", mode, "--mode", mode, "--contract", "hello", "--wait"]).await;
        assert_eq!(out.code, 1, "{out:?}");
        let row = p.wait_state(mode, State::Failed).await;
        let reason = row.reason.unwrap();
        assert!(reason.contains("the licence of this codex has run out"), "{reason}");
        let events = p.events(mode).await;
        assert_eq!(
            super::deliveries(&events, "hello").last().map(String::as_str),
            Some("rejected"),
            "{events:#?}"
        );
    }
}
