//! A runtime that says more than anybody can read.

use std::fmt::Write as _;

use fracta::demo::recording::{Dir, EMBEDDED, Line, Recording};
use serde_json::Value;

use super::pty::Screen;
use crate::plane_support::{FRACTA, Plane, Setup};

/// A recording of the real Codex with its streamed text exchanged for `text`, a piece a line, all of
/// it at once.
fn flood(pieces: &[String]) -> String {
    let text = EMBEDDED.iter().find(|e| e.scenario == "demo-explain").unwrap().text;
    let (header, _) = text.split_once('\n').unwrap();
    let recording = Recording::parse(text).unwrap();
    let whole: String = pieces.concat();
    let mut out = format!("{header}\n");
    let mut first = true;
    for line in recording.lines {
        let Ok(mut message) = serde_json::from_str::<Value>(&line.line) else { continue };
        let mut push = |message: &Value| {
            let line = Line { t: 0, dir: line.dir, line: message.to_string() };
            writeln!(out, "{}", serde_json::to_string(&line).unwrap()).unwrap();
        };
        if line.dir == Dir::Out && message["method"] == "item/agentMessage/delta" {
            if std::mem::take(&mut first) {
                for p in pieces {
                    message["params"]["delta"] = p.as_str().into();
                    push(&message);
                }
            }
            continue;
        }
        if message["method"] == "item/completed" && message["params"]["item"]["type"] == "agentMessage" {
            message["params"]["item"]["text"] = whole.as_str().into();
        }
        push(&message);
    }
    out
}

/// The folder holds the recording as long as the plane lives.
fn plane(pieces: &[String]) -> (Plane, tempfile::TempDir) {
    let files = tempfile::Builder::new().prefix("fracta-flood-").tempdir().unwrap();
    let file = files.path().join("flood.jsonl");
    std::fs::write(&file, flood(pieces)).unwrap();
    let command = [FRACTA, "demo-replay", file.to_str().unwrap()].map(str::to_owned).to_vec();
    (Plane::without_cli(Setup { command: Some(command), ..Setup::default() }), files)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_answered_in_a_flood_and_the_end_is_right() {
    // Short, so that all of it is kept: the screen shows 256 KiB of a message.
    let mut pieces = vec!["x ".to_owned(); 100_000];
    pieces.push("\n\nand these are the very last words".to_owned());
    let (p, _files) = plane(&pieces);
    let mut s = Screen::open(&p, &["--root", p.root().to_str().unwrap()], 120, 34);
    s.wait_text("no agents yet");
    p.spawn_agent("flood", "stream", "Explain everything").await;
    s.wait_text("x x x x");
    s.keys("?");
    let text = s.wait_text("keys and commands");
    assert!(!text.contains("very last words"), "the flood was over before a key was answered");
    s.keys("\x1b");
    s.wait_for(|t| !t.contains("keys and commands"));
    let text = s.wait_for(|t| t.contains("and these are the very last words") && t.contains("idle"));
    assert!(text.contains("x x x x"), "{text}");
    super::escapes::read(&s.bytes_since(0)).unwrap();
}
