//! Recordings of the real CLIs, played through adapter, journal and fold, to exact states.
//!
//! The recordings are made by `cargo run --example record`. Where an adapter learns to say more, look
//! at what changed and accept it: `INSTA_UPDATE=always cargo nextest run recordings`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use fracta::demo::recording::{Dir, Recording};
use fracta::event::journal::{self, Journal, Reader};
use fracta::event::{Body, Event, encode};
use fracta::runtime::{self, CliInfo, Input, Mode, Output, Permissions, SessionSpec, versions};
use fracta::session::state::SessionState;
use fracta::transport::lines::{Lines, Piece};
use jiff::Timestamp;

fn recordings(cli: &str) -> Vec<(String, Recording)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/recordings");
    let mut found = Vec::new();
    for version in std::fs::read_dir(root).unwrap().flatten() {
        let name = version.file_name().into_string().unwrap();
        if !name.starts_with(cli) {
            continue;
        }
        for file in std::fs::read_dir(version.path()).unwrap().flatten() {
            let scenario = file.path().file_stem().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(file.path()).unwrap();
            found.push((format!("{name}_{scenario}"), Recording::parse(&text).unwrap()));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(found.len() > 10, "the recordings are gone");
    found
}

/// Of every CLI and version.
fn all() -> Vec<(String, Recording)> {
    ["claude-", "codex-", "opencode-"].into_iter().flat_map(recordings).collect()
}

#[test]
fn every_version_that_is_said_to_be_tried_has_its_recordings() {
    let recorded: BTreeMap<_, Vec<_>> = all().into_iter().fold(BTreeMap::new(), |mut by, (_, r)| {
        by.entry((r.header.cli, r.header.version)).or_insert_with(Vec::new).push(r.header.scenario);
        by
    });
    let table: Vec<_> = versions::all().map(|t| (t.cli.to_owned(), t.version.to_owned())).collect();
    assert_eq!(recorded.keys().cloned().collect::<BTreeSet<_>>(), table.into_iter().collect());
    for (version, scenarios) in recorded {
        for needed in [
            "batch-turn",
            "batch-resume",
            "batch-fail",
            "turn",
            "approval-accept",
            "approval-deny",
            "interrupt-text",
            "interrupt-command",
            "fail",
            "resume",
        ] {
            assert!(scenarios.iter().any(|s| s == needed), "{version:?} has no {needed}");
        }
    }
}

#[test]
fn recordings_hold_nothing_of_a_machine_or_a_person() {
    for (name, r) in all() {
        for line in r.lines.iter().map(|l| l.line.replace("/demo/homes/home/", "/demo/homes/")) {
            for private in ["/tmp/", "/root", "/home/", "/opt/", "/work/", "/Users/", "/private/var"] {
                assert!(!line.contains(private), "{name} holds {private}: {line}");
            }
        }
    }
}

fn spec(recording: &Recording) -> SessionSpec {
    SessionSpec {
        runtime: recording.header.cli.clone(),
        command: vec![recording.header.cli.clone().into()],
        cli: CliInfo { version: Some(recording.header.version.clone()), ..CliInfo::default() },
        mode: if recording.header.mode == "batch" { Mode::Batch } else { Mode::Stream },
        model: None,
        permissions: Permissions::Ask,
        cwd: PathBuf::from("/demo"),
        resume_token: None,
        run: 1,
        step_limit: 0,
    }
}

/// What the process said, as it lies in `raw.jsonl`.
fn raw(recording: &Recording) -> Vec<u8> {
    let out = recording.lines.iter().filter(|l| l.dir == Dir::Out);
    out.flat_map(|l| l.line.bytes().chain(*b"\n")).collect()
}

/// Feeds the bytes in parts of `size` and journals what comes of them.
fn journal(recording: &Recording, size: usize) -> (tempfile::TempDir, SessionState) {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path(), "agent", "s-recorded").unwrap();
    let mut state = SessionState::default();
    let adapter = runtime::adapter(&recording.header.cli).unwrap();
    let mut protocol = adapter.protocol(&spec(recording), Some("m-recorded"));
    protocol.open(&mut Output::default());
    let mut lines = Lines::new(0);
    for chunk in raw(recording).chunks(size) {
        lines.push(chunk, |offset, piece| {
            let Piece::Line(line) = piece else { panic!("no whole line: {piece:?}") };
            let mut out = Output::default();
            protocol.input(Input::Message(line), &mut out);
            journal.append(Some(offset), out.facts, Timestamp::UNIX_EPOCH, |e, _| state.apply(e)).unwrap();
        });
    }
    (dir, state)
}

fn events(dir: &Path) -> Vec<Event> {
    let reader = Reader::open(&dir.join(journal::FILE)).unwrap();
    let mut all = Vec::new();
    let mut chunk = reader.read_after(0, journal::MAX_CHUNK).unwrap();
    while !chunk.bytes.is_empty() {
        let lines = chunk.bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty());
        all.extend(lines.map(|l| encode::parse(l).unwrap()));
        chunk = reader.read_from(chunk.next_offset, chunk.last_seq, journal::MAX_CHUNK).unwrap();
    }
    all
}

/// One line for each event, deltas of an item together.
fn story(events: &[Event]) -> String {
    let mut out = String::new();
    let mut last = String::new();
    for event in events {
        let json = serde_json::to_value(&event.body).unwrap();
        let kind = json["kind"].as_str().unwrap().to_owned();
        let item = json["item"].as_str().unwrap_or_default();
        let this = format!("{kind} {item}");
        if kind.ends_with(".delta") || kind == "command.output" {
            if this != last {
                writeln!(out, "{this} …").unwrap();
            }
        } else {
            writeln!(out, "{json}").unwrap();
        }
        last = this;
    }
    out
}

#[test]
fn recordings_replay_to_exact_states() {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for (name, recording) in all() {
            let (dir, state) = journal(&recording, 64 << 10);
            let events = events(dir.path());
            let seqs: Vec<u64> = events.iter().map(|e| e.seq).collect();
            assert_eq!(seqs, (1..=events.len() as u64).collect::<Vec<_>>(), "{name}: numbers without gaps");
            let unknown = events.iter().find(|e| matches!(e.body, Body::Raw { .. } | Body::Gap { .. }));
            assert_eq!(unknown, None, "{name}: the adapter knows all that this CLI says");
            let told = serde_json::to_string_pretty(&state).unwrap();
            insta::assert_snapshot!(name, format!("{}\n{told}\n", story(&events)));
        }
    });
}

#[test]
fn how_the_bytes_come_changes_nothing() {
    for (name, recording) in all() {
        let whole = journal(&recording, usize::MAX).1;
        for size in [1, 7, 4096] {
            assert_eq!(journal(&recording, size).1, whole, "{name} in parts of {size}");
        }
    }
}

#[test]
fn deltas_and_the_completed_text_agree() {
    for (name, recording) in all() {
        let (dir, _) = journal(&recording, 64 << 10);
        let mut texts: std::collections::BTreeMap<String, String> = Default::default();
        for event in events(dir.path()) {
            match event.body {
                Body::MessageDelta { item, text, .. } => texts.entry(item).or_default().push_str(&text),
                Body::MessageCompleted { item, text, .. } => {
                    if let Some(streamed) = texts.remove(&item) {
                        // OpenCode 1.1 takes white space off the end of a whole text.
                        assert_eq!(streamed.trim_end(), text.trim_end(), "{name}: {item}");
                    }
                }
                _ => {}
            }
        }
    }
}
