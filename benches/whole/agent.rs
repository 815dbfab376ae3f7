//! `whole agent …`: what stands in for `codex app-server`. It answers with the lines that a real one
//! sent (a recording), and while a turn runs it says deltas of a message at the pace that the prompt
//! asks for. The prompt: `rate=100 ms=5000 stamp` (a hundred deltas a second for five seconds, each
//! with the time at which it was written) or `flood=100000` (so many, as fast as they are taken).

use std::io::{BufRead, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clock;

const RECORDING: &str = include_str!("../../assets/recordings/codex-0.169.0/demo-summary.jsonl");
/// A whole turn of `codex exec --json`.
const CODEX_TURN: &str = include_str!("../../assets/recordings/codex-0.169.0/batch-demo-survey.jsonl");
/// A whole turn of `claude -p --output-format stream-json`.
const CLAUDE_TURN: &str = include_str!("../../assets/recordings/claude-2.1.197/batch-turn.jsonl");
/// What `opencode run --format json` says of a short turn.
const OPENCODE_TURN: &str = r#"{"type":"step_start","sessionID":"ses_1","part":{"id":"prt_1","messageID":"msg_1","sessionID":"ses_1","type":"step-start"}}
{"type":"text","sessionID":"ses_1","part":{"id":"prt_2","messageID":"msg_1","sessionID":"ses_1","type":"text","text":"Done."}}
{"type":"step_finish","sessionID":"ses_1","part":{"id":"prt_3","messageID":"msg_1","sessionID":"ses_1","type":"step-finish","reason":"stop","cost":0,"tokens":{"input":1,"output":1,"reasoning":0,"cache":{"read":0,"write":0}}}}
"#;
/// What a delta's text is replaced by in its template.
const HOLE: &str = "\u{2603}";
/// Deltas written at once by a flood: what a busy process gets out between two reads of its pipe.
const BATCH: usize = 64;
const WORDS: &[&str] = &[
    " the", " parser", " keeps", " one", " line", " and", " never", " more", ",", " so", " it", " holds",
    ".\n\n",
];

/// The lines of a real conversation.
struct Lines {
    /// For each request of ours, what the server said after it.
    said: Vec<(String, Vec<String>)>,
    begin: Vec<String>,
    delta: (String, String),
    end: Vec<String>,
    turn: String,
    item: String,
}

impl Lines {
    fn read() -> Self {
        let mut said: Vec<(String, Vec<String>)> = Vec::new();
        for line in RECORDING.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok()) {
            let Some(text) = line["line"].as_str() else { continue };
            if line["dir"] == "in" {
                let sent: Value = serde_json::from_str(text).unwrap_or_default();
                said.push((sent["method"].as_str().unwrap_or_default().to_owned(), Vec::new()));
            } else if let Some((_, lines)) = said.last_mut() {
                lines.push(text.to_owned());
            }
        }
        let turn = said.iter().find(|s| s.0 == "turn/start").map(|s| s.1.clone()).unwrap_or_default();
        let method = |l: &str| serde_json::from_str::<Value>(l).unwrap_or_default();
        let is = |l: &str, name: &str| method(l)["method"] == name;
        let last = turn
            .iter()
            .rposition(|l| is(l, "item/agentMessage/delta"))
            .expect("the recording holds a message");
        let mut delta = method(&turn[last]);
        let item = delta["params"]["itemId"].as_str().unwrap_or_default().to_owned();
        let id = delta["params"]["turnId"].as_str().unwrap_or_default().to_owned();
        delta["params"]["delta"] = json!(HOLE);
        let text = delta.to_string();
        let (before, after) = text.split_once(HOLE).expect("the hole was just made");
        // Of the recorded turn: its start, the start of its last message, and its end.
        let keep = |l: &&String| {
            !is(l, "item/agentMessage/delta")
                && (l.contains(&item)
                    || !method(l)["method"]
                        .as_str()
                        .is_some_and(|m| m.starts_with("item/") || m == "turn/diff/updated"))
        };
        let begin = turn[..last]
            .iter()
            .filter(keep)
            .filter(|l| method(l)["method"] != "thread/tokenUsage/updated")
            .cloned()
            .collect();
        let end = turn[last..].iter().filter(keep).cloned().collect();
        Self { delta: (before.to_owned(), after.to_owned()), begin, end, turn: id, item, said }
    }

    /// Recorded lines for this turn.
    fn of_turn(&self, lines: &[String], turn: &str, request: &Value, out: &mut Vec<u8>) {
        let item = format!("msg_{turn}");
        for line in lines {
            let mut line = line.replace(&self.turn, turn).replace(&self.item, &item);
            if let Ok(mut v) = serde_json::from_str::<Value>(&line)
                && v.get("id").is_some()
            {
                v["id"] = request["id"].clone();
                line = v.to_string();
            }
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
    }
}

/// What a prompt asks for.
#[derive(Clone, Copy)]
struct Load {
    rate: u64,
    until: Duration,
    stamp: bool,
    flood: usize,
}

impl Load {
    fn of(prompt: &str) -> Self {
        let number = |name: &str| {
            prompt
                .split_whitespace()
                .find_map(|w| w.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
                .unwrap_or(0)
        };
        Self {
            rate: number("rate").max(1),
            until: Duration::from_millis(number("ms")),
            stamp: prompt.split_whitespace().any(|w| w == "stamp"),
            flood: usize::try_from(number("flood")).unwrap_or(0),
        }
    }
}

/// Serves until stdin ends; as `exec` says one recorded turn and ends.
pub fn main(args: &[String]) {
    let has = |word: &str| args.iter().any(|a| a == word);
    let asked = has("--help") || has("--version");
    if !asked && let Some(turn) = batch(args) {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        return say(turn.as_bytes());
    }
    if !has("app-server") {
        // What the adapters ask before they start anything.
        return say(match has("--help") {
            true => b"Usage: codex exec\n      --sandbox <MODE>\n",
            false => b"codex-cli 0.169.0\n2.1.197 (Claude Code)\n1.18.33\n",
        });
    }
    let (tx, rx) = sync_channel(64);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if tx.send(line).is_err() {
                return;
            }
        }
    });
    let lines = Lines::read();
    let mut turns = 0;
    while let Ok(line) = rx.recv() {
        let request: Value = serde_json::from_str(&line).unwrap_or_default();
        if request["method"] == "turn/start" {
            turns += 1;
            if !turn(&lines, &format!("turn-{}-{turns}", std::process::id()), &request, &rx) {
                return;
            }
        } else {
            answer(&lines, &request);
        }
    }
}

/// What is said in a batch turn, told by the words of each CLI's batch mode.
fn batch(args: &[String]) -> Option<String> {
    let has = |word: &str| args.iter().any(|a| a == word);
    let recording = match () {
        () if has("exec") => CODEX_TURN,
        () if has("-p") => CLAUDE_TURN,
        () if has("run") => return Some(OPENCODE_TURN.to_owned()),
        () => return None,
    };
    let lines = recording.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
    let said = lines.filter(|l| l["dir"] == "out");
    Some(said.filter_map(|l| Some(format!("{}\n", l["line"].as_str()?))).collect())
}

fn say(bytes: &[u8]) {
    use std::os::fd::AsFd;
    let mut left = bytes;
    while !left.is_empty() {
        match nix::unistd::write(std::io::stdout().as_fd(), left) {
            Ok(n) => left = &left[n..],
            Err(nix::errno::Errno::EINTR) => {}
            Err(_) => std::process::exit(0),
        }
    }
    let _ = std::io::stdout().flush();
}

fn answer(lines: &Lines, request: &Value) {
    let method = request["method"].as_str().unwrap_or_default();
    let mut out = Vec::new();
    match lines.said.iter().find(|s| s.0 == method) {
        Some((_, said)) => lines.of_turn(said, &lines.turn, request, &mut out),
        None if request.get("id").is_some() => {
            out = json!({ "id": request["id"], "result": {} }).to_string().into_bytes();
            out.push(b'\n');
        }
        None => {}
    }
    say(&out);
}

/// One turn; false when stdin ended.
fn turn(lines: &Lines, id: &str, request: &Value, rx: &Receiver<String>) -> bool {
    let load = Load::of(request["params"]["input"][0]["text"].as_str().unwrap_or_default());
    let mut out = Vec::new();
    lines.of_turn(&lines.begin, id, request, &mut out);
    say(&out);
    let item = format!("msg_{id}");
    let template =
        [&lines.delta.0, &lines.delta.1].map(|t| t.replace(&lines.turn, id).replace(&lines.item, &item));
    let delta = |i: usize, out: &mut Vec<u8>| {
        out.extend_from_slice(template[0].as_bytes());
        if load.stamp {
            // A new paragraph now and then, as people's texts have them.
            let before = if i % 40 == 39 { "\\n\\n" } else { " " };
            let _ = write!(out, "{before}t{:019}", clock());
        } else {
            let word = serde_json::to_string(WORDS[i % WORDS.len()]).unwrap_or_default();
            out.extend_from_slice(word.trim_matches('"').as_bytes());
        }
        out.extend_from_slice(template[1].as_bytes());
        out.push(b'\n');
    };
    out.clear();
    for i in 0..load.flood {
        delta(i, &mut out);
        if (i + 1) % BATCH == 0 || i + 1 == load.flood {
            say(&std::mem::take(&mut out));
        }
    }
    let (begun, mut i) = (Instant::now(), 0);
    while load.flood == 0 && begun.elapsed() < load.until {
        let next = begun + Duration::from_nanos(1_000_000_000 * i / load.rate);
        match rx.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => {
                out.clear();
                delta(usize::try_from(i).unwrap_or(0), &mut out);
                say(&out);
                i += 1;
            }
            Err(RecvTimeoutError::Disconnected) => return false,
            Ok(line) => {
                let other: Value = serde_json::from_str(&line).unwrap_or_default();
                answer(lines, &other);
                if other["method"] == "turn/interrupt" {
                    break;
                }
            }
        }
    }
    out.clear();
    lines.of_turn(&lines.end, id, request, &mut out);
    say(&out);
    true
}
